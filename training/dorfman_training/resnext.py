"""ResNeXt-101 32x8d (Xie et al. 2017), the network of the neural group testing paper, with random weights.

The weights are not trained, since the cost of a network does not depend on them.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from .backbone import conv_norm

# Blocks per layer, then the width of the first layer. The width doubles from layer to layer.
BLOCKS = (3, 4, 23, 3)
WIDTH, GROUPS, WIDTH_OF_GROUP = 64, 32, 8
EXPANSION = 4


class Block(nn.Module):
    """A 1x1, a grouped 3x3 and a 1x1 convolution around a shortcut."""

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        inner, outputs = planes * WIDTH_OF_GROUP // WIDTH * GROUPS, planes * EXPANSION
        self.reduce = conv_norm(inputs, inner, 1)
        self.grouped = nn.Sequential(nn.Conv2d(inner, inner, 3, stride, padding=1, groups=GROUPS, bias=False), nn.BatchNorm2d(inner))
        self.expand = conv_norm(inner, outputs, 1)
        self.shortcut = nn.Identity() if inputs == outputs else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(self.grouped(torch.relu(self.reduce(x))))
        return torch.relu(self.expand(inner) + self.shortcut(x))


class Head(nn.Module):
    """The mean over the spatial positions, then a linear layer."""

    def __init__(self, inputs: int, labels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, labels)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean(dim=(2, 3)))


def resnext101(labels: int, seed: int = 1) -> "OrderedDict[str, nn.Module]":
    """Returns the network as parts: stem, layer1 to layer4, head. A seed always gives the same weights."""
    torch.manual_seed(seed)
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["stem"] = nn.Sequential(conv_norm(3, WIDTH, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1))
    channels = WIDTH
    for index, count in enumerate(BLOCKS):
        planes = WIDTH << index
        blocks = []
        for place in range(count):
            blocks.append(Block(channels, planes, 2 if index and not place else 1))
            channels = planes * EXPANSION
        parts[f"layer{index + 1}"] = nn.Sequential(*blocks)
    parts["head"] = Head(channels, labels)
    return parts
