"""Measures the scores of positive and negative groups at every arity, and sets thresholds.

The images are held out: the network was not trained on them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, Protocol, Sequence

import numpy as np
import torch
from torch import Tensor

from . import data, groups, progress
from .config import CalibrationConfig, Config
from .data import Split
from .model import StagedNet

CHUNK = 128  # images or tests per pass


@dataclass(frozen=True)
class OperatingPoint:
    sensitivity: float
    specificity: float
    threshold: float


@dataclass(frozen=True)
class Entry:
    """The calibration of one label at one arity, as in bundle.json."""

    label: str
    arity: int
    positives: int
    negatives: int
    positive_scores: list[float]
    negative_scores: list[float]
    operating_points: list[OperatingPoint]


class Scores(Protocol):
    """Scores tests. Each line of `members` contains the row numbers of one test's images."""

    def scores(self, members: Tensor) -> np.ndarray: ...


class Scorer:
    """Scores groups in PyTorch. Stage 0 runs once per image, as in the worker."""

    def __init__(self, model: StagedNet, images: Tensor, config: Config) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device).eval()
        with torch.no_grad():
            self.features = torch.cat(
                [self.model.stages[0](data.normalise(part, config.input).to(self.device)) for part in progress.over(images.split(CHUNK), "features")]
            )

    @torch.no_grad()
    def scores(self, members: Tensor) -> np.ndarray:
        return torch.cat([self.logits(part).sigmoid().squeeze(1).cpu() for part in progress.over(members.split(CHUNK), "tests")]).numpy()

    def logits(self, members: Tensor) -> Tensor:
        if not self.model.cuts:
            return self.features[members[:, 0].to(self.device)]
        sizes = torch.full((len(members),), members.shape[1])
        levels = groups.levels(members, sizes, self.model.fans)
        return self.model.tests(self.features, [level.to(self.device) for level in levels])


@dataclass(frozen=True)
class Sample:
    positive: np.ndarray
    negative: np.ndarray


def sample(scorer: Scores, split: Split, arity: int, settings: CalibrationConfig) -> Sample:
    """Scores groups with exactly one positive and groups with none."""
    generator = torch.Generator().manual_seed(settings.seed + arity)
    positives, negatives = split.rows(True), split.rows(False)
    # At arity 1 every image is scored once, without resampling.
    hot_count = len(positives) if arity == 1 else settings.positives
    cold_count = len(negatives) if arity == 1 else settings.negatives
    hot = groups.draw_for_calibration(arity, hot_count, True, positives, negatives, generator)
    cold = groups.draw_for_calibration(arity, cold_count, False, positives, negatives, generator)
    return Sample(scorer.scores(hot), scorer.scores(cold))


def threshold_for(positive: np.ndarray, sensitivity: float) -> float:
    """Returns the largest threshold that keeps the share `sensitivity` of the positive groups.

    A test is positive if its score is at least the threshold.
    """
    ordered = np.sort(positive)[::-1]
    # The rounding of the product must not add a group: 0.95 of 20 is 19, not 20.
    kept = max(1, math.ceil(sensitivity * len(ordered) - 1e-9))
    return exact(ordered[kept - 1])


def specificity_at(negative: np.ndarray, threshold: float) -> float:
    """Returns the share of the negative groups below the threshold. A tie is a false positive."""
    return float(np.mean(negative.astype(np.float64) < threshold))


def operating_point(scores: Sample, sensitivity: float) -> OperatingPoint:
    threshold = threshold_for(scores.positive, sensitivity)
    return OperatingPoint(sensitivity, round(specificity_at(scores.negative, threshold), 6), threshold)


def exact(score: np.floating) -> float:
    """Converts a float32 score to the equal float, which JSON keeps exactly.

    The worker then compares scores with the same threshold, without rounding.
    """
    return float(score)


def quantiles(scores: np.ndarray, count: int) -> list[float]:
    values = np.quantile(scores.astype(np.float64), np.linspace(0, 1, count))
    return [float(f"{value:.6g}") for value in values]


class Detail(Protocol):
    """How many quantiles and which operating points an entry has."""

    @property
    def quantiles(self) -> int: ...

    @property
    def sensitivities(self) -> Sequence[float]: ...


def entry(label: str, arity: int, scores: Sample, settings: Detail) -> Entry:
    return Entry(
        label,
        arity,
        len(scores.positive),
        len(scores.negative),
        quantiles(scores.positive, settings.quantiles),
        quantiles(scores.negative, settings.quantiles),
        [operating_point(scores, sensitivity) for sensitivity in settings.sensitivities],
    )


def calibrate(model: StagedNet, split: Split, config: Config, say: Callable[[str], None]) -> list[Entry]:
    scorer = Scorer(model, split.images, config)
    entries = []
    for arity in config.calibration.arities:
        entries.append(entry(config.bundle.label, arity, sample(scorer, split, arity, config.calibration), config.calibration))
        say(f"arity {arity}: " + line(entries[-1].operating_points))
    return entries


def line(points: Sequence[OperatingPoint]) -> str:
    return ", ".join(f"{1 - point.specificity:.2%} false positive at {point.sensitivity:.1%}" for point in points)
