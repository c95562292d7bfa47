"""Images at the limits of the worker, in the formats whose decoding takes most memory.

A photo is enlarged, with sharp edges, to the largest number of pixels. The memory for decoding
depends on the pixels and not on the bytes, so zeros at the end of a file bring it to the largest
number of bytes. Decoders ignore them. Needs Pillow.
"""

import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image

TURN_RIGHT = 6  # the value of the EXIF tag
ORIENTATION = 0x0112  # the EXIF tag


def write_all(photo: Path, pixels: int, detail: int, folder: Path) -> list[Path]:
    """Writes one image of at most `pixels` pixels per format. Returns their paths.

    `detail` is the sides of the photo before it is enlarged. Fewer edges make smaller files.
    """
    side = math.isqrt(pixels)
    with Image.open(photo) as opened:
        small = opened.convert("RGB").resize((detail, detail))
    large = small.resize((side, side), Image.Resampling.NEAREST)
    paths = []
    for name, write in FORMATS.items():
        paths.append(folder / name)
        write(large, folder / name)
    return paths


def pad(image: Path, length: int, target: Path) -> bool:
    """Writes an image with zeros at its end, `length` bytes in all. Returns whether the image is small enough."""
    content = image.read_bytes()
    if len(content) > length:
        return False
    target.write_bytes(content + bytes(length - len(content)))
    return True


def _with_alpha(image: Image.Image) -> Image.Image:
    alpha = image.convert("RGBA")
    alpha.putalpha(image.convert("L"))
    return alpha


def _jpeg(image: Image.Image, path: Path) -> None:
    image.save(path, quality=20, subsampling=0, progressive=True)


def _jpeg_cmyk(image: Image.Image, path: Path) -> None:
    image.convert("CMYK").save(path, quality=20, subsampling=0, progressive=True)


def _png_turned(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = TURN_RIGHT
    _with_alpha(image).save(path, exif=exif, compress_level=6)


def _webp_lossy(image: Image.Image, path: Path) -> None:
    _with_alpha(image).save(path, quality=30, method=1)


def _webp_lossless(image: Image.Image, path: Path) -> None:
    _with_alpha(image).save(path, lossless=True, quality=25, method=1, exact=True)


def _gif(image: Image.Image, path: Path) -> None:
    image.quantize(256, Image.Quantize.FASTOCTREE).save(path)


def _png_16_bit(image: Image.Image, path: Path) -> None:
    """Writes 16 bits per sample, with transparency, which Pillow cannot."""
    image = _with_alpha(image)
    packed = zlib.compressobj(6)
    rows = (_sixteen_bit(image.crop((0, y, image.width, y + 1)).tobytes()) for y in range(image.height))
    data, above = [], b""
    for row in rows:
        # Filter 2 stores the difference to the row above, which is usually 0. Filter 0 stores the row.
        data.append(packed.compress(b"\2" + bytes(len(row)) if row == above else b"\0" + row))
        above = row
    data.append(packed.flush())
    header = struct.pack(">IIBBBBB", image.width, image.height, 16, 6, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", b"".join(data)) + _chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def _sixteen_bit(row: bytes) -> bytes:
    wide = bytearray(2 * len(row))
    wide[0::2] = wide[1::2] = row
    return bytes(wide)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


FORMATS: dict[str, Callable[[Image.Image, Path], None]] = {
    "progressive-444.jpg": _jpeg,
    "progressive-cmyk.jpg": _jpeg_cmyk,
    "rgba-16-bit.png": _png_16_bit,
    "rgba-turned.png": _png_turned,
    "lossy-alpha.webp": _webp_lossy,
    "lossless-alpha.webp": _webp_lossless,
    "palette.gif": _gif,
}
