"""Logistic regression, for the heads of exits and for the weights of a merge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

DECAY = 0.3  # for some hundred or thousand images and as many inputs


@dataclass(frozen=True)
class Standard:
    """The mean and the inverse deviation of each input."""

    mean: np.ndarray
    scale: np.ndarray

    def folded(self, layer: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
        """Returns the weights [outputs,inputs] and the biases of a layer on standardised inputs, for the inputs as they are."""
        weight = layer.weight.detach().numpy() * self.scale
        return weight.astype(np.float32), (layer.bias.detach().numpy() - weight @ self.mean).astype(np.float32)


def fit(vectors: np.ndarray, wanted: np.ndarray, decay: float) -> tuple[np.ndarray, np.ndarray]:
    """Fits weights [labels,width] and biases [labels] on vectors and targets, as `prepared` takes them.

    `decay` is the weight of half the squared weights in the loss.
    """
    x, y, standard = prepared(vectors, wanted)
    layer = Linear(x.shape[1], y.shape[1])
    convex(layer, decay, x, y)
    return standard.folded(layer)


def prepared(vectors: np.ndarray, wanted: np.ndarray) -> tuple[Tensor, Tensor, Standard]:
    """Returns standardised inputs, and one target for each, from vectors [N,width] and targets [N,labels].

    Vectors [N,copies,width] have several copies of each image, such as its mirror image.
    """
    copies = vectors.shape[1] if vectors.ndim == 3 else 1
    flat = vectors.reshape(-1, vectors.shape[-1])
    mean, spread = flat.mean(axis=0), flat.std(axis=0)
    scale = 1 / np.where(spread > 1e-6, spread, 1)
    x = torch.from_numpy(((flat - mean) * scale).astype(np.float32))
    y = torch.from_numpy(wanted.astype(np.float32)).repeat_interleave(copies, dim=0)
    return x, y, Standard(mean, scale)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Returns a linear layer's output [N,outputs] of x [N,inputs].

    Rows are given to a convolution as positions of one image. Some builds of PyTorch multiply matrices 20
    times slower than they convolve.
    """
    rows, width = x.shape
    image = x.reshape(1, rows, 1, width).permute(0, 3, 1, 2)
    out = nn.functional.conv2d(image, weight.reshape(*weight.shape, 1, 1), bias)
    return out.permute(0, 2, 3, 1).reshape(rows, -1)


class Linear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def loss_of(net: nn.Module, decay: float, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    loss = nn.functional.binary_cross_entropy_with_logits(net(x), y, pos_weight=weight)
    squares = sum((layer.weight.square().sum() for layer in net.modules() if isinstance(layer, nn.Linear)), torch.zeros(()))
    return loss + 0.5 * decay * squares / y.shape[1]


def balance(y: Tensor) -> Tensor:
    """Returns the weight of positives per label: the root of negatives per positive."""
    hot = y.sum(dim=0).clamp(min=1)
    return ((len(y) - hot) / hot).clamp(min=1).sqrt()


def convex(net: nn.Module, decay: float, x: Tensor, y: Tensor) -> None:
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    weight = balance(y)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=80, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(net, decay, x, y, weight)
        loss.backward()
        return loss

    optimizer.step(closure)
