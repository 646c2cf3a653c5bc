"""Golden cases of augmentations, made by torchvision on Pillow images, for cmd/golden.

    python3 testdata/pytorch/augment_cases.py IMAGES.npz FOLDER [seed]
    go run ./cmd/golden -group augment -shared FOLDER

IMAGES.npz holds uint8 arrays [H, W, 3], such as golden/augment/images.npz of the shared data. Parameters
are drawn anew for each seed. The pixels must be equal; Gaussian blur may differ by one level, where
rounding in float32 decides, rotations too, where Go's sine has another last bit than C's.
"""

import json
import pathlib
import random
import sys

import numpy as np
import torchvision.transforms.functional as TF
from PIL import Image, ImageFilter
from torchvision.transforms import InterpolationMode

MODES = {m: InterpolationMode(m) for m in ("nearest", "bilinear", "bicubic")}


class Writer:
    def __init__(self, images, folder):
        self.folder = pathlib.Path(folder) / "golden" / "augment"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.images, self.cases = images, []
        np.savez_compressed(self.folder / "images.npz", **images)

    def add(self, op, params, f, smallest=1, allowed=0):
        name = f"{op}_{len(self.cases)}"
        used = [k for k, v in self.images.items() if min(v.shape[:2]) >= smallest]
        arrays = {"pil_" + k: np.asarray(f(Image.fromarray(self.images[k]))) for k in used}
        np.savez_compressed(self.folder / f"{name}.npz", **arrays)
        self.cases.append({
            "name": name, "file": f"{name}.npz", "op": op, "params": params, "inputs": used,
            "outputs": list(arrays), "tolerance": {"max_abs": allowed},
            "shared_inputs": {"file": "images.npz", "arrays": used},
            "arrays": {k: {"shape": list(v.shape), "dtype": "|u1"} for k, v in arrays.items()},
        })

    def close(self):
        (self.folder / "cases.json").write_text(json.dumps(self.cases))
        print(f"{len(self.cases)} cases in {self.folder}")


def geometry(w, r):
    for _ in range(40):
        angle = r.choice([0, 45, 90, 180, 270, -90, 360, r.uniform(-400, 400), r.uniform(-400, 400)])
        mode, fill = r.choice(list(MODES)), r.choice([0, 17, [3, 200, 100]])
        center = r.choice([None, None, [r.uniform(-3, 50), r.uniform(-3, 50)]])
        expand = center is None and r.random() < 0.5
        w.add("rotate", dict(angle=angle, interpolation=mode, expand=expand, center=center, fill=fill),
              lambda m: TF.rotate(m, angle, MODES[mode], expand=expand, center=center, fill=fill), allowed=1)
    for _ in range(40):
        angle, mode = r.choice([0, r.uniform(-400, 400)]), r.choice(list(MODES))
        move = r.choice([[0, 0], [r.randint(-9, 9), r.randint(-9, 9)]])
        scale, shear = r.choice([1.0, r.uniform(0.3, 3)]), r.choice([[0.0, 0.0], [r.uniform(-40, 40), r.uniform(-40, 40)]])
        center = r.choice([None, [r.randint(-3, 50), r.randint(-3, 50)]])
        w.add("affine", dict(angle=angle, interpolation=mode, translate=move, scale=scale, shear=shear, center=center, fill=9),
              lambda m: TF.affine(m, angle, move, scale, shear, MODES[mode], fill=9, center=center), allowed=1)
    for _ in range(20):
        mode, sides = r.choice(["constant", "edge", "reflect", "symmetric"]), [r.randint(0, 6) for _ in range(4)]
        w.add("pad", dict(left_top_right_bottom=sides, mode=mode, fill=5),
              lambda m: TF.pad(m, sides, 5 if mode == "constant" else 0, mode), smallest=8)
    for _ in range(30):
        size, mode = [r.randint(1, 150), r.randint(1, 150)], r.choice(list(MODES))
        w.add("resize", dict(size=size, interpolation=mode), lambda m: TF.resize(m, size, MODES[mode]))
    w.add("vflip", {}, TF.vflip)
    w.add("hflip", {}, TF.hflip)


def tone(w, r):
    for f in (0, 0.3, 1, 1.5, 5, r.uniform(0, 3)):
        w.add("adjust_sharpness", dict(factor=f), lambda m: TF.adjust_sharpness(m, f))
        w.add("adjust_brightness", dict(factor=f), lambda m: TF.adjust_brightness(m, f))
        w.add("adjust_contrast", dict(factor=f), lambda m: TF.adjust_contrast(m, f))
        w.add("adjust_saturation", dict(factor=f), lambda m: TF.adjust_saturation(m, f))
    for f in (0.1, 0.5, 1, 2.2, 5):
        w.add("adjust_gamma", dict(factor=f), lambda m: TF.adjust_gamma(m, f))
    for f in (-0.5, -0.31, 0, 0.5, r.uniform(-0.5, 0.5)):
        w.add("adjust_hue", dict(factor=f), lambda m: TF.adjust_hue(m, f))
    for bits in range(9):
        w.add("posterize", dict(bits=bits), lambda m: TF.posterize(m, bits))
    for t in (0, 1, 77, 255, 256):
        w.add("solarize", dict(threshold=t), lambda m: TF.solarize(m, t))
    for op in ("invert", "autocontrast", "equalize"):
        w.add(op, {}, getattr(TF, op))
    for radius in (0, 0.1, 0.5, 1, 2, 7, 60, r.uniform(0, 5)):
        w.add("pil_gaussian_blur", dict(radius=radius), lambda m: m.filter(ImageFilter.GaussianBlur(radius)))
    for _ in range(10):
        k, s = r.choice([1, 3, 5, 9, 13]), r.uniform(0.1, 4)
        w.add("gaussian_blur", dict(kernel_size=k, sigma=s), lambda m: TF.gaussian_blur(m, [k, k], [s, s]), smallest=8, allowed=1)


def main():
    images = dict(np.load(sys.argv[1]))
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    rng = np.random.default_rng(seed)
    for k, shape in enumerate(((1, 1), (2, 7), (41, 40))):
        images[f"noise{k}"] = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    images["flat"] = np.full((9, 8, 3), 77, np.uint8)
    w, r = Writer(images, sys.argv[2]), random.Random(seed)
    geometry(w, r)
    tone(w, r)
    w.close()


main()
