"""Training steps and whole training loops by PyTorch, beside `sslrt bench step` and `sslrt pretrain`.

    python3 testdata/pytorch/train_speed.py step --model resnet18 --size 32 --images 32 --steps 5
    python3 testdata/pytorch/train_speed.py files FOLDER --model resnet18 --width 0.25 --size 224 --images 64

The networks and the recipe are sslrt's: SimCLR (two views of each image in one pass, NT-Xent, T 0.5, a
projector d-128 with BatchNorm) and SGD with momentum and weight decay; for the model "conv" an autoencoder with
squared error and Adam. `step` times steps on random images, data left out. `files` times epochs over a folder:
torchvision's transforms in the worker processes of a DataLoader, beside the steps; --cached decodes the images
once, before the clock starts. --layout both tries contiguous and channels_last.

Prints one line of JSON. Peak memory is the process's largest resident size.
"""

import argparse
import json
import pathlib
import statistics
import time

import torch
import torchvision
import torchvision.transforms as T
from PIL import Image
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck


class ResNet(nn.Module):
    """torchvision's networks with all channels scaled, and the stem for small images."""

    def __init__(self, block, layers, width, small):
        super().__init__()
        widths = [max(1, round(w * width)) for w in (64, 128, 256, 512)]
        self.c = widths[0]
        stem = [nn.Conv2d(3, self.c, 3, 1, 1, bias=False)] if small else [nn.Conv2d(3, self.c, 7, 2, 3, bias=False)]
        stem += [nn.BatchNorm2d(self.c), nn.ReLU(True)]
        if not small:
            stem.append(nn.MaxPool2d(3, 2, 1))
        stages = [self.stage(block, w, n, 1 if i == 0 else 2) for i, (w, n) in enumerate(zip(widths, layers))]
        self.body = nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.size = self.c

    def stage(self, block, width, blocks, stride):
        parts = []
        for i in range(blocks):
            stride, down, out = stride if i == 0 else 1, None, width * block.expansion
            if stride != 1 or self.c != out:
                down = nn.Sequential(nn.Conv2d(self.c, out, 1, stride, bias=False), nn.BatchNorm2d(out))
            parts.append(block(self.c, width, stride, down))
            self.c = out
        return nn.Sequential(*parts)

    def forward(self, x):
        return self.body(x)


def encoder(name, size, width):
    if name == "resnet18":
        return ResNet(BasicBlock, [2, 2, 2, 2], width, size <= 64)
    if name == "resnet50":
        return ResNet(Bottleneck, [3, 4, 6, 3], width, size <= 64)
    net = torchvision.models.VisionTransformer(size, 4 if size <= 64 else 16, 12, 3, 192, 768)  # vit_tiny
    net.heads, net.size = nn.Identity(), 192
    return net


class SimCLR(nn.Module):
    def __init__(self, net):
        super().__init__()
        d = net.size
        self.net = net
        self.projector = nn.Sequential(nn.Linear(d, d, bias=False), nn.BatchNorm1d(d), nn.ReLU(True),
                                       nn.Linear(d, 128, bias=False), nn.BatchNorm1d(128))

    def forward(self, x):
        z = nn.functional.normalize(self.projector(self.net(x)))
        n = len(z) // 2
        logits = z @ z.t() / 0.5
        logits.fill_diagonal_(float("-inf"))
        return nn.functional.cross_entropy(logits, torch.arange(2 * n).roll(n))


class Autoencoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        a, b = round(32 * width), round(64 * width)
        grow = dict(kernel_size=3, stride=2, padding=1, output_padding=1)
        self.net = nn.Sequential(nn.Conv2d(3, a, 3, 2, 1), nn.ReLU(True), nn.Conv2d(a, b, 3, 2, 1), nn.ReLU(True),
                                 nn.ConvTranspose2d(b, a, **grow), nn.ReLU(True), nn.ConvTranspose2d(a, 3, **grow), nn.Sigmoid())

    def forward(self, x):
        return nn.functional.mse_loss(self.net(x), x)


