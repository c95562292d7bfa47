"""Writes the fixture for the worker's tests of decoding, preprocessing and scoring.

The fixture is a set of images and `scores.json`, the results that the worker must reproduce. The
images are the same for every network. If `scores.json` is written beside the images, the PNG files
are written again from the test images of Fashion-MNIST. The photos (*.jpg) are those in the folder.
`copy_photos` copies their published bytes, since encoding a JPEG again changes its pixels.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import data, groups, preprocess
from .config import Config
from .fold import folded
from .model import StagedNet

POSITIVES, NEGATIVES = 4, 8  # how many of the first test images are used
PHOTOS = (  # CLASS/FILE in the test folder of clothing-dataset-small
    "hat/570eaee3e4c2b960.jpg",
    "longsleeve/0f2f29988180997a.jpg",
    "longsleeve/642d6c6cea8ae172.jpg",
    "longsleeve/d025019b293ecf32.jpg",
    "shoes/76a2d1370db72455.jpg",
    "skirt/0769b0e42ed35774.jpg",
    "skirt/ea9f840a27e5434e.jpg",
    "skirt/eba239c81bb01a5b.jpg",
)
# (y, x) of the pixels of a preprocessed image that scores.json contains
PIXELS = ((0, 0), (7, 20), (14, 14), (20, 7), (27, 27))


def write(model: StagedNet, config: Config, images: Path, folder: Path) -> None:
    """Writes `scores.json` into `folder`, for the images in the folder `images`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = write_pngs(config, images) if folder == images else sorted(path.name for path in images.glob("*.png"))
    photos = sorted(path.name for path in images.glob("*.jpg"))
    files = names + photos
    pixels = [preprocess.read(images / name, config.input) for name in files]
    inputs = torch.cat([preprocess.normalise(values, config.input) for values in pixels])
    model = folded(model).cpu()
    table: dict[str, Any] = {
        "bundle": {"name": config.bundle.name, "version": config.bundle.version},
        "pixels_at": [list(at) for at in PIXELS],
        "files": [{"file": name, **summary(pixels[row]), "score": score(model, inputs, [row])} for row, name in enumerate(files)],
        "groups": [{"members": [files[row] for row in rows], "score": score(model, inputs, rows)} for rows in group_rows(names, photos)],
    }
    (folder / "scores.json").write_text(json.dumps(table, indent=1) + "\n")


def copy_photos(source: Path, folder: Path) -> None:
    """Copies the photos from `source`, a folder with one folder per class or a ZIP file of it."""
    folder.mkdir(parents=True, exist_ok=True)
    root = zipfile.Path(source) if source.is_file() else source
    for name in PHOTOS:
        (folder / name.replace("/", "-")).write_bytes((root / name).read_bytes())


def write_pngs(config: Config, folder: Path) -> list[str]:
    test = data.load(config, "test")
    rows = torch.cat([test.rows(True)[:POSITIVES], test.rows(False)[:NEGATIVES]]).tolist()
    names = []
    for row in rows:
        kind = config.bundle.label if test.positive[row] else "other"
        names.append(f"{kind}-{row:04}.png")
        Image.fromarray(test.images[row].numpy()).save(folder / names[-1], optimize=True)
    return names


def summary(pixels: np.ndarray) -> dict[str, Any]:
    """Summarises the first channel of an image, to distinguish a wrong preprocessing step from rounding."""
    values = pixels if pixels.ndim == 2 else pixels[0]
    return {
        "mean": round(float(values.mean()), 3),
        "std": round(float(values.std()), 3),
        "pixels": [int(values[y, x]) for y, x in PIXELS],
    }


@torch.no_grad()
def score(model: StagedNet, inputs: Tensor, rows: list[int]) -> float:
    levels = groups.levels(torch.tensor([rows]), torch.tensor([len(rows)]), model.fans)
    return float(torch.sigmoid(model(inputs, levels))[0, 0])


def group_rows(names: list[str], photos: list[str]) -> list[list[int]]:
    """Returns groups of 2, 4 and 16 images, and two groups whose size no tree divides evenly.

    Some groups have a positive and some have none. Some contain one file type and some both.
    """
    hot = list(range(POSITIVES))
    cold = list(range(POSITIVES, len(names)))
    real = list(range(len(names), len(names) + len(photos)))
    drawn = [
        cold[:2],
        [hot[0], cold[0]],
        real[:2],
        cold[:4],
        [cold[0], cold[1], cold[2], hot[1]],
        real[:4],
        [*cold, *real][:16],
        [hot[2], *cold, *real][:16],
        [*hot, *cold, *real][:16],
        [cold[3], cold[4], hot[3]],
        [*cold[1:], *hot],
    ]
    return [rows for rows in drawn if rows]  # without photos, some groups are empty
