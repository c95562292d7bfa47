"""Trains a coarse first stage to reproduce the features of the pretrained one (distillation).

A coarse first stage computes its early features at a quarter of the spatial positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import lite
from .config import Config


class Teacher:
    """The pretrained first stage, with fixed weights."""

    def __init__(self, config: Config, device: torch.device) -> None:
        parts = lite.network(config.network.kind, 0.0, 1)
        names = list(parts)
        kept = names[: names.index(config.design.cuts[0].after) + 1]
        self.blocks = nn.Sequential(*(parts[name] for name in kept)).to(device).to(memory_format=torch.channels_last).eval()

    def loss(self, features: Tensor, images: Tensor) -> Tensor:
        """Returns the mean squared error, divided by the variance of the teacher's features."""
        with torch.no_grad():
            wanted = self.blocks(images).float()
            scale = wanted.var()
        return nn.functional.mse_loss(features.float(), wanted) / scale
