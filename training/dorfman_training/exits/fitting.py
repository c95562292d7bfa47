"""Fits the head of one depth, and scores every image with a head that did not see it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Sequence

import numpy as np

from . import folds, heads, pools
from .heads import Head


@dataclass(frozen=True)
class Fitted:
    head: Head
    judged: np.ndarray  # scores [N,labels] of the judged images, which the head (or the head of their fold) did not see
    learned: np.ndarray | None  # out-of-fold scores of the images that the head was fitted on, or None


@dataclass(frozen=True)
class Learner:
    """The images that heads are fitted on. Without `learn`, heads are fitted on the judged images, and these get out-of-fold scores."""

    learn: np.ndarray | None  # targets [N,labels]
    judge: np.ndarray  # targets [N,labels]
    out_of_fold: bool  # whether the images of `learn` get out-of-fold scores
    seed: int

    def fit(self, row: Sequence[int], judged: np.ndarray, learned: np.ndarray | None) -> Fitted:
        """Fits a head on pooled features of a tensor with rows of shape `row`.

        Features are [N,width]; those on which the head is fitted may be [N,copies,width], as in `heads.fit`.
        """
        vectors, wanted = (judged, self.judge) if learned is None or self.learn is None else (learned, self.learn)
        kind, _ = heads.choose(row, vectors, wanted, self.seed)
        columns = pools.columns(kind.pools, row)
        narrow = vectors[..., columns]
        head = heads.fit(kind, narrow, wanted, self.seed)
        if self.learn is None:
            return Fitted(head, self.outside(kind, narrow, wanted), None)
        outside = self.outside(kind, narrow, wanted) if self.out_of_fold else None
        return Fitted(head, head.scores(judged[:, columns]), outside)

    def outside(self, kind: heads.Kind, vectors: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        fold = folds.assign(wanted, folds.COUNT, self.seed)
        return folds.out_of_fold(partial(heads.fit, kind, seed=self.seed), vectors, wanted, fold)
