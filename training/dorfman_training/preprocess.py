"""From a file to the network's input with Pillow, step by step in the order of docs/bundle.md; grey bundles only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .config import InputConfig

FILTERS = {"nearest": 0, "lanczos3": 1, "bilinear": 2, "bicubic": 3}  # Pillow's own numbers, the same in old and new releases


def tensor(path: Path, config: InputConfig) -> Tensor:
    """[1,1,H,W]"""
    return normalise(pixels(path, config), config)


def pixels(path: Path, config: InputConfig) -> np.ndarray:
    """uint8 [H,W], resized."""
    with Image.open(path) as image:
        grey = grey_on_white(ImageOps.exif_transpose(image))
    size = (config.width, config.height)
    if grey.size != size:
        grey = grey.resize(size, FILTERS[config.filter])
    return np.asarray(grey)


def grey_on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow's own conversion clips 16-bit values at 255; the high byte is meant.
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        values = np.asarray(image.convert("RGBA")).astype(np.uint32)
        colour, alpha = values[..., :3], values[..., 3:]
        # Rounded as the worker does it; Pillow's own compositing differs by one here and there.
        mixed = (colour * alpha + 255 * (255 - alpha) + 127) // 255
        return Image.fromarray(mixed.astype(np.uint8)).convert("L")
    return image if image.mode == "L" else image.convert("RGB").convert("L")


def normalise(image: np.ndarray, config: InputConfig) -> Tensor:
    return ((torch.from_numpy(image.astype(np.float32)) - config.mean[0]) / config.std[0]).reshape(1, 1, *image.shape)
