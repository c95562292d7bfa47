"""Draws groups: which images are tested together, and whether one of them is positive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import torch
from torch import Tensor

from .config import TrainConfig


@dataclass(frozen=True)
class Groups:
    members: Tensor  # [G, widest size], rows; a smaller group's line repeats its members in turn
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
        # Positives must not always be paired with each other, or lie in the first node of a tree.
        chosen = chosen[torch.randperm(size, generator=generator)]
        lines.append(chosen[torch.arange(width) % size])
    return Groups(torch.stack(lines), sizes, positive)


def take(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` distinct ones of `rows`."""
    return rows[torch.randperm(len(rows), generator=generator)[:count]]


def levels(members: Tensor, sizes: Tensor, fans: Sequence[int]) -> list[Tensor]:
    """The rows that each merge takes, level by level, for groups whose lines are `members` [G,m], of which the first `sizes` count.

    A node of a tree covers `fan` neighbours of its line; where a line ends within a node, the node repeats its first row, as the
    worker pads it. The last level [G,...] merges all nodes of a line.
    """
    lines, counts, found = members, sizes, []
    for fan in fans:
        nodes, lines, counts = merge_level(lines, counts, fan)
        found.append(nodes)
    return [*found, lines]


def merge_level(lines: Tensor, counts: Tensor, fan: int) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes [n,fan] over rows of the level below, and each line as rows among these nodes."""
    node_counts = (counts + fan - 1) // fan
    first = torch.cumsum(node_counts, 0) - node_counts
    owner = torch.repeat_interleave(torch.arange(len(lines)), node_counts)
    start = (torch.arange(len(owner)) - first[owner]) * fan
    position = start.unsqueeze(1) + torch.arange(fan)
    position = torch.where(position < counts[owner].unsqueeze(1), position, start.unsqueeze(1))
    nodes = lines[owner.unsqueeze(1), position]
    width = int(node_counts.max())
    over = first.unsqueeze(1) + torch.arange(width) % node_counts.unsqueeze(1)
    return nodes, over, node_counts


def draw_for_calibration(arity: int, count: int, positive: bool, positives: Tensor, negatives: Tensor, generator: torch.Generator) -> Tensor:
    """[count, arity] rows with exactly one positive in each line, at any place, or none. Every image is used about equally often."""
    filler = arity - 1 if positive else arity
    columns = [decks(positives, count, 1, generator)] if positive else []
    if filler:
        columns.append(decks(negatives, count, filler, generator))
    lines = torch.cat(columns, dim=1)
    order = torch.rand(lines.shape, generator=generator).argsort(dim=1)
    return lines.gather(1, order)


def decks(rows: Tensor, count: int, width: int, generator: torch.Generator) -> Tensor:
    """[count, width], dealt from one shuffled deck of `rows` after another: no line holds a row twice."""
    lines = len(rows) // width  # a deck's rest is left out, so that no line spans two decks
    if lines == 0:
        raise ValueError(f"{len(rows)} images are too few for groups of {width}")
    dealt = [rows[torch.randperm(len(rows), generator=generator)[: lines * width]].reshape(lines, width) for _ in range(-(-count // lines))]
    return torch.cat(dealt)[:count]
