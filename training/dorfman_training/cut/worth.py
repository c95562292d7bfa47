"""Estimates from the calibration what pooling with a bundle costs.

A network that was not trained on merged features may gain nothing from pooling.
"""

from __future__ import annotations

from typing import Sequence

from ..calibrate import Entry

PREVALENCE = 0.01
SENSITIVITY = 0.95  # of a test of a group


def two_rounds(stages: Sequence[int], fan_in: Sequence[int], arity: int, sensitivity: float, specificity: float) -> float:
    """Returns the multiply-adds per image of two-round testing, divided by those of individual tests.

    Two-round testing tests groups of `arity` images, and each member of a positive group alone.
    """
    first, later = stages[0], sum(stages[1:])
    span, pooled = 1, stages[-1] / arity
    for macs, rows in zip(stages[1:-1], fan_in):
        span *= rows
        pooled += macs / min(span, arity)
    clean = (1 - PREVALENCE) ** arity
    positive = sensitivity * (1 - clean) + (1 - specificity) * clean
    return (first + pooled + positive * later) / (first + later)


def verdict(stages: Sequence[int], fan_in: Sequence[int], entries: Sequence[Entry]) -> str:
    """Returns a one-line message about the cheapest group size. Of several labels, the worst counts."""
    costs: dict[int, float] = {}
    for entry in entries:
        points = [point for point in entry.operating_points if point.sensitivity >= SENSITIVITY]
        if entry.arity > 1 and points:
            point = min(points, key=lambda point: point.sensitivity)
            cost = two_rounds(stages, fan_in, entry.arity, point.sensitivity, point.specificity)
            costs[entry.arity] = max(cost, costs.get(entry.arity, 0))
    if not costs:
        return "no group size was calibrated, so the saving of pooling is not estimated"
    arity, cost = min(costs.items(), key=lambda pair: pair[1])
    told = f"groups of {arity} at a sensitivity of {SENSITIVITY:.0%}, then individual tests"
    told += f": {cost:.0%} of the multiply-adds of individual tests, at {PREVALENCE:.0%} positives"
    return told if cost < 0.9 else f"POOLING SAVES NOTHING HERE ({told}): cut elsewhere, or train the network on merged features first"
