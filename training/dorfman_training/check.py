"""Compares an exported bundle, run in ONNX Runtime, with the PyTorch network it was exported from."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch
from torch import Tensor

from . import groups
from .model import StagedNet, individual

TOLERANCE = 1e-4


def has_runtime() -> bool:
    return importlib.util.find_spec("onnxruntime") is not None


def session(path: Path, threads: int = 2) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Spinning thread pools of several sessions would compete for the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Staged:
    """Runs a bundle as the worker does: features first, then tests of any members."""

    def __init__(self, folder: Path, threads: int = 2) -> None:
        self.manifest = json.loads((folder / "bundle.json").read_text()) if (folder / "bundle.json").exists() else {}
        stages = self.manifest.get("stages", [])
        paths = [folder / stage["file"] for stage in stages] or sorted(folder.glob("stage*.onnx"))
        self.sessions = [session(path, threads) for path in paths]
        self.items = 1 + sum(stage.get("fan_in") == 1 for stage in stages)

    def features(self, images: np.ndarray) -> np.ndarray:
        """Returns the output of the last item stage, or the images themselves if the bundle merges pixels."""
        if len(self.sessions) == 1:
            return images
        rows = self.sessions[0].run(None, {"images": images})[0]
        for stage in self.sessions[1 : self.items]:
            rows = stage.run(None, {"features": rows, "members": np.arange(len(rows))[:, None]})[0]
        return rows

    def scores(self, features: np.ndarray, levels: Sequence[np.ndarray]) -> np.ndarray:
        stages = self.sessions[-len(levels) :]
        for stage, members in zip(stages, levels):
            features = stage.run(None, {stage.get_inputs()[0].name: features, "members": members})[0]
        return features


def confirm_difference(model: StagedNet, file: Path, images: Tensor, pixels: Tensor | None = None) -> float:
    """Returns the largest difference of a score of the confirm network, over single images.

    `images` are normalised. For a file that reads pixels, `pixels` are the same images as uint8.
    """
    with torch.no_grad():
        wanted = torch.sigmoid(individual(model.eval(), images)).numpy()
    found = session(file).run(None, {"images": (images if pixels is None else pixels).numpy()})[0]
    return float(np.abs(found - wanted).max())


def largest_difference(model: StagedNet, folder: Path, images: Tensor, sizes: Sequence[int], pixels: Tensor | None = None, seed: int = 0) -> float:
    """Returns the largest difference of a score, over groups of every size in `sizes`.

    `images` are normalised. For a bundle that reads pixels, `pixels` are the same images as uint8.

    Unless pixels are merged, each group is also scored with members repeated as padding. Raises
    AssertionError if the padding changes a score.
    """
    staged = Staged(folder)
    generator = torch.Generator().manual_seed(seed)
    features = staged.features((images if pixels is None else pixels).numpy())
    worst = 0.0
    for size in sizes:
        members = torch.stack([torch.randperm(len(images), generator=generator)[:size] for _ in range(8)])
        levels = groups.levels(members, torch.full((len(members),), size), model.fans)
        with torch.no_grad():
            wanted = torch.sigmoid(model.eval()(images, levels)).numpy()
        arrays = [level.numpy() for level in levels]
        found = staged.scores(features, arrays)
        worst = max(worst, float(np.abs(found - wanted).max()))
        if model.pixels:
            continue
        nodes = arrays[-1].shape[1]
        arrays[-1] = arrays[-1][:, np.arange(max(sizes) + 1) % nodes]
        if not np.allclose(staged.scores(features, arrays), found, rtol=0, atol=1e-6):
            raise AssertionError(f"groups of {size} have other scores when padded by repeated members")
    return worst
