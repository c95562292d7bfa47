"""Writes a network's stages as ONNX files, with the names that docs/bundle.md fixes."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from . import macs
from .fold import folded
from .model import FeatureMergeNet, LastStage

OPSET = 17


@dataclass(frozen=True)
class StageFile:
    file: str
    sha256: str
    macs: int
    features: tuple[int, ...] | None


class LastStageGraph(nn.Module):
    """What the last file holds: gather, merge, layers and sigmoid."""

    def __init__(self, last: LastStage) -> None:
        super().__init__()
        self.last = last

    def forward(self, features: Tensor, members: Tensor) -> Tensor:
        # Written so that it becomes one Gather and one ReduceMax.
        return torch.sigmoid(self.last(features[members].amax(dim=1)))


def write_stages(model: FeatureMergeNet, image_shape: tuple[int, int, int], folder: Path) -> list[StageFile]:
    model = folded(model).cpu()
    folder.mkdir(parents=True, exist_ok=True)
    # Two rows, as the exporter may take a size of one for a constant.
    images = torch.zeros(2, *image_shape)
    with torch.no_grad():
        features = model.stage0(images)
    members = torch.tensor([[0, 1, 1], [1, 1, 0]])

    write(model.stage0, (images,), folder / "stage0.onnx", ["images"], ["features"],
          {"images": {0: "N"}, "features": {0: "N"}})
    write(LastStageGraph(model.last).eval(), (features, members), folder / "stage1.onnx", ["features", "members"], ["scores"],
          {"features": {0: "R"}, "members": {0: "T", 1: "m"}, "scores": {0: "T"}})
    return [
        StageFile("stage0.onnx", sha256(folder / "stage0.onnx"), macs.count(model.stage0, images[:1]), tuple(features.shape[1:])),
        StageFile("stage1.onnx", sha256(folder / "stage1.onnx"), macs.count(model.last, features[:1]), None),
    ]


def write(
    module: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    axes: dict[str, dict[int, str]],
) -> None:
    options: dict[str, object] = {}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False  # newer releases default to an exporter that needs more packages
    torch.onnx.export(
        module, example, str(path), opset_version=OPSET, input_names=inputs, output_names=outputs, dynamic_axes=axes, **options
    )


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
