"""Fits the weights of the merge by class activation maps, for a network that is not trained.

The weights are those of a linear classifier of single images, on the mean of a feature map over its
places. They are fitted on half of the images of each class. The other half sets the thresholds of
pooled tests, since the weights are overfitted to the first half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from .. import logistic
from .calibration import Target
from .errors import CutError


@dataclass(frozen=True)
class Halves:
    learn: np.ndarray  # rows of the images that the weights are fitted on
    judge: np.ndarray  # rows of the images that set thresholds

    def judged(self, targets: Sequence[Target], negatives: np.ndarray) -> tuple[list[Target], np.ndarray]:
        """Returns the targets and the negatives among the images that set thresholds."""
        kept = [Target(target.label, target.column, np.intersect1d(target.rows, self.judge)) for target in targets]
        return kept, np.intersect1d(negatives, self.judge)


def halves(kinds: Sequence[str], targets: Sequence[Target], negatives: np.ndarray, seed: int) -> Halves:
    """Divides the images of each class into halves. Raises CutError if a half has no image of a label, or no negative."""
    random, of, learn = np.random.default_rng(seed), np.array(kinds), []
    for kind in sorted(set(kinds)):
        drawn = random.permutation(np.flatnonzero(of == kind))
        learn.append(drawn[: len(drawn) // 2])
    chosen = np.sort(np.concatenate(learn))
    found = Halves(chosen, np.setdiff1d(np.arange(len(of)), chosen))
    for what, images in [*((f"label {target.label}", target.rows) for target in targets), ("no label", negatives)]:
        if not len(np.intersect1d(images, found.learn)) or not len(np.intersect1d(images, found.judge)):
            raise CutError(
                f"--merge cam: {len(images)} images of {what} are too few: half of each class fits the merge, so give two images or more of a class"
            )
    return found


def fit(features: np.ndarray, targets: Sequence[Target], learn: np.ndarray) -> np.ndarray:
    """Returns the weights [positive labels,C] from the features [N,C,H,W] of all images."""
    vectors = np.stack([features[row].mean(axis=(1, 2)) for row in learn])
    wanted = np.stack([np.isin(learn, target.rows) for target in targets], axis=1)
    return logistic.fit(vectors, wanted, logistic.DECAY)[0]
