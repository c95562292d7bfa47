"""Reads the bundle to which exits are added."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..cut import images, macs
from ..cut.errors import CutError
from ..cut.images import Input
from ..cut.network import Network
from ..cut.points import Point
from . import compose, depths
from .compose import Composed


@dataclass(frozen=True)
class Labels:
    """The bundle's labels, and the columns of the positive ones."""

    names: tuple[str, ...]
    columns: tuple[int, ...]

    @property
    def positive(self) -> tuple[str, ...]:
        return tuple(self.names[column] for column in self.columns)


@dataclass(frozen=True)
class Bundle:
    folder: Path
    table: dict[str, Any]  # the manifest
    contents: list[bytes]  # the files of the stages; they are read once, so that a change during a run does no harm
    composed: Composed

    @property
    def network(self) -> Network:
        """The network of the individual test."""
        return self.composed.network

    @cached_property
    def labels(self) -> Labels:
        return labels_of(self.table)

    @cached_property
    def input(self) -> Input:
        return images.from_table(self.table["input"])

    @cached_property
    def total(self) -> int:
        """The multiply-adds of the individual test, without heads."""
        return sum(macs.counts(self.network))

    @property
    def items(self) -> int:
        """How many item stages the bundle has."""
        return 1 + sum(stage.get("fan_in") == 1 for stage in self.table["stages"])

    @cached_property
    def merge(self) -> Point:
        return depths.merge_point(self.network, self.composed.ends[self.items - 1])

    @property
    def standard(self) -> list[dict[str, Any]]:
        """The calibration entries that are measured on all images."""
        return [entry for entry in self.table["calibration"] if "exit_sensitivity" not in entry]


def load(folder: Path, deeper: bool) -> Bundle:
    """Reads a bundle. Raises CutError if exits, or exits behind the merge if `deeper`, cannot be added to it."""
    table = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    contents = [(folder / stage["file"]).read_bytes() for stage in table["stages"]]
    found = Bundle(folder, table, contents, compose.load(contents, table))
    if deeper and len(table["stages"]) > found.items + 1:
        raise CutError("--deeper: the bundle merges in several steps, and exits behind its first merge cannot be added; leave --deeper out")
    if deeper and table["merge"] != "max":
        raise CutError("--deeper: the bundle does not merge by maximum; leave --deeper out")
    return found


def labels_of(table: dict[str, Any]) -> Labels:
    names = tuple(label["name"] for label in table["labels"])
    return Labels(names, tuple(column for column, label in enumerate(table["labels"]) if label.get("positive")))


def individual_thresholds(bundle: Bundle, sensitivity: float) -> np.ndarray:
    """Returns the threshold of the individual test per positive label, at the calibrated sensitivity nearest to `sensitivity`."""
    found = []
    for label in bundle.labels.positive:
        entry = next((entry for entry in bundle.standard if entry["label"] == label and entry["arity"] == 1), None)
        if entry is None:
            raise CutError(f"the bundle has no calibration of {label} at arity 1: every bundle needs one")
        found.append(min(entry["operating_points"], key=lambda point: abs(point["sensitivity"] - sensitivity))["threshold"])
    return np.array(found)
