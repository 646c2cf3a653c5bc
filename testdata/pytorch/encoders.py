"""Numbers of torchvision's and timm's encoders, for the tests of package models.

    python3 testdata/pytorch/encoders.py > models/testdata/encoders.json

For each network: how many tensors its state dict has, and a digest of their names
and shapes, without the classifier and the counters of BatchNorm. For small ones
also the features of two images, with weights and images that a formula gives, so
that nothing large need be kept.
"""

import hashlib
import json
import math
import zlib

import numpy as np
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet


def fill(name, shape):
    """The values of a tensor: a wave whose phase is the name's checksum."""
    n = int(np.prod(shape, dtype=np.int64))
    wave = np.sin(zlib.crc32(name.encode()) % 1000 + 0.7 * np.arange(n))
    if len(shape) > 1:
        wave = wave * 1.4 / math.sqrt(n / shape[0])
    elif name.endswith("running_var"):
        wave = 1 + 0.5 * wave
    elif name.endswith("weight"):
        wave = 1 + 0.3 * wave
    else:
        wave = 0.1 * wave
    return torch.from_numpy(wave.astype(np.float32)).reshape(shape)


def wanted(state):
    return {k: v for k, v in state.items()
            if not k.startswith(("fc.", "linear.", "heads.", "head.")) and not k.endswith("num_batches_tracked")}


