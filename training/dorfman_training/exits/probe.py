"""Computes the pooled features at several depths of a network, and its scores, for many images at once."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..cut import chain, network
from ..cut.images import Input
from ..cut.network import Network
from . import pools
from .pictures import batches

MOST_DEPTHS = 8


def model(net: Network, depths: Sequence[str], scores: bool) -> onnx.ModelProto:
    """Returns the network with one output [N,width] per depth, and the output of the network if `scores`."""
    result = onnx.ModelProto()
    result.CopyFrom(net.model)
    graph, version = result.graph, network.opset(net.model)
    outputs = []
    for number, depth in enumerate(depths):
        row = net.shapes[depth][1:]
        made, constants = pools.joined(list(pools.parts(row)), depth, f"probe{number}", row, version, f"probe{number}/")
        graph.node.extend(made)
        graph.initializer.extend(constants)
        outputs.append(helper.make_tensor_value_info(f"probe{number}", TensorProto.FLOAT, ["N", None]))
    if scores:
        outputs.append(helper.make_tensor_value_info(net.output, TensorProto.FLOAT, None))
    image = helper.make_tensor_value_info(net.image, net.kind, ["N", *net.shapes[net.image][1:]])
    del graph.value_info[:], graph.output[:], graph.input[:]
    graph.input.append(image)
    graph.output.extend(outputs)
    return result


def copies(net: Network, depths: Sequence[str], pixels: np.ndarray, shape: Input, threads: int, mirrored: bool) -> list[np.ndarray]:
    """Returns the vectors at each depth: [N,width] or, with the mirror image of each image, [N,2,width]."""
    plain = run(net, depths, False, pixels, shape, threads)
    if not mirrored:
        return plain
    return [np.stack(pair, axis=1) for pair in zip(plain, run(net, depths, False, pixels[:, :, ::-1], shape, threads))]


def run(net: Network, depths: Sequence[str], scores: bool, pixels: np.ndarray, shape: Input, threads: int) -> list[np.ndarray]:
    """Returns the vectors [N,width] at each depth, and last the scores [N,labels] if `scores`."""
    if not depths and not scores:
        return []
    session = chain.session(model(net, depths, scores), threads)
    found = [session.run(None, {net.image: part}) for part in batches(pixels, shape)]
    columns = [np.concatenate(parts) for parts in zip(*found)]
    return [values.reshape(len(values), -1) for values in columns]
