#!/usr/bin/env python3
"""Writes the bundle in this folder, as a team gets one that cuts a classifier of its own: the network of training/configs/tiny-tree.toml is
written whole, as one ONNX file for single images, and `cut` does the rest.

    PYTHONPATH=training python3 -m dorfman_training make-bundle training/configs/tiny-tree.toml --bundle tests/data/tree
    PYTHONPATH=training tests/data/cut/make.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from dorfman_training import config, export, train
from dorfman_training.backbone import backbone
from dorfman_training.model import StagedNet

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CONFIG = ROOT / "training" / "configs" / "tiny-tree.toml"
COMMAND = [sys.executable, "-m", "dorfman_training"]


def main() -> None:
    settings = config.load(CONFIG)
    trained = train.trained(settings, ROOT / "training" / "work" / "tiny-tree" / "checkpoint.pt")
    whole = StagedNet(backbone(settings.network, settings.input), ())
    train.load_weights(whole, train.weights(trained))
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / export.write_confirm(whole.eval(), (1, 28, 28), Path(scratch)).file
        subprocess.run([*COMMAND, "images", CONFIG, "--split", "calibration", "--out", f"{scratch}/images"], check=True)
        where = sys.argv[1:] or ["--no-time"]  # first without a tensor's name, to see which there are
        if where == ["--no-time"]:
            subprocess.run([*COMMAND, "cut", file, *where], check=True)
            return
        subprocess.run(
            [
                *COMMAND, "cut", file, "--at", *where, "--out", HERE, "--name", "tiny-cut", "--version", "1.0.0", "--licence", "Apache-2.0",
                "--labels", "bag", "--positive", "bag", "--activation", "none", "--data", f"{scratch}/images/list.csv", "--positive-class", "bag",
                "--channels", "grey", "--mean", "72.9", "--std", "90", "--short-side", "stretch", "--arities", "1,2,4", "--groups", "500",
                "--images", "500",
            ],
            check=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
