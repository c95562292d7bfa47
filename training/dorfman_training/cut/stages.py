"""Builds a bundle's ONNX files from a network and its cut points."""

from __future__ import annotations

from typing import Iterable, Protocol, Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from .. import merge_kinds, merge_nodes
from .errors import CutError
from .network import Network, opset, reads
from .points import Point

ACTIVATIONS = ("none", "softmax", "sigmoid")
# Names are unique in an ONNX graph: a stage that reads `features` needs another name for its output.
BETWEEN_OUTPUT = "features_out"
OWN = (
    "images", "features", BETWEEN_OUTPUT, "members", "scores", "exit", "member", "member_shape", "raw", "flat", "flat_shape",
    *merge_nodes.NAMES,
)  # fmt: skip


class Exit(Protocol):
    """The head of an exit. `nodes` returns the nodes from `source` to `target`, and their constants."""

    def nodes(self, source: str, target: str, row: Sequence[int], version: int) -> tuple[list[NodeProto], list[TensorProto]]: ...


def build(network: Network, cuts: Sequence[Point], activation: str, weight: np.ndarray | None = None) -> list[onnx.ModelProto]:
    """Returns stage 0, then one stage per cut, which merges rows of the stage before.

    With `weight` [labels,C], the last stage merges by class activation maps, otherwise by maximum.
    """
    starts = [network.image, *(cut.name for cut in cuts)]
    stages = [part(network, start, cut.name) for start, cut in zip(starts, cuts)]
    return [*stages, part(network, starts[-1], None, activation, weight=weight)]


def part(
    network: Network,
    start: str,
    end: str | None,
    activation: str = "none",
    alone: bool = False,
    head: Exit | None = None,
    labels_out: int = 0,
    weight: np.ndarray | None = None,
) -> onnx.ModelProto:
    """Returns the part of the network from tensor `start` to tensor `end` (None: the scores).

    docs/bundle.md defines its inputs and outputs. With `alone`, the part runs on one item: it gathers
    the row of each item and merges nothing. With `head`, it also has the output `exit` with
    `labels_out` columns. `weight` is that of `build`.
    """
    merging = start != network.image
    version, rows = opset(network.model), "T" if merging else "N"
    nodes = needed(network, start, end or network.output)
    renamed = {name: f"{name}_of_network" for name in OWN} | {start: "merged" if merging else "images"}
    kind = TensorProto.FLOAT if merging else network.kind
    inputs = [info("features" if merging else "images", "R" if merging else "N", network.shapes[start], kind)]
    ahead: list[onnx.NodeProto] = []
    behind: list[onnx.NodeProto] = []
    extra: list[onnx.TensorProto] = []
    if merging:
        inputs.append(helper.make_tensor_value_info("members", TensorProto.INT64, ["T", 1 if alone else "m"]))
        row = network.shapes[start][1:]
        kind_of_merge = merge_kinds.MAX if weight is None else merge_kinds.CAM
        ahead, extra = pick() if alone else merge_nodes.nodes(kind_of_merge, version, "features", row, weight)
    if end is None:
        renamed[network.output] = "raw"
        behind, shaping = squash(activation)
        extra = [*extra, *shaping]
        output = info("scores", rows, (0, labels(network)))
    else:
        renamed[end] = BETWEEN_OUTPUT if merging else "features"
        output = info(renamed[end], rows, network.shapes[end])
    outputs = [output]
    if head is not None:
        behind, constants = head.nodes(output.name, "exit", network.shapes[end or network.output][1:], version)
        extra = [*extra, *constants]
        outputs.append(info("exit", rows, (0, labels_out)))
    graph = helper.make_graph([*ahead, *(rename(node, renamed) for node in nodes), *behind], "stage", inputs, outputs)
    graph.initializer.extend([*extra, *initialisers(network, nodes, renamed)])
    model = helper.make_model(graph, opset_imports=list(network.model.opset_import), producer_name="dorfman")
    model.ir_version = network.model.ir_version
    return model


def info(name: str, rows: str, shape: Sequence[int], kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, [rows, *shape[1:]])


def renamed_info(value: ValueInfoProto, name: str) -> ValueInfoProto:
    result = ValueInfoProto()
    result.CopyFrom(value)
    result.name = name
    return result


def labels(network: Network) -> int:
    return int(np.prod(network.shapes[network.output])) // network.batch


def needed(network: Network, start: str, end: str) -> list[NodeProto]:
    """Returns the nodes that compute `end` from `start`, including those that compute constants."""
    wanted, kept = {end}, []
    for node in reversed(network.model.graph.node):
        if start not in node.output and any(name in wanted for name in node.output):
            wanted.update(reads(node))
            kept.append(node)
    if start != network.image and network.image in wanted:
        raise CutError(f"internal error: {start} does not separate the image from {end}")
    return kept[::-1]


def pick() -> tuple[list[NodeProto], list[TensorProto]]:
    """Returns nodes that gather the one row in each line of `members`, without a reduction."""
    shape = numpy_helper.from_array(np.array([-1], dtype=np.int64), "member_shape")
    flat = helper.make_node("Reshape", ["members", "member_shape"], ["member"])
    return [flat, helper.make_node("Gather", ["features", "member"], ["merged"], axis=0)], [shape]


def squash(activation: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """Returns nodes that apply the activation and reshape the output to `scores` [tests, labels]."""
    shape = numpy_helper.from_array(np.array([0, -1], dtype=np.int64), "flat_shape")
    nodes = [helper.make_node("Reshape", ["raw", "flat_shape"], ["scores" if activation == "none" else "flat"])]
    if activation == "softmax":
        nodes.append(helper.make_node("Softmax", ["flat"], ["scores"], axis=1))
    elif activation == "sigmoid":
        nodes.append(helper.make_node("Sigmoid", ["flat"], ["scores"]))
    return nodes, [shape]


def initialisers(network: Network, nodes: Sequence[NodeProto], renamed: dict[str, str]) -> list[TensorProto]:
    used = {name for node in nodes for name in reads(node)}
    return [copied(entry, renamed) for entry in network.model.graph.initializer if entry.name in used]


def copied(entry: TensorProto, renamed: dict[str, str]) -> TensorProto:
    result = TensorProto()
    result.CopyFrom(entry)
    result.name = renamed.get(entry.name, entry.name)
    return result


def rename(node: NodeProto, renamed: dict[str, str]) -> NodeProto:
    result = NodeProto()
    result.CopyFrom(node)
    replace(result.input, renamed)
    replace(result.output, renamed)
    for attribute in result.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            for place, inner in enumerate(graph.node):
                graph.node[place].CopyFrom(rename(inner, renamed))
    return result


def replace(names: Iterable[str], renamed: dict[str, str]) -> None:
    changed = [renamed.get(name, name) for name in names]
    del names[:]  # type: ignore[attr-defined]
    names.extend(changed)  # type: ignore[attr-defined]
