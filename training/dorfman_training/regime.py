"""Says whether pooling pays for a bundle, behind its exits or without them, from three numbers.

Of the images that the exits let pass, groups of M are tested, and the images of a positive group one at
a time. For rare positives, three numbers give the cost of an image, as shares of the multiply-adds of an
individual test:

- `before`: what a negative costs before the merge, with the screen, the exits and the first stage;
- `passing`: the share of the negatives that pass all exits;
- `per_passing`: the expected tests per passing image: 1 / M for the group and, for the retest, the share
  of clean groups that test positive (Dorfman 1943).

docs/pooling.md places measured bundles by these numbers. The planner of the worker compares many more
plans, and counts the recall that each plan loses.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from .progress import say

SENSITIVITY = 0.98  # of pooled tests
USUAL = 0.99  # sensitivity of exits for which the verdict is given


@dataclass(frozen=True)
class Regime:
    """The numbers of a bundle with one sensitivity of every exit. Costs are shares of the individual test's."""

    exits: float | None  # sensitivity of the screen and of every exit; None: no exits
    before: float
    passing: float
    images: int | None  # how many negative images passed when this was measured; few of them say little
    after: float  # what a test of one image costs behind the first merge
    arity: int  # M with the least cost
    grouped: float  # what a test of M images costs per image behind the first merge, in tests of one image; without a tree 1 / M
    positive: float  # share of the clean groups of M passing images that test positive

    @property
    def per_passing(self) -> float:
        return self.grouped + self.positive

    @property
    def alone(self) -> float:
        """The expected cost of a negative if passing images are tested one at a time."""
        return self.before + self.passing * self.after

    @property
    def pooled(self) -> float:
        """The expected cost of a negative if passing images are tested in groups of M."""
        return self.before + self.passing * self.after * self.per_passing

    @property
    def pays(self) -> bool:
        return self.per_passing < 1


def of_bundle(folder: Path) -> list[Regime]:
    """Returns one regime without exits, and one per sensitivity at which tests behind exits were calibrated."""
    table = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    stages = table["stages"]
    # A network of one stage merges pixels, so that nothing runs before the merge.
    items = 1 + sum(stage.get("fan_in") == 1 for stage in stages) if len(stages) > 1 else 0
    total = sum(stage["macs"] for stage in stages)
    first, later = [stage["macs"] / total for stage in stages[:items]], stages[items:]
    after = sum(stage["macs"] for stage in later) / total
    without = best(Regime(None, sum(first), 1.0, None, after, 1, 1.0, 0.0), later, positives(table, None))
    found = [without] if without else []
    gates = gates_of(table)
    scores = negatives(folder / table["joint"]["file"]) if gates and "joint" in table else {}
    ahead = table["screen"]["macs"] / total if "screen" in table else 0.0
    for sensitivity in sorted({entry["exit_sensitivity"] for entry in table["calibration"] if "exit_sensitivity" in entry}):
        passed = passing(gates, scores, sensitivity)
        before = ahead + sum(cost * share for cost, share in zip(first, reaching(passed, items)))
        share, count = list(passed.values())[-1], len(next(iter(scores.values())))
        regime = best(Regime(sensitivity, before, share, round(share * count), after, 1, 1.0, 0.0), later, positives(table, sensitivity))
        found += [regime] if regime else []
    return found


def best(regime: Regime, later: Sequence[Mapping[str, Any]], positive: Mapping[int, float]) -> Regime | None:
    """Returns the regime with the cheapest of the arities, or None if no arity above 1 was calibrated.

    `later` are the stages behind the first merge.
    """
    tried = [dataclasses.replace(regime, arity=arity, grouped=grouped(later, arity), positive=share) for arity, share in positive.items()]
    return min(tried, key=lambda each: each.per_passing, default=None)


def grouped(later: Sequence[Mapping[str, Any]], arity: int) -> float:
    """Returns the cost per image of a test of `arity` images, in tests of one image. A tree merges in several steps."""
    span, cost = 1, 0.0
    for stage in later:
        span *= stage.get("fan_in", arity)
        cost += stage["macs"] / min(span, arity)
    return cost / sum(stage["macs"] for stage in later)


def positives(table: Mapping[str, Any], exits: float | None) -> dict[int, float]:
    """Returns, per arity above 1, the share of clean groups that test positive: of several labels, the largest."""
    found: dict[int, float] = {}
    for entry in table["calibration"]:
        if entry["arity"] > 1 and entry.get("exit_sensitivity") == exits:
            point = min(entry["operating_points"], key=lambda point: abs(point["sensitivity"] - SENSITIVITY))
            found[entry["arity"]] = max(found.get(entry["arity"], 0.0), 1 - point["specificity"])
    return found


