"""Counts multiply-adds of a graph's nodes: convolutions and matrix products, as bundle.md has them."""

from __future__ import annotations

import math

from onnx import NodeProto

from .network import Network


def of_node(node: NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """Multiply-adds for all rows of the shapes; 0 for what is neither convolution nor matrix product."""
    if node.op_type not in ("Conv", "Gemm", "MatMul"):
        return 0
    output = math.prod(shapes[node.output[0]])
    left, right = shapes[node.input[0]], shapes[node.input[1]]
    if node.op_type == "Conv":
        return output * math.prod(right[1:])  # a filter: channels of its group, height, width
    if node.op_type == "Gemm":
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return output * left[0 if transposed else -1]
    return output * left[-1]


def counts(network: Network) -> list[int]:
    """One number a node of `network.nodes`, for one row."""
    return [of_node(node, network.shapes) // network.batch for node in network.nodes]
