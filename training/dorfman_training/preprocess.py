"""Converts an image file to the network's input with Pillow.

The steps and their order are those of docs/bundle.md. Images are stretched to the input size.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .config import InputConfig
from .cut.images import draft

FILTERS = {"nearest": 0, "lanczos3": 1, "bilinear": 2, "bicubic": 3}  # Pillow's constants, equal in all its releases


def tensor(path: Path, config: InputConfig) -> Tensor:
    """Returns the normalised image, float32 [1,C,H,W]."""
    return normalise(read(path, config), config)


def read(path: Path, config: InputConfig) -> np.ndarray:
    """Returns the resized pixels of a file, as `pixels` does."""
    with Image.open(path) as image:
        return pixels(image, config)


def pixels(image: Image.Image, config: InputConfig) -> np.ndarray:
    """Returns the resized pixels, uint8 [H,W] or [3,H,W]."""
    if config.draft:
        draft(image, (config.width, config.height), config.draft)
    flat = on_white(ImageOps.exif_transpose(image))
    flat = flat.convert("L") if config.channels == "grey" else flat.convert("RGB")
    size = (config.width, config.height)
    if flat.size != size:
        flat = flat.resize(size, FILTERS[config.filter])
    values = np.asarray(flat)
    return values if values.ndim == 2 else np.ascontiguousarray(values.transpose(2, 0, 1))


def on_white(image: Image.Image) -> Image.Image:
    """Converts an image to mode L or RGB, composited on white."""
    if image.mode.startswith("I"):
        # Pillow clips 16-bit values at 255. The conversion must take the high byte.
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        values = np.asarray(image.convert("RGBA")).astype(np.uint32)
        colour, alpha = values[..., :3], values[..., 3:]
        # Rounded as in the worker. Pillow's compositing differs by one for some values.
        mixed = (colour * alpha + 255 * (255 - alpha) + 127) // 255
        return Image.fromarray(mixed.astype(np.uint8))
    return image if image.mode == "L" else image.convert("RGB")


def normalise(image: np.ndarray, config: InputConfig) -> Tensor:
    planes = image.reshape(-1, *image.shape[-2:]).astype(np.float32)
    mean = np.asarray(config.mean, np.float32).reshape(-1, 1, 1)
    std = np.asarray(config.std, np.float32).reshape(-1, 1, 1)
    return torch.from_numpy((planes - mean) / std).unsqueeze(0)