def gates_of(table: Mapping[str, Any]) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Returns the calibrations of the screen and of the exits, by their names in joint.csv, in the order of a run."""
    found = {"screen": table["screen"]["calibration"]} if "screen" in table else {}
    return found | {f"stage{at}": stage["exit"]["calibration"] for at, stage in enumerate(table["stages"]) if "exit" in stage}


def negatives(path: Path) -> dict[str, np.ndarray]:
    """Returns the columns `GATE.LABEL` of the negatives in joint.csv."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not row["positive"]]
    names = [name for name in (rows[0] if rows else {}) if name not in ("source", "positive") and not name.startswith("individual.")]
    return {name: np.array([float(row[name]) for row in rows]) for name in names}


def passing(gates: Mapping[str, Sequence[Mapping[str, Any]]], scores: Mapping[str, np.ndarray], sensitivity: float) -> dict[str, float]:
    """Returns, per gate, the share of the negatives that pass it and all gates before it."""
    alive: np.ndarray | bool = True
    found = {}
    for gate, entries in gates.items():
        alive = alive & np.logical_or.reduce([scores[f"{gate}.{entry['label']}"] >= threshold(entry, sensitivity) for entry in entries])
        found[gate] = float(np.mean(alive))
    return found


def threshold(entry: Mapping[str, Any], sensitivity: float) -> float:
    return float(min(entry["operating_points"], key=lambda point: abs(point["sensitivity"] - sensitivity))["threshold"])


def reaching(passed: Mapping[str, float], items: int) -> Iterable[float]:
    """Yields, per item stage, the share of the negatives that reach it."""
    share = passed.get("screen", 1.0)
    for stage in range(items):
        yield share
        share = passed.get(f"stage{stage}", share)


def table(regimes: Iterable[Regime]) -> str:
    """Returns a table for people, in per cent of an individual test."""
    heads = ["exits at", "before the merge", "pass the exits", "M", f"clean groups positive at {SENSITIVITY:.0%}", "tests per passing image"]
    lines = [f"| {' | '.join([*heads, 'exits alone', 'with pooling'])} |", "|" + "---|" * (len(heads) + 2)]
    for regime in regimes:
        exits = "no exits" if regime.exits is None else f"{regime.exits:.1%}"
        share = f"{regime.passing:.1%}" + ("" if regime.images is None else f" ({regime.images} images)")
        cells = [exits, f"{regime.before:.1%}", share, str(regime.arity), f"{regime.positive:.1%}", f"{regime.per_passing:.2f}"]
        lines.append(f"| {' | '.join([*cells, f'{regime.alone:.1%}', f'{regime.pooled:.1%}'])} |")
    return "\n".join(lines)


def verdict(regimes: Sequence[Regime]) -> str:
    """Returns one sentence for people, for the usual sensitivity of exits: whether pooling pays, and how much."""
    behind = [regime for regime in regimes if regime.exits is not None] or list(regimes)
    if not behind:
        return "Whether pooling pays is not known: the bundle has no calibration of groups"
    usual = min(behind, key=lambda regime: abs((regime.exits or USUAL) - USUAL))
    where = f"behind exits of {usual.exits:.1%} each" if usual.exits is not None else "without exits"
    if not usual.pays:
        return f"Pooling does not pay {where}: {usual.per_passing:.2f} tests per passing image, and single tests are 1"
    return (
        f"Pooling {where} takes {1 - usual.pooled / usual.alone:.1%} off the cost: "
        f"a negative costs {usual.pooled:.1%} of an individual test, and {usual.alone:.1%} without groups"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> None:
    if not (arguments.bundle / "bundle.json").exists():
        raise SystemExit(f"{arguments.bundle} has no bundle.json: name the folder of a bundle")
    if arguments.json:
        found = of_bundle(arguments.bundle)
        say(json.dumps([{**dataclasses.asdict(each), "per_passing": each.per_passing, "alone": each.alone, "pooled": each.pooled} for each in found]))
    else:
        say(text(arguments.bundle))


def text(folder: Path) -> str:
    """Returns what `regime` prints for the bundle in `folder`."""
    regimes = of_bundle(folder)
    if not regimes:
        return verdict(regimes)
    return (
        f"Does pooling pay? Multiply-adds of a negative, in per cent of an individual test (docs/pooling.md):\n{table(regimes)}\n{verdict(regimes)}"
    )
