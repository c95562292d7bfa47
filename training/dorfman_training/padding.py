"""Lets ONNX Runtime pad within a convolution.

It merges a `Pad` into the convolution behind it unless the `Pad` names its optional value, and an empty name counts as one. Exporters
write such names. Apart, the padding copies a large early map and turns its layout twice: it took half of EfficientNet-Lite0's first stage.
"""

from __future__ import annotations

from pathlib import Path

import onnx


def mergeable(graph: onnx.GraphProto) -> None:
    """Removes the empty names at the end of every `Pad`'s inputs: they say nothing."""
    for node in graph.node:
        while node.op_type == "Pad" and node.input[-1] == "":
            del node.input[-1]


def make_mergeable(path: Path) -> None:
    model = onnx.load(str(path))
    mergeable(model.graph)
    onnx.save(model, str(path))
