"""Writes the paper's network in its three designs, untrained, as bundles for `dorfman bench paper`.

D1 merges pixels, D2 features after layer2, D3 pairs after layer1 and then all after layer2. The bundles have the paper's costs and no
knowledge: what they calibrate is nothing, and no worker should run them.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import torch

from . import export, manifest
from .config import Cut
from .export import StageFile
from .model import IMAGES, StagedNet
from .progress import say
from .resnext import resnext101

SIDE = 224
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
DESIGNS = {
    "d1": (Cut(IMAGES),),
    "d2": (Cut("layer2"),),
    "d3": (Cut("layer1", 2), Cut("layer2")),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m dorfman_training.paper", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write: a bundle a design, 350 MB each")
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=list(DESIGNS), help="which designs (default: all)")
    parser.add_argument("--threads", type=int, default=2, help="threads to compute with (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for design in arguments.designs:
        make(design, arguments.out / design)


def make(design: str, folder: Path) -> None:
    """Writes a bundle, unless it is there. The folder gets its name when all is in it, so that a cut-off run leaves no half of one."""
    if (folder / "bundle.json").exists():
        say(f"{folder} is there")
        return
    unfinished = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    network = StagedNet(resnext101(labels=1), DESIGNS[design])
    files = export.write_stages(network, (3, SIDE, SIDE), unfinished)
    manifest.write(unfinished / "bundle.json", table(design, files))
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    say(f"wrote {folder}: {sum(file.macs for file in files) / 1e9:.2f} G multiply-adds an individual test")


def table(design: str, files: list[StageFile]) -> dict[str, Any]:
    """bundle.json. The format wants a calibration; that of a network that knows nothing is the same for both kinds of groups."""
    nothing = [0.0, 0.5, 1.0]
    return {
        "format": manifest.FORMAT,
        "name": f"resnext101-{design}",
        "version": "0.0.0",
        "description": "The paper's network with weights by chance: for measuring what it costs, not for finding anything",
        "licence": "Apache-2.0",
        "provenance": {"command": "python3 -m dorfman_training.paper"},
        "labels": [{"name": "nothing", "positive": True}],
        "input": {
            "width": SIDE, "height": SIDE, "channels": "rgb", "layout": "nchw",
            "resize": {"rule": "short-side", "short_side": 256, "filter": "bilinear"}, "mean": list(MEAN), "std": list(STD),
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
