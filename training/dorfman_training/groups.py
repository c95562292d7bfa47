"""Draws groups for training and calibration, and lists the rows that each merge of a network takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import torch
from torch import Tensor

from .config import TrainConfig


@dataclass(frozen=True)
class Groups:
    members: Tensor  # [G, largest size]: the rows of each group; the line of a smaller group repeats its members in turn
    sizes: Tensor  # [G]
    positive: Tensor  # [G]: whether the group has a positive member


def draw_mixed(config: TrainConfig, positives: Tensor, negatives: Tensor, generator: torch.Generator) -> Groups:
    """Draws the groups of a training step from the rows `positives` and `negatives`.

    Sizes, the share of positive groups and the number of positives (1 to 3) follow `config`.
    """
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
        # Without a shuffle, all positives would be in the first nodes of a tree.
        chosen = chosen[torch.randperm(size, generator=generator)]
        lines.append(chosen[torch.arange(width) % size])
    return Groups(torch.stack(lines), sizes, positive)


def take(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draws `count` different rows."""
    return rows[torch.randperm(len(rows), generator=generator)[:count]]


def levels(members: Tensor, sizes: Tensor, fans: Sequence[int]) -> list[Tensor]:
    """Returns the rows that each merge takes, one tensor per level.

    Line g of `members` [G,m] is a group; only its first `sizes[g]` entries are used. A level below
    the last has tree nodes [n,fan]: each merges `fan` neighbours of a line. A node at the end of a
    line repeats its first row as padding, as the worker does. The last level [G,...] merges all
    nodes of a line.
    """
    lines, counts, found = members, sizes, []
    for fan in fans:
        nodes, lines, counts = merge_level(lines, counts, fan)
        found.append(nodes)
    return [*found, lines]


def merge_level(lines: Tensor, counts: Tensor, fan: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the nodes [n,fan] of one level, the lines as rows of these nodes, and the lines' lengths."""
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
    """Draws `count` groups, [count, arity] rows. Every image is used about equally often.

    If `positive`, each group has exactly one positive, at a random position. Otherwise it has none.
    """
    filler = arity - 1 if positive else arity
    columns = [decks(positives, count, 1, generator)] if positive else []
    if filler:
        columns.append(decks(negatives, count, filler, generator))
    lines = torch.cat(columns, dim=1)
    order = torch.rand(lines.shape, generator=generator).argsort(dim=1)
    return lines.gather(1, order)


def decks(rows: Tensor, count: int, width: int, generator: torch.Generator) -> Tensor:
    """Deals [count, width] rows, in which no line has a row twice.

    The rows are shuffled and dealt like a deck of cards, then shuffled again. Raises ValueError if
    there are fewer than `width` rows.
    """
    lines = len(rows) // width  # the remainder of a deck is not dealt, so no line spans two decks
    if lines == 0:
        raise ValueError(f"{len(rows)} images are too few for groups of {width}")
    dealt = [rows[torch.randperm(len(rows), generator=generator)[: lines * width]].reshape(lines, width) for _ in range(-(-count // lines))]
    return torch.cat(dealt)[:count]
