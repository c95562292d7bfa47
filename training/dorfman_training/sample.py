"""Writes a small zip of a split's photos for `dorfman demo`: all positives and some negatives, shrunk."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

from PIL import Image, ImageOps

from .config import Config
from .data import File, files

QUALITY = 85


def write(config: Config, split: str, folder: Path | None, out: Path, negatives: int, side: int) -> int:
    """Writes entries CLASS/NAME.jpg and returns their number. Every run writes the same bytes.

    The shorter side of a photo is at most `side` pixels.
    """
    found = list(files(folder or Path(config.data.folder), config.data, split))
    positive = [file for file in found if file.kind in config.data.positive]
    rest = sorted((file for file in found if file.kind not in config.data.positive), key=lambda file: (file.kind, file.name))
    chosen = positive + random.Random(config.data.split_seed).sample(rest, min(negatives, len(rest)))
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w") as archive:  # stored, not compressed: compression does not shrink a JPEG
        for file in sorted(chosen, key=lambda file: (file.kind, file.name)):
            archive.writestr(zipfile.ZipInfo(f"{file.kind}/{Path(file.name).stem}.jpg"), smaller(file, side))
    return len(chosen)


def smaller(file: File, side: int) -> bytes:
    content = io.BytesIO()
    with Image.open(io.BytesIO(file.content)) as stored:
        photo = ImageOps.exif_transpose(stored).convert("RGB")  # the written file has no EXIF orientation
        scale = min(1.0, side / min(photo.size))
        size = (round(photo.width * scale), round(photo.height * scale))
        photo.resize(size, Image.BICUBIC).save(content, "JPEG", quality=QUALITY, optimize=True)
    return content.getvalue()