class Trainer:
    def __init__(self, a, layout):
        torch.manual_seed(0)
        if a.model == "conv":
            self.loss, self.views = Autoencoder(a.width), 1
            self.optimizer = torch.optim.Adam(self.loss.parameters(), lr=1e-3)
        else:
            self.loss, self.views = SimCLR(encoder(a.model, a.size, a.width)), 2
            self.optimizer = torch.optim.SGD(self.loss.parameters(), lr=0.03, momentum=0.9, weight_decay=5e-4)
        self.format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        self.loss = self.loss.train().to(memory_format=self.format)

    def step(self, x):
        loss = self.loss(x.to(memory_format=self.format))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = sum(p.grad.square().sum() for p in self.loss.parameters()).sqrt()  # sslrt returns it too
        self.optimizer.step()
        return loss.item() + norm.item() * 0


def steps(a, layout):
    t = Trainer(a, layout)
    x = torch.randn(t.views * a.images, 3, a.size, a.size)
    if a.model == "conv":
        x = x.sigmoid()
    times = []
    for i in range(a.steps + 1):
        start = time.perf_counter()
        t.step(x)
        if i > 0:
            times.append(time.perf_counter() - start)
    return {"median_s": statistics.median(times), "times_s": times}


class Pairs(torch.utils.data.Dataset):
    def __init__(self, a):
        files = sorted(p for p in pathlib.Path(a.folder).rglob("*") if p.suffix in (".jpg", ".png"))
        self.items = files[: a.limit] if a.limit else files
        if a.cached:
            self.items = [Image.open(p).convert("RGB") for p in self.items]
        self.transform = simclr(a.size)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        m = self.items[i]
        if not isinstance(m, Image.Image):
            m = Image.open(m).convert("RGB")
        return self.transform(m), self.transform(m)


def simclr(size):
    """The default of sslrt pretrain."""
    jitter = T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
    parts = [T.RandomResizedCrop(size), T.RandomHorizontalFlip(), jitter, T.RandomGrayscale(0.2)]
    if size > 64:
        parts.append(T.RandomApply([T.GaussianBlur(size // 10 | 1)], p=0.5))
    return T.Compose(parts + [T.ToTensor(), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])


def files(a, layout):
    t, data = Trainer(a, layout), Pairs(a)
    loader = torch.utils.data.DataLoader(data, a.images, shuffle=True, drop_last=True, num_workers=a.workers,
                                         persistent_workers=a.workers > 0)
    count, start = 0, time.perf_counter()
    for _ in range(a.epochs):
        for x, y in loader:
            t.step(torch.cat([x, y]))
            count += len(x)
    seconds = time.perf_counter() - start
    return {"images": count, "seconds": seconds, "images_per_s": count / seconds}


def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024


def main():
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["step", "files"])
    p.add_argument("folder", nargs="?")
    p.add_argument("--model", default="resnet18", choices=["resnet18", "resnet50", "vit_tiny", "conv"])
    p.add_argument("--width", type=float, default=1)
    p.add_argument("--size", type=int, default=32)
    p.add_argument("--images", type=int, default=32, help="of a step; it runs all views of each")
    p.add_argument("--steps", type=int, default=10)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--epochs", type=int, default=1)
    p.add_argument("--limit", type=int, default=0)
    p.add_argument("--cached", action="store_true")
    p.add_argument("--layout", default="both", choices=["both", "contiguous", "channels_last"])
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    out = {"torch": torch.__version__, "torchvision": torchvision.__version__, "threads": torch.get_num_threads()}
    for layout in ["contiguous", "channels_last"] if a.layout == "both" else [a.layout]:
        out[layout] = steps(a, layout) if a.what == "step" else files(a, layout)
    out["peak_bytes"] = peak()
    print(json.dumps(out))


if __name__ == "__main__":
    main()
