"""Writes bundle.json, in the format of docs/bundle.md."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

from . import merge_kinds
from .calibrate import Entry, OperatingPoint
from .config import Config
from .export import StageFile
from .model import IMAGES

FORMAT = 1


@dataclass(frozen=True)
class ConfirmFile:
    """The confirm network's file and calibration."""

    file: StageFile
    calibration: Sequence[Entry]


def manifest(config: Config, stages: Sequence[StageFile], calibration: Sequence[Entry], confirm: ConfirmFile | None, command: str) -> dict[str, Any]:
    bundle, data, image = config.bundle, config.data, config.input
    table = {
        "format": FORMAT,
        "name": bundle.name,
        "version": bundle.version,
        "description": bundle.description,
        "licence": bundle.licence,
        "provenance": {"data": data.data, "data_licence": data.data_licence, "command": command},
        "labels": [{"name": bundle.label, "positive": True}],
        "input": {
            "width": image.width,
            "height": image.height,
            "channels": image.channels,
            "layout": "nchw",
            "resize": {"rule": "stretch", "filter": image.filter, **({"draft": image.draft} if image.draft else {})},
            "dtype": "uint8",
        },
        "merge": merge_kinds.MEAN if config.design.cuts[0].after == IMAGES else config.design.merge,
        "stages": [stage_table(stage) for stage in stages],
        "calibration": [dataclasses.asdict(entry) for entry in calibration],
    }
    if confirm is not None:
        entries = [dataclasses.asdict(entry) for entry in confirm.calibration]
        table["confirm"] = {**stage_table(confirm.file), "calibration": entries}
    return table


def stage_table(stage: StageFile) -> dict[str, Any]:
    table: dict[str, Any] = {"file": stage.file, "sha256": stage.sha256, "macs": stage.macs}
    if stage.features is not None:
        table["features"] = list(stage.features)
    if stage.fan_in is not None:
        table["fan_in"] = stage.fan_in
    return table


def write(path: Path, table: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dumps(table), encoding="utf-8")


def dumps(table: dict[str, Any]) -> str:
    """Returns JSON with each list of numbers and each operating point on one line.

    The file then has a few hundred lines instead of ten thousand.
    """
    text = json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False)
    text = re.sub(r"\[\s*([-+0-9.eE,\s]+?)\s*\]", lambda found: "[" + re.sub(r",\s+", ", ", found[1]) + "]", text)
    text = re.sub(r"\{\s*(\"sensitivity\"[^}]*?)\s*\}", lambda found: "{" + re.sub(r",\s+", ", ", found[1]) + "}", text)
    return text + "\n"


def entries_from(rows: Sequence[dict[str, Any]]) -> list[Entry]:
    """Reads calibration entries that `dataclasses.asdict` wrote."""
    return [Entry(**{**row, "operating_points": [OperatingPoint(**point) for point in row["operating_points"]]}) for row in rows]
