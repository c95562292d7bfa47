"""Finds the tensors at which a network can be cut.

A cut point is a single tensor through which every path from the image to the scores passes. It must
be float32, with the batch as its first axis.
"""

from __future__ import annotations

import difflib
import itertools
import math
from dataclasses import dataclass
from typing import Sequence

from . import macs
from .errors import CutError
from .network import Network, reads

AFTER_ALL = 1 << 60


@dataclass(frozen=True)
class Point:
    name: str
    row: tuple[int, ...]  # shape of one row
    macs: int  # for one row, from the image to this tensor
    macs_share: float
    position: int  # position of the node that computes the tensor

    @property
    def bytes(self) -> int:
        return 4 * math.prod(self.row)


def last_reads(network: Network) -> dict[str, int]:
    """Returns the position of the last node that reads each value that depends on the image."""
    last = {network.output: AFTER_ALL}
    for position, node in enumerate(network.nodes):
        for name in reads(node):
            if name in network.carrying:
                last[name] = max(last.get(name, 0), position)
    return last


def crossing(network: Network, position: int) -> list[str]:
    """Returns the values that nodes after `position` read from the image or from nodes up to it."""
    last = last_reads(network)
    made = [network.image, *(name for node in network.nodes[: position + 1] for name in node.output)]
    return [name for name in made if last.get(name, -1) > position]


def find(network: Network) -> list[Point]:
    """Returns all cut points, in order from the image."""
    last, counts = last_reads(network), macs.counts(network)
    total = max(1, sum(counts))
    live, points, before = {network.image}, [], 0
    for position, node in enumerate(network.nodes):
        before += counts[position]
        live.update(name for name in node.output if last.get(name, -1) > position)
        live = {name for name in live if last[name] > position}
        if len(live) != 1 or not live <= set(node.output) or network.output in live:
            continue
        name = next(iter(live))
        row = row_shape(network, name)
        if row is not None:
            points.append(Point(name, row, before, before / total, position))
    return points


def row_shape(network: Network, name: str) -> tuple[int, ...] | None:
    """Returns the shape of one row of a value, or None if the value has no rows of float32."""
    shape = network.shapes.get(name, ())
    if len(shape) < 2 or shape[0] != network.batch or name not in network.floats or 0 in shape:
        return None
    return shape[1:]


def worth_listing(points: Sequence[Point]) -> list[Point]:
    """Selects one point from each set of points with no multiply-adds between them.

    It is the point with the fewest bytes, and the last of these if there are several. Points with no
    multiply-adds before or after them are left out.
    """
    kept = []
    for _, group in itertools.groupby(points, key=lambda point: point.macs):
        together = list(group)
        if 0 < together[0].macs_share < 1:
            kept.append(min(reversed(together), key=lambda point: point.bytes))
    return kept


def choose(network: Network, wanted: Sequence[str], original_names: frozenset[str]) -> list[Point]:
    """Returns the points with the names `wanted`, in the order of the network."""
    points = {point.name: point for point in find(network)}
    for name in wanted:
        if name not in points:
            raise CutError(why_not(network, name, list(points), original_names))
    chosen = sorted((points[name] for name in set(wanted)), key=lambda point: point.position)
    if len(chosen) != len(wanted):
        raise CutError("--at names a tensor twice")
    return chosen


def why_not(network: Network, name: str, points: Sequence[str], original_names: frozenset[str]) -> str:
    near = ", ".join(difflib.get_close_matches(name, points, 5, 0.0)) or "none"
    if name in (network.image, network.output):
        return f"{name} is the network's end: a cut there divides nothing"
    made = {output: place for place, node in enumerate(network.nodes) for output in node.output}
    if name not in made:
        if name in original_names:
            return f"{name} is not on a path from the image to the scores, or was folded into a neighbour; the nearest cut points: {near}"
        return f"the network has no tensor {name}; the nearest cut points: {near}"
    others = [other for other in crossing(network, made[name]) if other != name]
    if others:
        reader = next(node for node in network.nodes[made[name] + 1 :] if others[0] in reads(node))
        return (
            f"{name} is not a cut point: {others[0]} bypasses it, to {reader.op_type} {reader.name or reader.output[0]} "
            f"(tensors that bypass it: {len(others)}); the nearest cut points: {near}"
        )
    return f"{name} is not a cut point: it is not a float32 tensor with the batch as its first axis; the nearest cut points: {near}"
