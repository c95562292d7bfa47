"""Writes GIF files with frames of any size, place, palette, disposal and order of rows. Pillow writes only some."""

import random
import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Frame:
    """The place of a frame on the screen, and how it is stored and disposed of."""

    x: int
    y: int
    width: int
    height: int
    disposal: int
    transparent: int | None
    palette: bytes | None
    interlaced: bool


def lzw(indices: bytes, bits: int) -> bytes:
    """Codes that are cleared so often that they never grow."""
    clear, end, size = 1 << bits, (1 << bits) + 1, bits + 1
    codes: list[int] = []
    for at in range(0, len(indices), (1 << bits) - 2):
        codes += [clear, *indices[at : at + (1 << bits) - 2]]
    value = sum(code << (at * size) for at, code in enumerate([*codes, end]))
    data = value.to_bytes((size * (len(codes) + 1) + 7) // 8, "little")
    blocks = [data[at : at + 255] for at in range(0, len(data), 255)]
    return bytes([bits]) + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def stored(frame: Frame, colours: int, rng: random.Random) -> bytes:
    """Random pixels, in the order in which the rows are stored."""
    block = rng.choice((1, 2, 5))
    values = [[rng.randrange(colours) for _ in range(frame.width)] for _ in range(frame.height)]
    rows = [bytes(values[y // block * block][x // block * block] for x in range(frame.width)) for y in range(frame.height)]
    if frame.interlaced:
        rows = rows[0::8] + rows[4::8] + rows[2::4] + rows[1::2]
    return b"".join(rows)


def size_bits(palette: bytes) -> int:
    return (len(palette) // 3).bit_length() - 2


def written(width: int, height: int, palette: bytes | None, frames: list[Frame], rng: random.Random) -> bytes:
    """A file with random pixels on a screen of `width` x `height`."""
    flags = 0x80 | size_bits(palette) if palette else 0
    out = b"GIF89a" + struct.pack("<HHBBB", width, height, flags, 0, 0) + (palette or b"")
    if len(frames) > 1:
        out += b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    for frame in frames:
        transparent = frame.transparent if frame.transparent is not None else 0
        control = frame.disposal << 2 | int(frame.transparent is not None)
        out += b"\x21\xf9\x04" + struct.pack("<BHBB", control, 10, transparent, 0)
        own = frame.palette
        colours = len(own or palette or b"") // 3
        flags = (0x80 | size_bits(own) if own else 0) | (0x40 if frame.interlaced else 0)
        out += b"\x2c" + struct.pack("<HHHHB", frame.x, frame.y, frame.width, frame.height, flags) + (own or b"")
        bits = max(2, (colours - 1).bit_length())
        out += lzw(stored(frame, colours, rng), bits)
    return out + b"\x3b"
