"""Counts multiply-adds as defined in docs/bundle.md: convolutions and linear layers, for one row.

The merge is not counted.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def count(module: nn.Module, example: Tensor) -> int:
    """Returns the multiply-adds of one pass of `example`, which must have one row."""
    total = 0

    def add(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            height, width = layer.kernel_size
            total += output.numel() * layer.in_channels // layer.groups * height * width
        elif isinstance(layer, nn.Linear):
            total += output.numel() * layer.in_features

    hooks = [layer.register_forward_hook(add) for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    training = module.training
    try:
        module.eval()
        with torch.no_grad():
            module(example)
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    return total
