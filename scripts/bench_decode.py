#!/usr/bin/env python3
"""Measures the CPU time from a JPEG's bytes to the input of a network, beside OpenCV and Pillow.

    scripts/bench_decode.py [--size WIDTHxHEIGHT] [--rounds N] [--worker PATH]

The images are mosaics of the photos of models/shoes, so that they have the details of photos. All are
made ready for the input of models/shoes: decoded, resized to its size, normalised. Each decoder uses
one thread. `full` decodes every pixel. `draft` and `reduced` decode at 1/2, 1/4 or 1/8, so that no
side becomes shorter than the input. The times are medians, in milliseconds of CPU time.

Needs target/release/dorfman and `scripts/setup.sh decode`, and runs with .dorfman/decode/bin/python.
"""

import argparse
import io
import json
import re
import statistics
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from machine import ROOT
from measuring import show
from photos import SHOES
from PIL import Image

FIGURE = re.compile(r"decode, (\w+): \S*/(\S+)\.jpg +([\d.]+) ms")
SIZES = ["1920x1080", "640x480", "256x192"]
REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
Decoder = Callable[[bytes, tuple[int, int]], np.ndarray]


def mosaic(photos: list[Image.Image], size: tuple[int, int]) -> bytes:
    """Returns a JPEG that is filled with photos, line by line."""
    image, at, line = Image.new("RGB", size), [0, 0], 0
    while at[1] < size[1]:
        photo = photos[(at[0] + 7 * at[1]) % len(photos)]
        image.paste(photo, tuple(at))
        line = max(line, photo.height)
        at[0] += photo.width
        if at[0] >= size[0]:
            at, line = [0, at[1] + line], 0
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85, subsampling=2)
    return out.getvalue()


def normalised(pixels: np.ndarray) -> np.ndarray:
    return (pixels.astype(np.float32) - 127.0) / 128.0


def divisor(size: tuple[int, int], target: tuple[int, int]) -> int:
    most = min(size[0] // target[0], size[1] // target[1])
    return next((scale for scale in (8, 4, 2) if scale <= most), 1)


def opencv(data: bytes, target: tuple[int, int], mode: int) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    # Enlarging or shrinking with all pixels, as Pillow's filter does.
    return normalised(cv2.cvtColor(cv2.resize(pixels, target, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB))


def opencv_full(data: bytes, target: tuple[int, int]) -> np.ndarray:
    return opencv(data, target, cv2.IMREAD_COLOR)


def opencv_reduced(data: bytes, target: tuple[int, int]) -> np.ndarray:
    scale = divisor(Image.open(io.BytesIO(data)).size, target)
    return opencv(data, target, REDUCED.get(scale, cv2.IMREAD_COLOR))


def pillow(data: bytes, target: tuple[int, int], draft: bool) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    if draft:
        image.draft("RGB", target)
    return normalised(np.asarray(image.convert("RGB").resize(target, Image.Resampling.BILINEAR)))


def pillow_full(data: bytes, target: tuple[int, int]) -> np.ndarray:
    return pillow(data, target, draft=False)


def pillow_draft(data: bytes, target: tuple[int, int]) -> np.ndarray:
    return pillow(data, target, draft=True)


PEERS: dict[str, Decoder] = {
    "OpenCV full": opencv_full,
    "OpenCV reduced": opencv_reduced,
    "Pillow full": pillow_full,
    "Pillow draft": pillow_draft,
}


def timed(decode: Decoder, data: bytes, target: tuple[int, int], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begun = time.process_time()
        decode(data, target)
        times.append(time.process_time() - begun)
    return statistics.median(times) * 1e3


def own(worker: Path, folder: Path, rounds: int) -> dict[tuple[str, str], float]:
    """Returns the worker's times, by way and name."""
    command: list[str | Path] = [worker, "bench", "decode", "--images", folder, "--bundle", SHOES, "--rounds", str(rounds)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {(way, name): float(ms) for way, name, ms in FIGURE.findall(printed)}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", action="append", metavar="WIDTHxHEIGHT", help=f"size of an image; may be repeated (default: {', '.join(SIZES)})")
    parser.add_argument("--rounds", type=int, default=51, metavar="N", help="times that each image is decoded (default: %(default)s)")
    parser.add_argument("--worker", type=Path, default=ROOT / "target/release/dorfman", help="the binary")
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    cv2.setNumThreads(1)
    with zipfile.ZipFile(SHOES / "photos.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[:200]
        photos = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in names]
    wanted = json.loads((SHOES / "bundle.json").read_text())["input"]
    target = (wanted["width"], wanted["height"])
    rows = [["CPU ms per image", "kB", "dorfman full", "dorfman draft", *PEERS]]
    with tempfile.TemporaryDirectory() as folder:
        images = {}
        for size in arguments.size or SIZES:
            width, height = map(int, size.split("x"))
            images[size] = mosaic(photos, (width, height))
            (Path(folder) / f"{size}.jpg").write_bytes(images[size])
        ours = own(arguments.worker, Path(folder), arguments.rounds)
        for size, data in images.items():
            peers = [timed(decode, data, target, arguments.rounds) for decode in PEERS.values()]
            times = [ours["full", size], ours["draft", size], *peers]
            rows.append([size, f"{len(data) / 1000:.0f}", *(f"{ms:.2f}" for ms in times)])
            rows.append(["  / dorfman draft", "", *(f"{ms / ours['draft', size]:.2f}" for ms in times)])
    show(rows)


main()
