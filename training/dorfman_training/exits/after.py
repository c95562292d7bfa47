"""Calibrates tests on images that pass the exits: what exits let through is harder than the average image."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np

from .. import calibrate
from ..calibrate import Sample
from ..cut import calibration
from ..cut.calibration import Target
from ..cut.chain import Chain

SENSITIVITIES = (0.98, 0.99, 0.995, 1.0)  # of each exit
ARITIES = (1, 2, 3, 4, 6, 8, 12, 16)
QUANTILES = 51


@dataclass(frozen=True)
class Settings:
    arities: Sequence[int]  # those of the bundle
    groups: int  # number of positive groups, and of negative groups, above arity 1
    sensitivities: tuple[float, ...]  # of the tests
    seed: int


def one(
    chain: Chain, features: np.ndarray, scores: np.ndarray, target: Target, negatives: np.ndarray, arity: int, settings: calibration.Settings
) -> calibrate.Entry:
    """Returns the entry of one label at one arity. `scores` are the individual scores of all images."""
    if arity == 1:
        sample = Sample(scores[target.rows, target.column], scores[negatives, target.column])
    else:
        drawn = [calibration.draw(arity, settings, positive, target.rows, negatives) for positive in (True, False)]
        hot, cold = (calibration.scores(chain, features, members)[:, target.column] for members in drawn)
        sample = Sample(hot, cold)
    return calibrate.entry(target.label, arity, sample, settings)


def calibrated(
    chain: Chain,
    features: np.ndarray,
    scores: np.ndarray,
    targets: Sequence[Target],
    negatives: np.ndarray,
    passed: dict[float, np.ndarray],
    settings: Settings,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Returns the entries of bundle.json. `passed` has, per sensitivity of each exit, which images pass.

    A sensitivity at which the same images pass as at the one before is left out.
    """
    found = []
    values = list(passed.items())
    passed = dict(pair for at, pair in enumerate(values) if at == 0 or (pair[1] != values[at - 1][1]).any())
    arities = [arity for arity in ARITIES if arity <= max(settings.arities)]
    for target in targets:
        for sensitivity, alive in passed.items():
            hot, cold = target.rows[alive[target.rows]], negatives[alive[negatives]]
            fit = [arity for arity in arities if len(cold) >= 2 * arity and len(hot)]
            for arity in fit:
                inner = calibration.Settings((arity,), settings.groups, settings.sensitivities, QUANTILES, settings.seed)
                entry = one(chain, features, scores, dataclasses.replace(target, rows=hot), cold, arity, inner)
                found.append({**dataclasses.asdict(entry), "exit_sensitivity": sensitivity})
            say(told(target.label, sensitivity, len(cold), fit, arities))
    return found


def told(label: str, sensitivity: float, cold: int, fit: Sequence[int], arities: Sequence[int]) -> str:
    text = f"{label}, behind exits of {sensitivity:.1%} each: {cold} negatives pass"
    left = [arity for arity in arities if arity not in fit]
    done = f"; calibrated at arities {', '.join(map(str, fit))}" if fit else ""
    return text + done + (f"; left out, because an arity needs twice as many negatives: {', '.join(map(str, left))}" if left else "")
