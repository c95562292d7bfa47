"""Whether pooling pays follows from three numbers of a bundle: what is spent before the merge, what passes, and tests per passing image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dorfman_training import pooling


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
    (found,) = pooling.of_bundle(bundle(tmp_path))
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
    without, behind = pooling.of_bundle(bundle(tmp_path, stages=stages, screen=screen, joint={"file": "joint.csv"}, calibration=calibration))
    assert without.before == pytest.approx(0.2), "without exits, neither the screen nor an exit clears anything"
    assert behind.before == pytest.approx(0.01 + 0.5 * 0.1 + 0.25 * 0.1) and behind.passing == 0.25 and behind.images == 1
    assert behind.arity == 4 and behind.per_passing == pytest.approx(0.25 + 0.5)
    assert behind.alone == pytest.approx(behind.before + 0.25 * 0.8) and behind.pooled == pytest.approx(behind.before + 0.25 * 0.8 * 0.75)


def test_a_tree_runs_its_stages_in_between_once_per_node() -> None:
    later = [{"macs": 20, "fan_in": 2}, {"macs": 60}]
    assert pooling.grouped(later, 4) == pytest.approx((2 * 20 + 60) / 4 / 80)
    assert pooling.grouped(later, 3) == pytest.approx((2 * 20 + 60) / 3 / 80), "the third image has a node of its own"
    assert pooling.grouped(later, 1) == pytest.approx(1)


def test_nothing_runs_before_pixels_are_merged(tmp_path: Path) -> None:
    (found,) = pooling.of_bundle(bundle(tmp_path, stages=[{"macs": 500}]))
    assert found.before == 0 and found.alone == pytest.approx(1) and found.pooled == pytest.approx(0.35)


def test_a_group_is_retested_if_any_label_is_positive(tmp_path: Path) -> None:
    coat = {**entry(4, 0.8), "label": "coat"}
    (found,) = pooling.of_bundle(bundle(tmp_path, calibration=[entry(1, 0.9), entry(4, 0.9), coat]))
    assert found.false_positive == pytest.approx(0.1 + 0.2)


def test_the_text_says_whether_pooling_pays(tmp_path: Path) -> None:
    told = pooling.text(bundle(tmp_path))
    assert "| no exits | 20.0% | 100.0% | 4 | 10.0% | 0.35 | 100.0% | 48.0% |" in told
    assert "Pooling pays without exits: a negative costs 48.0% of an individual test with groups of 4, and 100.0% without groups" in told
    assert "Pooling does not pay without exits" in pooling.text(bundle(tmp_path, calibration=[entry(1, 0.9), entry(2, 0.55)])), "it saves too little"
    assert "not known" in pooling.text(bundle(tmp_path, calibration=[entry(1, 0.9)]))


def test_exits_suffice_if_too_few_images_pass_to_calibrate_groups(tmp_path: Path) -> None:
    (tmp_path / "joint.csv").write_text("source,positive,screen.hat,individual.hat\ncalibration,,0.1,0.1\ncalibration,,0.6,0.1\n")
    screen = {"macs": 10, "calibration": gate((0.99, 0.5))}
    calibration = [entry(1, 0.9), entry(4, 0.9), entry(1, 0.5, 0.99)]
    told = pooling.text(bundle(tmp_path, screen=screen, joint={"file": "joint.csv"}, calibration=calibration))
    assert "| 99.0% | 11.0% | 50.0% (1 images) | - | - | - |" in told and told.endswith("so the exits suffice")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no bundle.json"):
        pooling.of_bundle(tmp_path)
    screen = {"macs": 10, "calibration": gate((0.99, 0.5))}
    with pytest.raises(SystemExit, match="joint.csv is missing.*run `exits` again"):
        pooling.of_bundle(bundle(tmp_path, screen=screen, joint={"file": "joint.csv"}))


def test_json_marks_the_estimate_of_the_verdict() -> None:
    for name, told in (("fashion-bag", "so the exits suffice"), ("shoes", "the exits suffice")):
        folder = Path(__file__).resolve().parents[2] / "models" / name
        without, *behind = pooling.as_json(folder)
        assert without["exits"] is None and without["pays"] and not without["usual"]
        assert [each["exits"] for each in behind if each["usual"]] == [0.99] and all(each["passing"] < 0.05 for each in behind), name
        assert pooling.text(folder).endswith(told), name
