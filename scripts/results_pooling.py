"""The table and the picture of docs/pooling.md with the bundles of this repository. This module does no I/O."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from chart import Chart, Point

from results_sets import Set

POOLING = "pooling"  # name of the picture in docs/results/


def measured(found: Mapping[Set, dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields the images, the bundle and the estimates of the bundles with the planner's plans, each bundle once.

    The estimates are those of a bundle's own calibration. Sets with other negatives are left out.
    """
    seen = set()
    for each, measurements in found.items():
        if each.split != "test" or each.negatives or not any(not run.sizes for run in each.runs):
            continue
        for bundle in measurements["bundles"]:
            if bundle["name"] in seen:
                continue
            seen.add(bundle["name"])
            for estimate in bundle.get("pooling", []):
                if estimate["exits"] is None or estimate["usual"]:
                    yield each.stream, bundle["name"], estimate


def table(found: Mapping[Set, dict[str, Any]]) -> Iterator[str]:
    heads = ["images", "bundle", "exits at", "before the merge", "pass", "M", "clean groups positive", "tests per passing image"]
    yield f"| {' | '.join([*heads, 'without groups', 'with groups'])} |"
    yield "|" + "---|" * (len(heads) + 2)
    for stream, name, estimate in measured(found):
        exits = "no exits" if estimate["exits"] is None else f"{estimate['exits']:.1%}"
        share = f"{estimate['passing']:.1%}" + (f" ({estimate['images']} images)" if estimate["images"] is not None else "")
        calibrated = estimate["arity"] > 1
        groups = [str(estimate["arity"]), f"{estimate['false_positive']:.1%}", f"{estimate['per_passing']:.2f}"] if calibrated else ["-"] * 3
        cells = [stream, name, exits, f"{estimate['before']:.1%}", share, *groups, f"{estimate['alone']:.1%}", f"{estimate['pooled']:.1%}"]
        yield f"| {' | '.join(cells)} |"


def picture(found: Mapping[Set, dict[str, Any]]) -> str:
    """Returns a point per row of the table whose groups were calibrated."""
    points = [
        Point(f"{name}{'' if estimate['exits'] else ', no exits'}", estimate["passing"], estimate["per_passing"])
        for _, name, estimate in measured(found)
        if estimate["arity"] > 1
    ]
    ends = ((0.0005, 1.0), (0.0, 1.25))
    return Chart(*ends, "negatives that pass the exits", "tests per passing image", False, points=points, shaded=(0.0, 1.0)).svg()
