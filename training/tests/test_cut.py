"""Cutting a small ONNX classifier with residual blocks, built in this file."""

from __future__ import annotations

import argparse
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from PIL import Image

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from dorfman_training import cut  # noqa: E402
from dorfman_training.cut import calibration, chain, dataset, images, macs, network, points, selector, stages, timing, verify  # noqa: E402
from dorfman_training.cut.errors import CutError  # noqa: E402

SIDE, WIDE = 16, 8


def classifier(batch: int | str = "N", opset: int = 13, layout: str = "nchw", activation: str = "Softmax") -> Any:
    """Returns a classifier with a stem, two residual blocks and a pooled head.

    With a fixed batch, its reshape contains the batch size.
    """
    random = np.random.default_rng(1)
    weights: list[Any] = []
    nodes: list[Any] = []

    def add(operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def weight(name: str, *shape: int) -> str:
        weights.append(numpy_helper.from_array((random.standard_normal(shape) * 0.4).astype(np.float32), name))
        return name

    def convolution(source: str, name: str, channels: int, stride: int = 1) -> str:
        inputs = [source, weight(f"{name}_w", WIDE, channels, 3, 3), weight(f"{name}_b", WIDE)]
        return add("Conv", inputs, name, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[stride, stride])

    at = "image" if layout == "nchw" else add("Transpose", ["image"], "turned", perm=[0, 3, 1, 2])
    at = add("Relu", [convolution(at, "stem", 3, 2)], "stem_relu")
    for block in ("one", "two"):
        inner = add("Relu", [convolution(at, f"{block}_a", WIDE)], f"{block}_a_relu")
        at = add("Relu", [add("Add", [convolution(inner, f"{block}_b", WIDE), at], f"{block}_sum")], f"{block}_relu")
    pooled = add("GlobalAveragePool", [at], "pooled")
    weights.append(numpy_helper.from_array(np.array([batch if isinstance(batch, int) else -1, WIDE], dtype=np.int64), "flat_to"))
    flat = add("Reshape", [pooled, "flat_to"], "flat")
    logits = add("Gemm", [flat, weight("head_w", 2, WIDE), weight("head_b", 2)], "logits", transB=1)
    output = add(activation, [logits], "output", **({"axis": 1} if activation == "Softmax" else {}))
    shape = [3, SIDE, SIDE] if layout == "nchw" else [SIDE, SIDE, 3]
    ends = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, *shape])]
    graph = helper.make_graph(nodes, "g", ends, [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, 2])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def prepared(folder: Path, model: Any) -> tuple[network.Original, network.Network]:
    onnx.save(model, str(folder / "model.onnx"))
    original = network.read(folder / "model.onnx")
    return original, network.prepare(original, [size or 0 for size in original.image_shape])


def run(folder: Path, *words: str) -> None:
    parser = argparse.ArgumentParser()
    cut.add_arguments(parser)
    cut.run(parser.parse_args([str(folder / "model.onnx"), *words]))


