"""A backbone cut into stages, with a merge between them.

Each image passes the first stage once; the rest runs once a test, on the element-wise maximum of its members' features. A group's
score is high if any member is positive, whatever its size, and an individual test is a group of one: one network serves every size,
and testing groups needs no parameter more than testing images one by one.
"""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor, nn

from .backbone import Parts, backbone
from .config import Cut, DesignConfig, InputConfig, NetworkConfig

IMAGES = "images"


def merge_max(features: Tensor, members: Tensor) -> Tensor:
    """Element-wise maximum over the rows of `features` [R,...] that each line of `members` [T,m] names: [T,...]."""
    rows, width = members.shape
    # index_select and a view, as its gradient is several times faster than that of features[members].
    picked = features.index_select(0, members.reshape(-1))
    return picked.view(rows, width, *features.shape[1:]).amax(dim=1)


def merge_mean(images: Tensor, members: Tensor) -> Tensor:
    """The mean of each line's images [T,...]. Repeats count, so a line can't be padded with them."""
    rows, width = members.shape
    return images.index_select(0, members.reshape(-1)).view(rows, width, *images.shape[1:]).mean(dim=1)


class StagedNet(nn.Module):
    """Stages, and between each two a merge. No cut: one stage, which scores single images."""

    def __init__(self, parts: Parts, cuts: Sequence[Cut]) -> None:
        super().__init__()
        self.cuts = tuple(cuts)
        self.pixels = bool(cuts) and cuts[0].after == IMAGES
        if self.pixels and len(cuts) > 1:
            raise ValueError("design.cuts: pixels are merged once, and nothing else is")
        names = list(parts)
        ends = [0 if cut.after == IMAGES else place(names, cut.after) for cut in cuts]
        if ends != sorted(set(ends)) or len(names) in ends:
            raise ValueError(f"design.cuts must name parts in order, before the last: {', '.join(names)}")
        edges = [0, *ends, len(names)]
        self.stages = nn.ModuleList(nn.Sequential(*(parts[name] for name in names[a:b])) for a, b in zip(edges, edges[1:]))

    @property
    def fans(self) -> list[int]:
        """Rows merged at each level but the last."""
        return [cut.fan_in for cut in self.cuts[:-1]]

    def merge(self, features: Tensor, members: Tensor) -> Tensor:
        return merge_mean(features, members) if self.pixels else merge_max(features, members)

    def forward(self, images: Tensor, levels: Sequence[Tensor]) -> Tensor:
        """Logits [T,L] of tests; `levels` (see groups.levels) says which rows each stage but the first merges."""
        return self.tests(self.stages[0](images), levels)

    def tests(self, features: Tensor, levels: Sequence[Tensor]) -> Tensor:
        """As forward, from the features of the first stage."""
        for stage, members in zip(list(self.stages)[1:], levels):
            features = stage(self.merge(features, members))
        return features


def place(names: Sequence[str], name: str) -> int:
    """How many parts there are up to and with `name`."""
    if name not in names:
        raise ValueError(f"there is no part {name!r}: the network has {', '.join(names)}")
    return list(names).index(name) + 1


def build(network: NetworkConfig, design: DesignConfig, image: InputConfig) -> StagedNet:
    return StagedNet(backbone(network, image), design.cuts)


def individual(model: StagedNet, images: Tensor) -> Tensor:
    """Logits of single images."""
    alone = torch.arange(len(images), device=images.device).reshape(-1, 1)
    return model(images, [alone] * len(model.cuts))
