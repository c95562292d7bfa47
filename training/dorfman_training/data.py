"""Reads Fashion-MNIST and splits it: training, calibration (held out of the training images) and test (reporting only)."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .config import DataConfig, InputConfig


@dataclass(frozen=True)
class Split:
    """Images as they are in the file, uint8 [N,H,W], and which of them are positive."""

    images: Tensor
    positive: Tensor

    def rows(self, positive: bool) -> Tensor:
        return torch.nonzero(self.positive == positive).squeeze(1)


@dataclass(frozen=True)
class Splits:
    train: Split
    calibration: Split
    test: Split


def read_idx(path: Path) -> np.ndarray:
    """The format of the MNIST family: two zero bytes, a type (8 is uint8), the number of axes, their sizes, the values."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} holds no unsigned bytes in IDX form")
    axes = raw[3]
    shape = np.frombuffer(raw, dtype=">u4", count=axes, offset=4)
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)


def load(config: DataConfig) -> Splits:
    folder = Path(config.folder)
    images, classes = read_pair(folder, "train")
    held_out = hold_out(classes, config.calibration_images, config.split_seed)
    test_images, test_classes = read_pair(folder, "t10k")
    return Splits(
        train=split(images[~held_out], classes[~held_out], config.positive_class),
        calibration=split(images[held_out], classes[held_out], config.positive_class),
        test=split(test_images, test_classes, config.positive_class),
    )


def read_pair(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    return read_idx(folder / f"{name}-images-idx3-ubyte.gz"), read_idx(folder / f"{name}-labels-idx1-ubyte.gz")


def split(images: np.ndarray, classes: np.ndarray, positive_class: int) -> Split:
    return Split(torch.from_numpy(images.copy()), torch.from_numpy(classes == positive_class))


def hold_out(classes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A mask of `count` images, every class in its share, the same for a seed on every machine."""
    random = np.random.RandomState(seed)
    mask = np.zeros(len(classes), dtype=bool)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        mask[random.permutation(rows)[: round(count * len(rows) / len(classes))]] = True
    return mask


def normalise(images: Tensor, config: InputConfig) -> Tensor:
    """uint8 [N,H,W] to float [N,1,H,W]."""
    return ((images.float() - config.mean[0]) / config.std[0]).unsqueeze(1)


def augment(images: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    """Moves each image by up to `shift` pixels (what comes in is black, as the background is) and mirrors half of them."""
    count, height, width = images.shape
    padded = torch.nn.functional.pad(images, (shift, shift, shift, shift))
    offsets = torch.randint(0, 2 * shift + 1, (2, count, 1), generator=generator)
    rows = torch.arange(height) + offsets[0]
    columns = torch.arange(width) + offsets[1]
    mirror = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(mirror, columns.flip(1), columns)
    return padded[torch.arange(count).reshape(-1, 1, 1), rows.unsqueeze(2), columns.unsqueeze(1)]
