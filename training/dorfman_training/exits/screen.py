"""Makes the screen: a small network with an input of its own, which judges every image first, alone."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..cut import chain, images, macs, network, stages
from ..cut.errors import CutError
from ..cut.images import Input
from ..cut.network import Network
from ..pixels import absorbed
from . import compose, probe
from .fitting import Fitted, Learner
from .pictures import Pictures, batches

FILE = "screen.onnx"
LITE0 = "lite0"
MEAN, STD = (127.0,) * 3, (128.0,) * 3  # of EfficientNet-Lite0
DRAFT = 2  # with 1, the scores depend on the size of the photo


@dataclass(frozen=True)
class Source:
    """A network from images to features, on which a head is fitted, or to scores, which are used as they are.

    `end` is the tensor with the features, or None if the network's own scores are used. Then `columns` has
    the score of each positive label, or is empty if the scores are those of the bundle's labels.
    """

    net: Network
    end: str | None
    input: Input
    about: str
    activation: str = "none"
    columns: tuple[int, ...] = ()


@dataclass(frozen=True)
class Screen:
    model: onnx.ModelProto
    macs: int
    input: Input
    about: str
    judged: np.ndarray  # [N,positive labels], as in Fitted
    learned: np.ndarray | None

    def reading_pixels(self) -> onnx.ModelProto:
        """Returns the network with the normalisation inside."""
        shape = self.input
        return self.model if shape.is_pixels else absorbed(self.model, shape.mean, shape.std, shape.layout)

    def scores(self, pixels: np.ndarray, threads: int) -> np.ndarray:
        """Returns the scores [N,labels] of images."""
        return run(self.model, pixels, self.input, threads)


def run(model: onnx.ModelProto, pixels: np.ndarray, shape: Input, threads: int) -> np.ndarray:
    session = chain.session(model, threads)
    return np.concatenate([session.run(["scores"], {"images": part})[0] for part in batches(pixels, shape)])


def lite0(until: str, side: int) -> Source:
    """Returns EfficientNet-Lite0 with frozen ImageNet weights up to the part `until`, for images of `side` x `side` pixels."""
    import torch
    from torch import nn

    from .. import export, lite
    from ..fold import folded

    parts = lite.network(LITE0, 0.0, 1)
    names = list(parts)
    if until not in names or until == "head":
        raise CutError(f"the screen has no part {until}; its parts are {', '.join(names[:-1])}")
    trunk = folded(nn.Sequential(*(parts[name] for name in names[: names.index(until) + 1])))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        axes = {"images": {0: "N"}, "features": {0: "N"}}
        export.write(trunk, (torch.zeros(2, 3, side, side),), path, ["images"], ["features"], axes)
        original = network.read(path)
    shape = Input(side, side, "rgb", "nchw", None, "bilinear", MEAN, STD, draft=DRAFT)
    net = network.prepare(original, [3, side, side])
    return Source(net, "features", shape, f"EfficientNet-Lite0 up to {until} at {side} x {side} px")


def own(path: Path, shape: Input, head: bool, activation: str, columns: Sequence[int], output: str | None = None) -> Source:
    """Returns a user's classifier, whose scores are used as they are, or get a head if `head`."""
    net = network.prepare(network.read(path, output), shape.shape)
    return Source(net, net.output if head else None, shape, path.name, activation, tuple(columns))


def kept(folder: Path, table: dict[str, Any]) -> Source:
    """Returns the screen that a bundle has. If it has a head, the head is fitted anew."""
    model = onnx.load(str(folder / table["file"]))
    shape = images.from_table(table["input"])
    heads = [node for node in model.graph.node if any(name.startswith("exit/") for name in node.output)]
    read = [name for node in heads for name in node.input if not name.startswith("exit/")]
    end = read[0] if read else None
    if end is not None:
        del model.graph.output[:]
        model.graph.output.append(helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, None))
        inner = compose.needed(model.graph, end)
        del model.graph.node[:]
        model.graph.node.extend(inner)
    original = network.Original(folder / table["file"], model, "images", end or "scores", shape.shape, None)
    return Source(network.prepare(original, shape.shape), end, shape, "the screen of the bundle")


def fit(
    source: Source,
    judge: Pictures,
    learn: Pictures | None,
    learner: Learner,
    labels: Sequence[str],
    columns: Sequence[int],
    threads: int,
    mirrored: bool,
) -> Screen:
    """Returns the screen with its scores of all images. `columns` are those of the positive labels."""
    pixels = judge.pixels(source.input)
    more = learn.pixels(source.input) if learn is not None else None
    if source.end is None:
        model = with_scores(source, labels, columns)
        found = [run(model, each, source.input, threads)[:, list(columns)] for each in (pixels, more) if each is not None]
        check(found[0])
        return Screen(model, macs.of_model(model), source.input, source.about, found[0], found[1] if more is not None else None)
    ends, row = [source.end], source.net.shapes[source.end][1:]
    judged = probe.copies(source.net, ends, pixels, source.input, threads, mirrored and more is None)[0]
    learned = probe.copies(source.net, ends, more, source.input, threads, mirrored)[0] if more is not None else None
    fitted: Fitted = learner.fit(row, judged, learned)
    model = with_head(source, fitted, labels, columns)
    scores = fitted.judged if learn is None else run(model, pixels, source.input, threads)[:, list(columns)]
    return Screen(model, macs.of_model(model), source.input, f"{source.about}, {fitted.head.kind}", scores, fitted.learned)


def check(scores: np.ndarray) -> None:
    if scores.min() < 0 or scores.max() > 1 + 1e-6:
        raise CutError(
            f"the screen's scores are {scores.min():.3g} to {scores.max():.3g}, but must be 0 to 1: give --screen-activation or --screen-head"
        )


def with_head(source: Source, fitted: Fitted, labels: Sequence[str], columns: Sequence[int]) -> onnx.ModelProto:
    """Returns the network with a head, from `images` to `scores` [N,labels]."""
    assert source.end is not None
    head = fitted.head.spread(columns, len(labels))
    model = stages.part(source.net, source.net.image, source.end, head=head, labels_out=len(labels))
    nodes = [stages.rename(node, {"exit": "scores"}) for node in model.graph.node]
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend(nodes)
    model.graph.output.append(stages.info("scores", "N", (0, len(labels))))
    return model


def with_scores(source: Source, labels: Sequence[str], columns: Sequence[int]) -> onnx.ModelProto:
    """Returns the network with its own scores in the columns of the positive labels."""
    model = stages.part(source.net, source.net.image, None, source.activation)
    count = stages.labels(source.net)
    if not source.columns:
        if count != len(labels):
            raise CutError(f"the screen has {count} scores, but the bundle has {len(labels)} labels: name the scores with --screen-columns")
        return model
    if len(source.columns) != len(columns) or not all(0 <= column < count for column in source.columns):
        raise CutError(f"--screen-columns: give one column of 0 to {count - 1} per positive label")
    select = np.zeros((count, len(labels)), np.float32)
    select[list(source.columns), list(columns)] = 1
    nodes = [stages.rename(node, {"scores": "all_scores"}) for node in model.graph.node]
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend([*nodes, helper.make_node("MatMul", ["all_scores", "select_labels"], ["scores"])])
    model.graph.initializer.append(numpy_helper.from_array(select, "select_labels"))
    model.graph.output.append(stages.info("scores", "N", (0, len(labels))))
    return model
