"""Tests of the tables in docs/results.md and docs/results/, and of the links between these pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import results
import results_tables as tables
from results_sets import SETS, Set

LOOSE = Set("a", "Hats", "hats", "hat", "clothing", ())
STRICT = Set("b", "Bags", "bags", "bag", "fashion", ())


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


def test_the_cheapest_plan_loses_at_most_the_allowed_recall() -> None:
    rows = [row("individual", 0.98, 1), row("4 > 1", 0.975, 0.5), row("8 > 1", 0.961, 0.4), row("16 > 1", 0.95, 0.3)]
    found = cells(list(tables.summary_table({LOOSE: measured(*rows), STRICT: measured(*rows)})))
    assert [(line[0], line[1], line[3], line[5]) for line in found] == [
        ("hats", "[it](results/a.md)", "8 > 1", "-1.9"),
        ("bags", "[it](results/b.md)", "4 > 1", "-0.5"),
    ]


def test_the_cheapest_plan_has_the_rarest_prevalence_and_no_confirm_network() -> None:
    rows = [
        row("individual", 0.98, 1),
        row("4 > 1", 0.98, 0.2, prevalence=0.01),
        row("8 > 1", 0.98, 0.3, confirm_sensitivity=0.99),
        row("2 > 1", 0.98, 0.7),
    ]
    assert [line[3] for line in cells(list(tables.summary_table({STRICT: measured(*rows)})))] == ["2 > 1"]


def test_two_streams_of_one_network_have_two_lines() -> None:
    other = Set("c", "More bags", "bags among bags", "bag", "fashion", ())
    found = {STRICT: measured(row("individual", 0.98, 1)), other: measured(row("4 > 1", 0.98, 0.2))}
    assert [(line[0], line[3]) for line in cells(list(tables.summary_table(found)))] == [("bags", "individual"), ("bags among bags", "4 > 1")]


def test_a_row_compares_with_individual_testing() -> None:
    shown = tables.measured_cells(row("4 > 1", 0.97, 0.256))
    assert shown == ["0.99 / 0.99", "97.0% (96.0-98.0)", "-1.0", "1.00%", "0.50", "0.256", "25.6%", "25.6%", "25.6%"]
    assert "-" in tables.measured_cells(row("4 > 1", 0.97, 0.2, individual_fpr={"value": 0.0}))


def planned(roles: list[str], plan: str, macs: float, **other: Any) -> dict[str, Any]:
    more = {"policy": "planner", "roles": roles, "plan_kind": "exits", "expected_relative_macs": macs / 2, "expected_recall": 0.97}
    return row(plan, 0.975, macs, **{**more, **other})


PLANNED = (
    row("individual", 0.98, 1),
    planned(["best", "exits"], "exit 0 > individual", 0.04, prevalence=0.01),
    planned(["best", "exits"], "exits 0, 1 > individual", 0.02),
    planned(["cascade"], "exit 1 > individual", 0.03),
    planned(["pooled"], "4 > 1", 0.4),
)


def test_a_cascade_and_pooling_stand_beside_the_planned_plan() -> None:
    shown = cells(list(tables.exits_table({STRICT: measured(*PLANNED)})))
    assert shown == [
        ["bags", "it", "0.1%", "[exits 0, 1 > individual](results/b.md)", "2.0%", "2.0%", "-0.5", "3.0% / 3.0% / -0.5", "40.0% / 40.0% / -0.5"],
        ["bags", "it", "1.0%", "[exit 0 > individual](results/b.md)", "4.0%", "4.0%", "-0.5", "-", "-"],
    ]
    alone = measured(row("individual", 0.98, 1), planned(["pooled"], "4 > 1", 0.4))
    assert cells(list(tables.exits_table({STRICT: alone})))[0][3:] == ["individual", "100.0%", "100.0%", "+0.0", "-", "40.0% / 40.0% / -0.5"]


def test_the_planned_plans_have_a_table_with_their_roles_and_expected_costs() -> None:
    head, *lines = tables.exit_plans([each for each in PLANNED if tables.planned(each)], {"here/it": "it"})
    names = [cell.strip() for cell in head.splitlines()[0].split("|")[1:-1]]
    first = dict(zip(names, cells([head, *lines])[0]))
    assert (first["p"], first["role"], first["plan"]) == ("0.1%", "planned, exits alone", "exits 0, 1 > individual")
    assert (first["expected MACs"], first["MACs"]) == ("1.0%", "2.0%")
    assert len(first) == len(names)


def test_the_planned_plans_are_not_in_the_summary_of_pooling() -> None:
    assert len(list(tables.summary_table({STRICT: measured(*PLANNED)}))) == 1


def test_only_the_text_between_the_markers_is_replaced() -> None:
    text = f"before\n{tables.EXITS}old\n{tables.END}between\n{tables.SUMMARY}old\n{tables.END}after\n"
    shown = tables.findings(text, {STRICT: measured(row("individual", 0.98, 1))})
    assert shown.startswith(f"before\n{tables.EXITS}\n| images |") and shown.endswith(f" |\n\n{tables.END}after\n") and "old" not in shown
    assert f"\n\n{tables.END}between\n{tables.SUMMARY}\n| images |" in shown
    assert tables.findings(shown, {STRICT: measured(row("individual", 0.98, 1))}) == shown


def test_findings_without_a_place_for_the_summary_are_an_error() -> None:
    with pytest.raises(SystemExit, match="no place for a generated table"):
        tables.findings("before\nafter\n", {})


def test_pages_that_differ_and_pages_without_measurements_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MEASURED", tmp_path)
    page = tmp_path / "set.md"
    page.write_text(f"{tables.GENERATED} from set.json: do not edit. -->\n")
    (tmp_path / "README.md").write_text("written by hand\n")
    results.check({page: page.read_text()})
    with pytest.raises(SystemExit, match="set.md differs"):
        results.check({page: "other"})
    with pytest.raises(SystemExit, match="no measurements set.json"):
        results.check({})


def test_links_of_the_pages_lead_to_files() -> None:
    for page in (results.PAGE, results.POOLING, *results.MEASURED.glob("*.md")):
        links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
        assert links and not [link for link in links if not (page.parent / link).exists()], page.name


def test_every_set_has_a_unique_name() -> None:
    assert len({each.name for each in SETS}) == len(SETS)


def test_the_area_counts_pairs_and_half_of_ties() -> None:
    assert results.area([0.8, 0.9, 1.0], [0.1, 0.2, 0.3]) == 1
    assert results.area([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]) == 0.5
    # The first and last quantile have half the weight of the others. With the weights 1/4, 1/2 and
    # 1/4, the only pair in the wrong order is 0.2 and 0.3.
    assert results.area([0.2, 0.8, 0.9], [0.0, 0.1, 0.3]) == 1 - 1 / 16


def test_the_tables_show_the_calibration_of_all_images_and_every_stage_before_the_merge() -> None:
    line = {"bundle": "models/fashion-bag", "version": "1", "design": "feature", "stages": 5, "macs_per_image": 1000, "network_seconds_per_image": 1}
    shown = results.about("fashion-bag", "models/fashion-bag", [{"bundles": [{**line, "macs_per_image": 52_000_000}]}])
    assert [entry["arity"] for entry in shown["calibrated"]] == sorted(set(results.ARITIES))
    assert 0.05 < shown["first_stage_share_of_macs"] < 0.2
