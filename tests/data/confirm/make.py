#!/usr/bin/env python3
"""Writes confirm.onnx, a confirm network (docs/bundle.md) for the input of models/fashion-bag.

The score of an image is the sigmoid of its normalised mean, so tests can compute the expected score.

    ./make.py

Written for onnx 1.23. The output is committed, so this script need not be run again.
"""

import pathlib

from onnx import TensorProto, checker, helper, save

HERE = pathlib.Path(__file__).resolve().parent

images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 1, 28, 28])
scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 1])
nodes = [
    helper.make_node("Cast", ["images"], ["values"], to=TensorProto.FLOAT),
    helper.make_node("ReduceMean", ["values"], ["mean"], axes=[2, 3], keepdims=0),
    helper.make_node("Sub", ["mean", "72.9"], ["centred"]),
    helper.make_node("Div", ["centred", "90"], ["normalised"]),
    helper.make_node("Sigmoid", ["normalised"], ["scores"]),
]
constants = [helper.make_tensor(name, TensorProto.FLOAT, [1], [float(name)]) for name in ("72.9", "90")]
graph = helper.make_graph(nodes, "confirm", [images], [scores], constants)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
checker.check_model(model, full_check=True)
save(model, HERE / "confirm.onnx")
