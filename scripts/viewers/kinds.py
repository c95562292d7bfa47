"""Generates image files of every kind: sampling factors, colour types, bit depths, orientations, and frames with their
disposal and blending."""

import io
import random
import struct
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image

from . import gif, png


def exif(rng: random.Random) -> bytes:
    """An EXIF block with an orientation, stored as SHORT or as LONG in any byte order."""
    order, kind = rng.choice("<>"), rng.choice((3, 4))
    value = rng.randrange(1, 9)
    stored = struct.pack(order + ("H2x" if kind == 3 else "I"), value)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IHHHI", 8, 1, 0x112, kind, 1) + stored + struct.pack(order + "I", 0)


def picture(mode: str, rng: random.Random, width: int = 0, height: int = 0) -> Image.Image:
    """A smooth picture with noise, so that a lossy encoder keeps it and an error of a pixel shows."""
    width, height = width or rng.randrange(1, 49), height or rng.randrange(1, 49)
    small = Image.frombytes(mode, (4, 3), rng.randbytes(12 * len(Image.new(mode, (1, 1)).getbands())))
    return small.resize((width, height), Image.Resampling.BILINEAR)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def jpeg(rng: random.Random) -> bytes:
    mode = rng.choice(("L", "RGB", "RGB", "CMYK"))
    options: dict[str, Any] = {"quality": rng.randrange(20, 101), "progressive": rng.random() < 0.4}
    if rng.random() < 0.7:
        options["exif"] = b"Exif\0\0" + exif(rng)
    return saved(picture(mode, rng), "JPEG", subsampling=rng.randrange(3), **options)


def factors(rng: random.Random) -> list[tuple[int, int]]:
    """Sampling factors of three components. libjpeg accepts up to ten blocks together, and only factors that divide
    the largest one."""
    while True:
        found = [(rng.randrange(1, 5), rng.randrange(1, 5)) for _ in range(3)]
        largest = [max(sides) for sides in zip(*found, strict=True)]
        whole = all(most % side == 0 for sides in found for side, most in zip(sides, largest, strict=True))
        if whole and sum(across * down for across, down in found) <= 10:
            return found


def sampled_jpeg(rng: random.Random) -> bytes:
    """A JPEG with any sampling factors, also with finer chroma than luma, by cjpeg."""
    sampling = ",".join(f"{across}x{down}" for across, down in factors(rng))
    line = ["cjpeg", "-quality", str(rng.randrange(50, 100)), "-sample", sampling]
    if rng.random() < 0.3:
        line.append("-progressive")
    return subprocess.run(line, input=saved(picture("RGB", rng), "PPM"), check=True, capture_output=True).stdout


def png_kind(rng: random.Random) -> png.Kind:
    colour = rng.choice(tuple(png.SAMPLES))
    return png.Kind(colour, rng.choice(png.DEPTHS[colour]), rng.random() < 0.4)


def still_png(rng: random.Random) -> bytes:
    width, height = rng.randrange(1, 34), rng.randrange(1, 34)
    return png.still(png_kind(rng), width, height, rng, exif(rng) if rng.random() < 0.4 else None)


def animated_png(rng: random.Random) -> bytes:
    """An animated PNG that Pillow draws as the specification says. Others are left out: interlaced frames, which Pillow
    does not show; partial transparency, which Pillow does not blend; areas that become transparent in a picture without
    transparency, which Pillow fills with black; and frames that are blended and then taken back, which stay."""
    width, height, apart = rng.randrange(2, 24), rng.randrange(2, 24), rng.random() < 0.2
    kind = rng.choice((png.Kind(2, 8, False), *(png.Kind(6, 8, False),) * 3, *(png.Kind(3, depth, False) for depth in png.DEPTHS[3])))
    # Behind a picture that is not part of the animation, Pillow begins with this picture, and not with an empty canvas.
    disposal = rng.randrange(2 if apart else 3) if kind.colour == 6 else 0
    first = png.Frame(0, 0, width, height, disposal, 0)
    frames = [first, *(png_frame(width, height, kind.colour == 6, rng) for _ in range(rng.randrange(1, 6)))]
    return png.animated(kind, width, height, frames, apart, rng)


def png_frame(width: int, height: int, clears: bool, rng: random.Random) -> png.Frame:
    x, y = rng.randrange(width), rng.randrange(height)
    disposal = rng.choice((0, 1, 2) if clears else (0, 2))
    blend = 0 if disposal == 2 else rng.randrange(2)
    return png.Frame(x, y, rng.randrange(1, width - x + 1), rng.randrange(1, height - y + 1), disposal, blend)


