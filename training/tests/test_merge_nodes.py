"""The merges as ONNX operators have the results of numpy, in every opset."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402

from dorfman_training import merge_nodes  # noqa: E402
from dorfman_training.cut.chain import session  # noqa: E402
from dorfman_training.merge_kinds import CAM, MAX, MEAN  # noqa: E402

ROW = (3, 2, 4)
MEMBERS = np.array([[0, 4, 2], [1, 1, 3], [2, 2, 2]])


def merged(kind: str, version: int, features: np.ndarray, members: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    nodes, constants = merge_nodes.nodes(kind, version, "features", ROW, weight)
    inputs = [
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["R", *ROW]),
        helper.make_tensor_value_info("members", TensorProto.INT64, ["T", "m"]),
    ]
    output = helper.make_tensor_value_info(merge_nodes.MERGED, TensorProto.FLOAT, ["T", *ROW])
    graph = helper.make_graph(nodes, "merge", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return session(model, 1).run(None, {"features": features, "members": members})[0]


def rows() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(5, *ROW)).astype(np.float32)


@pytest.mark.parametrize("version", [9, 13, 18])
def test_the_maximum_and_the_mean_are_element_wise(version: int) -> None:
    assert np.array_equal(merged(MAX, version, rows(), MEMBERS), rows()[MEMBERS].max(axis=1))
    assert np.allclose(merged(MEAN, version, rows(), MEMBERS), rows()[MEMBERS].mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("version", [9, 13, 18])
@pytest.mark.parametrize("labels", [1, 2])
def test_a_map_keeps_whole_vectors_of_the_member_whose_largest_logit_is_highest(version: int, labels: int) -> None:
    features, weight = rows(), np.random.default_rng(labels).normal(size=(labels, 3)).astype(np.float32)
    logits = np.einsum("lc,rchw->rlhw", weight, features).max(axis=1)
    found = merged(CAM, version, features, MEMBERS, weight)
    for line, members in enumerate(MEMBERS):
        for place in np.ndindex(ROW[1:]):
            best = members[np.argmax([logits[(member, *place)] for member in members])]
            assert np.array_equal(found[(line, slice(None), *place)], features[(best, slice(None), *place)])
    repeated = merged(CAM, version, features, MEMBERS[:, [0, 1, 2, 0, 1]], weight)
    assert np.array_equal(repeated, found), "padding by repeats"


def test_a_map_needs_weights_and_an_opset_with_where() -> None:
    for version, weight in ((13, None), (8, np.ones((1, 3), dtype=np.float32))):
        with pytest.raises(ValueError, match="opset 9"):
            merge_nodes.nodes(CAM, version, "features", ROW, weight)
