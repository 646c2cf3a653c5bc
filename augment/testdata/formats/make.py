"""Makes the pictures of this folder and, beside each X, X.png with what Pillow's convert("RGB") gives.

Run it with Pillow and NumPy, and with ./jpegs (jpegs.c) beside it. Made with Pillow 9.4.0,
libjpeg-turbo 2.1.5 and libwebp 1.2.4.
"""
import io, struct, subprocess
import numpy as np
from PIL import Image, ImageOps

rng = np.random.default_rng(7)


def picture(w, h, channels=3):
    """Smooth colours with hard coloured edges, where interpolated chroma shows."""
    y, x = np.mgrid[0:h, 0:w]
    m = np.stack([128 + 100 * np.sin(x / 3 + c) * np.cos(y / (4 + c)) for c in range(channels)], -1)
    m[h // 3 : 2 * h // 3, w // 4 : w // 2] = [220, 20, 60, 90][:channels]
    m[h // 2 :, 2 * w // 3 :] = [10, 60, 230, 30][:channels]
    return np.clip(m + rng.normal(0, 4, m.shape), 0, 255).astype(np.uint8)


def reference(name, rgb=None, turned=False):
    if rgb is None:
        with Image.open(name) as m:
            if turned:
                m = ImageOps.exif_transpose(m)
            rgb = m.convert("RGB")
    rgb.save(name + ".png", optimize=True)


def jpegs(name, w, h, kind, sampling, form=0, adobe=1):
    channels = {"gray": 1, "cmyk": 4, "ycck": 4}.get(kind, 3)
    args = ["./jpegs", name, str(w), str(h), kind, sampling, str(form), str(adobe)]
    subprocess.run(args, input=picture(w, h, channels).tobytes(), check=True)
    reference(name)


for s in ["1x1", "2x1", "1x2", "2x2", "4x1", "4x2"]:
    jpegs(f"ycc-{s}.jpg", 37, 29, "ycc", s)
    jpegs(f"ycc-{s}-even-progressive.jpg", 32, 16, "ycc", s, 1)
    for w, h in [(1, 1), (2, 5), (4, 4), (5, 2)]:  # where libjpeg's rules for edges show
        jpegs(f"ycc-{s}-{w}x{h}.jpg", w, h, "ycc", s)
jpegs("gray.jpg", 37, 29, "gray", "1x1")
jpegs("gray-progressive.jpg", 37, 29, "gray", "1x1", 1)
jpegs("rgb.jpg", 37, 29, "rgb", "1x1")
for kind in ["cmyk", "ycck"]:
    jpegs(f"{kind}.jpg", 37, 29, kind, "1x1")
    jpegs(f"{kind}-2x2.jpg", 37, 29, kind, "2x2")
    jpegs(f"{kind}-2x2-progressive.jpg", 22, 15, kind, "2x2", 1)
jpegs("cmyk-no-adobe.jpg", 37, 29, "cmyk", "1x1", 0, 0)

rgb = Image.fromarray(picture(23, 17))
rgba = Image.fromarray(picture(23, 17, 4), "RGBA")
gray = rgb.convert("L")
la = Image.merge("LA", [gray, rgba.getchannel("A")])
palette = rgb.quantize(23)


def save(name, m, **options):
    m.save(name, **options)
    reference(name)


save("rgb-png.png", rgb)
save("rgba.png", rgba)
save("gray.png", gray)
save("gray-alpha.png", la)
save("bilevel.png", gray.convert("1"))
save("palette.png", palette)
save("palette-4bit.png", rgb.quantize(11), bits=4)
save("palette-trns.png", palette, transparency=bytes(range(5, 28)))
save("rgb-trns.png", rgb, transparency=rgb.getpixel((3, 3)))
save("gray-trns.png", gray, transparency=gray.getpixel((3, 3)))


def png(name, kind, depth, samples, interlaced=0, rgb=None):
    """Pillow writes no 16-bit colour and nothing interlaced."""
    import zlib

    def chunk(t, d):
        return struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))

    h, w = samples.shape[:2]
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    data = b""
    for x, y, dx, dy in passes:
        for row in samples[y::dy, x::dx]:
            if row.size:
                data += b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes()
    with open(name, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, interlaced)))
        f.write(chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))
    reference(name, rgb)


