"""Augments training images: shifts, mirrors, crops, erases and tints them."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from .config import TrainConfig


def augment(images: Tensor, settings: TrainConfig, generator: torch.Generator) -> Tensor:
    """Takes uint8 images and returns float or uint8 images in 0..255, of the same shape."""
    if settings.shift:
        images = shifted(images, settings.shift, generator)
    if settings.zoom < 1:
        images = zoomed(images, settings.zoom, generator)
    if settings.erase:
        images = erased(images, settings.erase, generator)
    if settings.colour:
        images = tinted(images.float(), settings.colour, generator)
    return images


def shifted(images: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    """Shifts each grey image of [N,H,W] by up to `shift` pixels and mirrors half of the images.

    Pixels that enter at an edge are black.
    """
    count, height, width = images.shape
    padded = functional.pad(images, (shift, shift, shift, shift))
    offsets = torch.randint(0, 2 * shift + 1, (2, count, 1), generator=generator)
    rows = torch.arange(height) + offsets[0]
    columns = torch.arange(width) + offsets[1]
    mirror = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(mirror, columns.flip(1), columns)
    return padded[torch.arange(count).reshape(-1, 1, 1), rows.unsqueeze(2), columns.unsqueeze(1)]


def erased(images: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Covers a rectangle with noise in half of the images of [N,...,H,W].

    The sides are up to `most` of the image's sides. See Zhong et al., "Random Erasing", 2017.
    """
    count, (height, width) = len(images), images.shape[-2:]
    inside = torch.ones(count, height, width, dtype=torch.bool)
    for axis, length in ((1, height), (2, width)):
        side = most * length * torch.rand(count, 1, generator=generator)
        first = torch.rand(count, 1, generator=generator) * (length - side)
        place = torch.arange(length) + 0.5
        inside &= ((place >= first) & (place < first + side)).unsqueeze(3 - axis)
    inside &= torch.rand(count, 1, 1, generator=generator) < 0.5
    noise = torch.randint(0, 256, images.shape, generator=generator, dtype=torch.uint8).to(images.dtype)
    return torch.where(inside.reshape(count, *[1] * (images.dim() - 3), height, width), noise, images)


def zoomed(images: Tensor, least: float, generator: torch.Generator) -> Tensor:
    """Crops each image of [N,C,H,W] at random, resizes it to full size and mirrors half of the images.

    Position, size and aspect ratio differ per image. A side is at least `least` of the image's side.
    """
    count, _, height, width = images.shape
    side = least + (1 - least) * torch.rand(count, 2, generator=generator)
    centre = (1 - side) * (2 * torch.rand(count, 2, generator=generator) - 1)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = side[:, 0] * mirror, side[:, 1]
    theta[:, :, 2] = centre
    grid = functional.affine_grid(theta, [count, 1, height, width], align_corners=False)
    return functional.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)


def tinted(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Changes brightness, contrast and the balance of the channels of float [N,C,H,W] in 0..255.

    `strength` is the largest relative change of brightness and of contrast. A channel changes by up
    to half of it.
    """
    count, channels = images.shape[:2]

    def factor(width: int, part: float) -> Tensor:
        return 1 + part * strength * (2 * torch.rand(count, width, 1, 1, generator=generator) - 1)

    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * factor(1, 1.0) + mean
    return (images * factor(1, 1.0) * factor(channels, 0.5)).clamp(0, 255)
