"""Embeddings of a folder of images by ONNX Runtime and torchvision, beside `sslrt embed`.

    python3 testdata/pytorch/embed_speed.py MODEL.onnx FOLDER OUTPUT.npy --size 224 --workers 2 --threads 2

The usual loop: torchvision's transforms in the worker processes of a DataLoader, the session beside them.
Prints one line of JSON: images, seconds of the loop (imports and the model's loading left out) and of the
session's runs. With --prepare N it embeds nothing: it prints the milliseconds of processor time that an image
takes to be read and prepared on one thread, the least of three passes over N images.
"""

import argparse
import json
import pathlib
import time

import numpy as np
import onnxruntime
import torch
import torchvision.transforms as T
from PIL import Image


class Folder(torch.utils.data.Dataset):
    def __init__(self, folder, size):
        self.files = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix in (".jpg", ".png"))
        resize = [T.Resize(size * 8 // 7), T.CenterCrop(size)] if size > 64 else [T.Resize((size, size))]
        normalize = T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        self.transform = T.Compose(resize + [T.ToTensor(), normalize])

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        return self.transform(Image.open(self.files[i]).convert("RGB"))


def prepare(data, n):
    start = time.process_time()
    for i in range(n):
        data[i]
    return (time.process_time() - start) / n * 1e3


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("folder")
    p.add_argument("output")
    p.add_argument("--size", type=int, required=True)
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--batch-size", type=int, default=64)
    p.add_argument("--prepare", type=int, default=0)
    a = p.parse_args()

    torch.set_num_threads(1)  # the session has the threads
    data = Folder(a.folder, a.size)
    if a.prepare:
        print(json.dumps({"prepare_cpu_ms": min(prepare(data, a.prepare) for _ in range(3))}))
        return
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = a.threads
    session = onnxruntime.InferenceSession(a.model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    # One image needs no worker processes, and starting them costs more than decoding it.
    workers = a.workers if len(data) > a.batch_size else 0
    loader = torch.utils.data.DataLoader(data, a.batch_size, num_workers=workers)
    out, run = [], 0.0
    start = time.perf_counter()
    for x in loader:
        began = time.perf_counter()
        out.append(session.run(None, {name: x.numpy()})[0])
        run += time.perf_counter() - began
    np.save(a.output, np.concatenate(out))
    print(json.dumps({"images": len(data), "seconds": time.perf_counter() - start, "run_s": run}))


if __name__ == "__main__":
    main()
