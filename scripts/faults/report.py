"""The report of a run: report.md for people, report.json for programs."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .evidence import Exit
from .happening import BEFORE, Happening, Rates, attribute
from .oracle import Violation

# The time after a fault's recovery over which its rate is taken.
AFTER = 5.0
HEADS = [
    "fault", "begin s", "length s", "items/s before", "during", "after", "highest lag", "recovery s", "repeats", "exits"
]  # fmt: skip


@dataclass
class Result:
    """What a run has shown."""

    title: str
    begun: float
    happenings: list[Happening]
    verdicts: list[float]
    repeats: list[float]
    exits: list[Exit]
    totals: dict[str, Any]
    left_out: dict[str, str]
    schedule: list[str]
    violations: list[Violation]


def write(result: Result, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = table(result)
    (folder / "report.json").write_text(json.dumps(_json(result, rows), indent=1) + "\n")
    (folder / "report.md").write_text(_markdown(result, rows))


def table(result: Result) -> list[list[str]]:
    """One row per fault. A fault that happened inside another one is marked with `>`."""
    rates = Rates(result.verdicts)
    repeats = attribute(result.happenings, result.repeats)
    rows = []
    for fault in result.happenings:
        back = fault.recovered or fault.end
        values = [rates.between(fault.begin - BEFORE, fault.begin), rates.between(fault.begin, fault.end), rates.between(back, back + AFTER)]
        recovery = "" if fault.inside else "not yet" if fault.recovered is None else f"{fault.recovered - fault.end:.1f}"
        exits = [f"{e.worker} {e.code}" for e in result.exits if fault.begin <= e.time <= back]
        mark = "> " if fault.inside else ""
        rows.append([
            f"{mark}{fault.name()}", f"{fault.begin - result.begun:.1f}", f"{fault.end - fault.begin:.1f}", *map(_rate, values),
            f"{fault.highest_lag:,}", recovery, str(repeats.get(fault.number, 0)), ", ".join(exits),
        ])  # fmt: skip
    return rows


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _json(result: Result, rows: list[list[str]]) -> dict[str, Any]:
    return {
        "title": result.title,
        "totals": result.totals,
        "left_out": result.left_out,
        "schedule": result.schedule,
        "faults": [asdict(h) | {"row": dict(zip(HEADS, row))} for h, row in zip(result.happenings, rows)],
        "exits": [asdict(e) for e in result.exits],
        "violations": [asdict(v) for v in result.violations],
    }


def _markdown(result: Result, rows: list[list[str]]) -> str:
    totals = "\n".join(f"- {name}: {_shown(value)}" for name, value in result.totals.items())
    left_out = "\n".join(f"- {kind}: {why}" for kind, why in result.left_out.items()) or "None."
    faults = "\n".join("| " + " | ".join(row) + " |" for row in [HEADS, ["---"] * len(HEADS), *rows])
    violations = "\n\n".join(f"**{v.check}** {v.text}\n\n" + _quoted(v.history) for v in result.violations) or "None."
    return f"""# {result.title}

{totals}

## Faults

{faults}

A row that begins with `>` is a fault inside the one above. Rates are verdicts per second. The recovery is the time from the end
of the fault until the lag is back at its level before. A repeat is a verdict that was published again; it is counted for the last fault
that began before it.

## Faults left out

{left_out}

## Violations

{violations}
"""


def _quoted(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def show(result: Result) -> None:
    """Prints the tables."""
    rows = [HEADS, *table(result)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    print()
    for row in rows:
        (first, wide), *rest = zip(row, widths)
        print("  ".join([first.ljust(wide), *(cell.rjust(width) for cell, width in rest)]).rstrip())
    print()
    for name, value in result.totals.items():
        print(f"{name}: {_shown(value)}")
    for kind, why in result.left_out.items():
        print(f"left out: {kind}: {why}")
    for violation in result.violations:
        print(f"\nVIOLATION {violation.check}: {violation.text}")
        print(_quoted(violation.history))
