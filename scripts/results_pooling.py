"""The tables and pictures of docs/pooling.md, made from the measurements in docs/results/. This module does no I/O."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

import results_paper
from chart import Chart, Point

from results_sets import Set

USUAL = 0.99  # sensitivity of every exit for which a set is shown
REGIMES, PAPER = "regimes", "paper-exits"  # names of the pictures in docs/results/


def behind(regimes: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Returns the regime behind exits whose sensitivity is nearest to the usual one, or None without exits."""
    found = [regime for regime in regimes if regime["exits"] is not None]
    return min(found, key=lambda regime: abs(regime["exits"] - USUAL), default=None)


def measured(found: Mapping[Set, dict[str, Any]]) -> Iterator[tuple[Set, str, dict[str, Any], dict[str, Any] | None]]:
    """Yields, per bundle with the planner's plans on test images, its set, its name and its regimes without and behind exits."""
    for each, measurements in found.items():
        for bundle in measurements["bundles"]:
            regimes = bundle.get("regimes")
            if regimes and each.split == "test":
                yield each, bundle["name"], next(regime for regime in regimes if regime["exits"] is None), behind(regimes)


def regimes_table(found: Mapping[Set, dict[str, Any]]) -> Iterator[str]:
    heads = ["images", "bundle", "exits at", "before the merge", "pass", "M", "clean groups positive", "tests per passing image"]
    yield f"| {' | '.join([*heads, 'without groups', 'with groups'])} |"
    yield "|" + "---|" * (len(heads) + 2)
    for each, name, *regimes in measured(found):
        for regime in filter(None, regimes):
            exits = "no exits" if regime["exits"] is None else f"{regime['exits']:.1%}"
            share = f"{regime['passing']:.1%}" + (f" ({regime['images']} images)" if regime["images"] is not None else "")
            groups = (str(regime["arity"]), f"{regime['positive']:.1%}", f"{regime['per_passing']:.2f}")
            cells = [each.stream, name, exits, f"{regime['before']:.1%}", share, *groups, f"{regime['alone']:.1%}", f"{regime['pooled']:.1%}"]
            yield f"| {' | '.join(cells)} |"


def regimes_picture(found: Mapping[Set, dict[str, Any]]) -> str:
    points = [
        Point(f"{name}{'' if regime['exits'] else ', no exits'}", regime["passing"], regime["per_passing"])
        for _, name, *regimes in measured(found)
        for regime in filter(None, regimes)
    ]
    return Chart(
        (0.0005, 1.0), (0.0, 1.25), "negatives that pass the exits", "tests per passing image", False, points=points, shaded=(0.0, 1.0)
    ).svg()  # fmt: skip


def paper_table(paper: Mapping[str, Any]) -> Iterator[str]:
    return results_paper.table(paper)


def paper_picture(paper: Mapping[str, Any]) -> str:
    return results_paper.picture(paper)
