"""Tests of the tables and pictures in docs/pooling.md."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
import results_paper as paper
import results_pooling as pooling
from chart import Chart, Line, Point, ticks_of

from results_sets import Run, Set

PAPER = {"clean_groups_positive": {"16": 0.2, "4": 0.01}, "pooling": {"chain": 0.25, "planned": 0.22}}
HATS = Set("a", "Hats", "hats", "hat", "clothing", (Run(("hats",)),))
AGAIN = Set("b", "Hats", "hats", "hat", "clothing", (Run(("hats",)),))
WITHOUT_PLANS = Set("c", "Hats", "hats", "hat", "clothing", (Run(("hats",), (4,)),))
OTHER_NEGATIVES = Set("d", "Hats", "hats among shirts", "hat", "clothing", (Run(("hats",)),), negatives=("shirt",))


def estimate(exits: float | None, passing: float, usual: bool = False, arity: int = 2) -> dict[str, Any]:
    return {
        "exits": exits, "before": 0.1, "passing": passing, "images": None if exits is None else 12, "arity": arity, "false_positive": 0.25,
        "per_passing": 0.75, "alone": 0.5, "pooled": 0.4, "usual": usual,
    }  # fmt: skip


def measured(*estimates: dict[str, Any]) -> dict[str, Any]:
    return {"bundles": [{"name": "hats", "pooling": list(estimates)}]}


def test_a_bundle_is_shown_once_without_exits_and_with_the_usual_exits() -> None:
    found = measured(estimate(None, 1.0), estimate(0.98, 0.05), estimate(0.995, 0.2, usual=True))
    rows = list(pooling.table({HATS: found, AGAIN: found, WITHOUT_PLANS: found, OTHER_NEGATIVES: found}))[2:]
    assert rows == [
        "| hats | hats | no exits | 10.0% | 100.0% | 2 | 25.0% | 0.75 | 50.0% | 40.0% |",
        "| hats | hats | 99.5% | 10.0% | 20.0% (12 images) | 2 | 25.0% | 0.75 | 50.0% | 40.0% |",
    ]
    assert len(list(pooling.table({WITHOUT_PLANS: found}))) == 2 == len(list(pooling.table({OTHER_NEGATIVES: found})))
    assert len(list(pooling.table({HATS: {"bundles": [{"name": "hats"}]}}))) == 2, "a bundle that was not measured has no row"


def test_groups_that_were_not_calibrated_have_no_numbers_and_no_point() -> None:
    found = {HATS: measured(estimate(0.99, 0.001, usual=True, arity=1))}
    assert list(pooling.table(found))[-1] == "| hats | hats | 99.0% | 10.0% | 0.1% (12 images) | - | - | - | 50.0% | 40.0% |"
    assert "circle" not in pooling.picture(found)


def test_the_paper_pays_for_features_groups_and_retests() -> None:
    lossless = (paper.BEFORE + paper.TEST / 4) / paper.WHOLE
    assert paper.cheapest({4: 0.0}, 0.5) == pytest.approx(lossless)
    assert paper.cheapest({4: 0.1}, 0.1) == pytest.approx(lossless + 1), (
        "if every passing image triggers the test, each is retested on the whole network"
    )
    in_steps = (paper.BEFORE + paper.TEST * (1 / 8 + (1 - 0.99**8) / 4)) / paper.WHOLE
    assert paper.cheapest({8: 0.01, 4: 0.0}, 1.0) == pytest.approx(in_steps), "positive eights are retested in fours"
    assert paper.cheapest({8: 1.0, 4: 0.0}, 1.0) == pytest.approx(lossless), "a size that is of no use is left out"


def test_pooling_alone_is_the_limit_of_an_exit_that_clears_nothing() -> None:
    """The formula without exits is near the cost that the replay of the recorded groups measures."""
    recorded = {"clean_groups_positive": {"16": 0.2453, "8": 0.0580, "4": 0.0105}}
    alone, pooled = paper.costs(0.0, 1.0, paper.rates_of(recorded), 0.0)
    assert alone == 1 and pooled == pytest.approx(0.25, abs=0.02)


def test_an_exit_at_break_even_costs_as_much_as_pooling_alone() -> None:
    for gate, shared in ((0.012, 0.0), (0.088, 0.088)):
        share = paper.break_even(gate, shared, 0.22)
        assert paper.costs(gate, share, paper.rates_of(PAPER), shared)[0] == pytest.approx(0.22)


def test_pictures_are_svg_whose_marks_lie_inside_the_frame() -> None:
    chart = Chart((0.01, 1.0), (0.0, 1.0), "x", "y < 1", points=[Point("a & b", 0.1, 0.5)], lines=[Line("two\nrows", [(0.01, 0.0), (1.0, 2.0)])])
    root = ElementTree.fromstring(chart.svg())
    circle = next(each for each in root if each.tag.endswith("circle"))
    assert float(circle.attrib["cx"]) == pytest.approx(70 + 560 / 2) and float(circle.attrib["cy"]) == pytest.approx(24 + 340 / 2)
    line = next(each for each in root if each.tag.endswith("polyline"))
    assert len(line.attrib["points"].split()) == 1, "a value above the axis is left out"
    assert ticks_of((0.02, 1.0)) == pytest.approx([0.02, 0.05, 0.1, 0.2, 0.5, 1.0])
    assert "pooling alone" in paper.picture(PAPER) and "hats, no exits" in pooling.picture({HATS: measured(estimate(None, 1.0))})


def test_a_point_outside_the_axes_is_drawn_at_their_ends() -> None:
    root = ElementTree.fromstring(Chart((0.01, 1.0), (0.0, 1.0), "x", "y", points=[Point("a", 0.0, 7.0), Point("b", 1.0, 0.0)]).svg())
    places = {(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in root if each.tag.endswith("circle")}
    assert places == {(70.0, 24.0), (630.0, 364.0)}
