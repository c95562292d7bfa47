"""Holds the stages against the whole network, before anybody trusts them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .chain import Chain, Whole
from .errors import CutError

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Differences:
    individual: float  # staged against whole
    repeats: float  # a row padded by repeats against the row without
    order: float  # a row's members in another order


def check(whole: Whole, chain: Chain, images: np.ndarray, seed: int = 0) -> Differences:
    """`images` is [N,...]. Raises CutError if a difference is more than 1e-5."""
    try:
        features = chain.features(images)
        singles = chain.scores(features, np.arange(len(images))[:, None])
    except CutError:
        raise
    except Exception as error:
        raise CutError(
            f"the cut network can't take several rows ({str(error).splitlines()[0]}): export the model with a dynamic batch axis, or cut elsewhere"
        ) from error
    individual = largest(singles, whole.scores(images), "an image's score, cut against whole,")
    check_probabilities(singles)
    repeats, order, rows = 0.0, 0.0, features
    for stage in range(1, len(chain.sessions)):
        rows, padded, turned = merged_alike(chain, stage, rows, np.random.default_rng(seed + stage))
        repeats, order = max(repeats, padded), max(order, turned)
    return Differences(individual, repeats, order)


def merged_alike(chain: Chain, stage: int, rows: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """What the stage makes of rows in threes, how it differs when they are padded, and when they are turned round."""
    members = np.array([random.permutation(len(rows))[:3] for _ in range(len(rows))])
    plain = chain.merge(stage, rows, members)
    padded = largest(chain.merge(stage, rows, members[:, [0, 1, 2, 0, 1]]), plain, f"stage {stage}, padded by repeats,")
    turned = largest(chain.merge(stage, rows, members[:, ::-1]), plain, f"stage {stage}, its members in another order,")
    return plain, padded, turned


def largest(found: np.ndarray, wanted: np.ndarray, what: str) -> float:
    """The largest difference, as a share of the largest value where that is above 1."""
    if found.shape != wanted.shape:
        raise CutError(f"{what} has shape {found.shape[1:]}, not {wanted.shape[1:]}: the batch is not its first axis all the way")
    difference = np.abs(found - wanted).max() / max(1.0, float(np.abs(wanted).max()))
    if not difference <= TOLERANCE:
        raise CutError(f"{what} differs by {difference:.1e}, more than {TOLERANCE:.0e}: the model mixes its rows, or can't be cut there")
    return float(difference)


def check_probabilities(scores: np.ndarray) -> None:
    if scores.min() < 0 or scores.max() > 1 + 1e-6:
        raise CutError(
            f"scores run from {scores.min():.3g} to {scores.max():.3g}, probabilities are wanted: "
            "give --activation softmax (one of the labels is right) or sigmoid (each on its own)"
        )
