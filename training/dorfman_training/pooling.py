"""Says whether pooling pays for a bundle, behind its exits or without them, from three numbers.

Of the images that the exits let pass, groups of M are tested, and the images of a positive group one at
a time. For rare positives, three numbers give the cost of a negative, as shares of the multiply-adds of an
individual test:

- `before`: its cost before the merge, with the screen, the exits and the stages in between;
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
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping, Sequence

import numpy as np

from .progress import say

SENSITIVITY = 0.98  # of pooled tests
USUAL = 0.99  # sensitivity of exits for which the verdict is given
WORTH = 0.9  # pooling pays if it brings the cost below this share of the cost without it, because it also loses recall
FEW = 50  # passing images below which the numbers are uncertain

Table = Mapping[str, Any]  # a part of the manifest


@dataclass(frozen=True)
class Estimate:
    """The numbers of a bundle with one sensitivity of every exit. Costs are shares of the individual test's."""

    exits: float | None  # sensitivity of the screen and of every exit; None: no exits
    before: float
    passing: float
    images: int | None  # how many negative images passed when this was measured; None without exits
    after: float  # cost of a test of one image behind the first merge
    arity: int = 1  # M with the least cost; 1: too few images passed to calibrate groups
    grouped: float = 1.0  # cost per image of a test of M images behind the first merge, in tests of one image; without a tree 1 / M
    false_positive: float = 0.0  # share of the clean groups of M passing images that test positive

    @property
    def per_passing(self) -> float:
        return self.grouped + self.false_positive

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
        return self.pooled < WORTH * self.alone


def of_bundle(folder: Path) -> list[Estimate]:
    """Returns one estimate without exits and, if the bundle has exits, one per calibrated sensitivity of them.

    Raises SystemExit if a file is missing.
    """
    path = folder / "bundle.json"
    if not path.exists():
        raise SystemExit(f"{folder} has no bundle.json: name the folder of a bundle")
    table = json.loads(path.read_text(encoding="utf-8"))
    stages = table["stages"]
    # A network of one stage merges pixels, so that nothing runs before the merge.
    items = 1 + sum(stage.get("fan_in") == 1 for stage in stages) if len(stages) > 1 else 0
    total = sum(stage["macs"] for stage in stages)
    first, later = [stage["macs"] / total for stage in stages[:items]], stages[items:]
    after = sum(stage["macs"] for stage in later) / total
    found = [best(Estimate(None, sum(first), 1.0, None, after), later, false_positives(table, None))]
    gates = gates_of(table)
    if not gates:
        return found
    scores = negatives(folder, table)
    ahead = table["screen"]["macs"] / total if "screen" in table else 0.0
    count = len(next(iter(scores.values())))
    for sensitivity in sensitivities(table):
        passed = passing(gates, scores, sensitivity)
        share = list(passed.values())[-1]
        before = ahead + sum(cost * reached for cost, reached in zip(first, reaching(passed, items)))
        found.append(best(Estimate(sensitivity, before, share, round(share * count), after), later, false_positives(table, sensitivity)))
    return found


def sensitivities(table: Table) -> list[float]:
    """Returns the sensitivities of exits behind which single images or groups were calibrated."""
    return sorted({entry["exit_sensitivity"] for entry in table["calibration"] if "exit_sensitivity" in entry}) or [USUAL]


def best(estimate: Estimate, later: Sequence[Table], false_positive: Mapping[int, float]) -> Estimate:
    """Returns the estimate with the cheapest arity above 1, or unchanged if none was calibrated.

    `later` are the stages behind the first merge.
    """
    tried = [
        dataclasses.replace(estimate, arity=arity, grouped=grouped(later, arity), false_positive=share) for arity, share in false_positive.items()
    ]
    return min(tried, key=lambda each: each.per_passing, default=estimate)


def grouped(later: Sequence[Table], arity: int) -> float:
    """Returns the cost per image of a test of `arity` images, in tests of one image. A tree merges in several steps."""
    nodes, cost = arity, 0.0
    for stage in later:
        nodes = math.ceil(nodes / stage.get("fan_in", nodes))
        cost += stage["macs"] * nodes
    return cost / arity / sum(stage["macs"] for stage in later)


def false_positives(table: Table, exits: float | None) -> dict[int, float]:
    """Returns, per arity above 1, the share of clean groups that test positive.

    With several labels, a group is retested if any label is positive: the sum of the shares is an upper bound.
    """
    found: dict[int, float] = {}
    for entry in table["calibration"]:
        if entry["arity"] > 1 and entry.get("exit_sensitivity") == exits:
            found[entry["arity"]] = min(1.0, found.get(entry["arity"], 0.0) + 1 - nearest(entry, SENSITIVITY)["specificity"])
    return found


def nearest(entry: Table, sensitivity: float) -> Table:
    """Returns the operating point whose sensitivity is nearest."""
    return min(entry["operating_points"], key=lambda point: abs(point["sensitivity"] - sensitivity))


