"""Composes a bundle's stages to the network of the individual test, which is one graph.

The merges are left out: a merge of one row does not change it. So are the heads of exits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import onnx
from onnx import NodeProto, helper

from .. import merge_nodes
from ..cut import network, stages
from ..cut.errors import CutError
from ..cut.network import Network, Original, opset, reads


@dataclass(frozen=True)
class Composed:
    """The network of the individual test, and the tensor with which each stage except the last ends."""

    original: Original
    network: Network
    ends: tuple[str, ...]


def load(contents: Sequence[bytes], table: dict[str, Any]) -> Composed:
    """Composes the stages of a bundle from the contents of their files. `table` is the manifest."""
    models = [onnx.load_from_string(content) for content in contents]
    if len(models) < 2:
        raise CutError("the bundle merges pixels, so no stage runs on one item alone: exits and a screen need a bundle that merges features")
    model, ends = joined(models)
    shape = image_shape(table["input"])
    original = Original(Path("bundle"), model, "images", "scores", shape, None)
    for simplify in (True, False):
        prepared = network.prepare(original, shape, simplify)
        if all(end in prepared.shapes and end in prepared.carrying for end in ends):
            return Composed(original, prepared, tuple(ends))
    raise CutError("the end of a stage has no inferred shape: export the stages with fixed height and width")


def image_shape(table: dict[str, Any]) -> tuple[int, int, int]:
    """Returns the shape of one image of an `input` table, in its layout."""
    channels = 1 if table["channels"] == "grey" else 3
    if table.get("layout", "nchw") == "nchw":
        return channels, table["height"], table["width"]
    return table["height"], table["width"], channels


def joined(models: Sequence[onnx.ModelProto]) -> tuple[onnx.ModelProto, list[str]]:
    """Returns one graph from `images` to `scores`, and the name of each stage's features in it."""
    if len({opset(model) for model in models}) > 1:
        raise CutError("the stages have different opsets: export them with the same opset")
    nodes: list[NodeProto] = []
    initialisers: list[onnx.TensorProto] = []
    ends: list[str] = []
    taken = {"images", "scores"}
    for number, model in enumerate(models):
        last = number == len(models) - 1
        end = "scores" if last else "features_out" if number else "features"
        inner = needed(model.graph, end)
        renamed: dict[str, str] = {}
        if number:
            inner, entry = unmerged(inner, number)
            renamed[entry] = ends[-1]
        used = {name for node in inner for name in [*reads(node), *node.output]}
        for name in sorted(used - {"images"} - set(renamed)):
            if name in taken and not (last and name == "scores"):
                renamed[name] = f"{name}_{number}"
            taken.add(renamed.get(name, name))
        nodes += [stages.rename(node, renamed) for node in inner]
        initialisers += [stages.copied(entry, renamed) for entry in model.graph.initializer if entry.name in used]
        if not last:
            ends.append(renamed.get(end, end))
    image = stages.renamed_info(models[0].graph.input[0], "images")
    output = stages.renamed_info(models[-1].graph.output[0], "scores")
    graph = helper.make_graph(nodes, "individual", [image], [output], initialisers)
    result = helper.make_model(graph, opset_imports=list(models[0].opset_import), producer_name="dorfman")
    result.ir_version = max(model.ir_version for model in models)
    return result, ends


def needed(graph: onnx.GraphProto, end: str) -> list[NodeProto]:
    """Returns the nodes that compute `end`."""
    wanted, kept = {end}, []
    for node in reversed(graph.node):
        if any(name in wanted for name in node.output):
            wanted.update(reads(node))
            kept.append(node)
    if not any(end in node.output for node in kept):
        raise CutError(f"a stage has no output {end}: the names of inputs and outputs are in docs/bundle.md")
    return kept[::-1]


def unmerged(nodes: Sequence[NodeProto], number: int) -> tuple[list[NodeProto], str]:
    """Returns the nodes behind the merge of stage `number`, and the name of the merged row."""
    gathers = [node for node in nodes if node.op_type == "Gather" and node.input[0] == "features"]
    readers = [node for node in nodes if "features" in reads(node)]
    if len(gathers) != 1 or len(readers) != 1:
        raise CutError(f"stage {number} does not begin with one Gather of `features`: exits can be added to stages in the form of docs/bundle.md")
    if any(merge_nodes.MERGED in node.output for node in nodes):
        return until(nodes, merge_nodes.MERGED), merge_nodes.MERGED
    # A bundle whose stages have other names.
    gather = gathers[0]
    gone = [gather, *(node for node in nodes if "members" in reads(node))]
    entry = gather.output[0]
    after = [node for node in nodes if entry in reads(node)]
    if len(after) == 1 and after[0].op_type in ("ReduceMax", "ReduceMean"):
        gone.append(after[0])
        entry = after[0].output[0]
    kept = [node for node in nodes if not any(node is other for other in gone)]
    # What computed only the removed nodes' inputs, such as the constant axes of a reduction, stays unread.
    return [node for node in kept if is_read(node, kept)], entry


def until(nodes: Sequence[NodeProto], entry: str) -> list[NodeProto]:
    """Returns the nodes without those that compute `entry`."""
    gone = {entry}
    for node in reversed(nodes):
        if any(name in gone for name in node.output):
            gone.update(reads(node))
    kept = [node for node in nodes if not any(name in gone for name in node.output)]
    return [node for node in kept if is_read(node, kept)]


def is_read(node: NodeProto, nodes: Sequence[NodeProto]) -> bool:
    ends = {"scores", "features_out"}
    return any(name in ends or any(name in reads(other) for other in nodes) for name in node.output)
