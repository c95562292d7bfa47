"""Small images: pictures of garments from Fashion-MNIST's test set (`scripts/setup.sh dataset`). Needs Pillow."""

import gzip
from pathlib import Path

from photos import Photos
from PIL import Image

DATASET = Path("/usr/share/datasets/fashion-mnist")
SIDE = 28
BAG = 8
SMALL, BAGS = 9_000, 0.1


def write_garments(count: int, share: float, folder: Path) -> list[Path]:
    """Writes `count` pictures, of which a share shows bags. Returns their paths."""
    pixels = gzip.decompress((DATASET / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((DATASET / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    bags = [n for n, label in enumerate(labels) if label == BAG]
    others = [n for n, label in enumerate(labels) if label != BAG]
    hot = round(count * share)
    return [_write(pixels, n, folder) for n in bags[:hot] + others[: count - hot]]


def garments(folder: Path) -> Photos:
    """Writes 9,000 pictures, of which a tenth shows bags."""
    folder.mkdir()
    paths = write_garments(SMALL, BAGS, folder)
    return Photos(paths[: round(SMALL * BAGS)], paths[round(SMALL * BAGS) :])


def _write(pixels: bytes, number: int, folder: Path) -> Path:
    start, path = number * SIDE * SIDE, folder / f"{number:05}.png"
    Image.frombytes("L", (SIDE, SIDE), pixels[start : start + SIDE * SIDE]).save(path)
    return path