def animated_gif(rng: random.Random) -> bytes:
    """A GIF with one or several frames. Its first frame may be larger than the screen."""
    width, height = rng.randrange(1, 24), rng.randrange(1, 24)
    palette = rng.randbytes(3 << rng.randrange(1, 9))
    several = rng.random() < 0.8
    first_width = width if several or rng.random() < 0.5 else rng.randrange(width, 40)
    first_height = height if several or rng.random() < 0.5 else rng.randrange(height, 40)
    frames = [gif_frame(0, 0, first_width, first_height, palette, rng)]
    for _ in range(rng.randrange(1, 7) if several else 0):
        x, y = rng.randrange(width), rng.randrange(height)
        frames.append(gif_frame(x, y, rng.randrange(1, width - x + 1), rng.randrange(1, height - y + 1), palette, rng))
    return gif.written(width, height, palette, frames, rng)


def gif_frame(x: int, y: int, width: int, height: int, palette: bytes, rng: random.Random) -> gif.Frame:
    own = rng.randbytes(3 << rng.randrange(1, 9)) if rng.random() < 0.3 else None
    colours = len(own or palette) // 3
    # After a frame with disposal 2 or 3, Pillow treats the disposal 0 of the next frame as 2 or 3 too.
    return gif.Frame(x, y, width, height, rng.randrange(1, 4), rng.randrange(colours), own, rng.random() < 0.3)


def webp(rng: random.Random) -> bytes:
    options: dict[str, Any] = {"quality": rng.randrange(10, 101), "lossless": rng.random() < 0.4, "method": 0}
    if rng.random() < 0.4:
        options["exif"] = exif(rng)
    return saved(picture(rng.choice(("RGB", "RGBA")), rng), "WEBP", **options)


def animated_webp(rng: random.Random) -> bytes:
    width, height, mode = rng.randrange(1, 33), rng.randrange(1, 33), rng.choice(("RGB", "RGBA"))
    first, *others = [picture(mode, rng, width, height) for _ in range(rng.randrange(2, 6))]
    return saved(
        first,
        "WEBP",
        save_all=True,
        append_images=others,
        lossless=rng.random() < 0.5,
        method=0,
        allow_mixed=rng.random() < 0.3,
        minimize_size=rng.random() < 0.3,
    )


def avif(rng: random.Random) -> bytes:
    options: dict[str, Any] = {"quality": rng.randrange(30, 101), "speed": 10, "max_threads": 1}
    options["subsampling"] = rng.choice(("4:2:0", "4:2:2", "4:4:4", "4:0:0"))
    options["range"] = rng.choice(("full", "limited"))
    if rng.random() < 0.4:
        options["exif"] = exif(rng)
    return saved(large(rng.choice(("RGB", "RGBA")), rng), "AVIF", **options)


def large(mode: str, rng: random.Random) -> Image.Image:
    """A picture with few steep edges: AVIF leaves it to the decoder how chroma is interpolated."""
    return picture(mode, rng, rng.randrange(24, 64), rng.randrange(24, 64))


def animated_avif(rng: random.Random) -> bytes:
    width, height, mode = rng.randrange(24, 64), rng.randrange(24, 64), rng.choice(("RGB", "RGBA"))
    first, *others = [picture(mode, rng, width, height) for _ in range(rng.randrange(2, 5))]
    return saved(first, "AVIF", save_all=True, append_images=others, speed=10, max_threads=1)


def bmp(rng: random.Random) -> bytes:
    image = picture(rng.choice(("L", "RGB", "RGBA")), rng)
    if image.mode != "RGBA":
        image = image.convert(rng.choice(("1", "P", "L", "RGB")))
    return saved(image, "BMP")


def tiff(rng: random.Random) -> bytes:
    image = picture(rng.choice(("L", "RGB", "RGBA")), rng)
    if image.mode == "RGB" and rng.random() < 0.2:
        image = image.convert("1")
    compression = rng.choice((None, "tiff_lzw", "tiff_adobe_deflate", "packbits"))
    info = {274: rng.randrange(1, 9)} if rng.random() < 0.4 else {}
    return saved(image, "TIFF", compression=compression, tiffinfo=info)


# The kinds of files, and how many of each are generated.
KINDS: dict[str, tuple[int, Callable[[random.Random], bytes]]] = {
    "jpeg": (2000, jpeg),
    "jpeg-sampled": (1500, sampled_jpeg),
    "png": (2000, still_png),
    "png-animated": (900, animated_png),
    "gif": (1400, animated_gif),
    "webp": (900, webp),
    "webp-animated": (300, animated_webp),
    "avif": (300, avif),
    "avif-animated": (50, animated_avif),
    "bmp": (350, bmp),
    "tiff": (350, tiff),
}


def generated() -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of each file. The same in each run."""
    for kind, (count, make) in KINDS.items():
        for number in range(count):
            name = f"{kind}-{number}"
            yield name, make(random.Random(name))
