"""Counts multiply-adds of convolutions and matrix products, as defined in docs/bundle.md."""

from __future__ import annotations

import math

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


def counts(network: Network) -> list[int]:
    """Returns the multiply-adds of each node of `network.nodes`, for one row."""
    return [of_node(node, network.shapes) // network.batch for node in network.nodes]
