#!/usr/bin/env python3
"""Writes the images of this folder and preprocesses them with Pillow, in the order of docs/bundle.md.

    ./make.py ARCHIVE

ARCHIVE is a zip of clothing-dataset-small's test folder (see README.md). Written for Pillow 9.4,
NumPy and libjpeg-turbo 2.1 (Debian 12: python3-pil, python3-numpy, libjpeg-turbo-progs). The output is committed, so this script need not be
run again.
"""

import io
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib

import numpy as np
from PIL import Image, ImageDraw, ImageOps

HERE = pathlib.Path(__file__).resolve().parent
PHOTOS = ["shirt/00aeed33a1180dff.jpg", "skirt/00cec6503f2f89a7.jpg", "pants/00f3993e0a5df201.jpg"]
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos3": Image.Resampling.LANCZOS,
}


def entry(size, channels, resize, layout="nchw"):
    """Returns an input of the manifest. Mean and std differ by channel, to detect a wrong channel order."""
    several = channels != "grey"
    mean, std = ([100.0, 120.0, 90.0], [50.0, 64.0, 70.0]) if several else ([72.5], [90.0])
    return {"width": size[0], "height": size[1], "channels": channels, "layout": layout, "resize": resize, "mean": mean, "std": std}


INPUTS = (
    {
        "grey28": entry((28, 28), "grey", {"rule": "stretch", "filter": "bilinear"}),
        "rgb32": entry((32, 32), "rgb", {"rule": "short-side", "short_side": 36, "filter": "bilinear"}),
        "bgr24": entry((24, 20), "bgr", {"rule": "stretch", "filter": "bicubic"}, "nhwc"),
        "native": entry((57, 43), "rgb", {"rule": "stretch", "filter": "bilinear"}),
        "tight": entry((30, 40), "rgb", {"rule": "short-side", "short_side": 40, "filter": "bicubic"}),
        "larger": entry((90, 100), "rgb", {"rule": "short-side", "short_side": 101, "filter": "bicubic"}),
    }
    | {
        # A JPEG of 99 x 75 pixels is decoded at 1/2, 1/4 and 1/8 for these inputs. A JPEG of 57 x 43
        # pixels is decoded at 1/2 for `draft-tall` only if it is turned by 90 degrees.
        "draft-half": entry((37, 31), "rgb", {"rule": "stretch", "filter": "bilinear", "draft": 1}),
        "draft-quarter": entry((7, 7), "rgb", {"rule": "short-side", "short_side": 8, "filter": "bilinear", "draft": 2}),
        "draft-eighth": entry((9, 9), "rgb", {"rule": "stretch", "filter": "bicubic", "draft": 1}),
        "draft-tall": entry((20, 28), "grey", {"rule": "stretch", "filter": "bilinear", "draft": 1}),
    }
    | {f"down-{name}": entry((31, 23), "rgb", {"rule": "stretch", "filter": name}) for name in FILTERS}
    | {f"up-{name}": entry((150, 101), "grey", {"rule": "stretch", "filter": name}) for name in FILTERS}
)


