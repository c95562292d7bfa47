"""Compares merges on a network whose layers are not trained on groups.

Features of the images before the cut are merged in groups of M, and the rest of the network runs once per
group. A logistic regression on the input of its last linear layer tells groups with one positive from
groups without one. It is fitted on groups of training images and judged on groups of calibration images.

The table ranks merges and cuts within minutes. Training on groups improves every merge by far. Only `max`
and `cam` can be trained and exported.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from . import calibrate, data, groups, linear_probe, logistic, merge_kinds, merges, progress, unfold
from .calibrate import Sample
from .config import Config
from .data import Split
from .fold import folded
from .model import StagedNet, build
from .train import load_weights

SENSITIVITY = 0.98
CHUNK = 64  # images or groups per pass
SHARPNESS = 2.0  # of the log-sum-exp

Merge = Callable[[Tensor], Tensor]  # from the features of the members [T,M,C,H,W] to those of the group [T,C,H,W]


def strongest(rows: Tensor, logits: Tensor) -> Tensor:
    """Returns, at each place, the vector of the member whose `logits` [T,M,H,W] are highest there."""
    chosen = logits.argmax(dim=1)[:, None, None].expand(-1, 1, rows.shape[2], -1, -1)
    return rows.gather(1, chosen).squeeze(1)


def top2(rows: Tensor) -> Tensor:
    return rows.topk(min(2, rows.shape[1]), dim=1).values.mean(dim=1)


def merges_of(weight: Tensor) -> dict[str, Merge]:
    """Returns the merges by name. `weight` [C] are the weights of the class activation map."""
    return {
        merge_kinds.MAX: lambda rows: rows.amax(dim=1),
        merge_kinds.CAM: lambda rows: strongest(rows, torch.einsum("tmchw,c->tmhw", rows, weight)),
        merge_kinds.MEAN: lambda rows: rows.mean(dim=1),
        "gem": lambda rows: rows.clamp(min=1e-6).pow(3).mean(dim=1).pow(1 / 3),  # generalised mean, Radenovic et al. 2018
        "lse": lambda rows: torch.logsumexp(SHARPNESS * rows, dim=1) / SHARPNESS,  # log-sum-exp, Pinheiro & Collobert 2015
        "energy": lambda rows: strongest(rows, rows.square().sum(dim=2)),
        "top2": top2,  # the mean of the two largest values per channel and place
    }


class Comparison:
    """The features of two splits before the cut, and the rest of the network up to its last linear layer."""

    def __init__(self, config: Config, train: Split, judge: Split, start: dict[str, Tensor] | None = None) -> None:
        """`start` has other weights than the pretrained ones, as in `Trainer`."""
        model = build(config.network, config.design, config.input).eval()
        if start is not None:
            load_weights(model, start)
        if len(model.stages) != 2 or model.pixels:
            raise SystemExit("merges: the configuration needs exactly one cut, after a part of the network")
        self.config, self.splits = config, (train, judge)
        self.rest = without_last_layer(model)
        first = folded(model.stages[0])
        self.features = tuple(embed(first, split, config) for split in self.splits)
        if self.features[0].ndim != 4:
            raise SystemExit(f"merges: {config.design.cuts[0].after} returns no feature map: cut after another part")
        means = self.features[0].float().mean(dim=(2, 3)).numpy()
        self.weight = torch.from_numpy(logistic.fit(means, train.positive.numpy()[:, None], logistic.DECAY)[0][0])

    def positive(self, merge: Merge, arity: int, count: int) -> float:
        """Returns the share of clean groups of `arity` images that test positive at `SENSITIVITY`."""
        (hot, cold), (judged_hot, judged_cold) = (self.vectors(side, merge, arity, count) for side in (0, 1))
        wanted = np.concatenate([np.ones(len(hot)), np.zeros(len(cold))])[:, None]
        weight, bias = logistic.fit(np.concatenate([hot, cold]), wanted, logistic.DECAY)
        scores = Sample(*((vectors @ weight[0] + bias[0]).astype(np.float32) for vectors in (judged_hot, judged_cold)))
        return 1 - calibrate.operating_point(scores, SENSITIVITY).specificity

    def vectors(self, side: int, merge: Merge, arity: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the vectors of groups with one positive and of clean groups, [count,width] each."""
        split, generator = self.splits[side], torch.Generator().manual_seed(self.config.calibration.seed + arity)
        rows = (split.rows(True), split.rows(False))
        drawn = [groups.draw_for_calibration(arity, count, positive, *rows, generator) for positive in (True, False)]
        return tuple(self.run(side, merge, members) for members in drawn)

    @torch.no_grad()
    def run(self, side: int, merge: Merge, members: Tensor) -> np.ndarray:
        parts = progress.over(members.split(CHUNK), f"groups of {members.shape[1]}")
        return torch.cat([self.rest(merge(merges.picked(self.features[side], part).float())) for part in parts]).numpy()


def without_last_layer(model: StagedNet) -> nn.Module:
    """Returns the last stage without the linear layer that gives the logits."""
    try:
        last, _ = linear_probe.last_layer(model)
    except ValueError as error:
        raise SystemExit(f"merges: {error}") from error
    last.linear = nn.Identity()
    return folded(model.stages[-1])


@torch.no_grad()
def embed(stage: nn.Module, split: Split, config: Config) -> Tensor:
    """Returns the features [N,...] of a split, in float16 to save memory."""
    parts = progress.over(split.images.split(CHUNK), "features")
    return torch.cat([stage(data.normalise(part, config.input)).half() for part in parts])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = list(merges_of(torch.zeros(1)))
    parser.add_argument("config", type=Path, help="the bundle's TOML file, with one cut")
    parser.add_argument("--data", type=Path, help="folder of the data (default: data.folder of the configuration)")
    parser.add_argument("--merges", nargs="+", choices=names, default=names, help="merges to compare (default: all)")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 2, 4, 8, 16], metavar="M", help="group sizes (default: 1 2 4 8 16)")
    parser.add_argument("--groups", type=int, default=1000, metavar="N", help="number of positive groups, and of clean groups (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="number of CPU threads (default: %(default)s)")


def run(arguments: argparse.Namespace, config: Config) -> None:
    train, judge = (data.load(config, name, arguments.data) for name in ("train", "calibration"))
    folder = arguments.config.parent / config.network.init
    if config.network.init and not folder.is_dir():
        raise SystemExit(f"merges: network.init names another configuration, {config.network.init}: name the folder of its bundle")
    if config.network.kind == "small" and not config.network.init:
        raise SystemExit("merges: the network `small` starts from random weights: name a bundle with network.init")
    held = Comparison(config, train, judge, unfold.start(config, folder, train) if config.network.init else None)
    progress.say(f"Clean groups of M that test positive at {SENSITIVITY:.0%} sensitivity, calibration images, network not trained on groups:")
    progress.say(table(held, arguments.merges, arguments.sizes, arguments.groups))


def table(held: Comparison, names: Sequence[str], sizes: Sequence[int], count: int) -> str:
    available = merges_of(held.weight)
    lines = ["| merge | " + " | ".join(f"M = {size}" for size in sizes) + " |", "|" + "---|" * (len(sizes) + 1)]
    for name in names:
        lines.append(f"| {name} | " + " | ".join(f"{held.positive(available[name], size, count):.1%}" for size in sizes) + " |")
    return "\n".join(lines)
