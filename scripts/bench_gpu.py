#!/usr/bin/env python3
"""Checks a GPU against the CPU, and measures it, in less than ten minutes.

    scripts/bench_gpu.py [--provider NAME]... [--images N] [--bundle DIR]...

For each bundle and each provider:

    verdicts   `dorfman scan` of the same photos on the CPU and with the provider. Every verdict must
               be the same. The largest difference of a score is shown.
    alone      images per second that the network can test alone, by `dorfman profile`
    exits      images per second that pass only the stage of the first exit, or stage 0
    busy       the share of the time in which the GPU computed during the profile, by nvidia-smi
    bytes      bytes that travel to the GPU per image tested alone: pixels and slot numbers
    decoders   decode threads that keep the network busy with images tested alone

A folder BUNDLE-half beside a bundle is measured too, if it exists: `python3 -m dorfman_training half`
writes it. The exit code is 1 if a verdict differs, and 64 if a provider is not available.

Needs target/release/dorfman, ONNX Runtime for GPUs (`scripts/setup.sh onnxruntime-gpu`), and on
LD_LIBRARY_PATH CUDA 13 and cuDNN 9, for `tensorrt` also TensorRT.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import ROOT, find_onnxruntime
from measuring import show
from photos import SHOES, unpack

BUNDLES = [ROOT / "models/shoes", ROOT / "models/fashion-bag"]
UNAVAILABLE = 64
EXPECTED = "cpu"  # the provider with which the others are compared


@dataclass(frozen=True)
class Verdict:
    verdict: str
    score: float | None


def dorfman(worker: Path, provider: str, *words: str) -> str:
    """Runs a subcommand with a provider, and returns what it prints."""
    environment = {**os.environ, "DORFMAN_MODEL__PROVIDER": provider}
    done = subprocess.run([str(worker), *words], capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    if done.returncode != 0:
        print(f"bench-gpu: {provider}: `dorfman {words[0]}` ended with {done.returncode}:\n{done.stderr[-2000:]}", file=sys.stderr)
        sys.exit(UNAVAILABLE if "is not available" in done.stderr else 1)
    return done.stdout


def scanned(worker: Path, provider: str, bundle: Path, photos: Path) -> dict[str, Verdict]:
    lines = dorfman(worker, provider, "scan", "--json", "--bundle", str(bundle), str(photos)).splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["id"]: Verdict(row.get("verdict", "failed"), row.get("score")) for row in rows}


def differences(expected: dict[str, Verdict], found: dict[str, Verdict]) -> tuple[list[str], float]:
    """Returns the images whose verdict differs, and the largest difference of a score of the same kind of verdict."""
    other = [name for name in sorted(expected) if expected[name].verdict != found.get(name, Verdict("missing", None)).verdict]
    pairs = [(expected[name].score, found[name].score) for name in expected if name in found]
    return other, max((abs(one - two) for one, two in pairs if one is not None and two is not None), default=0.0)


def seconds_per_image(part: dict[str, Any]) -> float:
    """Returns the seconds of a stage for one row, at the batch size that is fastest per row, at arity 1."""
    return min(point["seconds"]["median"] / point["rows"] for point in part["measured"] if point["arity"] == 1)


def first_exit(manifest: dict[str, Any]) -> int:
    """Returns the number of the stage with the first exit, or 0."""
    return next((number for number, stage in enumerate(manifest["stages"]) if "exit" in stage), 0)


def bytes_to_device(manifest: dict[str, Any]) -> int:
    """Returns the bytes that travel to the device for an image tested alone: its pixels, and a slot number per later stage."""
    shape = manifest["input"]
    values = shape["width"] * shape["height"] * (1 if shape["channels"] == "grey" else 3)
    return values * (1 if shape.get("dtype") == "uint8" else 4) + 8 * (len(manifest["stages"]) - 1)


class Busy:
    """The utilisation of the GPU, by nvidia-smi. Empty without nvidia-smi."""

    def __init__(self) -> None:
        self.samples: list[float] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
        try:
            process = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
        except OSError:
            yield
            return
        reader = threading.Thread(target=self._read, args=[process])
        reader.start()
        try:
            yield
        finally:
            process.terminate()
            reader.join()

    def _read(self, process: subprocess.Popen) -> None:
        assert process.stdout is not None
        self.samples += [float(line.split(",")[0]) for line in process.stdout if line.strip().replace(".", "").isdigit()]

    def share(self) -> str:
        return f"{sum(self.samples) / len(self.samples):.0f} %" if self.samples else "-"


def decode_seconds(worker: Path, bundle: Path, photos: Path) -> float:
    """Returns the CPU seconds to decode a photo, with the `resize` rule of the bundle's input."""
    text = dorfman(worker, EXPECTED, "bench", "decode", "--bundle", str(bundle), "--images", str(photos), "--rounds", "5")
    times = [float(line.split(" ms")[0].split()[-1]) for line in text.splitlines() if line.startswith("decode, full") and " ms" in line]
    return sum(times) / len(times) / 1e3


