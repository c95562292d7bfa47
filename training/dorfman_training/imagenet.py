"""Cuts a network that was not made here, as a user would: EfficientNet-Lite0 with its ImageNet classes.

    python3 -m dorfman_training.imagenet CONFIG --label LABEL=CLASS[,CLASS] --out DIR [--data DIR]

The network flags an image if the sum of the scores of the given ImageNet classes is at least 0.5. `cut
--exits --target verdicts` adds exits, fitted to the network's own verdicts on the training and
calibration images of CONFIG's data. `DIR/bundle` is the result. `DIR/test/list.csv` lists the test
images with the network's own verdict as the class, `flagged` or `cleared`, for `dorfman evaluate`.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from . import config, data, export
from .cut import images, network
from .cut.chain import Whole
from .fold import folded
from .lite import imagenet_parts
from .progress import over, say

SIDE, CLASSES = 224, 1000
MEAN, STD = 127.0, 128.0
VERDICT = 0.5  # as in `cut --exits`
FLAGGED, CLEARED = "flagged", "cleared"


class Summed(nn.Module):
    """Adds up the scores of some classes, and those of all others: [N,1000] logits to [N,2] scores."""

    def __init__(self, classes: tuple[int, ...]) -> None:
        super().__init__()
        chosen = torch.zeros(CLASSES, 2)
        chosen[:, 1] = 1
        for number in classes:
            chosen[number] = torch.tensor([1.0, 0.0])
        self.register_buffer("chosen", chosen)

    def forward(self, logits: Tensor) -> Tensor:
        return torch.softmax(logits, dim=1) @ self.chosen


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python3 -m dorfman_training.imagenet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the TOML file whose data are used")
    parser.add_argument("--label", required=True, metavar="LABEL=CLASS[,CLASS]", help="the label, and its ImageNet classes, 0 to 999")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the data (default: data.folder)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    parser.add_argument("--loss", default="0.002", help="as --loss of `cut` (default: %(default)s)")
    parser.add_argument("--images", type=int, metavar="N", help="use at most N images for fitting (default: all)")
    parser.add_argument("--threads", type=int, default=2, help="number of CPU threads (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    label, _, numbers = arguments.label.partition("=")
    settings = config.load(arguments.config)
    arguments.out.mkdir(parents=True, exist_ok=True)
    model = write_network(arguments.out / "network.onnx", tuple(map(int, numbers.split(","))))
    for split in data.SPLITS:
        count = data.write_images(settings, split, arguments.out / ("test" if split == "test" else f"fit/{split}"), arguments.data)
        say(f"{count} images of the split {split}")
    cut(model, label, arguments)
    judge(model, arguments.out / "test" / "list.csv", arguments.threads)


def write_network(path: Path, classes: tuple[int, ...]) -> Path:
    trunk = folded(nn.Sequential(*imagenet_parts("lite0").values(), Summed(classes)).eval())
    axes = {"images": {0: "N"}, "scores": {0: "N"}}
    export.write(trunk, (torch.zeros(2, 3, SIDE, SIDE),), path, ["images"], ["scores"], axes)
    return path


def cut(model: Path, label: str, arguments: argparse.Namespace) -> None:
    """Runs the command `cut` as a user would."""
    line = [
        sys.executable, "-m", "dorfman_training", "cut", str(model), "--exits", "--target", "verdicts", "--loss", arguments.loss,
        "--out", str(arguments.out / "bundle"), "--name", f"lite0-{label}", "--version", "1.0.0", "--licence", "Apache-2.0",
        "--labels", f"{label},other", "--positive", label, "--activation", "none", "--data", str(arguments.out / "fit"),
        "--channels", "rgb", "--mean", ",".join([str(MEAN)] * 3), "--std", ",".join([str(STD)] * 3), "--short-side", "stretch",
        "--threads", str(arguments.threads), *(["--images", str(arguments.images)] if arguments.images else []),
    ]  # fmt: skip
    subprocess.run(line, check=True)


def judge(model: Path, listed: Path, threads: int) -> None:
    """Replaces the classes of a list of images by the network's own verdicts."""
    whole = Whole(network.read(model), "none", threads)
    shape = images.Input(SIDE, SIDE, "rgb", "nchw", None, "bilinear", (MEAN,) * 3, (STD,) * 3)
    with open(listed, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in over(rows, "verdicts"):
        tensor = images.tensor((listed.parent / row["path"]).read_bytes(), shape)
        row["class"] = FLAGGED if whole.scores(tensor[np.newaxis])[0, 0] >= VERDICT else CLEARED
    with open(listed, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    say(f"{listed}: the network flags {sum(row['class'] == FLAGGED for row in rows)} of {len(rows)} images")


if __name__ == "__main__":
    main()
