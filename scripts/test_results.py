"""The tables of docs/results.md say what the measurements say."""

from __future__ import annotations

from typing import Any

import pytest

import results
import results_tables as tables
from results_sets import SETS, Set

LOOSE = Set("a", "hats", "hat", "clothing", ())
STRICT = Set("b", "bags", "bag", "fashion", ())


def row(plan: str, recall: float, seconds: float, **other: Any) -> dict[str, Any]:
    ends = {"low": recall - 0.01, "high": recall + 0.01}
    return {
        "bundle": "here/it",
        "prevalence": 0.001,
        "group_size": 4,
        "policy": "individual" if plan == "individual" else "two-round",
        "plan": plan,
        "pooled_sensitivity": 0.99,
        "individual_sensitivity": 0.99,
        "confirm_sensitivity": None,
        "recall": {"value": recall, **ends},
        "individual_recall": {"value": 0.98, **ends},
        "fpr": {"value": 0.01},
        "individual_fpr": {"value": 0.02},
        "tests_per_image": seconds,
        "relative_macs": seconds,
        "relative_network_seconds": seconds,
        "relative_wall_seconds": seconds,
        **other,
    }


def measured(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"bundles": [{"folder": "here/it", "name": "it"}], "rows": list(rows)}


def cells(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[1:]]


def test_the_cheapest_plan_loses_no_more_than_its_set_allows() -> None:
    rows = [row("individual", 0.98, 1), row("4 > 1", 0.975, 0.5), row("8 > 1", 0.961, 0.4), row("16 > 1", 0.95, 0.3)]
    found = cells(list(tables.cheapest_table({LOOSE: measured(*rows), STRICT: measured(*rows)})))
    assert [(line[0], line[1], line[3], line[5]) for line in found] == [("hats", "it", "8 > 1", "-1.9"), ("bags", "it", "4 > 1", "-0.5")]


def test_the_cheapest_plan_is_of_the_rarest_prevalence_and_never_confirmed() -> None:
    rows = [
        row("individual", 0.98, 1),
        row("4 > 1", 0.98, 0.2, prevalence=0.01),
        row("8 > 1", 0.98, 0.3, confirm_sensitivity=0.99),
        row("2 > 1", 0.98, 0.7),
    ]
    assert [line[3] for line in cells(list(tables.cheapest_table({STRICT: measured(*rows)})))] == ["2 > 1"]


def test_two_streams_of_one_network_are_two_lines() -> None:
    other = Set("c", "bags among bags", "bag", "fashion", ())
    found = {STRICT: measured(row("individual", 0.98, 1)), other: measured(row("4 > 1", 0.98, 0.2))}
    assert [(line[0], line[3]) for line in cells(list(tables.cheapest_table(found)))] == [("bags", "individual"), ("bags among bags", "4 > 1")]


def test_a_row_is_told_against_individual_testing() -> None:
    told = tables.measured_cells(row("4 > 1", 0.97, 0.256))
    assert told == ["0.99 / 0.99", "97.0% (96.0-98.0)", "-1.0", "1.00%", "0.50", "0.256", "25.6%", "25.6%", "25.6%"]
    assert "-" in tables.measured_cells(row("4 > 1", 0.97, 0.2, individual_fpr={"value": 0.0}))


def test_a_table_that_no_measurement_fills_is_an_error() -> None:
    with pytest.raises(SystemExit, match="gone"):
        tables.page("<!-- gone: rows -->\n\n<!-- end -->\n", {})


def test_every_set_has_a_name_of_its_own() -> None:
    assert len({each.name for each in SETS}) == len(SETS)


def test_the_area_counts_pairs_and_half_of_ties() -> None:
    assert results.area([0.8, 0.9, 1.0], [0.1, 0.2, 0.3]) == 1
    assert results.area([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]) == 0.5
    # The ends of quantiles stand for half as many scores: of the weights 1/4, 1/2, 1/4 each, only 0.2 against 0.3 is the wrong way round.
    assert results.area([0.2, 0.8, 0.9], [0.0, 0.1, 0.3]) == 1 - 1 / 16
