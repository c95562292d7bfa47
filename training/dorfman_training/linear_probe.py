"""Starts training from a linear probe (Kumar et al. 2022): a linear classifier on pretrained features.

The selectors of the merges and the last linear layer are fitted by logistic regression, while all other
weights keep their initial values. Training then begins with a useful network. From a random last layer,
its first gradients would change the pretrained layers for nothing.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Callable

import numpy as np
import torch
from torch import Tensor, nn

from . import logistic
from .model import StagedNet


@dataclass(frozen=True)
class Drawn:
    """Tests that are drawn as in training."""

    features: Tensor  # of the first stage, one row per image
    levels: list[Tensor]  # the members of each merge, as groups.levels returns them
    hot: Tensor  # whether each image is positive
    positive: Tensor  # whether each test is positive


def fit(model: StagedNet, draw: Callable[[], Drawn], batches: int) -> None:
    """Fits the selectors, from the first level to the last, and then the last linear layer.

    Each is fitted on `batches` results of `draw`. `model` must be in evaluation mode. Raises ValueError if
    its last part has no layer `linear`.
    """
    last, layer = last_layer(model)
    for level, selector in enumerate(model.selectors):
        vectors, wanted = collected(functools.partial(selected, model, level), draw, batches)
        (weight,), bias = logistic.fit(vectors, wanted, logistic.DECAY)
        put(selector.weight, weight)
        put(selector.bias, bias)
    last.linear = nn.Identity()
    try:
        vectors, wanted = collected(functools.partial(scored, model), draw, batches)
    finally:
        last.linear = layer
    weight, bias = logistic.fit(vectors, wanted, logistic.DECAY)
    put(layer.weight, weight)
    put(layer.bias, bias)


def last_layer(model: StagedNet) -> tuple[nn.Module, nn.Linear]:
    """Returns the last part of the network, and its layer `linear`, which gives the logits."""
    stage = model.stages[-1]
    assert isinstance(stage, nn.Sequential)
    layer = getattr(stage[-1], "linear", None)
    if not isinstance(layer, nn.Linear):
        raise ValueError("the network's last part has no layer `linear`: only the networks small, lite0 and lite2 have one")
    return stage[-1], layer


@torch.no_grad()
def collected(run: Callable[[Drawn], tuple[Tensor, Tensor]], draw: Callable[[], Drawn], batches: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the vectors [N,width] and the targets [N,1] of all batches."""
    parts = [run(draw()) for _ in range(batches)]
    vectors, wanted = (torch.cat(columns) for columns in zip(*parts))
    return vectors.float().cpu().numpy(), wanted[:, None].cpu().numpy()


def selected(model: StagedNet, level: int, drawn: Drawn) -> tuple[Tensor, Tensor]:
    """Returns the inputs of the classifier of one selector: the mean of each row that it may take, and whether the row is positive."""
    features, hot = drawn.features, drawn.hot
    for below in range(level):
        features = model.stages[below + 1](model.merge(below, features, drawn.levels[below]))
        hot = hot[drawn.levels[below]].any(dim=1)
    return features.mean(dim=(2, 3)), hot


def scored(model: StagedNet, drawn: Drawn) -> tuple[Tensor, Tensor]:
    """Returns the inputs of the last linear layer, and whether each test is positive."""
    return model.tests(drawn.features, drawn.levels), drawn.positive


def put(parameter: nn.Parameter, values: np.ndarray) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values).reshape(parameter.shape))
