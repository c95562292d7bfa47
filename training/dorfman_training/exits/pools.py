"""Reduces the features of one item to a vector: means, maxima and a grid of means. Places matter, and cost little."""

from __future__ import annotations

from typing import Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

GRIDS = (2, 3, 4)  # rows and columns of a grid of means


def parts(row: Sequence[int]) -> dict[str, int]:
    """Returns the vectors that exist for features of this shape, with their widths. Empty if there are none.

    A map [C,H,W] has `mean`, `max` and grids of means. Tokens [T,C] have `mean` and `max`. A vector [C]
    has itself, named `all`.
    """
    if len(row) == 1:
        return {"all": row[0]}
    if len(row) == 2:
        return {"mean": row[1], "max": row[1]}
    if len(row) != 3:
        return {}
    channels, side = row[0], min(row[1:])
    if row[1] * row[2] == 1:
        return {"mean": channels}
    return {"mean": channels, "max": channels, **{f"grid{grid}": channels * grid * grid for grid in GRIDS if grid <= side}}


def choices(row: Sequence[int]) -> list[tuple[str, ...]]:
    """Returns the sets of vectors that a head may read, the narrowest first."""
    found = parts(row)
    if "max" not in found:
        return [tuple(found)]
    grids = [name for name in found if name.startswith("grid")]
    return [("mean", "max"), *(("max", name) for name in grids)]


def nodes(part: str, source: str, target: str, row: Sequence[int], version: int) -> tuple[list[NodeProto], list[TensorProto]]:
    """Returns nodes that compute a vector [N,width] from `source` [N,...], and their constants."""
    if part == "all":
        return [helper.make_node("Identity", [source], [target])], []
    if len(row) == 2:
        return over_tokens("ReduceMean" if part == "mean" else "ReduceMax", source, target, version)
    inner = f"{target}/map"
    if part in ("mean", "max"):
        pooled = helper.make_node("GlobalAveragePool" if part == "mean" else "GlobalMaxPool", [source], [inner])
    else:
        grid = int(part.removeprefix("grid"))
        strides = [side // grid for side in row[1:]]
        # The windows cover the whole map, and overlap if the grid does not divide it.
        kernel = [side - (grid - 1) * stride for side, stride in zip(row[1:], strides)]
        pooled = helper.make_node("AveragePool", [source], [inner], kernel_shape=kernel, strides=strides)
    return [pooled, helper.make_node("Flatten", [inner], [target], axis=1)], []


def over_tokens(operator: str, source: str, target: str, version: int) -> tuple[list[NodeProto], list[TensorProto]]:
    if version < 18:
        return [helper.make_node(operator, [source], [target], axes=[1], keepdims=0)], []
    axes = numpy_helper.from_array(np.array([1], dtype=np.int64), f"{target}/axes")
    return [helper.make_node(operator, [source, axes.name], [target], keepdims=0)], [axes]


def joined(
    wanted: Sequence[str], source: str, target: str, row: Sequence[int], version: int, prefix: str
) -> tuple[list[NodeProto], list[TensorProto]]:
    """Returns nodes that compute several vectors side by side, [N, sum of their widths]."""
    made: list[NodeProto] = []
    constants: list[TensorProto] = []
    names = [f"{prefix}{part}" for part in wanted]
    for part, name in zip(wanted, names):
        more, extra = nodes(part, source, name, row, version)
        made, constants = made + more, constants + extra
    return [*made, helper.make_node("Concat", names, [target], axis=1)], constants


def columns(wanted: Sequence[str], row: Sequence[int]) -> np.ndarray:
    """Returns the columns of the vectors `wanted` among all vectors of `parts`, in the order of `wanted`."""
    starts, at = {}, 0
    for part, width in parts(row).items():
        starts[part] = np.arange(at, at + width)
        at += width
    return np.concatenate([starts[part] for part in wanted])
