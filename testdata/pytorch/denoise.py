"""A denoising autoencoder by PyTorch, to compare "sslrt pretrain --method denoise" with.

    sslrt pretrain DATA --method denoise --encoder conv --channels 1 --epochs 0 --run init
    python3 testdata/pytorch/denoise.py init/checkpoints/last.safetensors DATA --steps 936

DATA is a folder with Fashion-MNIST's IDX files. The network, its first weights (those
of the checkpoint), the recipe and the number of steps are the run's: Adam, learning rate
1e-3 along a cosine per step, batch 128, mean squared error, flips, Gaussian noise of
deviation 0.2, limited to 0..1. The noise, the order and the flips are other draws.
Prints the PSNR of the noisy test images and of what the network makes of them, the
mean over the images in dB. Needs torch and numpy.
"""
import argparse
import gzip
import json
import math
import pathlib

import numpy as np
import torch
from torch import nn

p = argparse.ArgumentParser()
p.add_argument("weights")
p.add_argument("data", type=pathlib.Path)
p.add_argument("--steps", type=int, required=True)
p.add_argument("--batch-size", type=int, default=128)
p.add_argument("--lr", type=float, default=1e-3)
p.add_argument("--level", type=float, default=0.2)
p.add_argument("--seed", type=int, default=0)
p.add_argument("--threads", type=int, default=2)
a = p.parse_args()
torch.manual_seed(a.seed)
torch.set_num_threads(a.threads)


def images(name):
    path = next(f for f in sorted(a.data.iterdir()) if f.name.startswith(name))
    raw = (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
    n, h, w = np.frombuffer(raw, ">i4", 3, 4)
    x = np.frombuffer(raw, np.uint8, offset=16).reshape(n, 1, h, w)
    return torch.from_numpy(x.astype(np.float32) / 255)


def safetensors(path):
    raw = pathlib.Path(path).read_bytes()
    n = int.from_bytes(raw[:8], "little")
    out = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        if name != "__metadata__" and not name.startswith("optim."):
            lo, hi = t["data_offsets"]
            x = np.frombuffer(raw[8 + n + lo:8 + n + hi], np.float32).reshape(t["shape"])
            out[name] = torch.from_numpy(x.copy())
    return out


weights = safetensors(a.weights)
first, second = weights["encoder.0.weight"].shape[0], weights["encoder.2.weight"].shape[0]
grow = dict(kernel_size=3, stride=2, padding=1, output_padding=1)
net = nn.ModuleDict({
    "encoder": nn.Sequential(nn.Conv2d(1, first, 3, 2, 1), nn.ReLU(), nn.Conv2d(first, second, 3, 2, 1), nn.ReLU()),
    "decoder": nn.Sequential(nn.ConvTranspose2d(second, first, **grow), nn.ReLU(), nn.ConvTranspose2d(first, 1, **grow), nn.Sigmoid()),
})
net.load_state_dict(weights, strict=True)
restore = lambda x: net["decoder"](net["encoder"](x))
spoil = lambda x: (x + a.level * torch.randn_like(x)).clamp(0, 1)

train, test = images("train-images"), images("t10k-images")
optimizer = torch.optim.Adam(net.parameters(), lr=a.lr)
step = 0
while step < a.steps:
    order = torch.randperm(len(train))
    for i in range(0, len(train) - a.batch_size + 1, a.batch_size):
        if step == a.steps:
            break
        clean = train[order[i:i + a.batch_size]]
        flip = torch.rand(len(clean), 1, 1, 1) < 0.5
        clean = torch.where(flip, clean.flip(3), clean)
        for group in optimizer.param_groups:
            group["lr"] = a.lr * 0.5 * (1 + math.cos(math.pi * step / a.steps))
        loss = nn.functional.mse_loss(restore(spoil(clean)), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.5f}", flush=True)

psnr = lambda x, y: 10 * torch.log10(1 / ((x - y) ** 2).mean((1, 2, 3))).double()
noisy, restored = [], []
with torch.no_grad():
    for clean in test.split(500):
        seen = spoil(clean)
        noisy.append(psnr(seen, clean))
        restored.append(psnr(restore(seen), clean))
print(f"noisy {torch.cat(noisy).mean():.2f} dB, restored {torch.cat(restored).mean():.2f} dB, {len(test)} test images, {a.steps} steps")
