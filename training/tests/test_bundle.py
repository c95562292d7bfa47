"""The shipped bundles match their manifests and configurations, and exporting keeps the scores."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from conftest import DESIGNS, ROOT, settled
from dorfman_training import __main__, agreement, check, config, export
from dorfman_training.config import Config, Cut
from dorfman_training.macs import count
from dorfman_training.model import StagedNet, build

needs_runtime = pytest.mark.skipif(not check.has_runtime(), reason="onnxruntime is not installed, so exported files cannot be run")


@pytest.fixture(scope="module")
def table(bundle: Path) -> dict[str, Any]:
    return json.loads((bundle / "bundle.json").read_text())


def test_the_manifest_matches_its_configuration(table: dict[str, Any], settings: Config) -> None:
    assert table["format"] == 1
    for field in ("name", "version", "description", "licence"):
        assert table[field] == getattr(settings.bundle, field) and table[field]
    assert table["labels"] == [{"name": settings.bundle.label, "positive": True}]
    assert table["input"] == {
        "width": 28,
        "height": 28,
        "channels": "grey",
        "layout": "nchw",
        "resize": {"rule": "stretch", "filter": "bilinear"},
        "dtype": "uint8",
    }
    assert table["merge"] == "max"


def test_the_files_match_the_digests_of_the_manifest(table: dict[str, Any], bundle: Path) -> None:
    for stage in table["stages"]:
        assert hashlib.sha256((bundle / stage["file"]).read_bytes()).hexdigest() == stage["sha256"]


def test_the_stages_match_the_configuration(table: dict[str, Any], settings: Config) -> None:
    model = build(settings.network, settings.design, settings.input).eval()
    image = torch.zeros(1, 1, 28, 28)
    features = model.stages[0](image)
    *items, last = table["stages"]
    check_items(items, list(features.shape[1:]), count(model.stages[0], image))
    assert "features" not in last and last["macs"] == count(model.stages[1], features)
    assert "fan_in" not in items[0] and "fan_in" not in last


def check_items(items: list[dict[str, Any]], features: list[int], macs: int) -> None:
    """Compares the item stages with stage 0 of the network, which exits divide into several stages with heads."""
    assert items[-1]["features"] == features and all(stage["fan_in"] == 1 for stage in items[1:])
    heads = sum(stage["macs"] for stage in items) - macs
    assert (0 < heads < 0.1 * macs) if any("exit" in stage for stage in items) else heads == 0


def test_the_confirm_network_matches_the_manifest(table: dict[str, Any], bundle: Path) -> None:
    confirm = table["confirm"]
    assert hashlib.sha256((bundle / confirm["file"]).read_bytes()).hexdigest() == confirm["sha256"]
    assert [(entry["label"], entry["arity"]) for entry in confirm["calibration"]] == [("bag", 1)]


@pytest.fixture(scope="module")
def photos() -> tuple[Config, Path, dict[str, Any]]:
    """The shipped photo bundle: its configuration, its folder and its manifest."""
    folder = ROOT / "models" / "shoes"
    return config.load(ROOT / "training" / "configs" / "shoes.toml"), folder, json.loads((folder / "bundle.json").read_text())


def test_the_photo_bundle_matches_its_configuration(photos: tuple[Config, Path, dict[str, Any]]) -> None:
    settings, folder, table = photos
    for field in ("name", "version", "description", "licence"):
        assert table[field] == getattr(settings.bundle, field)
    assert table["labels"] == [{"name": settings.bundle.label, "positive": True}] and table["merge"] == "max"
    for field in ("width", "height", "channels"):
        assert table["input"][field] == getattr(settings.input, field)
    assert table["input"]["dtype"] == "uint8" and "mean" not in table["input"]
    assert table["input"]["resize"] == {"rule": "stretch", "filter": settings.input.filter}
    assert table["provenance"]["command"].endswith("make-bundle training/configs/shoes.toml --data DIR")
    assert [entry["arity"] for entry in on_all_images(table)] == list(settings.calibration.arities)
    for stage in table["stages"]:
        assert hashlib.sha256((folder / stage["file"]).read_bytes()).hexdigest() == stage["sha256"]


def test_the_stages_of_the_photo_bundle_match_its_configuration(photos: tuple[Config, Path, dict[str, Any]]) -> None:
    settings, _, table = photos
    model = build(settings.network, settings.design, settings.input).eval()
    image = torch.zeros(1, 3, settings.input.height, settings.input.width)
    features = model.stages[0](image)
    *items, last = table["stages"]
    check_items(items, list(features.shape[1:]), count(model.stages[0], image))
    assert last["macs"] == count(model.stages[1], features)


def on_all_images(table: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the calibration entries that are not measured on images which pass an exit."""
    return [entry for entry in table["calibration"] if "exit_sensitivity" not in entry]


