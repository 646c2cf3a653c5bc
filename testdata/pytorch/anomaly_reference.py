"""Anomaly detection by NumPy and scikit-learn, to compare "sslrt anomaly" with.

    python anomaly_reference.py encoder.onnx CATEGORY METHOD --layers a,b [--coreset 0.1]

The encoder runs in onnxruntime; features, scores and metrics are computed here, by the
papers. CATEGORY is in MVTec's layout. Images are resized whole, bilinear, as
"sslrt anomaly fit" does. PaDiM keeps all channels: fit with --channels -1. ENCODER of
method autoencoder is an autoencoder.

What fit draws by its seed can be given: of n images it holds back, for --without, those
at rand.New(rand.NewPCG(seed, 3)).Perm(n)[:held] in Go, of the names in order; of the
patches of the others PatchCore's coreset starts, for --start, at
rand.New(rand.NewPCG(seed, 2)).IntN(patches). Up to 128 channels nothing else is random.

Needs numpy, pillow, onnx, onnxruntime, scikit-learn, scipy.
"""
import argparse
import pathlib

import numpy as np
import onnx
import onnxruntime
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

p = argparse.ArgumentParser()
p.add_argument("encoder")
p.add_argument("category", type=pathlib.Path)
p.add_argument("method", choices=["padim", "patchcore", "knn", "mahalanobis", "autoencoder"])
p.add_argument("--layers", default="")
p.add_argument("--coreset", type=float, default=0.1)
p.add_argument("--error", choices=["mse", "ssim"], default="mse", help="of an autoencoder")
p.add_argument("--without", default="", help="names of normal images to leave out, joined by commas")
p.add_argument("--start", type=int, default=0)
p.add_argument("--seed", type=int, default=0, help="of the projection of more than 128 channels")
a = p.parse_args()

model = onnx.load(a.encoder)
meta = {e.key: e.value for e in model.metadata_props}
size = int(meta["sslrt.preprocess.size"].split("x")[0])
channels = int(meta["sslrt.preprocess.channels"])
mean = np.array([float(v) for v in meta["sslrt.preprocess.mean"].split(",")], np.float32)[:channels]
std = np.array([float(v) for v in meta["sslrt.preprocess.std"].split(",")], np.float32)[:channels]
names = [n for n in a.layers.split(",") if n]
for n in names:
    v = onnx.ValueInfoProto()
    v.name = n
    model.graph.output.append(v)
session = onnxruntime.InferenceSession(model.SerializeToString())


def load(path):
    m = Image.open(path).convert("RGB" if channels == 3 else "L").resize((size, size), Image.BILINEAR)
    x = np.asarray(m, np.float32).reshape(size, size, channels) / 255
    return ((x - mean) / std).transpose(2, 0, 1)[None]


def resize(x, h, w, nearest=False):
    """x: [N, C, H, W], half-pixel centres; nearest as floor(i * scale)."""
    H, W = x.shape[2:]
    if nearest:
        return x[:, :, (np.arange(h) * H // h)[:, None], np.arange(w) * W // w]

    def axis(x, n, k):
        m = x.shape[k]
        at = np.clip((np.arange(n) + 0.5) * m / n - 0.5, 0, m - 1)
        lo = np.floor(at).astype(int)
        hi = np.minimum(lo + 1, m - 1)
        shape = [1] * x.ndim
        shape[k] = n
        f = (at - lo).reshape(shape)
        return np.take(x, lo, k) * (1 - f) + np.take(x, hi, k) * f

    return axis(axis(x, h, 2), w, 3)


def pool(x):
    q = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return sum(q[:, :, i : i + x.shape[2], j : j + x.shape[3]] for i in range(3) for j in range(3)) / 9


def features(path):
    if not names:
        return session.run(["embedding"], {"image": load(path)})[0].astype(np.float64)
    maps = session.run(names, {"image": load(path)})
    h, w = maps[0].shape[2:]
    if a.method == "patchcore":
        maps = [pool(m) for m in maps]
    return np.concatenate([resize(m.astype(np.float64), h, w, a.method == "padim") for m in maps], 1)


def reconstruction_error(path):
    """The mean over the channels at each pixel; of SSIM 1 less it, halved."""
    x = load(path)
    y = session.run(["reconstruction"], {"image": x})[0][0].astype(np.float64)  # 0 to 1
    x = x[0].astype(np.float64) * std[:, None, None] + mean[:, None, None]
    if a.error == "mse":
        return ((x - y) ** 2).mean(0)

    def window(v):  # 11 x 11 pixels
        return np.stack([gaussian_filter(c, 1.5, mode="mirror", radius=5) for c in v])

    mx, my = window(x), window(y)
    vx, vy, cov = window(x * x) - mx * mx, window(y * y) - my * my, window(x * y) - mx * my
    similar = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx * mx + my * my + 1e-4) * (vx + vy + 9e-4))
    return (1 - similar.mean(0)) / 2


