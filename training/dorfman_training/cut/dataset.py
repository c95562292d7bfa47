"""Finds labelled images in a folder, a zip file or a CSV file.

A folder has one folder per class. A zip file has entries CLASS/NAME. A CSV file has the columns path
and class.
"""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Callable, Iterator, Sequence

import numpy as np

from .errors import CutError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif")  # the formats that the worker reads


@dataclass(frozen=True)
class Labelled:
    kind: str
    name: str  # for messages
    read: Callable[[], bytes]


def find(source: Path, classes: bool = True) -> list[Labelled]:
    """Returns the images of a folder, a zip file or a CSV file. Without `classes`, images may have no class."""
    if source.is_dir():
        found = list(in_folder(source, classes))
    elif zipfile.is_zipfile(source):
        found = list(in_zip(source, classes))
    elif source.is_file():
        found = list(in_list(source, classes))
    else:
        raise CutError(f"--data: {source} does not exist")
    if not found:
        raise CutError(f"--data: {source} has no images ({', '.join(ENDINGS)}) with a class")
    return found


def in_folder(folder: Path, classes: bool = True) -> Iterator[Labelled]:
    for path in sorted(folder.glob("*/**/*" if classes else "**/*")):
        if path.suffix.lower() in ENDINGS and path.is_file():
            yield Labelled(path.relative_to(folder).parts[0] if classes else "", str(path), path.read_bytes)


def in_zip(source: Path, classes: bool = True) -> Iterator[Labelled]:
    archive = zipfile.ZipFile(source)
    for name in sorted(archive.namelist()):
        path = PurePosixPath(name)
        if path.suffix.lower() in ENDINGS and (len(path.parts) > 1 or not classes):
            yield Labelled(path.parent.name if classes else "", name, partial(archive.read, name))


def in_list(source: Path, classes: bool = True) -> Iterator[Labelled]:
    with open(source, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        wanted = {"path", "class"} if classes else {"path"}
        if not wanted <= set(rows.fieldnames or ()):
            raise CutError(
                f"--data: {source} must have the column{'s' if classes else ''} {' and '.join(f'`{name}`' for name in sorted(wanted, reverse=True))}"
            )
        for row in rows:
            path = source.parent / row["path"]
            yield Labelled(row["class"] if classes else "", str(path), path.read_bytes)


def sample(found: Sequence[Labelled], most: int | None, seed: int) -> list[Labelled]:
    """Draws at most `most` images of each class. A seed always draws the same images."""
    order = np.random.default_rng(seed).permutation(len(found))
    taken: dict[str, int] = {}
    kept = []
    for place in order:
        entry = found[place]
        taken[entry.kind] = taken.get(entry.kind, 0) + 1
        if most is None or taken[entry.kind] <= most:
            kept.append(entry)
    return kept


def check_classes(found: Sequence[Labelled], wanted: Sequence[str]) -> None:
    classes = sorted({entry.kind for entry in found})
    unknown = sorted(set(wanted) - set(classes))
    if unknown:
        raise CutError(f"--positive-class: there is no class {', '.join(unknown)}; there are {', '.join(classes)}")
