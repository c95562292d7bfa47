"""The photos of a benchmark: a zip of CLASS/NAME.jpg, of which one class is positive."""

import argparse
import random
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from machine import ROOT

SHOES = ROOT / "models/shoes"


@dataclass(frozen=True)
class Photos:
    """Photos in a folder: the positive ones and the negative ones."""

    positives: list[Path]
    negatives: list[Path]

    def drawn(self, count: int, share: float, draw: random.Random) -> list[Path]:
        """Returns photos in random order. A photo may occur several times. A share of them is positive."""
        hot = round(count * share)
        chosen = draw.choices(self.positives, k=hot) + draw.choices(self.negatives, k=count - hot)
        draw.shuffle(chosen)
        return chosen


def add_photo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, default=SHOES, help="the bundle (default: models/shoes)")
    parser.add_argument("--photos", type=Path, default=SHOES / "photos.zip", help="zip of CLASS/NAME.jpg (default: models/shoes/photos.zip)")
    parser.add_argument("--positive", default="shoes", help="the class of the positive photos (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed for drawing photos (default: %(default)s)")


def unpack(program: str, photos: Path, positive: str, folder: Path) -> Photos:
    """Unpacks photos into one folder, without subfolders. `program` is the name of the script in messages."""
    found = Photos([], [])
    folder.mkdir()
    with zipfile.ZipFile(photos) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith(".jpg"):
                continue
            path = folder / name.replace("/", "-")
            path.write_bytes(archive.read(name))
            (found.positives if Path(name).parent.name == positive else found.negatives).append(path)
    if not found.positives or not found.negatives:
        sys.exit(f"{program}: {photos} needs photos in a folder {positive}/, and photos in others")
    return found
