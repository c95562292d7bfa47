"""Runs networks in ONNX Runtime: the original network, and the stages of a bundle as in the worker."""

from __future__ import annotations

from typing import Any, Iterator, Sequence

import numpy as np
import onnx

from .errors import CutError
from .network import Original

BATCH = 16


def session(model: onnx.ModelProto, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Spinning thread pools of several sessions would compete for the cores and distort times.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise CutError(f"ONNX Runtime cannot load {model.graph.name}: {error}") from error


class Whole:
    """The original model, with which the stages are compared."""

    def __init__(self, original: Original, activation: str, threads: int) -> None:
        self.original, self.activation = original, activation
        self.session = session(original.model, threads)

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Returns the scores of images, [N,labels]."""
        width = self.original.batch or BATCH
        parts = [self.run(images[start : start + width]) for start in range(0, len(images), width)]
        return np.concatenate(parts)

    def run(self, images: np.ndarray) -> np.ndarray:
        batch = self.original.batch or len(images)
        filled = np.concatenate([images, np.repeat(images[:1], batch - len(images), axis=0)])
        output = self.session.run([self.original.output], {self.original.image: filled})[0]
        return activate(output.reshape(batch, -1), self.activation)[: len(images)]


def activate(values: np.ndarray, activation: str) -> np.ndarray:
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-values))
    if activation == "softmax":
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
    return values


class Chain:
    """The stages of a bundle, with one session each.

    `fan_in` has the number of rows that each stage between the first and the last merges. Stage 0 and
    the stages behind it with a `fan_in` of 1 are item stages: they run on one item alone.
    """

    def __init__(self, models: Sequence[onnx.ModelProto], fan_in: Sequence[int], threads: int) -> None:
        self.sessions = [session(model, threads) for model in models]
        self.items = 1 + next((place for place, rows in enumerate(fan_in) if rows > 1), len(fan_in))
        self.fan_in = list(fan_in[self.items - 1 :])

    def features(self, images: np.ndarray) -> np.ndarray:
        """Runs the item stages."""
        rows = self.run(0, {"images": images})
        for stage in range(1, self.items):
            rows = self.merge(stage, rows, np.arange(len(rows))[:, None])
        return rows

    def exits(self, images: np.ndarray) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """Runs the item stages. Returns the features, and the scores [N,labels] of each stage that has an exit."""
        rows, found = images, {}
        for stage in range(self.items):
            session = self.sessions[stage]
            inputs = {"features": rows, "members": np.arange(len(rows))[:, None]} if stage else {"images": rows}
            names = [output.name for output in session.get_outputs()]
            results = dict(zip(names, session.run(names, inputs)))
            rows = results[names[0]]
            if "exit" in results:
                found[stage] = results["exit"]
        return rows, found

    def merge(self, stage: int, rows: np.ndarray, members: np.ndarray) -> np.ndarray:
        """Runs stage `stage` on rows of the stage before; `members` is [T,m]."""
        return self.run(stage, {"features": rows, "members": members.astype(np.int64)})

    def run(self, stage: int, inputs: dict[str, np.ndarray]) -> np.ndarray:
        session = self.sessions[stage]
        return session.run([session.get_outputs()[0].name], inputs)[0]

    def scores(self, features: np.ndarray, members: np.ndarray) -> np.ndarray:
        """Returns the scores [T,labels] of tests, whose `members` [T,m] are rows of the last item stage.

        As in the worker, the stages between the first and the last merge neighbours.
        """
        used, lines = np.unique(members, return_inverse=True)
        rows, lines = np.asarray(features[used]), lines.reshape(members.shape)
        for stage, fan_in in enumerate(self.fan_in, start=self.items):
            parts = neighbours(lines, fan_in)
            rows = self.merge(stage, rows, parts.reshape(-1, parts.shape[2]))
            lines = np.arange(len(rows)).reshape(parts.shape[:2])
        return self.merge(len(self.sessions) - 1, rows, lines)


def neighbours(lines: np.ndarray, fan_in: int) -> np.ndarray:
    """Divides each line into parts, [T,ceil(m/fan_in),fan_in].

    The last part is padded by repeating the last member of the line.
    """
    count, width = lines.shape
    fan_in = min(fan_in, width)
    missing = -width % fan_in
    filled = np.concatenate([lines, np.repeat(lines[:, -1:], missing, axis=1)], axis=1)
    return filled.reshape(count, -1, fan_in)


def batches(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
