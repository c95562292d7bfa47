"""The networks of a bundle as somebody without this project has them: one model for an image, and a screen.

The stages of a bundle become one model whose batch is a batch of images. The screen is the screen of
the bundle. Without one, it is stage 0 with its early exit. Both start at uint8 pixels.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

CONSTANTS = {"zero": 0, "one": 1, "axis": [1]}
SENSITIVITY = 0.99  # the default of `retest.individual_sensitivity`


@dataclass(frozen=True)
class Network:
    """A model, the size of its images, and the score from which an image is positive."""

    file: str
    width: int
    height: int
    grey: bool
    draft: int | None
    threshold: float


def write(bundle: Path, folder: Path) -> Path:
    """Writes the models and `peer.json`, which describes them. Returns the path of `peer.json`."""
    manifest = json.loads((bundle / "bundle.json").read_text())
    folder.mkdir()
    onnx.save(_whole(bundle, manifest), folder / "network.onnx")
    described = {"network": asdict(_network("network.onnx", manifest["input"], manifest["calibration"]))}
    screen, source, calibration = _screen(bundle, manifest)
    onnx.save(screen, folder / "screen.onnx")
    described["screen"] = asdict(_network("screen.onnx", source, calibration))
    path = folder / "peer.json"
    path.write_text(json.dumps(described, indent=1))
    return path


def _network(file: str, source: dict, calibration: list[dict]) -> Network:
    alone = next(found for found in calibration if found["arity"] == 1)
    point = next(point for point in alone["operating_points"] if point["sensitivity"] >= SENSITIVITY)
    draft = source["resize"].get("draft")
    return Network(file, source["width"], source["height"], source["channels"] == "grey", draft, point["threshold"])


def _screen(bundle: Path, manifest: dict) -> tuple[onnx.ModelProto, dict, list[dict]]:
    """Returns the model, its input and its calibration."""
    if "screen" in manifest:
        screen = manifest["screen"]
        return onnx.load(bundle / screen["file"]), screen["input"], screen["calibration"]
    stage = manifest["stages"][0]
    model = onnx.load(bundle / stage["file"])
    return _without(model, ["features"]), manifest["input"], stage["exit"]["calibration"]


def _without(model: onnx.ModelProto, outputs: list[str]) -> onnx.ModelProto:
    kept = [output for output in model.graph.output if output.name not in outputs]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return model


def _whole(bundle: Path, manifest: dict) -> onnx.ModelProto:
    """Chains the stages. Every image is the only member of its test."""
    models = [onnx.compose.add_prefix(onnx.load(bundle / stage["file"]), f"s{k}/") for k, stage in enumerate(manifest["stages"])]
    first, last = models[0], models[-1]
    nodes, weights = [], []
    for k, model in enumerate(models):
        if k > 0:
            before = next(output.name for output in models[k - 1].graph.output if "features" in output.name)
            nodes += _every_row(before, f"s{k}/")
            nodes.append(helper.make_node("Identity", [before], [f"s{k}/features"]))
        nodes += model.graph.node
        weights += model.graph.initializer
    weights += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in CONSTANTS.items()]
    graph = helper.make_graph(nodes, "whole", first.graph.input, last.graph.output, weights)
    whole = helper.make_model(graph, opset_imports=first.opset_import, ir_version=first.ir_version)
    onnx.checker.check_model(whole)
    return whole


def _every_row(features: str, prefix: str) -> list[onnx.NodeProto]:
    """Returns the nodes for the members of a stage: each row of the features, alone."""
    return [
        helper.make_node("Shape", [features], [f"{prefix}shape"]),
        helper.make_node("Gather", [f"{prefix}shape", "zero"], [f"{prefix}count"]),
        helper.make_node("Range", ["zero", f"{prefix}count", "one"], [f"{prefix}rows"]),
        helper.make_node("Unsqueeze", [f"{prefix}rows", "axis"], [f"{prefix}members"]),
    ]
