"""Writes PNG files of every colour type, bit depth and layout, also animated ones. Pillow writes only some."""

import random
import struct
import zlib
from dataclasses import dataclass

# Samples per pixel of each colour type.
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Bit depths of each colour type.
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# First column and row, and the steps between columns and rows, of the passes of an interlaced picture.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@dataclass(frozen=True)
class Kind:
    """How the pixels of a file are stored."""

    colour: int
    depth: int
    interlaced: bool


@dataclass(frozen=True)
class Frame:
    """The place of a frame on the canvas, and how it is disposed of and blended."""

    x: int
    y: int
    width: int
    height: int
    disposal: int
    blend: int


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def rows(kind: Kind, width: int, height: int, rng: random.Random, binary: bool = False) -> bytes:
    """Random pixels, in blocks, so that an error of a row or a column shows. `binary`: no partial transparency."""
    samples, levels = SAMPLES[kind.colour], 1 << kind.depth
    block = rng.choice((1, 2, 5))
    values = [[[rng.randrange(levels) for _ in range(samples)] for _ in range(width)] for _ in range(height)]
    if binary and kind.colour == 6:
        values = [[[*colour, alpha // (levels // 2) * (levels - 1)] for *colour, alpha in row] for row in values]
    pixels = [[values[y // block * block][x // block * block] for x in range(width)] for y in range(height)]
    if not kind.interlaced:
        return b"".join(b"\0" + packed(row, kind.depth) for row in pixels)
    out = b""
    for first_x, first_y, step_x, step_y in PASSES:
        for row in pixels[first_y::step_y]:
            if row[first_x::step_x]:
                out += b"\0" + packed(row[first_x::step_x], kind.depth)
    return out


def packed(row: list[list[int]], depth: int) -> bytes:
    samples = [sample for pixel in row for sample in pixel]
    if depth == 16:
        return struct.pack(f">{len(samples)}H", *samples)
    if depth == 8:
        return bytes(samples)
    bits = "".join(format(sample, f"0{depth}b") for sample in samples)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def tables(kind: Kind, rng: random.Random, transparency: bool, binary: bool = False) -> bytes:
    """The palette, and the transparency of the palette or of one colour. `binary`: no partial transparency."""
    out = b""
    if kind.colour == 3:
        out += chunk(b"PLTE", bytes(rng.randrange(256) for _ in range(3 << kind.depth)))
        if transparency:
            alpha = (0, 255) if binary else range(256)
            out += chunk(b"tRNS", bytes(rng.choice(alpha) for _ in range(1 << kind.depth)))
    elif transparency and kind.colour in (0, 2) and kind.depth in (1, 8):
        # At other depths, Pillow compares the transparent colour with samples of 8 bits.
        out += chunk(b"tRNS", struct.pack(f">{SAMPLES[kind.colour]}H", *[rng.randrange(1 << kind.depth)] * SAMPLES[kind.colour]))
    return out


def head(kind: Kind, width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, kind.depth, kind.colour, 0, 0, int(kind.interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)


def still(kind: Kind, width: int, height: int, rng: random.Random, exif: bytes | None) -> bytes:
    """A file with random pixels."""
    extra = chunk(b"eXIf", exif) if exif else b""
    pixels = chunk(b"IDAT", zlib.compress(rows(kind, width, height, rng)))
    return head(kind, width, height) + extra + tables(kind, rng, rng.random() < 0.5) + pixels + chunk(b"IEND", b"")


def animated(kind: Kind, width: int, height: int, frames: list[Frame], apart: bool, rng: random.Random) -> bytes:
    """An animation with random pixels. `apart`: a picture that is not part of the animation comes first."""
    out = head(kind, width, height) + tables(kind, rng, kind.colour == 3, True) + chunk(b"acTL", struct.pack(">II", len(frames), 0))
    number = 0
    if apart:
        out += chunk(b"IDAT", zlib.compress(rows(kind, width, height, rng, True)))
    for at, frame in enumerate(frames):
        place = (frame.width, frame.height, frame.x, frame.y)
        out += chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, *place, 1, 10, frame.disposal, frame.blend))
        number += 1
        data = zlib.compress(rows(kind, frame.width, frame.height, rng, True))
        if at == 0 and not apart:
            out += chunk(b"IDAT", data)
        else:
            out += chunk(b"fdAT", struct.pack(">I", number) + data)
            number += 1
    return out + chunk(b"IEND", b"")
