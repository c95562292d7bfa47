"""Compares the stages with the whole network before the bundle is written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .chain import Chain, Whole
from .errors import CutError

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Differences:
    individual: float  # between the stages and the whole network, for single images
    repeats: float  # between a test padded by repeated members and the same test without padding
    order: float  # between a test and the same test with its members in another order


def check(whole: Whole, chain: Chain, images: np.ndarray, seed: int = 0) -> Differences:
    """Compares the scores of images [N,...]. Raises CutError if a difference is more than 1e-5."""
    try:
        features = chain.features(images)
        singles = chain.scores(features, np.arange(len(images))[:, None])
    except CutError:
        raise
    except Exception as error:
        raise CutError(
            f"the cut network cannot take several rows ({str(error).splitlines()[0]}): export the model with a dynamic batch axis, or cut elsewhere"
        ) from error
    individual = largest(singles, whole.scores(images), "an image's score, compared with the whole network,")
    check_probabilities(singles)
    repeats, order, rows = 0.0, 0.0, features
    for stage in range(chain.items, len(chain.sessions)):
        rows, padded, turned = merged_alike(chain, stage, rows, np.random.default_rng(seed + stage))
        repeats, order = max(repeats, padded), max(order, turned)
    return Differences(individual, repeats, order)


def merged_alike(chain: Chain, stage: int, rows: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """Merges rows in threes.

    Returns the stage's output, its largest difference when members are repeated as padding, and its
    largest difference when the members are in reverse order.
    """
    members = np.array([random.permutation(len(rows))[:3] for _ in range(len(rows))])
    plain = chain.merge(stage, rows, members)
    padded = largest(chain.merge(stage, rows, members[:, [0, 1, 2, 0, 1]]), plain, f"the output of stage {stage}, padded by repeats,")
    turned = largest(chain.merge(stage, rows, members[:, ::-1]), plain, f"the output of stage {stage}, with its members in another order,")
    return plain, padded, turned


def largest(found: np.ndarray, wanted: np.ndarray, what: str) -> float:
    """Returns the largest difference, divided by the largest wanted value if that is above 1."""
    if found.shape != wanted.shape:
        raise CutError(f"{what} has shape {found.shape[1:]}, not {wanted.shape[1:]}: the batch must be the first axis of every tensor")
    difference = np.abs(found - wanted).max() / max(1.0, float(np.abs(wanted).max()))
    if not difference <= TOLERANCE:
        raise CutError(f"{what} differs by {difference:.1e}, more than {TOLERANCE:.0e}: the model mixes its rows, or cannot be cut there")
    return float(difference)


def check_probabilities(scores: np.ndarray) -> None:
    if scores.min() < 0 or scores.max() > 1 + 1e-6:
        raise CutError(
            f"the scores are {scores.min():.3g} to {scores.max():.3g}, but must be probabilities: "
            "give --activation softmax (exactly one label applies to an image) or sigmoid (labels are independent)"
        )
