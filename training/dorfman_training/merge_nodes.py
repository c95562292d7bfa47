"""The merges as ONNX operators: from the rows of a run and `members` to `merged`. merges.py explains them."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from .merge_kinds import CAM, MEAN

MERGED = "merged"
NAMES = (
    "gathered", MERGED, "merge_axis_1", "merge_axis_2", "merge_rows", "merge_shape", "merge_weight", "merge_labels",
    "merge_logits", "merge_best", "merge_behind", "merge_lowest", "merge_kept", "merge_flat", "merge_row",
)  # fmt: skip
OLDEST_CAM = 9  # the oldest opset with Where
AXES_AS_INPUT = 18  # from this opset on, the axes of a reduction are an input

Nodes = tuple[list[NodeProto], list[TensorProto]]


def nodes(kind: str, version: int, rows: str, row: Sequence[int], weight: np.ndarray | None = None) -> Nodes:
    """Returns nodes that merge the rows in each line of `members`, and their constants.

    `version` is the opset, `rows` the name of the rows and `row` the shape of one. `weight` [L,C] are
    the weights of the place logits of the merge `cam`, whose rows have the shape [C,...]. With several
    labels, the largest logit of a place counts.
    """
    gather = helper.make_node("Gather", [rows, "members"], ["gathered"], axis=0)
    if kind != CAM:
        reduced, axes = reduction("ReduceMean" if kind == MEAN else "ReduceMax", "gathered", MERGED, version)
        return [gather, reduced], axes
    if weight is None or version < OLDEST_CAM:
        raise ValueError(f"the merge {CAM} needs weights, and opset {OLDEST_CAM} or later")
    logits, label_axes = place_logits(len(weight), version)
    best, member_axes = reduction("ReduceMax", "merge_logits", "merge_best", version, keep=True)
    flat, _ = reduction("ReduceMax", "merge_kept", "merge_flat", version)
    made = [
        gather,
        helper.make_node("Reshape", ["gathered", "merge_shape"], ["merge_rows"]),
        *logits,
        best,
        helper.make_node("Less", ["merge_logits", "merge_best"], ["merge_behind"]),
        helper.make_node("Where", ["merge_behind", "merge_lowest", "merge_rows"], ["merge_kept"]),
        flat,
        helper.make_node("Reshape", ["merge_flat", "merge_row"], [MERGED]),
    ]
    return made, [
        *label_axes,
        *member_axes,
        integers([0, 0, row[0], -1], "merge_shape"),
        integers([0, *row], "merge_row"),
        numpy_helper.from_array(weight.astype(np.float32), "merge_weight"),
        numpy_helper.from_array(np.array(-np.inf, dtype=np.float32), "merge_lowest"),
    ]


def place_logits(labels: int, version: int) -> Nodes:
    """Returns nodes from the rows [T,m,C,places] to the logits of the places [T,m,1,places]."""
    if labels == 1:
        return [helper.make_node("MatMul", ["merge_weight", "merge_rows"], ["merge_logits"])], []
    product = helper.make_node("MatMul", ["merge_weight", "merge_rows"], ["merge_labels"])
    largest, axes = reduction("ReduceMax", "merge_labels", "merge_logits", version, axis=2, keep=True)
    return [product, largest], axes


def reduction(operator: str, source: str, target: str, version: int, axis: int = 1, keep: bool = False) -> tuple[NodeProto, list[TensorProto]]:
    """Returns a node that reduces an axis, by default the members of each line, and its constants."""
    if version < AXES_AS_INPUT:
        return helper.make_node(operator, [source], [target], axes=[axis], keepdims=int(keep)), []
    axes = integers([axis], f"merge_axis_{axis}")
    return helper.make_node(operator, [source, axes.name], [target], keepdims=int(keep)), [axes]


def integers(values: Sequence[int], name: str) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def prepend(path: Path, kind: str, rows: str, row: Sequence[int], weight: np.ndarray | None = None) -> None:
    """Puts a merge in front of the graph in a file, whose only input is `merged`."""
    model = onnx.load(str(path))
    graph = model.graph
    version = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    ahead, constants = nodes(kind, version, rows, row, weight)
    behind = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*ahead, *behind])
    graph.initializer.extend(constants)
    graph.input.append(helper.make_tensor_value_info(rows, TensorProto.FLOAT, ["R", *row]))
    graph.input.append(helper.make_tensor_value_info("members", TensorProto.INT64, ["T", "m"]))
    onnx.save(model, str(path))
