"""Converts an image's bytes to the network's input with Pillow, for every kind of input.

The steps and their order are those of docs/bundle.md.
"""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from .errors import CutError

FILTERS = {"nearest": 0, "lanczos3": 1, "bilinear": 2, "bicubic": 3}  # Pillow's constants, equal in all its releases
MOST_PIXELS = 1 << 25  # limit for an image that is resized before it is cropped
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values that swap width and height
CHANNELS = {"grey": 1, "rgb": 3, "bgr": 3}


@dataclass(frozen=True)
class Input:
    width: int
    height: int
    channels: str
    layout: str
    short_side: int | None  # None: stretch
    filter: str
    mean: tuple[float, ...]  # empty if the network reads uint8
    std: tuple[float, ...]
    draft: int = 0  # a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size down to this many times the target size; 0: it is decoded in full

    def __post_init__(self) -> None:
        count = CHANNELS[self.channels]
        for field, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != count and (self.mean or self.std):
                raise CutError(f"--{field} has {len(values)} values, but a {self.channels} image has {count} channels")
        if not all(0 < value < float("inf") for value in self.std):
            raise CutError("--std: every value must be above 0")
        if not (1 <= self.width <= 8192 and 1 <= self.height <= 8192):
            raise CutError(f"the input is {self.width} x {self.height}, but the worker accepts sides of 1 to 8192")
        if self.short_side is not None and self.short_side < max(self.width, self.height):
            raise CutError(f"--short-side is {self.short_side}, but the crop needs at least {max(self.width, self.height)}")

    @property
    def is_pixels(self) -> bool:
        """Whether the network reads uint8 and normalises the pixels itself."""
        return not self.mean

    def as_pixels(self) -> Input:
        return dataclasses.replace(self, mean=(), std=())

    @property
    def shape(self) -> tuple[int, int, int]:
        count = CHANNELS[self.channels]
        return (count, self.height, self.width) if self.layout == "nchw" else (self.height, self.width, count)

    def table(self) -> dict[str, Any]:
        """Returns the field `input` of bundle.json."""
        rule: dict[str, Any] = {"rule": "stretch"} if self.short_side is None else {"rule": "short-side", "short_side": self.short_side}
        draft = {"draft": self.draft} if self.draft else {}
        kind = {"dtype": "uint8"} if self.is_pixels else {"mean": list(self.mean), "std": list(self.std)}
        return {
            "width": self.width, "height": self.height, "channels": self.channels, "layout": self.layout,
            "resize": {**rule, "filter": self.filter, **draft}, **kind,
        }  # fmt: skip


def from_table(table: dict[str, Any]) -> Input:
    """Reads the field `input` of bundle.json."""
    resize = table["resize"]
    side = resize.get("short_side") if resize["rule"] == "short-side" else None
    return Input(
        table["width"], table["height"], table["channels"], table.get("layout", "nchw"), side,
        resize.get("filter", "bilinear"), tuple(table.get("mean", ())), tuple(table.get("std", ())), resize.get("draft", 0),
    )  # fmt: skip


def tensor(content: bytes, wanted: Input) -> np.ndarray:
    """Returns one image of `wanted.shape` as the network reads it. Raises OSError, ValueError or SyntaxError for a file that is not an image."""
    return normalise(pixels(content, wanted), wanted)


def pixels(content: bytes, wanted: Input) -> np.ndarray:
    """Returns the resized and cropped pixels, uint8 [H,W,channels], in the order of `wanted.channels`."""
    with Image.open(io.BytesIO(content)) as image:
        return shrunk(image, wanted)


def shrunk(image: Image.Image, wanted: Input) -> np.ndarray:
    """As `pixels`, for an image that is open and not loaded."""
    if wanted.draft:
        draft(image, (wanted.short_side or wanted.width, wanted.short_side or wanted.height), wanted.draft)
    plain = fit(on_white(ImageOps.exif_transpose(image), "L" if wanted.channels == "grey" else "RGB"), wanted)
    values = np.asarray(plain).reshape(wanted.height, wanted.width, -1)
    return values[..., ::-1] if wanted.channels == "bgr" else values


def draft(image: Image.Image, size: tuple[int, int], gap: int) -> None:
    """Makes Pillow decode a JPEG at 1/2, 1/4 or 1/8 of its size if the upright sides remain at least `gap` times `size`.

    `Image.thumbnail` does the same with its `reducing_gap`.
    """
    least = (size[0] * gap, size[1] * gap)
    turned = image.getexif().get(ORIENTATION, 1) in TURNED
    image.draft(None, least[::-1] if turned else least)


def on_white(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow clips 16-bit values at 255. The conversion must take the high byte.
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert(mode)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        values = np.asarray(image.convert("RGBA")).astype(np.uint32)
        colour, alpha = values[..., :3], values[..., 3:]
        # Rounded as in the worker. Pillow's compositing differs by one for some values.
        mixed = (colour * alpha + 255 * (255 - alpha) + 127) // 255
        return Image.fromarray(mixed.astype(np.uint8)).convert(mode)
    if image.mode == mode:
        return image
    return image.convert(mode) if image.mode == "L" else image.convert("RGB").convert(mode)


def fit(image: Image.Image, wanted: Input) -> Image.Image:
    crop = (wanted.width, wanted.height)
    if wanted.short_side is None:
        return image if image.size == crop else image.resize(crop, FILTERS[wanted.filter])
    full = tuple(wanted.short_side * side // min(image.size) for side in image.size)
    left, top = ((long - part) // 2 for long, part in zip(full, crop))
    if full[0] * full[1] > MOST_PIXELS:
        # The long side of a very narrow image may be millions of pixels: only the crop is resized.
        # Pillow's boxes have single precision, so some values differ by one.
        scale = min(image.size) / wanted.short_side
        box = (left * scale, top * scale, (left + crop[0]) * scale, (top + crop[1]) * scale)
        return image.resize(crop, FILTERS[wanted.filter], tuple(min(edge, side) for edge, side in zip(box, image.size * 2)))
    if image.size != full:
        image = image.resize(full, FILTERS[wanted.filter])
    return image.crop((left, top, left + crop[0], top + crop[1]))


def normalise(values: np.ndarray, wanted: Input) -> np.ndarray:
    """Returns pixels as the network reads them: uint8, or float32 after the normalisation."""
    if wanted.is_pixels:
        return np.ascontiguousarray(values.transpose(2, 0, 1) if wanted.layout == "nchw" else values)
    mean, std = np.array(wanted.mean, dtype=np.float32), np.array(wanted.std, dtype=np.float32)
    result = (values.astype(np.float32) - mean) / std
    return np.ascontiguousarray(result.transpose(2, 0, 1) if wanted.layout == "nchw" else result)
