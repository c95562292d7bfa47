"""Moves the normalisation of pixels into a network, so that its input `images` is uint8.

A worker then keeps and moves one byte per value instead of four. The values are those of the
normalisation outside: (x - mean) / std in float32, or (x - mean) * (1 / std) where that is one operator.

`python3 -m dorfman_training pixels BUNDLE` converts a bundle that was made before.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

PREFIX = "pixel/"  # begins the names of all tensors that are added
DEQUANTIZE = 10  # the first opset with DequantizeLinear


def absorbed(model: onnx.ModelProto, mean: Sequence[float], std: Sequence[float], layout: str) -> onnx.ModelProto:
    """Returns a copy of a network whose input `images` is uint8. `mean` and `std` have one value per channel."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    image = next(entry for entry in graph.input if entry.name == "images")
    if image.type.tensor_type.elem_type != TensorProto.FLOAT:
        raise ValueError("the input `images` is not float32: such a network normalises its pixels itself")
    image.type.tensor_type.elem_type = TensorProto.UINT8
    nodes = list(graph.node)
    gather = gather_of_members(graph)
    source, at = ("images", 0) if gather is None else (nodes[gather].output[0], gather + 1)
    one_operator = opset(model) >= DEQUANTIZE and is_quantisation(mean, std)
    added, constants = dequantised(source, mean, std) if one_operator else normalisation(source, mean, std, layout)
    for node in nodes[at:]:
        read_instead(node, source, added[-1].output[0])
    del graph.node[:]
    graph.node.extend([*nodes[:at], *added, *nodes[at:]])
    graph.initializer.extend(constants)
    kept = [value for value in graph.value_info if value.name != source]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    return result


def gather_of_members(graph: onnx.GraphProto) -> int | None:
    """Returns the place of the node that gathers the images of a run, in a network that merges pixels.

    Only these images are normalised then, not those of all slots. Other networks have no input `members`.
    """
    if not any(entry.name == "members" for entry in graph.input):
        return None
    readers = [place for place, node in enumerate(graph.node) if "images" in node.input]
    if len(readers) != 1 or graph.node[readers[0]].op_type != "Gather" or list(graph.node[readers[0]].input) != ["images", "members"]:
        raise ValueError("the network does not begin with one Gather of `images` by `members`")
    return readers[0]


def opset(model: onnx.ModelProto) -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def is_quantisation(mean: Sequence[float], std: Sequence[float]) -> bool:
    """Whether the normalisation has the form of a linear quantisation: one zero point in 0..255, one scale."""
    return len(set(mean)) == len(set(std)) == 1 and float(mean[0]).is_integer() and 0 <= mean[0] <= 255


def dequantised(source: str, mean: Sequence[float], std: Sequence[float]) -> tuple[list[NodeProto], list[TensorProto]]:
    """As `normalisation`, in one pass over the values instead of three, which a CPU notices."""
    constants = [
        numpy_helper.from_array(np.array(1 / np.float32(std[0]), np.float32), f"{PREFIX}scale"),
        numpy_helper.from_array(np.array(mean[0], np.uint8), f"{PREFIX}zero_point"),
    ]
    inputs = [source, f"{PREFIX}scale", f"{PREFIX}zero_point"]
    return [helper.make_node("DequantizeLinear", inputs, [f"{PREFIX}values"])], constants


def normalisation(source: str, mean: Sequence[float], std: Sequence[float], layout: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """Returns the nodes that normalise the tensor `source`, and their constants."""
    shape = (-1, 1, 1) if layout == "nchw" else (-1,)
    nodes = [helper.make_node("Cast", [source], [f"{PREFIX}values"], to=TensorProto.FLOAT)]
    constants = []
    for operator, name, values, neutral in (("Sub", "mean", mean, 0.0), ("Div", "std", std, 1.0)):
        if all(value == neutral for value in values):
            continue
        constants.append(numpy_helper.from_array(np.array(values, np.float32).reshape(shape), f"{PREFIX}{name}"))
        nodes.append(helper.make_node(operator, [nodes[-1].output[0], f"{PREFIX}{name}"], [f"{PREFIX}{operator.lower()}"]))
    return nodes, constants


def read_instead(node: NodeProto, old: str, new: str) -> None:
    """Makes a node, and the nodes in its branches and loops, read the tensor `new` instead of `old`."""
    for place, name in enumerate(node.input):
        if name == old:
            node.input[place] = new
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            for inner in graph.node:
                read_instead(inner, old, new)


def absorb(path: Path, mean: Sequence[float], std: Sequence[float], layout: str = "nchw") -> None:
    """Rewrites the file of a network with `absorbed`."""
    onnx.save(absorbed(onnx.load(str(path)), mean, std, layout), str(path))


def convert(folder: Path) -> list[str]:
    """Rewrites the networks of a bundle so that they read pixels, and its manifest. Returns the names of the files."""
    from . import manifest

    table: dict[str, Any] = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    networks = [(table["input"], [table["stages"][0], *([table["confirm"]] if "confirm" in table else [])])]
    networks += [(table["screen"]["input"], [table["screen"]])] if "screen" in table else []
    changed = []
    for shape, files in networks:
        if shape.get("dtype", "float32") != "float32":
            continue
        mean, std = shape.pop("mean"), shape.pop("std")
        shape["dtype"] = "uint8"
        for file in files:
            path = folder / file["file"]
            absorb(path, mean, std, shape.get("layout", "nchw"))
            file["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
            changed.append(file["file"])
    manifest.write(folder / "bundle.json", table)
    return changed
