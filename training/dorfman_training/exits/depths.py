"""Finds the depths of a network at which an exit may be put."""

from __future__ import annotations

import itertools
import math
from typing import Sequence

from ..cut import points
from ..cut.errors import CutError
from ..cut.network import Network
from ..cut.points import Point
from . import pools
from .probe import MOST_DEPTHS

DEEPEST = 0.75  # largest share of the multiply-adds before an exit


def merge_point(net: Network, end: str) -> Point:
    """Returns the point at which the merge takes its rows."""
    found = next((point for point in points.find(net) if point.name == end), None)
    if found is None:
        raise CutError(f"the features {end} are not a cut point of the network: another value bypasses the merge")
    return found


def candidates(net: Network, merge: Point, deeper: bool) -> list[Point]:
    """Returns at most MOST_DEPTHS points, evenly over the logarithm of the share of multiply-adds.

    They lie before the merge or at it. With `deeper`, points behind the merge are included, up to
    DEEPEST of the multiply-adds.
    """
    found = [point for point in points.find(net) if 0 < point.macs_share and pools.parts(point.row)]
    before = [point for point in found if point.position <= merge.position]
    behind = [point for point in found if point.position > merge.position and point.macs > merge.macs and point.macs_share <= DEEPEST]
    every = [best(group, merge) for group in by_macs(before)] + ([best(group, merge) for group in by_macs(behind)] if deeper else [])
    return thinned(every, MOST_DEPTHS)


def by_macs(found: Sequence[Point]) -> list[list[Point]]:
    return [list(group) for _, group in itertools.groupby(found, key=lambda point: point.macs)]


def best(group: Sequence[Point], merge: Point) -> Point:
    """Returns the merge point if it is in the group, else the last of the points with the fewest bytes."""
    if merge in group:
        return merge
    return min(reversed(group), key=lambda point: point.bytes)


def thinned(found: Sequence[Point], most: int) -> list[Point]:
    if len(found) <= most:
        return list(found)
    places = [math.log(point.macs_share) for point in found]
    wanted = [places[0] + (places[-1] - places[0]) * number / (most - 1) for number in range(most)]
    chosen = {min(range(len(found)), key=lambda index: abs(places[index] - at)) for at in wanted}
    return [found[index] for index in sorted(chosen)]
