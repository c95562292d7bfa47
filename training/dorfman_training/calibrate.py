"""Measures, at every arity, how positive and negative groups score on images that were not trained on, and what thresholds give."""

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

CHUNK = 128  # images or tests a pass


@dataclass(frozen=True)
class OperatingPoint:
    sensitivity: float
    specificity: float
    threshold: float


@dataclass(frozen=True)
class Entry:
    """What bundle.json holds for one label and one arity."""

    label: str
    arity: int
    positives: int
    negatives: int
    positive_scores: list[float]
    negative_scores: list[float]
    operating_points: list[OperatingPoint]


class Scores(Protocol):
    """Whatever scores tests: lines of members of one split."""

    def scores(self, members: Tensor) -> np.ndarray: ...


class Scorer:
    """Scores groups in PyTorch. Each image passes stage 0 once, as in the worker."""

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
    """Scores of groups with exactly one positive and of groups with none."""
    generator = torch.Generator().manual_seed(settings.seed + arity)
    positives, negatives = split.rows(True), split.rows(False)
    # Singles have nothing to resample: every image once.
    hot_count = len(positives) if arity == 1 else settings.positives
    cold_count = len(negatives) if arity == 1 else settings.negatives
    hot = groups.draw_for_calibration(arity, hot_count, True, positives, negatives, generator)
    cold = groups.draw_for_calibration(arity, cold_count, False, positives, negatives, generator)
    return Sample(scorer.scores(hot), scorer.scores(cold))


def threshold_for(positive: np.ndarray, sensitivity: float) -> float:
    """The largest threshold that keeps this share of the positive groups (a test is positive if its score is >= it)."""
    ordered = np.sort(positive)[::-1]
    # The product's rounding must not cost a group: 0.95 of 20 is 19, not 20.
    kept = max(1, math.ceil(sensitivity * len(ordered) - 1e-9))
    return exact(ordered[kept - 1])


def specificity_at(negative: np.ndarray, threshold: float) -> float:
    """The share of the negative groups below it: a tie is a false positive."""
    return float(np.mean(negative.astype(np.float64) < threshold))


def operating_point(scores: Sample, sensitivity: float) -> OperatingPoint:
    threshold = threshold_for(scores.positive, sensitivity)
    return OperatingPoint(sensitivity, round(specificity_at(scores.negative, threshold), 6), threshold)


def exact(score: np.floating) -> float:
    """A float32 score as JSON will hold it: the same value, so that the comparison in the worker has no rounding to fear."""
    return float(score)


def quantiles(scores: np.ndarray, count: int) -> list[float]:
    values = np.quantile(scores.astype(np.float64), np.linspace(0, 1, count))
    return [float(f"{value:.6g}") for value in values]


class Detail(Protocol):
    """How finely an entry tells what was measured."""

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
