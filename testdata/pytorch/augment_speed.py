"""Time of one SimCLR pair with torchvision on one thread, beside augment/bench_test.go.

    python3 testdata/pytorch/augment_speed.py [repetitions]

Prints milliseconds per pair, the smallest of several repetitions: from a 32 x 32 picture in memory to
two float tensors, and from the bytes of a 500 x 375 JPEG to two tensors of 224 x 224. The picture is
the one of the Go benchmarks. The last line is JSON.
"""

import io
import json
import sys
import time

import numpy as np
import torch
import torchvision
import torchvision.transforms as T
from PIL import Image


def photo(w, h):
    """Smooth colours with some noise; see benchPhoto in augment/bench_test.go."""
    y, x = np.mgrid[0:h, 0:w]
    noise = (x * 7919 + y * 104729) * 2654435761 % 2**32 >> 28
    planes = [128 + 90 * np.sin(x / a + c) * np.cos(y / b) for a, b, c in ((31, 23, 0), (47, 19, 1), (17, 41, 2))]
    return np.stack([np.clip(p + noise, 0, 255).astype(np.uint8) for p in planes], axis=-1)


def simclr(size, s):
    jitter = T.RandomApply([T.ColorJitter(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s)], p=0.8)
    steps = [T.RandomResizedCrop(size), T.RandomHorizontalFlip(), jitter, T.RandomGrayscale(0.2)]
    if size > 64:
        steps.append(T.RandomApply([T.GaussianBlur(size // 10 | 1)], p=0.5))
    steps += [T.ToTensor(), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    return T.Compose(steps)


def best(f, number, repetitions):
    times = []
    for _ in range(repetitions):
        torch.manual_seed(0)
        start = time.process_time()
        for _ in range(number):
            f()
        times.append((time.process_time() - start) / number * 1e3)
    return min(times)


def main():
    torch.set_num_threads(1)
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    small = Image.fromarray(photo(32, 32))
    policy = simclr(32, 0.5)
    a = best(lambda: (policy(small), policy(small)), 400, repetitions)

    file = io.BytesIO()
    Image.fromarray(photo(500, 375)).save(file, "JPEG", quality=90)
    data = file.getvalue()
    large = simclr(224, 1.0)

    def pair():
        m = Image.open(io.BytesIO(data)).convert("RGB")
        return large(m), large(m)

    b = best(pair, 20, repetitions)
    c = best(lambda: Image.open(io.BytesIO(data)).convert("RGB"), 50, repetitions)
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, Pillow {Image.__version__}, 1 thread")
    print(f"pair at 32 px from memory          {a:.3f} ms")
    print(f"pair at 224 px from 500x375 JPEG   {b:.2f} ms, decoding alone {c:.2f} ms ({len(data)} bytes)")
    print(json.dumps({"pair_32_ms": a, "pair_224_ms": b, "decode_ms": c}))


main()