deep = (picture(23, 17, 4).astype(np.uint16) << 8) + rng.integers(0, 256, (17, 23, 4)).astype(np.uint16)
png("rgb16.png", 2, 16, deep[:, :, :3])
png("rgba16.png", 6, 16, deep)
png("gray-alpha16.png", 4, 16, deep[:, :, :2])
high = Image.fromarray((deep[:, :, 0] >> 8).astype(np.uint8)).convert("RGB")
png("gray16.png", 0, 16, deep[:, :, 0], rgb=high)  # Pillow 9.4 clips this to white; the high byte is meant
png("interlaced.png", 2, 8, picture(23, 17), 1)

save("palette.gif", palette)
save("transparent.gif", palette, transparency=palette.getpixel((3, 3)))
save("interlaced.gif", palette, interlace=1)
save("animated.gif", palette, save_all=True, append_images=[rgb.rotate(90).quantize(9), palette], duration=100)


def small_frame(name, transparent):
    """A first frame that does not cover the picture."""
    part = palette.crop((0, 0, 9, 7))
    b = io.BytesIO()
    part.save(b, "GIF", **({"transparency": 3} if transparent else {}))
    b = bytearray(b.getvalue())
    b[6:10] = struct.pack("<HH", 23, 17)
    at = bytes(b).index(b"\x2c\0\0\0\0")
    b[at + 1 : at + 5] = struct.pack("<HH", 5, 4)
    with open(name, "wb") as f:
        f.write(b)
    reference(name)


small_frame("small-frame.gif", False)
small_frame("small-frame-transparent.gif", True)

save("rgb.bmp", rgb)
save("gray.bmp", gray)
save("bilevel.bmp", gray.convert("1"))
save("palette.bmp", palette)
save("rgba.bmp", rgba)

for c in ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"]:
    save(f"rgb-{c}.tif", rgb, compression=None if c == "raw" else c)
save("rgba.tif", rgba)
save("gray.tif", gray)
save("palette.tif", palette)
save("bilevel.tif", gray.convert("1"))
save("bilevel-group4.tif", gray.convert("1"), compression="group4")
Image.fromarray(deep[:, :, 0]).save("gray16.tif")
reference("gray16.tif", high)

big = Image.fromarray(picture(45, 38))
save("lossy.webp", big, quality=80)
save("lossy-even.webp", big.crop((0, 0, 32, 16)), quality=50)
save("lossy-alpha.webp", Image.fromarray(picture(45, 37, 4), "RGBA"), quality=80)
save("lossless.webp", rgb, lossless=True)
save("lossless-alpha.webp", rgba, lossless=True, exact=True)
save("animated.webp", big, save_all=True, append_images=[big.rotate(180)], quality=70)
save("animated-lossless.webp", rgba, save_all=True, append_images=[rgba.rotate(180)], lossless=True, exact=True)
for w, h in [(1, 1), (2, 3), (5, 1)]:
    save(f"lossy-{w}x{h}.webp", big.crop((10, 10, 10 + w, 10 + h)), quality=90)

# With an EXIF orientation, in exif/; the reference is turned upright.
for o in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = o
    for name, options in [("png", {}), ("webp", {"lossless": True}), ("jpg", {"quality": 95, "subsampling": 0})]:
        rgb.save(f"exif/{o}.{name}", exif=exif, **options)
        reference(f"exif/{o}.{name}", turned=True)
    rgb.save(f"exif/{o}.tif", tiffinfo={0x0112: o})
    turned = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
    reference(f"exif/{o}.tif", rgb.transpose(Image.Transpose[turned[o]]) if o > 1 else rgb)

for s in ["1x1", "2x1", "2x2"]:
    jpegs(f"ycc-{s}-scans.jpg", 37, 29, "ycc", s, 2)
    jpegs(f"ycc-{s}-restarts.jpg", 61, 45, "ycc", s, 4)
    jpegs(f"ycc-{s}-restarts-progressive.jpg", 61, 45, "ycc", s, 5)
jpegs("ycc-2x2-scans-restarts.jpg", 37, 29, "ycc", "2x2", 6)
jpegs("gray-restarts.jpg", 37, 29, "gray", "1x1", 4)
jpegs("gray-16-bit-tables.jpg", 37, 29, "gray", "1x1", 8)