def measured(arguments: argparse.Namespace, bundle: Path, photos: Path, folder: Path) -> tuple[list[list[str]], bool]:
    """Returns a row per provider, and whether all verdicts are the same."""
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    expected = scanned(arguments.worker, EXPECTED, bundle, photos)
    decode = decode_seconds(arguments.worker, bundle, folder / "few")
    rows: list[list[str]] = []
    same = True
    for provider in [EXPECTED, *arguments.provider]:
        print(f"bench-gpu: {bundle.name}: {provider}", flush=True)
        other, largest = differences(expected, scanned(arguments.worker, provider, bundle, photos))
        for name in other[:5]:
            print(f"bench-gpu: {bundle.name}: {provider}: another verdict for {Path(name).name}", file=sys.stderr)
        same = same and not other
        busy = Busy()
        with busy.watched():
            words = ["--bundle", str(bundle), "--out", str(folder / "profile.json"), "--seconds", str(arguments.seconds), "--json"]
            profile = json.loads(dorfman(arguments.worker, provider, "profile", *words))
        parts = [seconds_per_image(part) for part in profile["stages"]]
        alone, early = 1 / sum(parts), 1 / sum(parts[: first_exit(manifest) + 1])
        verdicts = f"{len(expected) - len(other)} of {len(expected)}"
        cells = [verdicts, f"{largest:.4f}", f"{alone:,.0f}", f"{early:,.0f}", busy.share() if provider != EXPECTED else "-"]
        rows.append([bundle.name, provider, *cells, f"{bytes_to_device(manifest):,}", f"{alone * decode:.1f}"])
    return rows, same


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--provider", action="append", choices=["cuda", "tensorrt", "cpu"], help="may be repeated (default: cuda)")
    parser.add_argument("--bundle", action="append", type=Path, help="may be repeated (default: the shipped bundles)")
    parser.add_argument("--images", type=int, default=300, metavar="N", help="photos whose verdicts are compared, at most (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, metavar="S", help="seconds of each profile (default: %(default)s)")
    parser.add_argument("--worker", type=Path, default=ROOT / "target/release/dorfman", help="the binary")
    arguments = parser.parse_args()
    arguments.provider = arguments.provider or ["cuda"]
    arguments.bundle = arguments.bundle or BUNDLES
    return arguments


def main() -> None:
    arguments = parsed()
    find_onnxruntime()
    rows: list[list[str]] = []
    same = True
    bundles = [folder for bundle in arguments.bundle for folder in (bundle, bundle.with_name(f"{bundle.name}-half")) if folder.is_dir()]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found = unpack("bench-gpu", SHOES / "photos.zip", "shoes", folder / "all")
        chosen = random.Random(1).sample([*found.positives, *found.negatives], min(arguments.images, len(found.positives) + len(found.negatives)))
        for name, paths in (("photos", chosen), ("few", chosen[:8])):
            (folder / name).mkdir()
            for path in paths:
                (folder / name / path.name).write_bytes(path.read_bytes())
        for bundle in bundles:
            more, agree = measured(arguments, bundle, folder / "photos", folder)
            rows, same = rows + more, same and agree
    print("\nImages per second in the network, from the fastest batch size of each stage. Bytes travel to the device, per image.\n")
    show([["bundle", "provider", "same verdicts", "score apart", "alone", "exits", "busy", "bytes", "decoders"], *rows])
    if not same:
        sys.exit("bench-gpu: verdicts differ")


if __name__ == "__main__":
    main()