def noisy_photos(path: Path, bright: int, dark: int, light: Callable[[str, np.random.Generator], int]) -> Path:
    """Writes a zip with noisy images whose values lie in the 90 from `light` on, and a file that is not an image."""
    random = np.random.default_rng(2)
    with zipfile.ZipFile(path, "w") as archive:
        for number, kind in enumerate(["bright"] * bright + ["dark"] * dark):
            least = light(kind, random)
            values = random.integers(least, least + 90, (20 + number % 5, 30, 3), dtype=np.uint8)
            with archive.open(f"{kind}/{number}.png", "w") as file:
                Image.fromarray(values).save(file, "PNG")
        archive.writestr("dark/broken.png", b"not an image")
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip with 12 bright and 40 dark noisy images of several sizes, and a file that is not an image."""
    return noisy_photos(tmp_path_factory.mktemp("photos") / "photos.zip", 12, 40, lambda kind, random: 160 if kind == "bright" else 0)


def arguments(photos: Path, out: Path) -> list[str]:
    text = f"--name small --version 1 --licence MIT --labels no,yes --positive yes --positive-class bright --data {photos} --out {out} "
    return (text + "--channels bgr --mean 10,20,30 --std 50,60,70 --short-side 18 --groups 20 --arities 1,2,4").split()


def test_no_cut_point_is_inside_a_block(tmp_path: Path) -> None:
    _, net = prepared(tmp_path, classifier())
    found = [point.name for point in points.find(net)]
    assert {"stem", "stem_relu", "one_relu", "two_relu", "pooled"} <= set(found)
    assert not any("_a" in name or "_b" in name for name in found)
    assert [point.name for point in points.worth_listing(points.find(net))] == ["stem_relu", "one_relu", "flat"]


def test_multiply_adds_equal_a_manual_count(tmp_path: Path) -> None:
    _, net = prepared(tmp_path, classifier(batch=4))
    stem, layer, head = 64 * 8 * 27, 64 * 8 * 72, 16
    assert sum(macs.counts(net)) == stem + 4 * layer + head
    point = next(point for point in points.find(net) if point.name == "one_relu")
    assert (point.macs, point.row, point.bytes) == (stem + 2 * layer, (8, 8, 8), 4 * 512)
    assert point.macs_share == pytest.approx((stem + 2 * layer) / (stem + 4 * layer + head))


@pytest.mark.parametrize("opset", [9, 13, 18])
@pytest.mark.parametrize("batch", ["N", 1, 4])
@pytest.mark.parametrize("names", [["one_relu"], ["stem_relu", "one_relu"]])
def test_staged_scores_equal_those_of_the_whole_network(tmp_path: Path, opset: int, batch: int | str, names: list[str]) -> None:
    original, net = prepared(tmp_path, classifier(batch, opset))
    models = stages.build(net, points.choose(net, names, frozenset()), "none")
    for model in models:
        onnx.checker.check_model(model, full_check=True)
        assert {entry.version for entry in model.opset_import if entry.domain == ""} == {opset}
    pictures = np.random.default_rng(0).standard_normal((10, 3, SIDE, SIDE), dtype=np.float32)
    staged = chain.Chain(models, [2] * (len(names) - 1), 1)
    differences = verify.check(chain.Whole(original, "none", 1), staged, pictures)
    assert max(differences.individual, differences.repeats, differences.order) < 1e-5


def test_a_group_has_the_score_of_the_maximum_of_its_features(tmp_path: Path) -> None:
    _, net = prepared(tmp_path, classifier())
    staged = chain.Chain(stages.build(net, points.choose(net, ["one_relu"], frozenset()), "none"), [], 1)
    rows = staged.features(np.random.default_rng(0).standard_normal((6, 3, SIDE, SIDE), dtype=np.float32))
    merged = rows[[0, 2, 5]].max(axis=0, keepdims=True)
    assert staged.scores(rows, np.array([[0, 2, 5]])) == pytest.approx(staged.merge(1, merged, np.array([[0]])), abs=1e-6)


def test_a_tree_merges_neighbours_first(tmp_path: Path) -> None:
    _, net = prepared(tmp_path, classifier())
    staged = chain.Chain(stages.build(net, points.choose(net, ["stem_relu", "one_relu"], frozenset()), "none"), [2], 1)
    rows = staged.features(np.random.default_rng(0).standard_normal((6, 3, SIDE, SIDE), dtype=np.float32))
    pairs = staged.merge(1, rows, np.array([[4, 1], [3, 3]]))
    wanted = staged.merge(2, pairs, np.array([[0, 1]]))
    assert staged.scores(rows, np.array([[4, 1, 3]])) == pytest.approx(wanted, abs=1e-6)
    assert staged.scores(rows, np.array([[1, 4, 3]])) == pytest.approx(wanted, abs=1e-6)


def test_a_model_that_mixes_its_rows_is_refused(tmp_path: Path) -> None:
    model = classifier(1)
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    softmax.attribute[0].i = 0  # over the batch: with one row every score is 1, with several rows it is not
    original, net = prepared(tmp_path, model)
    staged = chain.Chain(stages.build(net, points.choose(net, ["one_relu"], frozenset()), "none"), [], 1)
    with pytest.raises(CutError, match="mixes its rows"):
        verify.check(chain.Whole(original, "none", 1), staged, np.ones((5, 3, SIDE, SIDE), dtype=np.float32))


def test_logits_are_refused_unless_an_activation_is_given(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).standard_normal((5, 3, SIDE, SIDE), dtype=np.float32)
    for activation in ("none", "softmax", "sigmoid"):
        original, net = prepared(tmp_path, classifier(activation="Identity"))
        staged = chain.Chain(stages.build(net, points.choose(net, ["one_relu"], frozenset()), activation), [], 1)
        whole = chain.Whole(original, activation, 1)
        if activation == "none":
            with pytest.raises(CutError, match="--activation"):
                verify.check(whole, staged, pictures)
        else:
            verify.check(whole, staged, pictures)


def test_invalid_cut_points_and_models_are_refused(tmp_path: Path) -> None:
    _, net = prepared(tmp_path, classifier())
    for name, why in [("one_rleu", "no tensor one_rleu.* one_relu"), ("one_a_relu", "bypasses it"), ("output", "network's end")]:
        with pytest.raises(CutError, match=why):
            points.choose(net, [name], frozenset())
    two = classifier()
    two.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", 1]))
    with pytest.raises(CutError, match="2 inputs .*image, mask"):
        prepared(tmp_path, two)
    with pytest.raises(CutError, match="not an ONNX model"):
        (tmp_path / "text.onnx").write_text("hello")
        network.read(tmp_path / "text.onnx")


def test_shares_of_time_are_above_0_and_at_most_1(tmp_path: Path) -> None:
    _, net = prepared(tmp_path, classifier())
    said: list[str] = []
    shares, seconds = timing.shares(net, points.worth_listing(points.find(net)), 2, 1, 1, said.append)
    assert len(shares) == len(said) == 3 and all(0 < share <= 1 for share in shares) and seconds > 0


def test_the_list_is_printed_as_json_or_as_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared(tmp_path, classifier())
    run(tmp_path, "--json", "--no-time")
    table = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in table["cuts"]] == ["stem_relu", "one_relu", "flat"] and table["cuts"][0]["row"] == [8, 8, 8]
    run(tmp_path, "--all", "--no-time")
    assert "| pooled" in capsys.readouterr().out


@pytest.mark.parametrize("names", [["one_relu"], ["stem_relu", "one_relu"]])
def test_the_bundle_has_the_format_of_the_worker(tmp_path: Path, photos: Path, names: list[str]) -> None:
    prepared(tmp_path, classifier(1, layout="nhwc"))
    run(tmp_path, "--at", *names, *arguments(photos, tmp_path / "out"))
    table = json.loads((tmp_path / "out" / "bundle.json").read_text())
    assert (table["format"], table["merge"]) == (1, "max")
    assert table["labels"] == [{"name": "no"}, {"name": "yes", "positive": True}]
    assert table["input"] == {
        "width": 16, "height": 16, "channels": "bgr", "layout": "nhwc", "dtype": "uint8",
        "resize": {"rule": "short-side", "short_side": 18, "filter": "bilinear"},
    }  # fmt: skip
    assert [stage.get("features") for stage in table["stages"]] == [[8, 8, 8]] * len(names) + [None]
    assert [stage.get("fan_in") for stage in table["stages"]] == [None, *[2] * (len(names) - 1), None]
    for stage in table["stages"]:
        content = (tmp_path / "out" / stage["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == stage["sha256"] and str(tmp_path).encode() not in content
    assert [(entry["label"], entry["arity"]) for entry in table["calibration"]] == [("yes", 1), ("yes", 2), ("yes", 4)]
    assert (table["calibration"][0]["positives"], table["calibration"][0]["negatives"]) == (12, 40)
    for entry in table["calibration"]:
        assert len(entry["positive_scores"]) >= 3 and entry["positive_scores"] == sorted(entry["positive_scores"])
    assert str(tmp_path) not in table["provenance"]["command"]


def test_missing_and_wrong_options_are_refused(tmp_path: Path, photos: Path) -> None:
    prepared(tmp_path, classifier())
    good = arguments(photos, tmp_path / "out")
    for change, why in [
        ({"--positive-class": "brihgt"}, "no class brihgt; there are bright, dark"),
        ({"--labels": "a,b,yes"}, "--labels has 3 names, but the model has 2 scores"),
        ({"--positive": "maybe"}, "--positive: maybe is not in --labels"),
        ({"--channels": "grey"}, "3 channels"),
        ({"--short-side": "8"}, "needs at least 16"),
        ({"--arities": "2,4"}, "1 is always needed"),
        ({"--arities": "1,64"}, "too few for groups of 64"),
        ({"--mean": "1"}, "--mean has 1 values"),
        ({"--mean": ""}, "--mean, --std: give both"),
    ]:
        words = [change.get(before, word) for before, word in zip(["", *good], good)]
        with pytest.raises(SystemExit, match=why):
            run(tmp_path, "--at", "one_relu", *words)
    with pytest.raises(SystemExit, match="--out.*--data"):
        run(tmp_path, "--at", "one_relu")
    assert not (tmp_path / "out").exists()


def test_folders_zips_and_lists_give_the_same_data(tmp_path: Path, photos: Path) -> None:
    with zipfile.ZipFile(photos) as archive:
        archive.extractall(tmp_path / "folder")
    lines = [f"folder/{path.parent.name}/{path.name},{path.parent.name}" for path in sorted((tmp_path / "folder").glob("*/*"))]
    (tmp_path / "list.csv").write_text("path,class\n" + "\n".join(lines) + "\n")
    sets = [{(entry.kind, entry.read()) for entry in dataset.find(source)} for source in (photos, tmp_path / "folder", tmp_path / "list.csv")]
    assert sets[0] == sets[1] == sets[2] and len(sets[0]) == 53
    few = dataset.sample(dataset.find(photos), 5, 1)
    assert sorted(entry.kind for entry in few) == ["bright"] * 5 + ["dark"] * 5


def test_pixels_follow_the_bundle_format(tmp_path: Path) -> None:
    values = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    path = tmp_path / "a.png"
    Image.fromarray(values).save(path)
    plain = images.Input(3, 2, "rgb", "nhwc", 4, "bilinear", (0.0,) * 3, (1.0,) * 3)
    assert (images.pixels(path.read_bytes(), plain) == values[1:3, 1:4]).all()
    turned = images.Input(3, 2, "bgr", "nchw", 4, "bilinear", (1.0, 2.0, 3.0), (2.0,) * 3)
    wanted = (values[1:3, 1:4, ::-1].astype(np.float32) - [1, 2, 3]) / 2
    assert (images.tensor(path.read_bytes(), turned) == wanted.transpose(2, 0, 1)).all()
    clear = np.concatenate([values, np.zeros((4, 5, 1), dtype=np.uint8)], axis=2)
    Image.fromarray(clear).save(path)
    assert (images.pixels(path.read_bytes(), plain) == 255).all()


def test_jpegs_are_drafted_as_in_the_worker() -> None:
    folder = Path(__file__).resolve().parents[2] / "tests" / "data" / "decode"
    document = json.loads((folder / "cases.json").read_text())
    for case in document["cases"]:
        for name in case["inputs"]:
            if not name.startswith("draft-"):
                continue
            wanted = images.from_table(document["inputs"][name])
            assert wanted.draft and wanted.table()["resize"] == document["inputs"][name]["resize"]
            with Image.open(folder / "expected" / f"{case['file']}.{name}.pnm") as expected:
                pixels = np.asarray(expected).reshape(wanted.height, wanted.width, -1)
            assert (images.pixels((folder / case["file"]).read_bytes(), wanted) == pixels).all(), (case["file"], name)


def test_with_cam_a_place_has_the_vector_of_the_image_with_the_highest_logit(tmp_path: Path) -> None:
    _, net = prepared(tmp_path, classifier())
    weight = np.random.default_rng(3).standard_normal((1, WIDE)).astype(np.float32)
    staged = chain.Chain(stages.build(net, points.choose(net, ["one_relu"], frozenset()), "none", weight), [], 1)
    rows = staged.features(np.random.default_rng(0).standard_normal((6, 3, SIDE, SIDE), dtype=np.float32))
    group = rows[[0, 2, 5]]
    chosen = np.einsum("c,mchw->mhw", weight[0], group).argmax(axis=0)
    merged = np.take_along_axis(group, chosen[None, None], axis=0)
    assert len(np.unique(chosen)) == 3, "with one image at every place the test proves nothing"
    assert staged.scores(rows, np.array([[0, 2, 5]])) == pytest.approx(staged.merge(1, merged, np.array([[0]])), abs=1e-6)
    assert staged.scores(rows, np.array([[0, 2, 5, 2]])) == pytest.approx(staged.scores(rows, np.array([[0, 2, 5]])), abs=1e-6)


def test_a_bundle_with_cam_fits_its_weights_on_images_that_set_no_threshold(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(tmp_path, classifier())
    fitted, calibrated = [], []
    learn, run_calibration = selector.fit, calibration.run

    def fit(features: Any, targets: Any, rows: Any) -> Any:
        fitted.extend(rows.tolist())
        return learn(features, targets, rows)

    def calibrate(staged: Any, features: Any, targets: Any, negatives: Any, settings: Any, say: Any) -> Any:
        calibrated.append((settings.arities, {*targets[0].rows.tolist(), *negatives.tolist()}))
        return run_calibration(staged, features, targets, negatives, settings, say)

    monkeypatch.setattr(selector, "fit", fit)
    monkeypatch.setattr(calibration, "run", calibrate)
    run(tmp_path, "--at", "one_relu", "--merge", "cam", *arguments(photos, tmp_path / "out"))
    table = json.loads((tmp_path / "out" / "bundle.json").read_text())
    assert table["merge"] == "cam" and [entry["arity"] for entry in table["calibration"]] == [1, 2, 4]
    (alone, every), (pooled, judged) = calibrated
    assert alone == (1,) and len(every) == 52, "the individual test does not depend on the weights"
    assert pooled == (2, 4) and len(fitted) == len(judged) == 26 and not judged & set(fitted)


def test_each_label_has_weights_of_its_own() -> None:
    random = np.random.default_rng(4)
    features = random.standard_normal((40, WIDE, 2, 2)).astype(np.float32)
    features[:10, 0] += 2
    features[10:20, 1] += 2
    targets = [calibration.Target(name, column, np.arange(10 * column, 10 * column + 10)) for column, name in enumerate(("first", "second"))]
    weight = selector.fit(features, targets, np.arange(40))
    assert weight.shape == (2, WIDE) and weight.argmax(axis=1).tolist() == [0, 1]


def test_cam_is_refused_where_it_cannot_merge(tmp_path: Path, photos: Path) -> None:
    prepared(tmp_path, classifier())
    good = ["--merge", "cam", *arguments(photos, tmp_path / "out")]
    for words, why in [
        (["--at", "flat"], r"rows are \[C,H,W\]"),
        (["--at", "stem_relu", "one_relu"], "one cut point"),
        (["--exits"], "then add exits"),
        ([], "give the cut point with --at"),
    ]:
        with pytest.raises(SystemExit, match=why):
            run(tmp_path, *words, *good)
    prepared(tmp_path, classifier(opset=8))
    with pytest.raises(SystemExit, match="the model has opset 8; export it with 9 or later"):
        run(tmp_path, "--at", "one_relu", *good)


def test_each_half_has_images_of_every_label_and_of_none() -> None:
    targets = [calibration.Target("yes", 1, np.arange(4))]
    found = selector.halves(["a", "a", "b", "b", *["none"] * 6], targets, np.arange(4, 10), 1)
    assert len(found.learn) == len(found.judge) == 5 and len(np.intersect1d(found.learn, np.arange(4))) == 2
    with pytest.raises(CutError, match="4 images of label yes are too few"):
        selector.halves(["a", "b", "c", "d", *["none"] * 6], targets, np.arange(4, 10), 1)
    with pytest.raises(CutError, match="1 images of no label are too few"):
        selector.halves(["a", "a", "b", "b", "none"], targets, np.arange(4, 5), 1)
