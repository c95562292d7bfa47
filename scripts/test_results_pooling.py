"""Tests of the tables and pictures in docs/pooling.md."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
import results_paper as paper
import results_pooling as pooling
from chart import Chart, Line, Point, ticks_of

from results_sets import Set

PAPER = {"clean_groups_positive": {"16": 0.2, "4": 0.01}, "pooling": {"chain": 0.25, "planned": 0.22}}
HATS = Set("a", "Hats", "hats", "hat", "clothing", ())


def regime(exits: float | None, passing: float) -> dict[str, Any]:
    return {
        "exits": exits, "before": 0.1, "passing": passing, "images": None if exits is None else 12, "arity": 2, "positive": 0.25,
        "per_passing": 0.75, "alone": 0.5, "pooled": 0.4,
    }  # fmt: skip


def measured(*regimes: dict[str, Any]) -> dict[Set, dict[str, Any]]:
    return {HATS: {"bundles": [{"name": "hats", "regimes": list(regimes)}]}}


def test_a_set_is_shown_without_exits_and_at_the_exits_nearest_to_the_usual_sensitivity() -> None:
    rows = list(pooling.regimes_table(measured(regime(None, 1.0), regime(0.98, 0.05), regime(0.995, 0.2))))[2:]
    assert rows == [
        "| hats | hats | no exits | 10.0% | 100.0% | 2 | 25.0% | 0.75 | 50.0% | 40.0% |",
        "| hats | hats | 99.5% | 10.0% | 20.0% (12 images) | 2 | 25.0% | 0.75 | 50.0% | 40.0% |",
    ]
    without = {HATS: {"bundles": [{"name": "hats"}]}}
    assert len(list(pooling.regimes_table(without))) == 2, "a bundle whose regimes were not measured has no row"


def test_a_lossless_group_of_four_costs_a_quarter_of_a_test() -> None:
    assert paper.tests({4: 0.0}, 0.5) == pytest.approx(0.25)
    assert paper.tests({4: 0.1}, 0.1) == 1, "if every passing image sets the test off, images are tested alone"
    assert paper.tests({8: 0.01, 4: 0.0}, 1.0) == pytest.approx(1 / 8 + (1 - 0.99**8) / 4), "positive eights are retested in fours"
    assert paper.tests({8: 1.0, 4: 0.0}, 1.0) == pytest.approx(1 / 4), "a size that is of no use is left out"


def test_pooling_behind_a_gate_never_costs_more_than_individual_tests() -> None:
    for share in (0.01, 0.1, 0.5, 1.0):
        alone, pooled = paper.costs(0.012, share, paper.rates_of(PAPER), 0.0)
        assert pooled <= alone == pytest.approx(0.012 + share)


def test_a_gate_at_break_even_costs_as_much_as_pooling_alone() -> None:
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
    assert "pooling alone" in paper.picture(PAPER) and "hats" in pooling.regimes_picture(measured(regime(None, 1.0)))
