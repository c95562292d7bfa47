"""What pooling with this bundle would cost, by its calibration: a network that never saw merged features may gain nothing."""

from __future__ import annotations

from typing import Sequence

from ..calibrate import Entry

PREVALENCE = 0.01
SENSITIVITY = 0.95  # of a pooled test


def two_rounds(stages: Sequence[int], fan_in: Sequence[int], arity: int, sensitivity: float, specificity: float) -> float:
    """Multiply-adds an image of a group of `arity`, whose members are tested one by one if it is positive, against testing all one by one."""
    first, later = stages[0], sum(stages[1:])
    span, pooled = 1, stages[-1] / arity
    for macs, rows in zip(stages[1:-1], fan_in):
        span *= rows
        pooled += macs / min(span, arity)
    clean = (1 - PREVALENCE) ** arity
    positive = sensitivity * (1 - clean) + (1 - specificity) * clean
    return (first + pooled + positive * later) / (first + later)


def verdict(stages: Sequence[int], fan_in: Sequence[int], entries: Sequence[Entry]) -> str:
    """One line for people. With several labels the worst of them counts."""
    costs: dict[int, float] = {}
    for entry in entries:
        points = [point for point in entry.operating_points if point.sensitivity >= SENSITIVITY]
        if entry.arity > 1 and points:
            point = min(points, key=lambda point: point.sensitivity)
            cost = two_rounds(stages, fan_in, entry.arity, point.sensitivity, point.specificity)
            costs[entry.arity] = max(cost, costs.get(entry.arity, 0))
    if not costs:
        return "no group size was calibrated, so pooling was not judged"
    arity, cost = min(costs.items(), key=lambda pair: pair[1])
    told = f"groups of {arity} that keep {SENSITIVITY:.0%} of the positives, then one by one"
    told += f": {cost:.0%} of the multiply-adds, at {PREVALENCE:.0%} positives"
    return told if cost < 0.9 else f"POOLING SAVES NOTHING HERE ({told}): cut elsewhere, or train the network on merged features first"
