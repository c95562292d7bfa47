"""A bundle that is converted to float16 keeps its scores, nearly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto  # noqa: E402

from conftest import ROOT  # noqa: E402
from dorfman_training import __main__, half, pixels  # noqa: E402

DATA = ROOT / "tests" / "data"
IMAGES = DATA / "agreement"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of pairs that reads pixels."""
    folder = tmp_path_factory.mktemp("before") / "bundle"
    shutil.copytree(DATA / "tree", folder)
    pixels.convert(folder)
    return folder


def types(folder: Path, file: str) -> dict[str, int]:
    graph = onnx.load(str(folder / file)).graph
    return {value.name: value.type.tensor_type.elem_type for value in [*graph.input, *graph.output]}


def test_features_are_float16_and_images_and_scores_are_not(before: Path, tmp_path: Path) -> None:
    half.convert(before, tmp_path / "out")
    assert types(tmp_path / "out", "stage0.onnx") == {"images": TensorProto.UINT8, "features": TensorProto.FLOAT16}
    found = types(tmp_path / "out", "stage1.onnx")
    assert found == {"features": TensorProto.FLOAT16, "members": TensorProto.INT64, "features_out": TensorProto.FLOAT16}
    assert types(tmp_path / "out", "stage2.onnx")["scores"] == TensorProto.FLOAT
    kept = {name for name in types(tmp_path / "out", "stage2.onnx")}
    assert kept == {"features", "members", "scores"}


def test_the_scores_agree(before: Path, tmp_path: Path) -> None:
    half.convert(before, tmp_path / "out")
    found = {each.part: each for each in half.compare(before, tmp_path / "out", IMAGES, 2)}
    assert set(found) == {"individual tests", "tests of 8"}
    assert all(0 < each.largest < 5e-3 and each.mean <= each.largest for each in found.values())


def test_the_screen_the_exits_and_the_confirm_network_are_converted_too(tmp_path: Path) -> None:
    for name, parts in (("shoes", {"the screen"}), ("fashion-bag", {"the confirm", "the exit of stage 0"})):
        half.convert(ROOT / "models" / name, tmp_path / name)
        found = {each.part: each.largest for each in half.compare(ROOT / "models" / name, tmp_path / name, IMAGES, 2)}
        assert parts <= set(found) and max(found.values()) < 0.01, found


def test_the_command_refuses_what_it_cannot_do(before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(bundle: Path, *words: str) -> None:
        line = ["dorfman_training", "half", str(bundle), "--data", str(IMAGES), "--out", str(tmp_path / "out"), *words]
        monkeypatch.setattr("sys.argv", line)
        __main__.main()

    with pytest.raises(SystemExit, match="read float32: run `python3 -m dorfman_training pixels"):
        run(DATA / "tree")
    with pytest.raises(SystemExit, match="no bundle.json"):
        run(IMAGES)
    with pytest.raises(SystemExit, match="another folder"):
        run(before, "--out", str(before))
    with pytest.raises(SystemExit, match="differs by more than 1e-09"):
        run(before, "--tolerance", "1e-9")
    run(before)
    table = json.loads((tmp_path / "out" / "bundle.json").read_text())
    assert (table["name"], table["input"]["dtype"]) == ("tiny-tree-half", "uint8")
    monkeypatch.setattr(half, "compare", lambda *_: [half.Difference("a part", float("nan"), float("nan"))])
    with pytest.raises(SystemExit, match="differs by more"):
        run(before)
