"""Holds an exported bundle against the network it came from, in ONNX Runtime."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch
from torch import Tensor

from .model import FeatureMergeNet

TOLERANCE = 1e-4


def has_runtime() -> bool:
    return importlib.util.find_spec("onnxruntime") is not None


def session(path: Path, threads: int = 2) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Pools that spin against each other make the figures of two sessions worthless.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Staged:
    """The bundle as the worker runs it: features first, then tests of any members."""

    def __init__(self, folder: Path, threads: int = 2) -> None:
        self.first = session(folder / "stage0.onnx", threads)
        self.last = session(folder / "stage1.onnx", threads)

    def features(self, images: np.ndarray) -> np.ndarray:
        return self.first.run(["features"], {"images": images})[0]

    def scores(self, features: np.ndarray, members: np.ndarray) -> np.ndarray:
        return self.last.run(["scores"], {"features": features, "members": members})[0]


def largest_difference(model: FeatureMergeNet, folder: Path, images: Tensor, sizes: Sequence[int], seed: int = 0) -> float:
    """The largest difference of a score, over groups of every size and the same groups padded by repeats.

    Raises if a row that repeats members scores otherwise than the row without.
    """
    staged = Staged(folder)
    generator = torch.Generator().manual_seed(seed)
    features = staged.features(images.numpy())
    worst = 0.0
    for size in sizes:
        members = torch.stack([torch.randperm(len(images), generator=generator)[:size] for _ in range(8)])
        with torch.no_grad():
            wanted = torch.sigmoid(model.eval()(images, members)).numpy()
        found = staged.scores(features, members.numpy())
        worst = max(worst, float(np.abs(found - wanted).max()))
        padded = members[:, torch.arange(max(sizes) + 1) % size]
        again = staged.scores(features, padded.numpy())
        if not np.allclose(again, found, rtol=0, atol=1e-6):
            raise AssertionError(f"groups of {size} score otherwise when padded by repeats")
    return worst