def gates_of(table: Table) -> dict[str, Sequence[Table]]:
    """Returns the calibrations of the screen and of the exits, by their names in joint.csv, in the order in which an item meets them."""
    found = {"screen": table["screen"]["calibration"]} if "screen" in table else {}
    return found | {f"stage{at}": stage["exit"]["calibration"] for at, stage in enumerate(table["stages"]) if "exit" in stage}


def negatives(folder: Path, table: Table) -> dict[str, np.ndarray]:
    """Returns the columns `GATE.LABEL` of the negatives in the file of joint scores."""
    path = folder / table.get("joint", {}).get("file", "joint.csv")
    if not path.exists():
        raise SystemExit(f"{path} is missing, but the bundle has exits: run `exits` again")
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not row["positive"]]
    names = [name for name in (rows[0] if rows else {}) if name not in ("source", "positive") and not name.startswith("individual.")]
    if not names:
        raise SystemExit(f"{path} has no negative images: run `exits` again, with images that are not positive")
    return {name: np.array([float(row[name]) for row in rows]) for name in names}


def passing(gates: Mapping[str, Sequence[Table]], scores: Mapping[str, np.ndarray], sensitivity: float) -> dict[str, float]:
    """Returns, per gate, the share of the negatives that pass it and all gates before it."""
    alive: np.ndarray | bool = True
    found = {}
    for gate, entries in gates.items():
        labels = [scores[f"{gate}.{entry['label']}"] >= nearest(entry, sensitivity)["threshold"] for entry in entries]
        alive = alive & np.logical_or.reduce(labels)
        found[gate] = float(np.mean(alive))
    return found


def reaching(passed: Mapping[str, float], items: int) -> Iterator[float]:
    """Yields, per item stage, the share of the negatives that reach it."""
    share = passed.get("screen", 1.0)
    for stage in range(items):
        yield share
        share = passed.get(f"stage{stage}", share)


def usual(estimates: Sequence[Estimate]) -> Estimate:
    """Returns the estimate that the verdict is about: behind exits of about the usual sensitivity, or without exits if there are none."""
    behind = [estimate for estimate in estimates if estimate.exits is not None]
    return min(behind, key=lambda estimate: abs((estimate.exits or USUAL) - USUAL), default=estimates[0])


def rows(estimates: Iterable[Estimate]) -> str:
    """Returns a table for people, in per cent of an individual test."""
    heads = ["exits at", "before the merge", "pass the exits", "M", f"clean groups positive at {SENSITIVITY:.0%}", "tests per passing image"]
    lines = [f"| {' | '.join([*heads, 'without groups', 'with groups'])} |", "|" + "---|" * (len(heads) + 2)]
    for estimate in estimates:
        exits = "no exits" if estimate.exits is None else f"{estimate.exits:.1%}"
        share = f"{estimate.passing:.1%}" + ("" if estimate.images is None else f" ({estimate.images} images)")
        groups = [str(estimate.arity), f"{estimate.false_positive:.1%}", f"{estimate.per_passing:.2f}"] if estimate.arity > 1 else ["-"] * 3
        cells = [exits, f"{estimate.before:.1%}", share, *groups, f"{estimate.alone:.1%}", f"{estimate.pooled:.1%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def verdict(estimates: Sequence[Estimate]) -> str:
    """Returns one sentence for people: whether pooling pays, and what to do if it does not."""
    about = usual(estimates)
    where = "without exits" if about.exits is None else f"behind exits of {about.exits:.1%} each"
    if about.arity == 1 and about.exits is None:
        return "Whether pooling pays is not known: no group size was calibrated"
    if about.arity == 1:
        return f"Pooling adds nothing {where}: too few images pass to calibrate groups, so the exits suffice"
    doubt = f" (uncertain: measured on {about.images} images)" if about.images is not None and about.images < FEW else ""
    costs = f"a negative costs {about.pooled:.1%} of an individual test with groups of {about.arity}, and {about.alone:.1%} without groups{doubt}"
    if about.pays:
        return f"Pooling pays {where}: {costs}"
    advice = "the exits suffice" if about.exits is not None else "add exits, train the network on groups, or merge later in the network"
    return f"Pooling does not pay {where}: {costs}; {advice}"


def text(folder: Path) -> str:
    """Returns what the command prints for the bundle in `folder`."""
    estimates = of_bundle(folder)
    head = "Does pooling pay? Multiply-adds of a negative, in per cent of an individual test (docs/pooling.md):"
    return f"{head}\n{rows(estimates)}\n{verdict(estimates)}"


def as_json(folder: Path) -> list[dict[str, Any]]:
    """Returns the estimates with their derived numbers; `usual` marks the one that the verdict is about."""
    estimates = of_bundle(folder)
    derived = ("per_passing", "alone", "pooled", "pays")
    return [{**dataclasses.asdict(each), **{name: getattr(each, name) for name in derived}, "usual": each is usual(estimates)} for each in estimates]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> None:
    say(json.dumps(as_json(arguments.bundle)) if arguments.json else text(arguments.bundle))
