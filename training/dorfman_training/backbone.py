"""The networks. Each is a chain of named parts, and can be cut between any two parts."""

from __future__ import annotations

import importlib
from collections import OrderedDict

import torch
from torch import Tensor, nn

from . import lite
from .config import InputConfig, NetworkConfig, StemLayer

# The parts in order, by name. The last part returns logits [T,L].
Parts = OrderedDict  # from str to nn.Module

LABELS = 1


def backbone(config: NetworkConfig, image: InputConfig) -> "OrderedDict[str, nn.Module]":
    channels = 1 if image.channels == "grey" else 3
    if ":" in config.kind:
        if config.stem or config.coarse_until or config.tail_channels or config.tail_blocks or config.dropout:
            raise ValueError(f"network: only frozen_until and init apply to {config.kind}; remove the other keys")
        return own(config.kind, channels)
    kinds = ["small", *lite.VARIANTS]
    if config.kind not in kinds:
        raise ValueError(f"network.kind must be {', '.join(kinds)} or MODULE:FUNCTION, not {config.kind}")
    foreign = "coarse_until" if config.kind == "small" else "stem"
    if getattr(config, foreign):
        raise ValueError(f"network.{foreign} does not apply to {config.kind}: remove it")
    if config.kind == "small":
        return small(config, channels)
    return lite.network(config.kind, config.dropout, LABELS, config.coarse_until)


def own(kind: str, channels: int) -> "OrderedDict[str, nn.Module]":
    """Calls a function of a user's module. It returns parts by name, in order.

    The last part must return logits [T,labels].
    """
    module, _, function = kind.partition(":")
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise SystemExit(f"network.kind: cannot import {kind} ({error}); put the module in the current folder or in PYTHONPATH") from error
    parts = OrderedDict(make(channels=channels, labels=LABELS))
    wrong = [name for name, part in parts.items() if not isinstance(part, nn.Module)]
    if wrong or not parts:
        raise SystemExit(f"network.kind: {kind} must return torch modules by name; not a module: {', '.join(wrong) or 'nothing was returned'}")
    return parts


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_norm(channels, channels, 3)
        self.second = conv_norm(channels, channels, 3)
        # The block starts as the identity, so that deeper blocks gain influence gradually.
        nn.init.zeros_(self.second[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class PooledHead(nn.Module):
    """Mean and maximum over the spatial positions, then a linear layer."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * channels, LABELS)

    def forward(self, x: Tensor) -> Tensor:
        # The mean measures how much, the maximum whether any position responds. Large groups need
        # the maximum.
        pooled = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        return self.linear(self.dropout(pooled))


def stem(layers: tuple[StemLayer, ...], channels: int, parts: "OrderedDict[str, nn.Module]") -> int:
    """Adds one part per layer to `parts` and returns the number of output channels.

    Each part begins with the ReLU of the part before it, so a cut merges values before the ReLU. The
    maximum of signed values keeps more information than the maximum of clipped values.
    """
    for index, layer in enumerate(layers):
        conv = conv_norm(channels, layer.channels, layer.kernel, layer.stride)
        parts[f"stem{index}"] = nn.Sequential(nn.ReLU(), conv) if index else conv
        channels = layer.channels
    return channels


def small(config: NetworkConfig, channels: int) -> "OrderedDict[str, nn.Module]":
    """Builds a small residual network with random weights."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    channels = stem(config.stem, channels, parts)
    width = config.tail_channels
    parts["widen"] = nn.Sequential(conv_norm(channels, width, 3), nn.ReLU())
    for index in range(config.tail_blocks):
        parts[f"block{index}"] = Residual(width)
    parts["head"] = PooledHead(width, config.dropout)
    return parts
