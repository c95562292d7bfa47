"""Prints the accuracy of a network on groups of the test images.

`dorfman evaluate` measures seconds.
"""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from . import calibrate
from .calibrate import Entry, Sample, Scorer
from .config import Config
from .data import Split
from .model import StagedNet

SENSITIVITIES = (0.98, 0.99, 0.995)


def report(model: StagedNet, entries: Sequence[Entry], test: Split, config: Config, say: Callable[[str], None]) -> None:
    """Prints a table with one row per arity.

    The false positive rates (FP) use thresholds set on the test images themselves. The last columns
    use the thresholds of the calibration, as the worker does.
    """
    scorer = Scorer(model, test.images, config)
    heads = ["AUC"] + [f"FP at {s:.1%}" for s in SENSITIVITIES] + [f"calibrated {s:.1%}: sensitivity, FP" for s in SENSITIVITIES]
    say("| M | " + " | ".join(heads) + " |\n|" + "---|" * (len(heads) + 1))
    for entry in entries:
        scores = calibrate.sample(scorer, test, entry.arity, config.calibration)
        say(f"| {entry.arity} | " + " | ".join(cells(scores, entry)) + " |")


def cells(scores: Sample, entry: Entry) -> list[str]:
    found = [f"{auc(scores):.4f}"]
    found += [f"{1 - calibrate.operating_point(scores, s).specificity:.1%}" for s in SENSITIVITIES]
    for sensitivity in SENSITIVITIES:
        threshold = next(p.threshold for p in entry.operating_points if p.sensitivity == sensitivity)
        found.append(f"{caught(scores, threshold):.1%}, {1 - calibrate.specificity_at(scores.negative, threshold):.1%}")
    return found


def caught(scores: Sample, threshold: float) -> float:
    return 1 - calibrate.specificity_at(scores.positive, threshold)


def auc(scores: Sample) -> float:
    """Returns the probability that a positive group scores above a negative one.

    A tie counts as one half (Mann and Whitney 1947).
    """
    both = np.concatenate([scores.negative, scores.positive])
    values, place, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    positives, negatives = len(scores.positive), len(scores.negative)
    total = ranks[negatives:].sum() - positives * (positives + 1) / 2
    return float(total / (positives * negatives))