def names(net, rename=lambda name: name):
    lines = sorted(rename(k) + " " + "x".join(map(str, v.shape)) for k, v in wanted(net.state_dict()).items())
    return {"tensors": len(lines), "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}


def features(net, size, channels=3):
    net.eval()
    net.load_state_dict({k: fill(k, v.shape) for k, v in wanted(net.state_dict()).items()}, strict=False)
    x = fill("image", (2, channels, size, size)) * math.sqrt(channels * size * size)
    with torch.no_grad():
        return net(x).flatten(1).double().numpy().round(7).tolist()


def headless(net):
    net.fc = nn.Identity()
    return net


class OptionA(nn.Module):
    """A residual block of the networks for CIFAR, whose shortcut has no weights."""

    def __init__(self, c, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.more = stride, out - c

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        x = x[:, :, ::self.stride, ::self.stride]
        x = nn.functional.pad(x, (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))
        return (x + y).relu()


class CIFAR(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        c = 16
        for i, out in enumerate((16, 32, 64)):
            blocks = [OptionA(c if j == 0 else out, out, 2 if j == 0 and i > 0 else 1) for j in range(n)]
            setattr(self, "layer%d" % (i + 1), nn.Sequential(*blocks))
            c = out

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        for layer in (self.layer1, self.layer2, self.layer3):
            x = layer(x)
        return x.mean((2, 3))


def small(block, **kw):
    """A ResNet of one block a stage."""
    return headless(ResNet(block, [1, 1, 1, 1], **kw))


def v1(net):
    """Moves the stride of each bottleneck to its first convolution."""
    for m in net.modules():
        if isinstance(m, Bottleneck) and m.stride != 1:
            m.conv1.stride, m.conv2.stride = m.conv2.stride, m.conv1.stride
    return net


def stem(net, padding=1):
    net.conv1 = nn.Conv2d(3, 64, 3, 1, padding, bias=False)
    net.maxpool = nn.Identity()
    return net


# torchvision's names of a vision transformer, and timm's.
TIMM = (
    ("class_token", "cls_token"), ("conv_proj.", "patch_embed.proj."), ("encoder.pos_embedding", "pos_embed"),
    ("encoder.ln.", "norm."), ("encoder.layers.encoder_layer_", "blocks."), (".ln_1.", ".norm1."),
    (".ln_2.", ".norm2."), (".self_attention.in_proj_", ".attn.qkv."), (".self_attention.out_proj.", ".attn.proj."),
    (".mlp.0.", ".mlp.fc1."), (".mlp.3.", ".mlp.fc2."))


def timm_name(name):
    for a, b in TIMM:
        name = name.replace(a, b)
    return name


def vit(size=32, patch=8, width=24, depth=2, heads=3):
    net = torchvision.models.VisionTransformer(size, patch, depth, heads, width, 4 * width)
    net.heads = nn.Identity()
    return net


def tokens(net, x, token=True):
    """The last block's result, with timm's names for the weights."""
    net.load_state_dict({k: fill(timm_name(k), v.shape) for k, v in net.state_dict().items()})
    net.eval()
    x = net.conv_proj(x).flatten(2).transpose(1, 2)
    if token:
        x = torch.cat([net.class_token.expand(len(x), -1, -1), x], 1)
    return net.encoder.layers(x + fill("pos_embed", (1,) + x.shape[1:]))


def vit_features():
    net = vit()
    x = fill("image", (2, 3, 32, 32)) * math.sqrt(3 * 32 * 32)
    norm = lambda name, x: nn.functional.layer_norm(
        x, x.shape[-1:], fill(name + ".weight", x.shape[-1:]), fill(name + ".bias", x.shape[-1:]), 1e-6)
    with torch.no_grad():
        t = tokens(net, x)
        assert torch.allclose(net(x), norm("norm", t)[:, 0], atol=1e-5)
        out = {"vit": norm("norm", t)[:, 0], "vit mean": norm("norm", t)[:, 1:].mean(1),
               "vit norm behind": norm("fc_norm", t[:, 1:].mean(1)),
               "vit without token": norm("norm", tokens(net, x, False)).mean(1)}
    return {k: v.double().numpy().round(7).tolist() for k, v in out.items()}


def positions():
    """timm's resizing of position embeddings: from, to and the result."""
    out = []
    for a, b in (((4, 4), (6, 6)), ((7, 7), (3, 5)), ((3, 5), (8, 4)), ((2, 2), (1, 1)), ((14, 14), (8, 8))):
        x = fill("positions", (1, a[0] * a[1], 2)).reshape(1, *a, 2).permute(0, 3, 1, 2)
        y = nn.functional.interpolate(x, size=b, mode="bicubic", antialias=True)
        out.append({"from": a, "to": b, "values": y.permute(0, 2, 3, 1).flatten().double().numpy().round(7).tolist()})
    return out


def main():
    out = {"names": {}, "features": {}, "positions": positions()}
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2",
                 "wide_resnet101_2", "resnext50_32x4d", "resnext101_32x8d"):
        out["names"][name] = names(getattr(torchvision.models, name)(weights=None))
    for n in (3, 5, 7, 9, 18):
        out["names"]["resnet%d" % (6 * n + 2)] = names(CIFAR(n))
    for name, net in (("vit_tiny", vit(224, 16, 192, 12, 3)), ("vit_small", vit(224, 16, 384, 12, 6)),
                      ("vit_base", torchvision.models.vit_b_16()), ("vit_large", torchvision.models.vit_l_16())):
        out["names"][name] = names(net, timm_name)
    f = out["features"]
    f.update(vit_features())
    f["basic"] = features(small(BasicBlock), 64)
    f["stem of padding 1"] = features(stem(small(BasicBlock)), 32)
    f["stem of padding 2"] = features(stem(small(BasicBlock), 2), 32)
    f["bottleneck"] = features(small(Bottleneck), 64)
    f["bottleneck v1"] = features(v1(small(Bottleneck)), 64)
    f["wide"] = features(small(Bottleneck, width_per_group=128), 64)
    f["groups"] = features(small(Bottleneck, groups=8, width_per_group=4), 64)
    f["resnet20"] = features(CIFAR(3), 32)
    for k, rows in f.items():  # a part of each row is enough
        f[k] = [row[:8] + row[-8:] for row in rows]
    print(json.dumps(out, indent=1).replace("\n    ", " ").replace("\n   ]", " ]"))


main()