def flat(image):
    """Returns the image in upright orientation, without alpha and with 8 bits: mode L or RGB."""
    image.seek(0)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8), "L")
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA"):
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def preprocess(image, wanted):
    """Does all preprocessing except the normalisation. The channel order is RGB."""
    if wanted["resize"].get("draft"):
        gap = wanted["resize"]["draft"]
        least = tuple(gap * wanted["resize"].get("short_side", wanted[side]) for side in ("width", "height"))
        image.draft(None, least[::-1] if image.getexif().get(0x0112, 1) >= 5 else least)
    image = flat(image).convert("L" if wanted["channels"] == "grey" else "RGB")
    size, rule = (wanted["width"], wanted["height"]), wanted["resize"]
    if rule["rule"] == "stretch":
        return image if image.size == size else image.resize(size, FILTERS[rule["filter"]])
    short, (width, height) = rule["short_side"], image.size
    whole = (short, short * height // width) if width <= height else (short * width // height, short)
    if image.size != whole:
        image = image.resize(whole, FILTERS[rule["filter"]])
    left, top = (whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2
    return image.crop((left, top, left + size[0], top + size[1]))


def drawing(size=(57, 43)):
    """Draws shapes with hard edges on gradients. All channels and all corners differ."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x * 3 + y * 5) % 256], axis=2).astype(np.uint8)
    image = Image.fromarray(pixels, "RGB")
    draw = ImageDraw.Draw(image)
    draw.rectangle((4, 4, width // 3, height // 2), fill=(220, 30, 40))
    draw.ellipse((width // 2, height // 3, width - 4, height - 4), fill=(20, 60, 200), outline=(250, 250, 10))
    draw.line((0, height - 1, width // 2, height // 3), fill=(255, 255, 255), width=2)
    return image


def alpha(size=(57, 43)):
    """Returns an alpha channel from transparent (left) to opaque (right), with a transparent hole."""
    ramp = Image.fromarray(np.tile(np.linspace(0, 255, size[0]).astype(np.uint8), (size[1], 1)), "L")
    ImageDraw.Draw(ramp).ellipse((10, 10, 25, 30), fill=0)
    return ramp


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples, depth, colour, extra=b"", interlaced=False):
    """Writes a PNG of a kind that Pillow cannot write, without line filters.

    `samples` is height x width x channels. Depths below 8 bits are packed into bytes.
    """
    height, width = samples.shape[:2]
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    lines = bytearray()
    for left, top, right, down in passes:
        for line in samples[top::down, left::right]:
            lines.append(0)
            if depth == 16:
                lines += line.astype(">u2").tobytes()
            elif depth == 8:
                lines += line.astype(np.uint8).tobytes()
            else:
                bits = "".join(format(int(v), f"0{depth}b") for v in line.flatten())
                bits += "0" * (-len(bits) % 8)
                lines += int(bits, 2).to_bytes(len(bits) // 8, "big")
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(bytes(lines), 9)) + chunk(b"IEND", b"")


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def adobe(jpeg, transform):
    """Replaces the JFIF or Adobe segment of a JPEG by an Adobe segment with a colour transform.

    `transform` is 0 (none) or 2 (YCCK).
    """
    length = struct.unpack(">H", jpeg[4:6])[0]
    assert jpeg[2:4] in (b"\xff\xe0", b"\xff\xee")
    return jpeg[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform]) + jpeg[4 + length :]


def relabelled(image):
    """Labels red, green and blue as Y, Cb and Cr, so that a JPEG stores them without conversion."""
    return Image.merge("YCbCr", image.split())


def jpegs(photos):
    first, second, third = photos
    drafts = ["draft-half", "draft-quarter", "draft-eighth"]
    yield "photo-420.jpg", saved(first, "JPEG", quality=90, subsampling=2), ["bgr24", "native-photo", *drafts]
    yield "photo-422.jpg", saved(second, "JPEG", quality=85, subsampling=1), ["bgr24", *drafts]
    yield "photo-444.jpg", saved(third, "JPEG", quality=95, subsampling=0), ["bgr24", "down-lanczos3", *drafts]
    yield "progressive.jpg", saved(second, "JPEG", quality=85, progressive=True), ["bgr24", *drafts]
    yield "grey.jpg", saved(first.convert("L"), "JPEG", quality=90), ["bgr24", *drafts]
    cmyk = saved(third.convert("CMYK"), "JPEG", quality=92)
    yield "cmyk.jpg", cmyk, ["bgr24", *drafts]
    # The same bytes, read as YCCK. The colours are wrong, but equal for every decoder.
    yield "ycck.jpg", adobe(cmyk, 2), ["bgr24", *drafts]
    yield "rgb.jpg", adobe(saved(relabelled(first), "JPEG", quality=92, subsampling=0), 0), ["bgr24", *drafts]
    for orientation in range(1, 9):
        image = drawing()
        yield f"orientation-{orientation}.jpg", saved(image, "JPEG", quality=95, subsampling=0, exif=exif(orientation)), ["draft-tall"]


def cjpeg(image, *options):
    """Writes a JPEG of a kind that Pillow cannot write, with libjpeg-turbo's program."""
    return subprocess.run(["cjpeg", "-quality", "92", *options], input=saved(image, "PPM"), capture_output=True, check=True).stdout


def odd_jpegs():
    """Yields JPEGs with every kind of sampling, and with several scans."""
    image, drafts = drawing((99, 75)), ["bgr24", "draft-half", "draft-quarter", "draft-eighth"]
    samplings = ["1x2,1x1,1x1", "4x1,1x1,1x1", "1x1,2x1,2x1", "1x1,2x2,2x2", "1x1,1x2,1x2", "2x2,2x1,1x2"]
    for sampling in samplings:
        yield f"sampled-{sampling.replace(',', '-')}.jpg", cjpeg(image, "-sample", sampling), drafts
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as scans:
        scans.write("0; 1; 2;")
        scans.flush()
        yield "scans.jpg", cjpeg(image, "-scans", scans.name), drafts
    yield "restart.jpg", cjpeg(image, "-progressive", "-restart", "1"), drafts


def for_the_decoder():
    """Yields JPEGs for the tests of `crates/jpeg`, which have no expected pixels."""
    yield "arithmetic.jpg", cjpeg(drawing((99, 75)), "-arithmetic")
    yield "large-progressive.jpg", cjpeg(drawing((1000, 700)), "-progressive", "-quality", "30")


def pngs():
    image, clear = drawing(), alpha()
    wide = np.asarray(image).astype(np.uint16) * 256 + 255 - np.asarray(image)
    grey = np.asarray(image.convert("L")).astype(np.uint16)
    rgba = image.copy()
    rgba.putalpha(clear)
    palette = image.quantize(32)
    yield "rgb.png", saved(image, "PNG"), ["native", "tight", "larger", "bgr24", "draft-half"]
    yield "grey.png", saved(image.convert("L"), "PNG"), ["native"]
    yield "grey-16.png", png(grey[:, :, None] * 256 + 255 - grey[:, :, None], 16, 0), ["native"]
    yield "rgb-16.png", png(wide, 16, 2), ["native"]
    yield "rgba-16.png", png(np.dstack([wide, np.asarray(clear).astype(np.uint16) * 257]), 16, 6), ["native"]
    yield "grey-4-bit.png", png(grey[:, :, None] >> 4, 4, 0), ["native"]
    yield "palette.png", saved(palette, "PNG"), ["native"]
    yield "palette-4-bit.png", saved(image.quantize(16), "PNG", bits=4), ["native"]
    yield "palette-alpha.png", saved(palette, "PNG", transparency=bytes(i * 8 for i in range(32))), ["native"]
    yield "rgba.png", saved(rgba, "PNG"), ["native", "bgr24"]
    yield "grey-alpha.png", saved(rgba.convert("LA"), "PNG"), ["native"]
    yield "bilevel.png", saved(image.convert("1"), "PNG"), ["native"]
    yield "rgb-key.png", saved(image, "PNG", transparency=(220, 30, 40)), ["native"]
    yield "grey-key.png", saved(image.convert("L"), "PNG", transparency=75), ["native"]
    yield "interlaced.png", png(np.asarray(image), 8, 2, interlaced=True), ["native"]
    yield "animated.png", saved(image, "PNG", save_all=True, append_images=[ImageOps.invert(image)]), ["native"]
    yield "oriented.png", saved(image, "PNG", exif=exif(6)), ["native"]
    yield "tall-sliver.png", saved(drawing((2, 1200)), "PNG"), []
    yield "wide-sliver.png", saved(drawing((1200, 2)), "PNG"), []


def others():
    image, clear = drawing(), alpha()
    rgba = image.copy()
    rgba.putalpha(clear)
    inverted = ImageOps.invert(image)
    holes = image.quantize(31)
    holes.paste(31, (0, 20, 30, 43))
    yield "still.gif", saved(image.quantize(64), "GIF"), ["native"]
    yield "animated.gif", saved(image.quantize(64), "GIF", save_all=True, append_images=[inverted.quantize(64)], duration=100), ["native"]
    yield "transparent.gif", saved(holes, "GIF", transparency=31), ["native"]
    yield "lossless.webp", saved(image, "WEBP", lossless=True), ["native"]
    yield "lossless-alpha.webp", saved(rgba, "WEBP", lossless=True, exact=True), ["native"]
    frames = {"save_all": True, "append_images": [inverted], "duration": 100, "lossless": True}
    yield "animated.webp", saved(image, "WEBP", **frames), ["native"]
    frames["append_images"] = [ImageOps.invert(image).convert("RGBA")]
    yield "animated-alpha.webp", saved(rgba, "WEBP", background=(0, 0, 255, 255), **frames), ["native"]
    yield "oriented.webp", saved(image, "WEBP", lossless=True, exif=exif(8)), []


def lossy_webps(photos):
    cut = photos[0].copy()
    cut.putalpha(alpha(cut.size))
    yield "lossy.webp", saved(photos[1], "WEBP", quality=85), ["bgr24", "native-photo"]
    yield "lossy-alpha.webp", saved(cut, "WEBP", quality=85), ["bgr24"]


def resized(photos):
    yield "filters.png", saved(photos[0], "PNG"), [f"{way}-{name}" for way in ("down", "up") for name in FILTERS]


def main(archive):
    with zipfile.ZipFile(archive) as zipped:
        photos = [Image.open(zipped.open(name)).convert("RGB") for name in PHOTOS]
    # The photos are halved and cropped to odd sizes, to get incomplete blocks of 8 and 16 pixels.
    photos = [photo.reduce(2).crop((15, 30, 114, 105)) for photo in photos]
    INPUTS["native-photo"] = entry(photos[0].size, "rgb", {"rule": "stretch", "filter": "bilinear"})
    expected = HERE / "expected"
    shutil.rmtree(expected, ignore_errors=True)
    expected.mkdir()
    cases = []
    for lossy, source in [
        (True, jpegs(photos)),
        (True, odd_jpegs()),
        (False, pngs()),
        (False, others()),
        (True, lossy_webps(photos)),
        (False, resized(photos)),
    ]:
        for name, data, inputs in source:
            (HERE / name).write_bytes(data)
            inputs = inputs if name == "filters.png" else ["grey28", "rgb32"] + inputs
            for wanted in inputs:
                preprocess(Image.open(io.BytesIO(data)), INPUTS[wanted]).save(expected / f"{name}.{wanted}.pnm", "PPM")
            cases.append({"file": name, "lossy": lossy, "inputs": inputs})
    for name, data in for_the_decoder():
        (HERE / name).write_bytes(data)
    document = {"inputs": INPUTS, "cases": cases}
    (HERE / "cases.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
