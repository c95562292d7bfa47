"""Writes joint.csv: the scores of every part of a bundle for each image, from which a plan's joint recall and cost follow."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np

CALIBRATION, TRAINING = "calibration", "training"
FILE = "joint.csv"


@dataclass(frozen=True)
class Joint:
    """The rows of joint.csv. `parts` maps `screen` and `stageN` to scores [N,positive labels]."""

    labels: tuple[str, ...]  # the positive labels
    source: np.ndarray  # CALIBRATION or TRAINING per row
    wanted: np.ndarray  # [N,labels]
    parts: dict[str, np.ndarray]
    individual: np.ndarray  # [N,labels]; NaN for training rows


def rounded_down(scores: np.ndarray) -> np.ndarray:
    """Rounds scores of 0 to 1 down to six significant digits.

    A threshold is a rounded score. An image whose score gave the threshold then passes it, whether its
    exact or its rounded score is compared.
    """
    values = scores.astype(np.float64)
    with np.errstate(divide="ignore"):
        digits = np.where(values > 0, 5 - np.floor(np.log10(np.where(values > 0, values, 1))), 6)
    scale = 10.0**digits
    return np.where(values > 0, np.array([short(value) for value in (np.floor(values * scale) / scale).ravel()]).reshape(values.shape), 0.0)


def short(value: float) -> float:
    return float(f"{value:.6g}")


def write(path: Path, joint: Joint) -> None:
    head = ["source", "positive", *(f"{part}.{label}" for part in joint.parts for label in joint.labels)]
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*head, *(f"individual.{label}" for label in joint.labels)])
        for row, source in enumerate(joint.source):
            names = ";".join(label for label, has in zip(joint.labels, joint.wanted[row]) if has)
            exits = [f"{value:.6g}" for scores in joint.parts.values() for value in scores[row]]
            table.writerow([source, names, *exits, *texts(joint.individual[row])])


def texts(scores: Sequence[float]) -> list[str]:
    # Nine digits keep a float32 exactly, so that a comparison with a threshold has the same result.
    return ["" if math.isnan(score) else f"{score:.9g}" for score in scores]
