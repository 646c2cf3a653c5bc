"""Loads what `sslrt export FILE.safetensors --to safetensors` wrote into torchvision's ResNet with
strict=True, and compares its features with those of the ONNX file of the same run.

    python3 load_safetensors.py WEIGHTS.safetensors [MODEL.onnx]

Needs PyTorch and torchvision. The file is read by the package safetensors where it is installed, else
by its format; MODEL.onnx is run by onnxruntime where it is installed. Prints one line a check and exits
with 1 where one fails. With --features FILE.npy, the ONNX file's features of the same input come from
there (float32 [N, D], written by --onnx-features in another interpreter).
"""
import argparse, json, struct, sys
import numpy as np


def read(path):
    try:
        from safetensors import safe_open
        from safetensors.numpy import load_file

        with safe_open(path, "np") as f:
            return load_file(path), f.metadata(), "the package safetensors"
    except ImportError:
        pass
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    meta = header.pop("__metadata__", {})
    types = {"F32": "<f4", "I64": "<i8"}
    return {k: np.frombuffer(data[v["data_offsets"][0] : v["data_offsets"][1]], types[v["dtype"]]).reshape(v["shape"]) for k, v in header.items()}, meta, "its format"


def model(meta):
    import torch, torchvision
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    training = json.loads(meta["sslrt.training"])
    blocks = {"resnet18": (BasicBlock, [2, 2, 2, 2]), "resnet34": (BasicBlock, [3, 4, 6, 3]), "resnet50": (Bottleneck, [3, 4, 6, 3])}
    assert training["width"] == 1, "torchvision has width 1"
    m = ResNet(*blocks[training["encoder"]], num_classes=len(json.loads(meta.get("sslrt.classes", "[]"))) or 1)
    channels = int(meta["sslrt.preprocess.channels"])
    if training["stem"] == "cifar":
        m.conv1 = torch.nn.Conv2d(channels, 64, 3, 1, 1, bias=False)
        m.maxpool = torch.nn.Identity()
    elif channels != 3:
        m.conv1 = torch.nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    if meta["sslrt.kind"] != "classifier":
        m.fc = torch.nn.Identity()
    return m.eval()


def images(meta):
    size = [int(s) for s in meta["sslrt.preprocess.size"].split("x")]
    return np.random.default_rng(0).standard_normal((4, int(meta["sslrt.preprocess.channels"]), size[0], size[-1])).astype(np.float32)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("weights")
    p.add_argument("model", nargs="?")
    p.add_argument("--onnx-features", help="only run the ONNX file, and write its features here")
    p.add_argument("--features", help="features of the ONNX file")
    args = p.parse_args()
    state, meta, how = read(args.weights)
    print(f"read {len(state)} tensors by {how}; kind {meta['sslrt.kind']}")
    want = np.load(args.features) if args.features else None
    if args.model:
        import onnxruntime

        session = onnxruntime.InferenceSession(args.model, providers=["CPUExecutionProvider"])
        want = session.run(None, {session.get_inputs()[0].name: images(meta)})[0]
        if args.onnx_features:
            np.save(args.onnx_features, want)
            return
    import torch

    m = model(meta)
    print("load_state_dict(strict=True):", m.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in state.items()}, strict=True))
    counters = {int(v) for k, v in state.items() if k.endswith("num_batches_tracked")}
    print("num_batches_tracked:", sorted(counters), "of", sum(k.endswith("num_batches_tracked") for k in m.state_dict()))
    if want is not None:
        with torch.no_grad():
            got = m(torch.from_numpy(images(meta))).numpy()
        worst = np.abs(got - want).max() / np.abs(want).max()
        print(f"features of {len(got)} images, {got.shape[1]} values: differ by {worst:.2g} of the largest at most")
        if not worst < 1e-5:
            sys.exit("they are not the same")


if __name__ == "__main__":
    main()
