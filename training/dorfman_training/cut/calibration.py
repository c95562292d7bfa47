"""Scores groups of the user's labelled images at every arity, and sets thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence

import numpy as np
import torch

from .. import calibrate, groups, progress
from ..calibrate import Entry, Sample
from .chain import Chain, batches
from .errors import CutError

TESTS_A_RUN = 32


@dataclass(frozen=True)
class Settings:
    arities: tuple[int, ...]
    groups: int  # number of positive groups, and of negative groups, above arity 1
    sensitivities: tuple[float, ...]
    quantiles: int
    seed: int


@dataclass(frozen=True)
class Target:
    """A positive label, its column in the scores and the images that have it."""

    label: str
    column: int
    rows: np.ndarray


def scores(chain: Chain, features: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Returns the scores of tests, [T,labels]."""
    parts = progress.over(list(batches(len(members), TESTS_A_RUN)), "tests")
    return np.concatenate([chain.scores(features, members[part]) for part in parts])


def draw(arity: int, settings: Settings, positive: bool, positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Draws groups, [T,arity] rows. At arity 1, every image is drawn once."""
    generator = torch.Generator().manual_seed(settings.seed + arity)
    count = settings.groups if arity > 1 else len(positives) if positive else len(negatives)
    try:
        drawn = groups.draw_for_calibration(arity, count, positive, torch.from_numpy(positives), torch.from_numpy(negatives), generator)
    except ValueError as error:
        raise CutError(f"--data: {error}; add negative images or use smaller --arities") from error
    return drawn.numpy()


def run(
    chain: Chain, features: np.ndarray, targets: Sequence[Target], negatives: np.ndarray, settings: Settings, say: Callable[[str], None]
) -> list[Entry]:
    """Returns one calibration entry per label and arity."""
    entries = []
    for arity in settings.arities:
        cold = scores(chain, features, draw(arity, settings, False, targets[0].rows, negatives))
        for target in targets:
            hot = scores(chain, features, draw(arity, settings, True, target.rows, negatives))
            column = target.column
            entries.append(calibrate.entry(target.label, arity, Sample(hot[:, column], cold[:, column]), settings))
            say(f"{target.label}, arity {arity}: " + calibrate.line(entries[-1].operating_points))
    return sorted(entries, key=lambda entry: ([target.label for target in targets].index(entry.label), entry.arity))
