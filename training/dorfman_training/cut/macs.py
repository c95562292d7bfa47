"""Counts multiply-adds of convolutions and matrix products, as defined in docs/bundle.md."""

from __future__ import annotations

import math

import onnx
from onnx import NodeProto

from .network import Network


def of_node(node: NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """Returns the multiply-adds of a node for all rows; 0 if it is not a convolution or matrix product."""
    if node.op_type not in ("Conv", "Gemm", "MatMul"):
        return 0
    output = math.prod(shapes[node.output[0]])
    left, right = shapes[node.input[0]], shapes[node.input[1]]
    if node.op_type == "Conv":
        return output * math.prod(right[1:])  # size of one filter: channels of its group, height and width
    if node.op_type == "Gemm":
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return output * left[0 if transposed else -1]
    return output * left[-1]


def of_model(model: onnx.ModelProto) -> int:
    """Returns the multiply-adds of a model with dynamic axes, for one row."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in [*fixed.graph.input, *fixed.graph.output]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    shapes = {entry.name: tuple(entry.dims) for entry in fixed.graph.initializer}
    for value in [*inferred.input, *inferred.value_info, *inferred.output]:
        shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    return sum(of_node(node, shapes) for node in fixed.graph.node)


def counts(network: Network) -> list[int]:
    """Returns the multiply-adds of each node of `network.nodes`, for one row."""
    return [of_node(node, network.shapes) // network.batch for node in network.nodes]
