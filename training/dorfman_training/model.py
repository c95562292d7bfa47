"""The feature-merge network: a cheap first stage an image, a max over the members, the rest once a test.

A group's score is high if any member is positive, whatever the group's size. An individual test is a group of one, so one network
serves every size, and testing groups needs no parameter more than testing images one by one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import NetworkConfig


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
        # Starting as the identity lets the deeper blocks come in gradually.
        nn.init.zeros_(self.second[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class Stage0(nn.Module):
    """Images [N,C,H,W] to features [N,...]. Seen once by every image, so its time bounds what grouping can save."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = config.input_channels
        for index, layer in enumerate(config.stem):
            if index:
                layers.append(nn.ReLU())
            layers.append(conv_norm(channels, layer.channels, layer.kernel, layer.stride))
            channels = layer.channels
        # No ReLU at the end: the maximum of signed values carries more than that of clipped ones.
        self.layers = nn.Sequential(*layers)
        self.channels = channels

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class LastStage(nn.Module):
    """Merged features [T,...] to logits [T,L]."""

    def __init__(self, config: NetworkConfig, channels: int) -> None:
        super().__init__()
        width = config.tail_channels
        self.widen = conv_norm(channels, width, 3)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(config.tail_blocks)))
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * width, config.labels)

    def forward(self, merged: Tensor) -> Tensor:
        x = self.blocks(torch.relu(self.widen(merged)))
        # The mean says how much, the maximum whether anywhere; a group of many needs the second.
        pooled = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        return self.head(self.dropout(pooled))


def merge(features: Tensor, members: Tensor) -> Tensor:
    """Element-wise max over the rows of `features` that each line of `members` names."""
    rows, width = members.shape
    # index_select and a view, as its gradient is several times faster than that of features[members].
    picked = features.index_select(0, members.reshape(-1))
    return picked.view(rows, width, *features.shape[1:]).amax(dim=1)


class FeatureMergeNet(nn.Module):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.stage0 = Stage0(config)
        self.last = LastStage(config, self.stage0.channels)

    def forward(self, images: Tensor, members: Tensor) -> Tensor:
        """Logits [T,L] of the tests whose members index the rows of `images`."""
        return self.last(merge(self.stage0(images), members))
