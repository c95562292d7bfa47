"""Prints the points where a network can be cut, and how much a cut there saves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Sequence

from .points import Point

GROUP = 16


@dataclass(frozen=True)
class Row:
    point: Point
    time_share: float | None

    @property
    def saving(self) -> float | None:
        """Returns the time of individual tests divided by the time of first-round tests of 16 images."""
        if self.time_share is None:
            return None
        return 1 / (self.time_share + (1 - self.time_share) / GROUP)


def as_table(rows: Sequence[Row]) -> str:
    head = ["cut", "row", "KiB per row", "MACs before", "time before", f"first round of {GROUP}"]
    lines = [head, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def cells(row: Row) -> list[str]:
    point = row.point
    return [
        point.name,
        "x".join(str(size) for size in point.row),
        f"{point.bytes / 1024:.0f}" if point.bytes >= 10240 else f"{point.bytes / 1024:.1f}",
        f"{point.macs_share:.1%}",
        "" if row.time_share is None else f"{row.time_share:.0%}",
        "" if row.saving is None else f"{row.saving:.1f} x faster",
    ]


def as_json(rows: Sequence[Row], macs: int, seconds: float | None, batch: int) -> str:
    table: dict[str, Any] = {"macs": macs, "cuts": [entry(row) for row in rows]}
    if seconds is not None:
        table |= {"seconds_an_image": round(seconds, 6), "batch": batch}
    return json.dumps(table, indent=1, ensure_ascii=False)


def entry(row: Row) -> dict[str, Any]:
    point = row.point
    return {
        "name": point.name,
        "row": list(point.row),
        "bytes": point.bytes,
        "macs": point.macs,
        "macs_share": round(point.macs_share, 6),
        "time_share": None if row.time_share is None else round(row.time_share, 4),
    }
