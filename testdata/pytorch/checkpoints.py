"""Writes models/checkpoint/testdata/projects: small checkpoints as projects write them, and their outputs.

usage: checkpoints.py FOLDER

Each NAME.* has NAME.npz beside it: input, features and, where there is one, projector or classifier_logits,
by networks that are written here from the projects' descriptions. The weights are noise.
"""

import argparse
import collections
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
OUT = sys.argv[1]


class Block(nn.Module):
    """A residual block. short is what the project calls the shortcut."""

    def __init__(self, c, w, stride, bottleneck, short, in1x1):
        super().__init__()
        out = 4 * w if bottleneck else w
        self.bottleneck = bottleneck
        if bottleneck:
            self.conv1 = nn.Conv2d(c, w, 1, stride if in1x1 else 1, bias=False)
            self.bn1 = nn.BatchNorm2d(w)
            self.conv2 = nn.Conv2d(w, w, 3, 1 if in1x1 else stride, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(w)
            self.conv3 = nn.Conv2d(w, out, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(out)
        else:
            self.conv1 = nn.Conv2d(c, w, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(w)
            self.conv2 = nn.Conv2d(w, w, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(w)
        if stride != 1 or c != out:
            setattr(self, short, nn.Sequential(nn.Conv2d(c, out, 1, stride, bias=False), nn.BatchNorm2d(out)))
        self.short = short

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.bottleneck:
            y = self.bn3(self.conv3(F.relu(y)))
        short = getattr(self, self.short)(x) if hasattr(self, self.short) else x
        return F.relu(y + short)


class ResNet(nn.Module):
    def __init__(self, kernel=3, pad=None, pool=None, relu=True, bottleneck=False, short="downsample", in1x1=False, blocks=(1, 1, 1, 1), w=2):
        super().__init__()
        self.conv1 = nn.Conv2d(3, w, kernel, 2 if kernel == 7 else 1, kernel // 2 if pad is None else pad, bias=False)
        self.bn1 = nn.BatchNorm2d(w)
        self.relu = nn.ReLU() if relu else nn.Identity()
        pool = kernel == 7 if pool is None else pool
        self.maxpool = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()
        c = w
        for i, n in enumerate(blocks):
            layer = []
            for b in range(n):
                layer.append(Block(c, w << i, 2 if i and not b else 1, bottleneck, short, in1x1))
                c = (w << i) * (4 if bottleneck else 1)
            setattr(self, f"layer{i + 1}", nn.Sequential(*layer))
        self.size, self.stages = c, len(blocks)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        return x.mean((2, 3))


class ViT(nn.Module):
    def __init__(self, size=16, patch=4, d=16, depth=2, heads=1):
        super().__init__()
        self.heads = heads
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, d, patch, patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, d))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + (size // patch) ** 2, d))
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            b = nn.Module()
            b.norm1, b.norm2 = nn.LayerNorm(d, 1e-6), nn.LayerNorm(d, 1e-6)
            b.attn, b.mlp = nn.Module(), nn.Module()
            b.attn.qkv, b.attn.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
            b.mlp.fc1, b.mlp.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
            self.blocks.append(b)
        self.norm = nn.LayerNorm(d, 1e-6)

    def forward(self, x, eps=1e-6):
        x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        n, t, d = x.shape
        for b in self.blocks:
            q, k, v = b.attn.qkv(b.norm1(x)).reshape(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
            a = (q @ k.transpose(-2, -1) / (d // self.heads) ** 0.5).softmax(-1)
            x = x + b.attn.proj((a @ v).transpose(1, 2).reshape(n, t, d))
            x = x + b.mlp.fc2(F.gelu(b.mlp.fc1(b.norm2(x))))
        return self.norm(x)[:, 0]


def noise(net):
    """Random weights and statistics, so that a wrong choice shows."""
    with torch.no_grad():
        for name, p in net.state_dict().items():
            if name.endswith("running_var"):
                p.copy_(torch.rand_like(p) + 0.5)
            elif name.endswith("num_batches_tracked"):
                p.fill_(7)
            elif p.dim() <= 1:
                p.copy_(torch.randn_like(p) * 0.3 + (1 if name.endswith("weight") else 0))
            else:
                p.copy_(torch.randn_like(p) * (1.5 / (p[0].numel()) ** 0.5))
    return net.eval()


def mlp(*layers):
    return noise(nn.Sequential(*layers))


def prefixed(**nets):
    out = collections.OrderedDict()
    for prefix, net in nets.items():
        for k, v in net.state_dict().items():
            out[prefix.replace("__", ".") + k] = v
    return out


def numbered(prefix, net, names):
    """The state dict of a ResNet in a Sequential: names are those of its children, in order."""
    out = collections.OrderedDict()
    for k, v in net.state_dict().items():
        first, rest = k.split(".", 1)
        out[f"{prefix}{names.index(first)}.{rest}"] = v
    return out


def save(name, obj, input, legacy=False, **arrays):
    torch.save(obj, os.path.join(OUT, name), _use_new_zipfile_serialization=not legacy)
    np.savez_compressed(os.path.join(OUT, name + ".npz"), input=input.numpy(), **{k: v.detach().numpy() for k, v in arrays.items()})


def case(name, net, obj, size, projector=None, legacy=False, classifier=None):
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        h = net(x)
        more = {}
        if projector is not None:
            more["projector"] = projector(h)
        if classifier is not None:
            more["classifier_logits"] = classifier(h)
        save(name, obj, x, legacy, features=h, **more)


SEQUENTIAL = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
NOPOOL = [n for n in SEQUENTIAL if n != "maxpool"]
BARE = [n for n in NOPOOL if n != "relu"]

net = noise(ResNet(7))
l1, l2 = mlp(nn.Linear(16, 16)), mlp(nn.Linear(16, 8))
case("sthalles2020_model.pth", net, {**numbered("features.", net, SEQUENTIAL),
     **{"l1." + k[2:]: v for k, v in l1.state_dict().items()}, **{"l2." + k[2:]: v for k, v in l2.state_dict().items()}},
     64, nn.Sequential(l1, nn.ReLU(), l2), legacy=True)

net = noise(ResNet(relu=False, short="shortcut"))
head = mlp(nn.Linear(16, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8, bias=False), nn.BatchNorm1d(8))
case("lightly_own_epoch=1.ckpt", net, {"state_dict": {**numbered("backbone.", net, BARE), **prefixed(projection_head__layers__=head),
     **numbered("backbone_momentum.", noise(ResNet(relu=False, short="shortcut")), BARE)}, "hyper_parameters": {"lr": 0.1}}, 16, head)


class LightlyCLI(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.net, self.last = nn.BatchNorm2d(3), ResNet(relu=False, short="shortcut"), nn.Conv2d(16, 6, 1)

    def forward(self, x):
        return self.last(self.net(self.norm(x))[:, :, None, None]).flatten(1)


net, splits = noise(LightlyCLI()), 2
head = mlp(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 4))
state = {}
for k, v in net.norm.state_dict().items():
    state["model.backbone.0." + k] = v
for k, v in numbered("", net.net, BARE).items():
    n, rest = k.split(".", 1)
    if rest.endswith(("running_mean", "running_var")):  # SplitBatchNorm keeps statistics of each part
        shift = torch.rand_like(v) * 0.1
        v = torch.cat([v + shift, v - shift])
    state[f"model.backbone.{int(n) + 1}.{rest}"] = v
for k, v in net.last.state_dict().items():
    state["model.backbone.7." + k] = v
case("lightly_epoch_9.ckpt", net, {"state_dict": {**state, **prefixed(model__projection_head__layers__=head)}}, 16, head)

net = noise(ResNet(pad=2))
head = mlp(nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 8))
fc = mlp(nn.Linear(16, 5))
case("byol-cifar100-ep=9.ckpt", net, {"state_dict": {**prefixed(backbone__=net, projector__=head, momentum_backbone__=noise(ResNet()),
     predictor__=mlp(nn.Linear(8, 8))), **{"classifier." + k[2:]: v for k, v in fc.state_dict().items()}}}, 16, head, classifier=fc)

net = noise(ResNet(bottleneck=True, in1x1=True))
head = mlp(nn.Linear(64, 8, bias=False), nn.ReLU(), nn.Linear(8, 4, bias=False))
case("checkpoint_100.tar", net, prefixed(encoder__=net, projector__=head), 16, head)

net = noise(ResNet(7, bottleneck=True))
head = mlp(nn.Linear(64, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(),
           nn.Linear(8, 8), nn.BatchNorm1d(8, affine=False))
case("simsiam_checkpoint_0099.pth.tar", net, {"epoch": 100, "arch": "resnet50", "state_dict": {"module." + k: v for k, v in prefixed(
     encoder__=net, encoder__fc__=head, predictor__=mlp(nn.Linear(8, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 8))).items()}},
     64, head)

head = mlp(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8, bias=False))
case("vicreg_model.pth", net, {"epoch": 1, "model": {"module." + k: v for k, v in prefixed(backbone__=net, projector__=head).items()},
     "optimizer": {"state": {0: {"mu": torch.zeros(3)}}}}, 64, head)

net = noise(ResNet())
head = mlp(nn.Linear(16, 12, bias=False), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 8))
state = {**numbered("f.", net, NOPOOL), **prefixed(g__=head), "total_ops": torch.zeros(1, dtype=torch.float64), "f.0.total_ops": torch.zeros(1)}
case("128_0.5_200_512_500_model.pth", net, state, 16, head)

net = noise(ResNet(short="shortcut"))
head = mlp(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 8))
case("ckpt_epoch_1000.pth", net, {"opt": argparse.Namespace(dataset="cifar10", temp=0.5), "model": {
     **{"encoder.module." + k: v for k, v in net.state_dict().items()}, **prefixed(head__=head)}, "epoch": 1000}, 16, head)
case("scan_simclr_cifar-10.pth.tar", net, prefixed(backbone__=net, contrastive_head__=head), 16, head)

net = noise(ResNet())
fc = mlp(nn.Linear(16, 5))
state = {**net.state_dict(), **{"fc." + k[2:]: v for k, v in fc.state_dict().items()}}
case("timm_ema_model_best.pth.tar", net, {"state_dict": {k: torch.zeros_like(v) for k, v in state.items()},
     "state_dict_ema": {"module._orig_mod." + k: v for k, v in state.items()}, "args": argparse.Namespace(model="resnet18")}, 16, classifier=fc)
half = {k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()}
rounded = noise(ResNet())
rounded.load_state_dict({k: half[k].float() if half[k].is_floating_point() else half[k] for k in rounded.state_dict()})
case("bfloat16.bin", rounded, half, 16)
case("whole_module.pt", net, net, 16)

net = noise(ViT())


class DINOHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(16, 12), nn.GELU(), nn.Linear(12, 12), nn.GELU(), nn.Linear(12, 8))
        self.last_layer = nn.utils.weight_norm(nn.Linear(8, 10, bias=False))

    def forward(self, x):
        return self.last_layer(F.normalize(self.mlp(x), dim=-1))


head = noise(DINOHead())
dino = {"student": {"module." + k: v for k, v in prefixed(backbone__=noise(ViT()), head__=noise(DINOHead())).items()},
        "teacher": prefixed(backbone__=net, head__=head), "epoch": 3, "args": argparse.Namespace(arch="vit_tiny"),
        "dino_loss": {"center": torch.zeros(1, 10)}}
case("dino_checkpoint.pth", net, dino, 16, head)
case("mae_checkpoint-9.pth", net, {"model": {**net.state_dict(), "mask_token": torch.zeros(1, 1, 8), "decoder_pos_embed": torch.zeros(1, 17, 8),
     "decoder_embed.weight": torch.zeros(8, 16), "decoder_embed.bias": torch.zeros(8)}, "scaler": {}, "args": argparse.Namespace()}, 16)

hf = {"vit.embeddings.cls_token": net.cls_token, "vit.embeddings.position_embeddings": net.pos_embed}
for w in ("weight", "bias"):
    hf["vit.embeddings.patch_embeddings.projection." + w] = getattr(net.patch_embed.proj, w)
    hf["vit.layernorm." + w] = getattr(net.norm, w)
    for i, b in enumerate(net.blocks):
        p = f"vit.encoder.layer.{i}."
        for part, name in zip(getattr(b.attn.qkv, w).chunk(3), ("query", "key", "value")):
            hf[f"{p}attention.attention.{name}.{w}"] = part
        for name, module in (("attention.output.dense", b.attn.proj), ("intermediate.dense", b.mlp.fc1), ("output.dense", b.mlp.fc2),
                             ("layernorm_before", b.norm1), ("layernorm_after", b.norm2)):
            hf[f"{p}{name}.{w}"] = getattr(module, w)
case("transformers_vit_pytorch_model.bin", net, {k: v.detach().clone() for k, v in hf.items()}, 16)

from torchvision.models.vision_transformer import VisionTransformer  # noqa: E402

tv = noise(VisionTransformer(image_size=16, patch_size=4, num_layers=2, num_heads=1, hidden_dim=16, mlp_dim=32, num_classes=5))
with torch.no_grad():
    x = torch.randn(2, 3, 16, 16)
    logits = tv(x)
    fc, tv.heads = tv.heads, nn.Identity()
    h = tv(x)
    tv.heads = fc
    save("torchvision_vit.pth", tv.state_dict(), x, features=h, classifier_logits=logits)
