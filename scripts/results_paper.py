"""What exits would do for the network of the paper (Liang & Zou, ISIT 2021), from its recorded scores.

The scores give the error rates of its tests, and its stages the costs. The recordings have no exits, and
tests of other groups than the recorded ones cannot be replayed. The costs behind exits are therefore
computed from the rates, by the formulas of docs/pooling.md. Only `measure` does I/O.
"""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
from pathlib import Path
from typing import Any, Iterator, Mapping

from chart import Chart, Line

NAME = "paper-exits"  # of the files in docs/results/ and of the table in docs/pooling.md
FOLDER, DESIGN, SIZES = "p0.10_seed42", "d3", (16, 8, 4)
CHAIN, THRESHOLD = "16,8,4,d3:1", 0.5
# Multiply-adds in G, as the paper counts them: of an individual test, of an image before the last merge in
# D2 (layer1 and layer2) and in D3 (layer1, and half of the work of layer2 on a pair), and of one test behind it.
WHOLE, BEFORE_D2, BEFORE, TEST = 16.5, 3.65, 2.55, 12.85
LAYER1 = 2 * BEFORE - BEFORE_D2
LITE0 = 0.196  # EfficientNet-Lite0 at 160 px with a head, in G
GATES = {"screen: Lite0 at 160 px": LITE0 / WHOLE, "exit after layer1": LAYER1 / WHOLE}
STEPS = 120


def measure(data: Path, dorfman: str) -> dict[str, Any]:
    """Returns the rates of clean groups that test positive, and the costs of pooling alone."""
    rates = {}
    for size in SIZES:
        with open(data / FOLDER / f"{DESIGN}_m{size}.csv", newline="") as file:
            rows = [(float(row["score"]), row["label"] == "1") for row in csv.DictReader(file)]
        clean = [score for score, hot in rows if not hot]
        rates[str(size)] = sum(score >= THRESHOLD for score in clean) / len(clean)
    common = [dorfman, "replay-scores", "--data", str(data), "--folder", FOLDER, "--design", "D3", "--chain", CHAIN]
    chain = ran([*common, "--accounting", "honest", "--json"])
    fitted = ran([*common, "--policy", "planned", "--worth", "500", "--json"])
    planned = next(row for row in fitted if row["policy"] == "planned")
    return {"clean_groups_positive": rates, "pooling": {"chain": chain[0]["relative"], "planned": planned["relative"]}}


def ran(line: list[str]) -> list[dict[str, Any]]:
    return json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)


def per_member(positive: float, size: int) -> float:
    """Returns the false positive rate per member of a group of which the share `positive` tests positive."""
    return 1 - (1 - positive) ** (1 / size)


def cheapest(rates: Mapping[int, float], passing: float) -> float:
    """Returns the expected multiply-adds per passing image of the cheapest chain, as a share of an individual test.

    `rates` are per member, of all images. Whatever triggers a test is taken to pass the exit, so that the rates
    among passing images are these rates divided by `passing`, at most 1. A test of one image runs the whole
    network, as `dorfman replay-scores` counts it.
    """
    among = {size: min(1.0, rate / passing) for size, rate in rates.items()}
    found = []
    for count in range(1, len(among) + 1):
        for chain in itertools.combinations(sorted(among, reverse=True), count):
            positive = [1 - (1 - among[size]) ** size for size in chain]
            pooled = 1 / chain[0] + sum(share / below for share, below in zip(positive, chain[1:]))
            found.append((BEFORE + TEST * pooled) / WHOLE + positive[-1])
    return min(found)


def costs(gate: float, passing: float, rates: Mapping[int, float], shared: float) -> tuple[float, float]:
    """Returns the cost of an image with an exit, then individual tests or pooling, as shares of an individual test.

    `gate` is the cost up to the exit, and `shared` is what of it is work of the network itself: 0 for a screen.
    """
    return gate + passing * (1 - shared), gate + passing * (cheapest(rates, passing) - shared)


def rates_of(paper: Mapping[str, Any]) -> dict[int, float]:
    return {int(size): per_member(rate, int(size)) for size, rate in paper["clean_groups_positive"].items()}


def shared(name: str) -> float:
    return LAYER1 / WHOLE if name.startswith("exit") else 0.0


def break_even(gate: float, already: float, pooling: float) -> float:
    """Returns the share of the negatives that an exit may pass if the cascade is to cost as much as pooling alone."""
    return (pooling - gate) / (1 - already)


def table(paper: Mapping[str, Any]) -> Iterator[str]:
    """One row per exit: when it costs the same as pooling alone, and the costs without and with pooling behind it."""
    shares = (0.02, 0.05, 0.1, 0.2, 0.5)
    yield "| exit | cost of the exit | as cheap as pooling alone if it passes | " + " | ".join(f"passes {share:.0%}" for share in shares) + " |"
    yield "|" + "---|" * (3 + len(shares))
    for name, gate in GATES.items():
        limits = (break_even(gate, shared(name), paper["pooling"][how]) for how in ("chain", "planned"))
        cells = []
        for share in shares:
            cells.append(" / ".join(f"{cost:.1%}" for cost in costs(gate, share, rates_of(paper), shared(name))))
        yield f"| {name} | {gate:.1%} | {' / '.join(f'{limit:.1%}' for limit in limits)} | {' | '.join(cells)} |"


def picture(paper: Mapping[str, Any]) -> str:
    xs = [0.002 * (1 / 0.002) ** (step / STEPS) for step in range(STEPS + 1)]
    rates = rates_of(paper)
    lines = [Line("pooling alone (D3, planned)", [(x, paper["pooling"]["planned"]) for x in (xs[0], xs[-1])], dashed=True)]
    for name, gate in GATES.items():
        found = [(x, costs(gate, x, rates, shared(name))) for x in xs]
        lines.append(Line(f"{name},\nthen individual tests", [(x, alone) for x, (alone, _) in found]))
        lines.append(Line(f"{name},\nthen pooling", [(x, pooled) for x, (_, pooled) in found]))
    return Chart((xs[0], 1.0), (0.0, 0.5), "negatives that pass", "cost, in per cent of individual testing", lines=lines).svg()
