#!/usr/bin/env python3
"""Writes the bundle in this folder with the command `cut`, as for a user's own classifier.

The network of tests/data/tree is first exported without cuts, as one ONNX file for single images.

    PYTHONPATH=training tests/data/cut/make.py
"""

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path

from dorfman_training import config, data, export, train, unfold
from dorfman_training.config import DesignConfig
from dorfman_training.model import StagedNet, build

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CONFIG = ROOT / "training" / "configs" / "tiny-tree.toml"
AT = "/layers/layers.2/layers.2.1/Conv_output_0"  # one of the cut points that `cut` lists
COMMAND = [sys.executable, "-m", "dorfman_training"]


def whole() -> StagedNet:
    """Returns the network without cuts."""
    settings = config.load(CONFIG)
    single = dataclasses.replace(settings.train, sizes=(1,), size_weights=(1.0,))
    settings = dataclasses.replace(settings, design=DesignConfig(()), train=single)
    network = build(settings.network, settings.design, settings.input)
    train.load_weights(network, unfold.start(settings, ROOT / "tests" / "data" / "tree", data.load(settings, "train")))
    return network.eval()


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / export.write_confirm(whole(), (1, 28, 28), Path(scratch)).file
        subprocess.run([*COMMAND, "images", CONFIG, "--split", "calibration", "--out", f"{scratch}/images"], check=True)
        subprocess.run(
            [
                *COMMAND, "cut", file, "--at", AT, "--out", HERE, "--name", "tiny-cut", "--version", "1.0.0", "--licence", "Apache-2.0",
                "--labels", "bag", "--positive", "bag", "--activation", "none", "--data", f"{scratch}/images/list.csv", "--positive-class", "bag",
                "--channels", "grey", "--mean", "72.9", "--std", "90", "--short-side", "stretch", "--arities", "1,2,4", "--groups", "500",
                "--images", "500",
            ],
            check=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
