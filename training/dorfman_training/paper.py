"""Writes the paper's network in its three designs, with random weights, for `dorfman bench-paper`.

D1 merges pixels. D2 merges features after layer2. D3 merges pairs after layer1, then all nodes after
layer2. The bundles have the costs of the paper's network, but they detect nothing and their
calibration is a placeholder. Do not run them in a worker.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import torch

from . import export, manifest
from .config import Cut, InputConfig
from .export import StageFile
from .model import IMAGES, StagedNet
from .progress import say
from .resnext import resnext101

SIDE = 224
READS = InputConfig(SIDE, SIDE, "rgb", "bilinear", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
DESIGNS = {
    "d1": (Cut(IMAGES),),
    "d2": (Cut("layer2"),),
    "d3": (Cut("layer1", 2), Cut("layer2")),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m dorfman_training.paper", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="output folder, with one bundle of 350 MB per design")
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=list(DESIGNS), help="designs to write (default: all)")
    parser.add_argument("--threads", type=int, default=2, help="number of CPU threads (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for design in arguments.designs:
        make(design, arguments.out / design)


def make(design: str, folder: Path) -> None:
    """Writes a bundle, unless it exists.

    The bundle is written to a folder with another name and renamed when it is complete. An
    interrupted run leaves no incomplete bundle.
    """
    if (folder / "bundle.json").exists():
        say(f"{folder} already exists")
        return
    unfinished = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    network = StagedNet(resnext101(labels=1), DESIGNS[design])
    files = export.write_stages(network, (3, SIDE, SIDE), unfinished, READS)
    manifest.write(unfinished / "bundle.json", table(design, files))
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    say(f"wrote {folder}: {sum(file.macs for file in files) / 1e9:.2f} G multiply-adds per individual test")


def table(design: str, files: list[StageFile]) -> dict[str, Any]:
    """Returns the content of bundle.json.

    The format requires a calibration. This placeholder has equal scores for positive and negative groups.
    """
    nothing = [0.0, 0.5, 1.0]
    return {
        "format": manifest.FORMAT,
        "name": f"resnext101-{design}",
        "version": "0.0.0",
        "description": "The paper's network with random weights, to measure its cost; it detects nothing",
        "licence": "Apache-2.0",
        "provenance": {"command": "python3 -m dorfman_training.paper"},
        "labels": [{"name": "nothing", "positive": True}],
        "input": {
            "width": SIDE, "height": SIDE, "channels": "rgb", "layout": "nchw",
            "resize": {"rule": "short-side", "short_side": 256, "filter": "bilinear"}, "dtype": "uint8",
        },
        "merge": "mean" if design == "d1" else "max",
        "stages": [manifest.stage_table(file) for file in files],
        "calibration": [
            {
                "label": "nothing", "arity": 1, "positives": 0, "negatives": 0, "positive_scores": nothing, "negative_scores": nothing,
                "operating_points": [{"sensitivity": 1.0, "specificity": 0.0, "threshold": 0.0}],
            }
        ],
    }  # fmt: skip


if __name__ == "__main__":
    main()
