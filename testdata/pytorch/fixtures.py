"""Writes models/checkpoint/testdata/fixtures.json: what PyTorch loads of the files in a folder.

usage: fixtures.py FOLDER > fixtures.json

Of each tensor: element type, sizes, SHA-256 of its bytes in C order, little endian. null is a file that
PyTorch does not load. Files named rce_* run code when they are loaded and are left out.
"""

import hashlib
import json
import os
import sys

import torch

SAFETENSORS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
               "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool"}


def sha(data):
    return hashlib.sha256(data).hexdigest()


def walk(name, v, out):
    if isinstance(v, torch.Tensor):
        t = v.detach().contiguous()
        raw = (t.view(torch.int16) if t.dtype == torch.bfloat16 else t).numpy().tobytes()
        out[name or "tensor"] = [str(t.dtype).removeprefix("torch."), list(t.shape), sha(raw)]
    elif isinstance(v, dict):
        for k, x in v.items():
            walk(f"{name}.{k}" if name else str(k), x, out)
    elif isinstance(v, (list, tuple)):
        for i, x in enumerate(v):
            walk(f"{name}.{i}" if name else str(i), x, out)


def pytorch(path):
    try:
        v = torch.load(path, map_location="cpu")
    except Exception:
        return None
    out = {}
    walk("", v, out)
    return out


def safetensors(path):
    with open(path, "rb") as f:
        data = f.read()
    n = int.from_bytes(data[:8], "little")
    out = {}
    for name, e in json.loads(data[8:8 + n]).items():
        if name != "__metadata__":
            begin, end = e["data_offsets"]
            out[name] = [SAFETENSORS[e["dtype"]], e["shape"], sha(data[8 + n + begin:8 + n + end])]
    return out


files = {}
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        path = os.path.join(folder, name)
        key = os.path.relpath(path, sys.argv[1])
        if name.startswith("rce_"):
            continue
        if name.endswith(".safetensors"):
            files[key] = safetensors(path)
        elif name.endswith((".pt", ".pth", ".tar", ".th", ".bin", ".ckpt")):
            files[key] = pytorch(path)
print("{\n" + ",\n".join(json.dumps(k) + ": " + json.dumps(files[k], sort_keys=True) for k in sorted(files)) + "\n}")
