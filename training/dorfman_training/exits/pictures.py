"""Labelled images, resized to the input of a network or of a screen by its own rule."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from .. import data, progress
from ..config import Config
from ..cut import images
from ..cut.dataset import Labelled
from ..cut.errors import CutError
from ..cut.images import Input

UNREADABLE = (OSError, ValueError, SyntaxError)  # Pillow raises any of these for a file that it cannot read
MOST_BYTES = 8 << 30  # limit of the pixels that are kept in memory
BATCH = 64


@dataclass(frozen=True)
class Pictures:
    """Images that can be read. `wanted` [N,positive labels] has the labels of each image."""

    wanted: np.ndarray
    open: Sequence[Callable[[], Image.Image]]

    def __len__(self) -> int:
        return len(self.open)

    def pixels(self, shape: Input) -> np.ndarray:
        """Returns all images, uint8 [N,H,W,channels], resized from the original images."""
        count = len(self) * shape.width * shape.height * images.CHANNELS[shape.channels]
        if count > MOST_BYTES:
            raise CutError(f"the pixels of {len(self)} images take {count / 1e9:.0f} GB: use fewer images (--images)")
        return np.stack([images.shrunk(read(), shape) for read in progress.over(self.open, "images")])

    def subset(self, rows: np.ndarray) -> "Pictures":
        return Pictures(self.wanted[rows], [self.open[row] for row in rows])


def batches(pixels: np.ndarray, shape: Input, size: int = BATCH) -> Iterator[np.ndarray]:
    """Yields images as the network reads them, in the layout of `shape`."""
    for start in progress.over(range(0, len(pixels), size), "network"):
        yield np.stack([images.normalise(values, shape) for values in pixels[start : start + size]])


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def of_split(config: Config, name: str, folder: Path | None) -> Pictures:
    """Returns the images of a split of a configuration's data, which has one positive label."""
    place = folder or Path(config.data.folder)
    if config.data.kind == "idx":
        values, kinds = data.fashion(place, config.data, name)
        readers: list[Callable[[], Image.Image]] = [lambda value=value: Image.fromarray(value) for value in values.numpy()]  # type: ignore[misc]
    else:
        files = list(data.files(place, config.data, name))
        kinds = [file.kind for file in files]
        readers = [lambda content=file.content: opened(content) for file in files]  # type: ignore[misc]
    wanted = np.isin(np.array(kinds), config.data.positive)[:, None]
    if not wanted.any() or wanted.all():
        raise CutError(f"the split {name} in {place} needs positive and negative images: check data.positive")
    return Pictures(wanted, readers)


def of_files(found: Sequence[Labelled], classes: Sequence[Sequence[str]], say: Callable[[str], None]) -> Pictures:
    """Returns the readable images among `found`. `classes` has the positive classes of each positive label."""
    kept = [entry for entry in progress.over(found, "files") if readable(entry)]
    if len(kept) < len(found):
        say(f"skipped {len(found) - len(kept)} files that cannot be read")
    if not kept:
        raise CutError("--data: no image can be read")
    wanted = np.array([[entry.kind in names for names in classes] for entry in kept], dtype=bool)
    return Pictures(wanted, [lambda entry=entry: opened(entry.read()) for entry in kept])  # type: ignore[misc]


def readable(entry: Labelled) -> bool:
    try:
        opened(entry.read()).load()
        return True
    except UNREADABLE:
        return False
