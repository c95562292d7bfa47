"""A network that reads pixels has the scores of the network that reads normalised images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto  # noqa: E402
from test_cut import SIDE, arguments, classifier, prepared, run  # noqa: E402
from test_cut import photos as photos  # noqa: E402

from conftest import DESIGNS, GREY, ROOT, settled  # noqa: E402
from dorfman_training import __main__, check, config, data, export, pixels  # noqa: E402
from dorfman_training.cut import chain, network  # noqa: E402


def random_pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("mean, std", [((10.5, 20.0, 30.0), (50.0, 60.0, 70.25)), ((127.0,) * 3, (128.0,) * 3), ((0.0,) * 3, (255.0,) * 3)])
def test_the_scores_are_equal(layout: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    model = classifier(layout=layout)
    pixels.read_instead(model.graph.node[0], "image", "images")
    model.graph.input[0].name = "images"
    images = random_pixels(7, SIDE, SIDE, 3)
    normal = (images.astype(np.float32) - np.array(mean, np.float32)) / np.array(std, np.float32)
    if layout == "nchw":
        images, normal = (np.ascontiguousarray(values.transpose(0, 3, 1, 2)) for values in (images, normal))
    changed = pixels.absorbed(model, mean, std, layout)
    onnx.checker.check_model(changed, full_check=True)
    (wanted,) = chain.session(model, 1).run(None, {"images": normal})
    (found,) = chain.session(changed, 1).run(None, {"images": images})
    assert found == pytest.approx(wanted, abs=1e-6) and found.std() > 0.001
    if std[0] != 255:  # 1 / 255 is rounded
        assert (found == wanted).all()
    with pytest.raises(ValueError, match="not float32"):
        pixels.absorbed(changed, mean, std, layout)


@pytest.mark.parametrize("name", list(DESIGNS))
def test_every_exported_design_can_read_pixels(name: str, tmp_path: Path) -> None:
    model = settled(DESIGNS[name])
    export.write_stages(model, (1, 28, 28), tmp_path, GREY)
    raw = torch.from_numpy(random_pixels(20, 1, 28, 28))
    assert check.largest_difference(model, tmp_path, data.normalise(raw, GREY), range(1, 9), raw) < check.TOLERANCE
    first = onnx.load(str(tmp_path / "stage0.onnx")).graph
    operators = [node.op_type for node in first.node]
    if name == "pixel":
        assert operators.index("Gather") < operators.index("Cast"), "only the images of a run are converted"
    export.write_confirm(model, (1, 28, 28), tmp_path, GREY)
    assert check.confirm_difference(model, tmp_path / "confirm.onnx", data.normalise(raw, GREY), raw) < check.TOLERANCE


def test_channels_that_the_network_exchanges_are_normalised_before(tmp_path: Path) -> None:
    model = classifier()
    pixels.read_instead(model.graph.node[0], "image", "images")
    model.graph.input[0].name = "images"
    turned = onnx.helper.make_node("Gather", ["images", "order"], ["turned"], axis=1)
    pixels.read_instead(model.graph.node[0], "images", "turned")
    model.graph.node.insert(0, turned)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 1, 0]), "order"))
    mean, std = (104.0, 117.0, 123.0), (50.0, 60.0, 70.0)
    images = random_pixels(5, 3, SIDE, SIDE)
    normal = (images - np.array(mean, np.float32).reshape(3, 1, 1)) / np.array(std, np.float32).reshape(3, 1, 1)
    (wanted,) = chain.session(model, 1).run(None, {"images": normal})
    (found,) = chain.session(pixels.absorbed(model, mean, std, "nchw"), 1).run(None, {"images": images})
    assert (found == wanted).all()


def test_a_bundle_that_was_made_before_can_be_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before, folder = ROOT / "tests" / "data" / "tree", tmp_path / "bundle"
    shutil.copytree(before, folder)
    shape = config.load(ROOT / "training" / "configs" / "tiny-tree.toml").input
    raw = torch.from_numpy(random_pixels(12, 1, 28, 28))
    monkeypatch.setattr("sys.argv", ["dorfman_training", "pixels", str(folder)])
    __main__.main()
    assert "stage0.onnx now read uint8" in capsys.readouterr().out
    table = json.loads((folder / "bundle.json").read_text())
    assert table["input"]["dtype"] == "uint8" and not {"mean", "std"} & set(table["input"])
    wanted = check.Staged(before).features(data.normalise(raw, shape).numpy())
    assert (check.Staged(folder).features(raw.numpy()) == wanted).all()
    __main__.main()
    assert "already" in capsys.readouterr().out
    assert json.loads((folder / "bundle.json").read_text()) == table


def test_a_model_that_reads_uint8_needs_no_normalisation(tmp_path: Path, photos: Path) -> None:
    model = classifier()
    pixels.read_instead(model.graph.node[0], "image", "images")
    model.graph.input[0].name = "images"
    model = pixels.absorbed(model, (10.0, 20.0, 30.0), (50.0, 60.0, 70.0), "nchw")
    prepared(tmp_path, model)
    words = arguments(photos, tmp_path / "out")
    with pytest.raises(SystemExit, match="leave both out"):
        run(tmp_path, "--at", "one_relu", *words)
    at = words.index("--mean")
    run(tmp_path, "--at", "one_relu", *words[:at], *words[at + 4 :])
    table = json.loads((tmp_path / "out" / "bundle.json").read_text())
    assert table["input"]["dtype"] == "uint8" and "mean" not in table["input"]
    first = onnx.load(str(tmp_path / "out" / "stage0.onnx"))
    assert first.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    raw = random_pixels(6, 3, SIDE, SIDE)
    stages = [first, onnx.load(str(tmp_path / "out" / "stage1.onnx"))]
    staged = chain.Chain(stages, [], 1)
    wanted = chain.Whole(network.read(tmp_path / "model.onnx"), "none", 1).scores(raw)
    assert staged.scores(staged.features(raw), np.arange(6)[:, None]) == pytest.approx(wanted, abs=1e-5)
