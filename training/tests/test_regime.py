"""Whether pooling pays follows from three numbers of a bundle: what is spent before the merge, what passes, and tests per passing image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dorfman_training import regime


def entry(arity: int, specificity: float, exits: float | None = None) -> dict[str, Any]:
    points = [{"sensitivity": 0.98, "specificity": specificity, "threshold": 0.5}, {"sensitivity": 0.5, "specificity": 1.0, "threshold": 0.9}]
    return {"label": "hat", "arity": arity, "operating_points": points, **({"exit_sensitivity": exits} if exits else {})}


def gate(*points: tuple[float, float]) -> list[dict[str, Any]]:
    operating = [{"sensitivity": sensitivity, "specificity": 0.5, "threshold": threshold} for sensitivity, threshold in points]
    return [{"label": "hat", "arity": 1, "operating_points": operating}]


def bundle(folder: Path, **more: Any) -> Path:
    """Writes a bundle whose first stage is a fifth of the multiply-adds."""
    table = {"stages": [{"macs": 200}, {"macs": 800}], "calibration": [entry(1, 0.9), entry(4, 0.9), entry(8, 0.5)], **more}
    (folder / "bundle.json").write_text(json.dumps(table))
    return folder


def test_without_exits_a_clean_group_costs_one_test_and_sometimes_its_retests(tmp_path: Path) -> None:
    (found,) = regime.of_bundle(bundle(tmp_path))
    assert (found.exits, found.before, found.passing, found.images, found.arity) == (None, 0.2, 1.0, None, 4)
    assert found.per_passing == pytest.approx(1 / 4 + 0.1)
    assert found.alone == pytest.approx(1) and found.pooled == pytest.approx(0.2 + 0.8 * 0.35) and found.pays


def test_behind_exits_only_what_passes_is_pooled(tmp_path: Path) -> None:
    # Of four negatives, two pass the screen and one of them also the exit.
    (tmp_path / "joint.csv").write_text(
        "source,positive,screen.hat,stage0.hat,individual.hat\n"
        "calibration,,0.1,0.9,0.1\ncalibration,,0.2,0.9,0.1\ncalibration,,0.5,0.1,0.1\ncalibration,,0.6,0.7,0.1\ncalibration,hat,0.9,0.9,0.9\n"
    )
    stages = [{"macs": 100, "exit": {"calibration": gate((0.98, 0.9), (0.99, 0.5))}}, {"macs": 100, "fan_in": 1}, {"macs": 800}]
    screen = {"macs": 10, "calibration": gate((0.98, 0.8), (0.99, 0.5))}
    calibration = [entry(1, 0.9), entry(2, 0.9), entry(2, 0.25, 0.99), entry(4, 0.5, 0.99)]
    without, behind = regime.of_bundle(bundle(tmp_path, stages=stages, screen=screen, joint={"file": "joint.csv"}, calibration=calibration))
    assert without.before == pytest.approx(0.2), "without exits, neither the screen nor an exit clears anything"
    assert behind.before == pytest.approx(0.01 + 0.5 * 0.1 + 0.25 * 0.1) and behind.passing == 0.25 and behind.images == 1
    assert behind.arity == 4 and behind.per_passing == pytest.approx(0.25 + 0.5)
    assert behind.alone == pytest.approx(behind.before + 0.25 * 0.8) and behind.pooled == pytest.approx(behind.before + 0.25 * 0.8 * 0.75)


def test_a_tree_runs_its_stages_in_between_once_per_node() -> None:
    later = [{"macs": 20, "fan_in": 2}, {"macs": 60}]
    assert regime.grouped(later, 4) == pytest.approx((20 / 2 + 60 / 4) / 80)
    assert regime.grouped(later, 1) == pytest.approx(1)


def test_nothing_runs_before_pixels_are_merged(tmp_path: Path) -> None:
    (found,) = regime.of_bundle(bundle(tmp_path, stages=[{"macs": 500}]))
    assert found.before == 0 and found.alone == pytest.approx(1) and found.pooled == pytest.approx(0.35)


def test_the_text_says_whether_pooling_pays(tmp_path: Path) -> None:
    told = regime.text(bundle(tmp_path))
    assert "| no exits | 20.0% | 100.0% | 4 | 10.0% | 0.35 | 100.0% | 48.0% |" in told
    assert "Pooling without exits takes 52.0% off the cost" in told
    assert "does not pay" in regime.text(bundle(tmp_path, calibration=[entry(1, 0.9), entry(2, 0.4)]))
    assert "not known" in regime.text(bundle(tmp_path, calibration=[entry(1, 0.9)]))


def test_shipped_bundles_have_numbers_behind_their_exits() -> None:
    for name in ("fashion-bag", "shoes"):
        without, *behind = regime.of_bundle(Path(__file__).resolve().parents[2] / "models" / name)
        assert without.exits is None and without.pays
        assert all(each.before < without.before and each.passing < 0.05 and each.images for each in behind) and behind, name
