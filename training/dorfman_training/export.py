"""Writes a network's stages as ONNX files. docs/bundle.md defines the names of inputs and outputs."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from . import macs, merge_nodes, pixels
from .config import InputConfig
from .fold import folded
from .model import StagedNet
from .padding import make_mergeable

OPSET = 17


@dataclass(frozen=True)
class StageFile:
    file: str
    sha256: str
    macs: int
    features: tuple[int, ...] | None
    fan_in: int | None = None


class ScoringGraph(nn.Module):
    """The graph of layers that return logits, with a sigmoid."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, rows: Tensor) -> Tensor:
        return torch.sigmoid(self.layers(rows))


def write_stages(model: StagedNet, image_shape: tuple[int, int, int], folder: Path, reads: InputConfig | None = None) -> list[StageFile]:
    """Writes the ONNX files of a network to `folder` and describes them.

    The pixel design has one file, which merges images. Other designs have one file per stage. With
    `reads`, the first file reads uint8 pixels and normalises them itself.
    """
    model = folded(model).cpu()
    folder.mkdir(parents=True, exist_ok=True)
    # The example has two rows, since the exporter may treat an axis of size one as a constant.
    features, files = torch.zeros(2, *image_shape), []
    first, *stages = model.stages  # in the pixel design, the first stage has no layers
    if not model.pixels:
        write(first, (features,), folder / "stage0.onnx", ["images"], ["features"], {"images": {0: "N"}, "features": {0: "N"}})
        absorb(folder / "stage0.onnx", reads)
        files.append(stage_file(folder / "stage0.onnx", first, features, last=False))
        features = passed(first, features)
    for index, stage in enumerate(stages):
        path, last = folder / f"stage{len(files)}.onnx", index == len(stages) - 1
        result = "scores" if last else "features_out"
        graph = ScoringGraph(stage).eval() if last else stage
        write(graph, (features,), path, [merge_nodes.MERGED], [result], {merge_nodes.MERGED: {0: "T"}, result: {0: "T"}})
        rows, weight = "images" if model.pixels else "features", selector_weight(model, index)
        merge_nodes.prepend(path, model.merging, rows, tuple(features.shape[1:]), weight)
        if model.pixels:
            absorb(path, reads)
        fan_in = model.fans[index] if not last else None
        files.append(stage_file(path, stage, features, last, fan_in))
        features = passed(stage, features)
    return files


def selector_weight(model: StagedNet, level: int) -> np.ndarray | None:
    """Returns the weights [1,C] of the selector before stage `level` + 1, or None if the merge has none."""
    return model.selectors[level].weight.detach().numpy()[None] if len(model.selectors) else None


def passed(stage: nn.Module, rows: Tensor) -> Tensor:
    with torch.no_grad():
        return stage(rows)


def stage_file(path: Path, stage: nn.Module, rows: Tensor, last: bool, fan_in: int | None = None) -> StageFile:
    features = None if last else tuple(passed(stage, rows).shape[1:])
    return StageFile(path.name, sha256(path), macs.count(stage, rows[:1]), features, fan_in)


def absorb(path: Path, reads: InputConfig | None) -> None:
    if reads is not None:
        pixels.absorb(path, reads.mean, reads.std)


def write_confirm(model: StagedNet, image_shape: tuple[int, int, int], folder: Path, reads: InputConfig | None = None) -> StageFile:
    """Writes confirm.onnx, the network as an individual test. `reads` is as in `write_stages`.

    The merges of a network with cuts are left out: a merge of one row does not change it.
    """
    graph, images = nn.Sequential(*folded(model).cpu().stages), torch.zeros(2, *image_shape)
    path = folder / "confirm.onnx"
    write(ScoringGraph(graph).eval(), (images,), path, ["images"], ["scores"], {"images": {0: "N"}, "scores": {0: "N"}})
    absorb(path, reads)
    return stage_file(path, graph, images, last=True)


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
        options["dynamo"] = False  # the default exporter of newer torch releases needs more packages
    torch.onnx.export(module, example, str(path), opset_version=OPSET, input_names=inputs, output_names=outputs, dynamic_axes=axes, **options)
    make_mergeable(path)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
