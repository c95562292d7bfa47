"""Converts a bundle to float16: half the size of its weights and features, for GPUs that compute in float16.

The name of the bundle gets the suffix `-half`. Images stay uint8, and the normalisation, the last
activation and the scores stay float32. The thresholds are those of the bundle before, so the scores are
compared on images of --data first. A bundle of float16 is slower on a CPU.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import onnx

from .cut import bundle, dataset, images
from .cut.chain import Chain, session
from .cut.errors import CutError
from .pixels import PREFIX
from .progress import say

ENDS = ("scores", "exit")  # outputs that stay float32
GROUP = 8  # images of the pooled tests that are compared
CHECKED = 256


@dataclass(frozen=True)
class Difference:
    """How far the scores of the two bundles are apart."""

    part: str
    largest: float
    mean: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder of the bundle, whose networks read uint8")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the converted bundle")
    parser.add_argument("--data", type=Path, required=True, metavar="PATH", help="images as for `cut`, on which the scores are compared")
    parser.add_argument("--tolerance", type=float, default=0.01, metavar="X", help="largest difference of a score (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="number of CPU threads (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    try:
        convert(arguments.bundle, arguments.out)
        differences = list(compare(arguments.bundle, arguments.out, arguments.data, arguments.threads))
    except CutError as error:
        raise SystemExit(f"half: {error}") from error
    for each in differences:
        say(f"{each.part}: the scores differ by {each.largest:.1e} at most and by {each.mean:.1e} on average")
    before, after = (sum(path.stat().st_size for path in folder.glob("*.onnx")) for folder in (arguments.bundle, arguments.out))
    say(f"wrote {arguments.out}: networks of {after / 1e6:.2f} MB instead of {before / 1e6:.2f} MB")
    if not all(each.largest <= arguments.tolerance for each in differences):  # also if a score is not a number
        raise SystemExit(f"half: a score differs by more than {arguments.tolerance}: this network needs float32, or calibrate the new bundle itself")


def convert(folder: Path, out: Path) -> None:
    """Writes the bundle in `folder` to `out`, in float16."""
    if not (folder / "bundle.json").exists():
        raise CutError(f"{folder} has no bundle.json: name the folder of a bundle")
    if out.resolve() == folder.resolve():
        raise CutError("--out: name another folder; the bundle is needed for the comparison")
    table: dict[str, Any] = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    if any(part.get("dtype") != "uint8" for part in (table["input"], table.get("screen", table)["input"])):
        raise CutError(f"the networks read float32: run `python3 -m dorfman_training pixels {folder}` first")
    out.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file():
            shutil.copyfile(path, out / path.name)
    for entry in [*table["stages"], *(table[name] for name in ("confirm", "screen") if name in table)]:
        path = out / entry["file"]
        onnx.save(halved(onnx.load(str(path))), str(path))
        entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    from . import manifest

    table["name"] += "-half"
    manifest.write(out / "bundle.json", table)


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a network in float16, with images and scores as before."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    kept = []
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node{number}"
        if any(name.startswith(PREFIX) or name in ENDS for name in node.output):
            kept.append(node.name)
    return convert_float_to_float16(model, keep_io_types=list(ENDS), node_block_list=kept, disable_shape_infer=False)


def compare(before: Path, after: Path, data: Path, threads: int) -> Iterator[Difference]:
    """Compares the scores of two bundles on images."""
    table = json.loads((before / "bundle.json").read_text(encoding="utf-8"))
    found = dataset.sample(dataset.find(data, classes=False), CHECKED, 1)
    pixels = read(found, table["input"])
    chains = [chain_of(folder, threads) for folder in (before, after)]
    features, exits = zip(*(held.exits(pixels) for held in chains))
    for stage in exits[0]:
        yield difference(f"the exit of stage {stage}", exits[0][stage], exits[1][stage])
    alone = np.arange(len(pixels))[:, None]
    groups = np.arange(len(pixels) // GROUP * GROUP).reshape(-1, GROUP)
    for part, members in (("individual tests", alone), (f"tests of {GROUP}", groups)):
        if len(members):
            yield difference(part, *(held.scores(rows, members) for held, rows in zip(chains, features)))
    for part in ("screen", "confirm"):
        if part in table:
            given = read(found, table[part]["input"]) if part == "screen" else pixels
            scores = [
                session(onnx.load(str(folder / table[part]["file"])), threads).run(["scores"], {"images": given})[0] for folder in (before, after)
            ]
            yield difference(f"the {part}", *scores)


def difference(part: str, one: np.ndarray, other: np.ndarray) -> Difference:
    apart = np.abs(one.astype(np.float64) - other)
    return Difference(part, float(apart.max()), float(apart.mean()))


def read(found: list[dataset.Labelled], table: dict[str, Any]) -> np.ndarray:
    wanted = images.from_table(table)
    tensors = [tensor for entry in found if (tensor := bundle.read(entry, wanted)) is not None]
    if not tensors:
        raise CutError("--data: no image can be read")
    return np.stack(tensors)


def chain_of(folder: Path, threads: int) -> Chain:
    stages = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))["stages"]
    models = [onnx.load(str(folder / stage["file"])) for stage in stages]
    return Chain(models, [stage["fan_in"] for stage in stages if "fan_in" in stage], threads)
