"""Reads labelled images in three splits: train, calibration and test.

The calibration split is held out of training and sets the thresholds. The test split is for reports.
"""

from __future__ import annotations

import csv
import gzip
import io
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import preprocess
from .config import Config, DataConfig, InputConfig

SPLITS = ("train", "calibration", "test")
FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")


@dataclass(frozen=True)
class Split:
    """Images, uint8 [N,H,W] or [N,3,H,W], with a flag (positive or not) and a class for each image."""

    images: Tensor
    positive: Tensor
    classes: tuple[str, ...]

    def rows(self, positive: bool) -> Tensor:
        return torch.nonzero(self.positive == positive).squeeze(1)


@dataclass(frozen=True)
class File:
    """An image file as stored in its source."""

    name: str
    kind: str  # the class
    origin: str  # where the photo came from, or "" if the source does not record it
    content: bytes


def load(config: Config, name: str, folder: Path | None = None) -> Split:
    """Loads one split, with images resized to the network's input."""
    data = config.data
    place = folder or Path(data.folder)
    if data.kind == "idx":
        images, kinds = fashion(place, data, name)
    else:
        images, kinds = photos(files(place, data, name), config.input)
    unknown = sorted(set(data.positive) - set(kinds))
    if unknown:
        raise SystemExit(f"data.positive: {place} has no class {unknown}; it has {sorted(set(kinds))}")
    return Split(images, torch.tensor([kind in data.positive for kind in kinds]), tuple(kinds))


def photos(source: Iterator[File], image: InputConfig) -> tuple[Tensor, list[str]]:
    images, kinds = [], []
    for file in source:
        with Image.open(io.BytesIO(file.content)) as photo:
            images.append(preprocess.pixels(photo, image))
        kinds.append(file.kind)
    return torch.from_numpy(np.stack(images)), kinds


def files(folder: Path, data: DataConfig, name: str) -> Iterator[File]:
    """Yields the image files of a split, unchanged."""
    if data.kind == "zip":
        return zipped(folder / f"{name}.zip")
    if data.kind == "csv":
        return listed(folder, name)
    raise SystemExit(f"data.kind must be idx, zip or csv, not {data.kind}")


def zipped(path: Path) -> Iterator[File]:
    """Yields the entries CLASS/NAME of a zip file, in order of their names."""
    with zipfile.ZipFile(path) as archive:
        for entry in sorted(archive.namelist()):
            kind, _, name = entry.partition("/")
            if name and not name.endswith("/"):
                yield File(name, kind, "", archive.read(entry))


def listed(folder: Path, name: str) -> Iterator[File]:
    """Yields the files of a split that index.csv lists, from the archive SPLIT.tar.

    index.csv has the columns path, class, split and source.
    """
    with open(folder / "index.csv", newline="") as table:
        rows = {row["path"]: row for row in csv.DictReader(table) if row["split"] == name}
    with tarfile.open(folder / f"{name}.tar") as archive:
        for entry in archive:
            row = rows.get(entry.name)
            content = archive.extractfile(entry) if row else None
            if row and content:
                yield File(Path(entry.name).name, row["class"], row.get("source", ""), content.read())


def fashion(folder: Path, config: DataConfig, name: str) -> tuple[Tensor, list[str]]:
    images, labels = read_pair(folder, "t10k" if name == "test" else "train")
    if name != "test":
        held_out = hold_out(labels, config.calibration_images, config.split_seed)
        chosen = held_out if name == "calibration" else ~held_out
        images, labels = images[chosen], labels[chosen]
    return torch.from_numpy(images.copy()), [FASHION[label] for label in labels]


def read_idx(path: Path) -> np.ndarray:
    """Reads a gzipped IDX file of uint8 values, the format of MNIST and Fashion-MNIST.

    The file contains two zero bytes, a type (8 is uint8), the number of axes, their sizes and the
    values. Raises ValueError for any other file.
    """
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an IDX file of unsigned bytes")
    axes = raw[3]
    shape = np.frombuffer(raw, dtype=">u4", count=axes, offset=4)
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)


def read_pair(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    return read_idx(folder / f"{name}-images-idx3-ubyte.gz"), read_idx(folder / f"{name}-labels-idx1-ubyte.gz")


def hold_out(classes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns a mask that selects about `count` images, in proportion to the classes.

    A seed gives the same mask on every machine.
    """
    random = np.random.RandomState(seed)
    mask = np.zeros(len(classes), dtype=bool)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        mask[random.permutation(rows)[: round(count * len(rows) / len(classes))]] = True
    return mask


def normalise(images: Tensor, config: InputConfig) -> Tensor:
    """Converts images in 0..255, [N,H,W] or [N,C,H,W], to normalised float [N,C,H,W]."""
    if images.ndim == 3:
        images = images.unsqueeze(1)
    shape = (1, -1, 1, 1)
    mean = torch.tensor(config.mean, device=images.device).reshape(shape)
    std = torch.tensor(config.std, device=images.device).reshape(shape)
    return (images.float() - mean) / std


def write_images(config: Config, name: str, out: Path, folder: Path | None = None) -> int:
    """Writes a split as files OUT/CLASS/NAME, for `dorfman evaluate`, and returns their number.

    OUT/list.csv lists the files, with the columns path, class and source.
    """
    place = folder or Path(config.data.folder)
    source = fashion_files(place, config.data, name) if config.data.kind == "idx" else files(place, config.data, name)
    rows = []
    for file in source:
        target = out / file.kind / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        rows.append((f"{file.kind}/{file.name}", file.kind, file.origin))
    with open(out / "list.csv", "w", newline="") as table:
        csv.writer(table).writerows([("path", "class", "source"), *rows])
    return len(rows)


def fashion_files(folder: Path, config: DataConfig, name: str) -> Iterator[File]:
    images, kinds = fashion(folder, config, name)
    for index, (image, kind) in enumerate(zip(images.numpy(), kinds)):
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG")
        yield File(f"{index:05}.png", kind, "", content.getvalue())