def test_every_arity_is_calibrated(table: dict[str, Any], settings: Config) -> None:
    assert [entry["arity"] for entry in on_all_images(table)] == [*range(1, 17), 20, 24, 28, 32]
    for entry in on_all_images(table):
        assert entry["label"] == settings.bundle.label
        assert entry["positives"] >= 1000 and entry["negatives"] >= 1000
        for field in ("positive_scores", "negative_scores"):
            values = entry[field]
            assert len(values) >= 3 and values == sorted(values) and 0 <= values[0] and values[-1] <= 1
        points = entry["operating_points"]
        assert {0.98, 0.99, 0.995} <= {point["sensitivity"] for point in points}
        for point in points:
            assert 0 <= point["specificity"] <= 1 and np.float32(point["threshold"]) == point["threshold"]
            # A threshold is a quantile of the positive groups' scores.
            at = np.interp(1 - point["sensitivity"], np.linspace(0, 1, len(entry["positive_scores"])), entry["positive_scores"])
            assert abs(at - point["threshold"]) < 0.05


def test_the_files_contain_no_path_of_the_machine_that_wrote_them(bundle: Path) -> None:
    here = [str(Path(agreement.__file__).parents[1]).encode(), str(Path.home()).encode()]
    for path in [*bundle.glob("*.onnx"), bundle / "bundle.json"]:
        held = path.read_bytes()
        assert not any(path in held for path in here)


def test_the_graphs_gather_merge_and_apply_the_sigmoid_and_have_no_batch_norm(table: dict[str, Any], bundle: Path) -> None:
    held = (bundle / table["stages"][-1]["file"]).read_bytes()
    assert all(word in held for word in (b"Gather", b"ReduceMax", b"Sigmoid", b"features", b"members", b"scores"))
    assert b"BatchNormalization" not in held + (bundle / "stage0.onnx").read_bytes()


@needs_runtime
def test_exported_files_have_the_scores_of_pytorch_at_every_size(design: StagedNet, tmp_path: Path) -> None:
    stages = export.write_stages(design, (1, 28, 28), tmp_path)
    assert [stage.file for stage in stages] == [f"stage{index}.onnx" for index in range(len(stages))]
    assert len(stages) == (1 if design.pixels else len(design.stages))
    assert [stage.fan_in for stage in stages] == ([None] if design.pixels else [None, *design.fans, None])
    images = torch.randn(40, 1, 28, 28, generator=torch.Generator().manual_seed(2))
    assert check.largest_difference(design, tmp_path, images, range(1, 17)) < check.TOLERANCE


@needs_runtime
@pytest.mark.parametrize("cuts", [(), *DESIGNS.values()])
def test_an_exported_confirm_network_has_the_scores_of_pytorch(tmp_path: Path, cuts: tuple[Cut, ...]) -> None:
    model = settled(cuts)
    stage = export.write_confirm(model, (1, 28, 28), tmp_path)
    images = torch.randn(5, 1, 28, 28, generator=torch.Generator().manual_seed(2))
    assert check.confirm_difference(model, tmp_path / stage.file, images) < check.TOLERANCE
    assert stage.features is None and stage.macs == count(nn.Sequential(*model.stages), images[:1])
    next(model.parameters()).data += 0.1
    assert check.confirm_difference(model, tmp_path / stage.file, images) > check.TOLERANCE, "the scores of another network differ"


@needs_runtime
def test_the_agreement_fixture_matches_the_bundle(table: dict[str, Any], bundle: Path, settings: Config) -> None:
    from dorfman_training import preprocess

    folder = bundle.parents[1] / "tests" / "data" / "agreement"
    wanted = json.loads((folder / "scores.json").read_text())
    assert wanted["bundle"] == {"name": table["name"], "version": table["version"]}
    names = [entry["file"] for entry in wanted["files"]]
    assert {name.replace("/", "-") for name in agreement.PHOTOS} <= set(names)
    staged = check.Staged(bundle)
    features = staged.features(np.stack([preprocess.read(folder / name, settings.input)[None] for name in names]))
    for entry in [{"members": [entry["file"]], "score": entry["score"]} for entry in wanted["files"]] + wanted["groups"]:
        members = np.array([[names.index(name) for name in entry["members"]]])
        assert staged.scores(features, [members])[0, 0] == pytest.approx(entry["score"], abs=check.TOLERANCE)


def test_a_confirm_network_is_not_exported_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ROOT / "training" / "configs" / "fashion-bag-confirm.toml"
    monkeypatch.setattr("sys.argv", ["dorfman_training", "export", str(config)])
    with pytest.raises(SystemExit, match="design.cuts"):
        __main__.main()
