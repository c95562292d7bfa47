"""Draws groups: which images are tested together, and whether one of them is positive."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .config import TrainConfig


@dataclass(frozen=True)
class Groups:
    members: Tensor  # [G, widest size], rows; a smaller group's line repeats its first members, which a maximum ignores
    sizes: Tensor  # [G]
    positive: Tensor  # [G], whether a member is


def draw_mixed(config: TrainConfig, positives: Tensor, negatives: Tensor, generator: torch.Generator) -> Groups:
    """A training step's groups over the rows `positives` and `negatives`: every size, positive or not, one positive or several."""
    count, width = config.groups, max(config.sizes)
    weights = torch.tensor(config.size_weights, dtype=torch.float)
    sizes = torch.tensor(config.sizes)[torch.multinomial(weights, count, replacement=True, generator=generator)]
    positive = torch.rand(count, generator=generator) < config.positive_share
    several = torch.rand(count, generator=generator) < config.several_share
    wanted = positive.long() * (1 + several.long() * torch.randint(1, 3, (count,), generator=generator))
    wanted = torch.minimum(wanted, sizes)
    lines = []
    for size, hot in zip(sizes.tolist(), wanted.tolist()):
        chosen = torch.cat([take(positives, hot, generator), take(negatives, size - hot, generator)])
        lines.append(chosen[torch.arange(width) % size])
    return Groups(torch.stack(lines), sizes, positive)


def take(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` distinct ones of `rows`."""
    return rows[torch.randperm(len(rows), generator=generator)[:count]]


def draw_for_calibration(
    arity: int, count: int, positive: bool, positives: Tensor, negatives: Tensor, generator: torch.Generator
) -> Tensor:
    """[count, arity] rows with exactly one positive in each line, or none. Every image is used about equally often."""
    filler = arity - 1 if positive else arity
    columns = [decks(positives, count, 1, generator)] if positive else []
    if filler:
        columns.append(decks(negatives, count, filler, generator))
    return torch.cat(columns, dim=1)


def decks(rows: Tensor, count: int, width: int, generator: torch.Generator) -> Tensor:
    """[count, width], dealt from one shuffled deck of `rows` after another: no line holds a row twice."""
    lines = len(rows) // width  # a deck's rest is left out, so that no line spans two decks
    if lines == 0:
        raise ValueError(f"{len(rows)} images are too few for groups of {width}")
    dealt = [
        rows[torch.randperm(len(rows), generator=generator)[: lines * width]].reshape(lines, width)
        for _ in range(-(-count // lines))
    ]
    return torch.cat(dealt)[:count]
