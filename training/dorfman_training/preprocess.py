"""From a file to the network's input with Pillow, step by step in the order of docs/bundle.md; images are stretched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .config import InputConfig

FILTERS = {"nearest": 0, "lanczos3": 1, "bilinear": 2, "bicubic": 3}  # Pillow's own numbers, the same in old and new releases


def tensor(path: Path, config: InputConfig) -> Tensor:
    """[1,C,H,W]"""
    with Image.open(path) as image:
        return normalise(pixels(image, config), config)


def pixels(image: Image.Image, config: InputConfig) -> np.ndarray:
    """uint8 [H,W] or [3,H,W], resized."""
    flat = on_white(ImageOps.exif_transpose(image))
    flat = flat.convert("L") if config.channels == "grey" else flat.convert("RGB")
    size = (config.width, config.height)
    if flat.size != size:
        flat = flat.resize(size, FILTERS[config.filter])
    values = np.asarray(flat)
    return values if values.ndim == 2 else np.ascontiguousarray(values.transpose(2, 0, 1))


def on_white(image: Image.Image) -> Image.Image:
    """L or RGB; what is transparent shows white."""
    if image.mode.startswith("I"):
        # Pillow's own conversion clips 16-bit values at 255; the high byte is meant.
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        values = np.asarray(image.convert("RGBA")).astype(np.uint32)
        colour, alpha = values[..., :3], values[..., 3:]
        # Rounded as the worker does it; Pillow's own compositing differs by one here and there.
        mixed = (colour * alpha + 255 * (255 - alpha) + 127) // 255
        return Image.fromarray(mixed.astype(np.uint8))
    return image if image.mode == "L" else image.convert("RGB")


def normalise(image: np.ndarray, config: InputConfig) -> Tensor:
    planes = image.reshape(-1, *image.shape[-2:]).astype(np.float32)
    mean = np.asarray(config.mean, np.float32).reshape(-1, 1, 1)
    std = np.asarray(config.std, np.float32).reshape(-1, 1, 1)
    return torch.from_numpy((planes - mean) / std).unsqueeze(0)