train = sorted(f for f in (a.category / "train" / "good").iterdir() if f.name not in a.without.split(","))
test = sorted(f for f in (a.category / "test").glob("*/*") if f.suffix in (".png", ".jpg"))
labels = np.array([f.parent.name != "good" for f in test])
if a.method != "autoencoder":
    X = np.concatenate([features(f) for f in train])
    T = np.concatenate([features(f) for f in test])
sigma = 4 * size / 224
heat = None


def smooth(maps):
    return np.stack([gaussian_filter(m, sigma, mode="mirror", truncate=4) for m in resize(maps[:, None], size, size)[:, 0]])


if a.method == "knn":
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    T /= np.linalg.norm(T, axis=1, keepdims=True)
    scores = np.linalg.norm(T[:, None] - X[None], axis=2).min(1)
elif a.method == "autoencoder":
    heat = np.stack([gaussian_filter(reconstruction_error(f), sigma, mode="mirror", truncate=4) for f in test])
    scores = heat.max((1, 2))
elif a.method == "mahalanobis":
    scores = np.sqrt(LedoitWolf().fit(X).mahalanobis(T))
elif a.method == "padim":
    n, c, h, w = X.shape
    maps = np.empty((len(T), h, w))
    for i in range(h):
        for j in range(w):
            x = X[:, :, i, j]
            inverse = np.linalg.inv(np.cov(x, rowvar=False) + 0.01 * np.eye(c))
            d = T[:, :, i, j] - x.mean(0)
            maps[:, i, j] = np.sqrt(np.einsum("nc,cd,nd->n", d, inverse, d))
    heat = smooth(maps)
    scores = heat.max((1, 2))
else:
    n, c, h, w = X.shape
    rows = X.transpose(0, 2, 3, 1).reshape(-1, c).astype(np.float32)
    rng = np.random.default_rng(a.seed)
    keep = int(a.coreset * len(rows) + 0.5)
    if keep < len(rows):
        near = rows if c <= 128 else rows @ (rng.standard_normal((c, 128)) / np.sqrt(128)).astype(np.float32)
        picks = [a.start]
        squares = (near**2).sum(1)
        dist = np.full(len(rows), np.inf, np.float32)
        while len(picks) < keep:
            k = picks[-1]
            dist = np.minimum(dist, squares + squares[k] - 2 * near @ near[k])
            picks.append(int(dist.argmax()))
        rows = rows[picks]
    bank = rows.astype(np.float64)
    norms = (bank**2).sum(1)
    maps, scores = [], []
    for t in T:
        q = t.reshape(c, -1).T
        d = np.sqrt(np.maximum((q**2).sum(1)[:, None] + norms - 2 * q @ bank.T, 0))
        near = d.min(1)
        star = near.argmax()
        m = d[star].argmin()
        around = np.argsort(np.sqrt(((bank - bank[m]) ** 2).sum(1)), kind="stable")[:9]
        to = np.linalg.norm(bank[around] - q[star], axis=1)
        share = np.exp(near[star] - to.max()) / np.exp(to - to.max()).sum()
        maps.append(near.reshape(h, w))
        scores.append((1 - share) * near[star])
    heat, scores = smooth(np.array(maps)), np.array(scores)

print(f"image AUROC {roc_auc_score(labels, scores):.4f}")
truth = a.category / "ground_truth"
if heat is not None and truth.is_dir():
    masks = np.zeros(heat.shape, bool)
    for k, f in enumerate(test):
        if labels[k]:
            m = np.asarray(Image.open(truth / f.parent.name / (f.stem + "_mask.png")).convert("L"))
            at = [np.floor((np.arange(size) + 0.5) * s / size).astype(int) for s in m.shape]
            masks[k] = m[at[0][:, None], at[1]] > 0
    print(f"pixel AUROC {roc_auc_score(masks.ravel(), heat.ravel()):.4f}")
