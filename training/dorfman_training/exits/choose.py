"""Chooses the exits whose expected cost is lowest, at a limit of the recall that they lose together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Sequence

import numpy as np

SENSITIVITIES = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0)
WORTH = 0.95  # another exit must bring the cost below this share of the cost without it, because each exit adds a risk and a run
MOST_NEGATIVES = 4000  # negatives of the search; the result is measured on all rows


@dataclass(frozen=True)
class Gate:
    """A place where items may be cleared: the screen, or a depth of the network.

    `before` counts the network's multiply-adds up to the depth. `head` counts those of the head, and for
    the screen those of the whole screen. `scores` is [N,positive labels].
    """

    name: str
    before: int
    head: int
    scores: np.ndarray
    forced: bool = False


@dataclass(frozen=True)
class Rows:
    """The images on which exits are chosen.

    `wanted` and `found` are [N,positive labels]: the labels of an image, and those for which its
    individual test is positive. `found` is true where the individual test is not known.
    """

    wanted: np.ndarray
    found: np.ndarray

    @property
    def negative(self) -> np.ndarray:
        return ~self.wanted.any(axis=1)


@dataclass(frozen=True)
class Picked:
    gate: Gate
    sensitivity: float
    thresholds: np.ndarray  # [positive labels]


@dataclass(frozen=True)
class Plan:
    """The chosen gates in the order in which an item meets them."""

    picked: tuple[Picked, ...]
    cost: float  # of a negative, as a share of the individual test's multiply-adds
    loss: float  # share of the positives found by the individual test that a gate clears; of several labels, the largest


@dataclass(frozen=True)
class Measured:
    cost: float
    loss: float
    passed: tuple[float, ...]  # share of all negatives that pass each gate and those before it


def thresholds(scores: np.ndarray, wanted: np.ndarray, sensitivity: float) -> np.ndarray:
    """Returns one threshold per label: the largest that keeps the share `sensitivity` of its positives."""
    from ..calibrate import threshold_for

    return np.array([threshold_for(scores[wanted[:, label], label], sensitivity) for label in range(wanted.shape[1])])


def passes(scores: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Returns whether each item passes: a label's score is at least its threshold."""
    return (scores >= limits).any(axis=1)


def loss(rows: Rows, alive: np.ndarray) -> float:
    """Returns the share of the found positives that do not pass. Of several labels, the largest share."""
    shares = []
    for label in range(rows.wanted.shape[1]):
        hot = rows.wanted[:, label] & rows.found[:, label]
        shares.append(float((~alive[hot]).mean()) if hot.any() else 0.0)
    return max(shares)


def measure(picked: Sequence[Picked], rows: Rows, total: int, scores: Sequence[np.ndarray] | None = None) -> Measured:
    """Measures gates on rows. `scores` replaces the gates' scores, for rows of other images."""
    alive, cost, at, shares = np.ones(len(rows.wanted), bool), 0.0, 0, []
    negative = rows.negative
    for number, choice in enumerate(picked):
        cost += alive[negative].mean() * (choice.gate.before - at + choice.gate.head)
        at = choice.gate.before
        alive = alive & passes(scores[number] if scores is not None else choice.gate.scores, choice.thresholds)
        shares.append(float(alive[negative].mean()))
    cost += alive[negative].mean() * (total - at)
    return Measured(float(cost / total), loss(rows, alive), tuple(shares))


@dataclass
class Search:
    """A depth-first search over gates in order, with one sensitivity each or none. It keeps the best plan per number of exits."""

    gates: Sequence[Gate]
    rows: Rows
    total: int
    most: int
    limit: float
    best: dict[int, tuple[float, tuple[Picked, ...]]] = field(default_factory=dict)

    def run(self) -> Plan:
        rows, negative = self.rows, np.flatnonzero(self.rows.negative)
        chosen = np.random.default_rng(0).permutation(negative)[:MOST_NEGATIVES]
        hot = rows.wanted & rows.found
        positive = np.flatnonzero(hot.any(axis=1))
        # Several labels: an item counts for each of its labels, and the limit holds for each label.
        self.hot = hot[positive]
        self.allowed = np.floor(self.limit * hot.sum(axis=0) + 1e-9)
        self.options = [self.option(gate, positive, chosen) for gate in self.gates]
        self.walk(0, np.ones(len(positive), bool), np.ones(len(chosen), bool), 0.0, 0, ())
        return self.result()

    def option(self, gate: Gate, positive: np.ndarray, negative: np.ndarray) -> list[tuple[Picked, np.ndarray, np.ndarray]]:
        """Returns the sensitivities that a gate may have, with the positives and negatives that pass."""
        found: list[tuple[Picked, np.ndarray, np.ndarray]] = []
        for sensitivity in SENSITIVITIES:
            limits = thresholds(gate.scores, self.rows.wanted, sensitivity)
            kept = passes(gate.scores[positive], limits)
            same = any(np.array_equal(limits, other.thresholds) for other, _, _ in found)
            if not same and self.fits(kept):
                found.append((Picked(gate, sensitivity, limits), kept, passes(gate.scores[negative], limits)))
        return found

    def fits(self, alive: np.ndarray) -> bool:
        return bool((self.hot[~alive].sum(axis=0) <= self.allowed).all())

    def walk(self, number: int, hot: np.ndarray, cold: np.ndarray, cost: float, at: int, picked: tuple[Picked, ...]) -> None:
        share = cold.mean() if len(cold) else 0.0
        used = sum(not choice.gate.forced for choice in picked)
        if number == len(self.gates):
            whole = cost + share * (self.total - at)
            if whole < self.best.get(used, (float("inf"), ()))[0]:
                self.best[used] = (whole, picked)
            return
        if cost > self.best.get(self.most, (float("inf"), ()))[0]:
            return
        gate = self.gates[number]
        if gate.forced or used < self.most:
            for choice, kept, passed in self.options[number]:
                alive = hot & kept
                if self.fits(alive):
                    more = share * (gate.before - at + gate.head)
                    self.walk(number + 1, alive, cold & passed, cost + more, gate.before, (*picked, choice))
        if not gate.forced:
            self.walk(number + 1, hot, cold, cost, at, picked)

    def result(self) -> Plan:
        used, (cost, picked) = 0, self.best[0]
        for number in range(1, self.most + 1):
            if number in self.best and self.best[number][0] < WORTH ** (number - used) * cost:
                used, (cost, picked) = number, self.best[number]
        measured = measure(picked, self.rows, self.total)
        return Plan(picked, measured.cost, measured.loss)


def search(gates: Sequence[Gate], rows: Rows, total: int, most: int, limit: float) -> Plan:
    """Returns the plan with the lowest expected cost of a negative among those that lose at most `limit` of the found positives."""
    return Search(gates, rows, total, most, limit).run()


def expected(plan: Plan, rows: Rows) -> float:
    """Returns the loss to expect on new images.

    A threshold that was set on n positives so that k of them are below it loses an expected share of
    (k + 1) / (n + 1) of new ones. Each gate adds one to what all gates lose together.
    """
    counts = (rows.wanted & rows.found).sum(axis=0)
    return max(float((plan.loss * count + len(plan.picked)) / (count + 1)) for count in counts)


def provable(positives: int) -> float:
    """Returns the loss that `positives` positives with none lost exclude at 95 % confidence."""
    return 1 - 0.05 ** (1 / max(1, positives))
