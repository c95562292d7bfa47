"""Divides rows into folds, and scores each row by a head that was fitted on the other folds."""

from __future__ import annotations

from typing import Callable, Protocol

import numpy as np

COUNT = 5
ENOUGH = 300  # held-out positives with which kinds of heads are compared


class Scoring(Protocol):
    def scores(self, vectors: np.ndarray) -> np.ndarray: ...


def assign(wanted: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns the fold of each row, from 0. `wanted` [N,labels] are the targets; every fold has about the same share of each combination."""
    random = np.random.default_rng(seed)
    fold = np.empty(len(wanted), dtype=np.int64)
    _, combination = np.unique(wanted, axis=0, return_inverse=True)
    start = 0
    for value in range(combination.max() + 1):
        rows = random.permutation(np.flatnonzero(combination == value))
        fold[rows] = (np.arange(len(rows)) + start) % count
        start += len(rows)
    return fold


def enough(wanted: np.ndarray) -> int:
    """Returns how many folds contain ENOUGH positives of every label, at most COUNT."""
    fewest = max(1, int(wanted.sum(axis=0).min()))
    return min(COUNT, max(1, -(-ENOUGH * COUNT // fewest)))


def few(wanted: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Draws at most `most` rows. A seed always draws the same rows."""
    if len(wanted) <= most:
        return np.arange(len(wanted))
    return np.sort(np.random.default_rng(seed).permutation(len(wanted))[:most])


def out_of_fold(
    fit: Callable[[np.ndarray, np.ndarray], Scoring], vectors: np.ndarray, wanted: np.ndarray, fold: np.ndarray, used: int = COUNT
) -> np.ndarray:
    """Returns the scores [N,labels] of the rows of folds 0 to `used` - 1; other rows have NaN.

    A row is scored by a head that was fitted on the rows of the other folds.
    """
    scores = np.full(wanted.shape, np.nan)
    for number in range(used):
        inner = fold != number
        scores[~inner] = fit(vectors[inner], wanted[inner]).scores(vectors[~inner])
    return scores
