"""A backbone cut into stages, with a merge between each two.

The first stage runs once per image. The later stages run once per test, on the element-wise maximum
of the features of the test's members. A group of any size has a high score if a member is positive.
An individual test is a group of one. One network therefore serves every group size, and pooling adds
no parameters.
"""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor, nn

from .backbone import Parts, backbone
from .config import Cut, DesignConfig, InputConfig, NetworkConfig

IMAGES = "images"


def merge_max(features: Tensor, members: Tensor) -> Tensor:
    """Returns the element-wise maximum [T,...] of the rows of `features` [R,...] in each line of `members` [T,m]."""
    rows, width = members.shape
    # The gradient of index_select and view is several times faster than that of features[members].
    picked = features.index_select(0, members.reshape(-1))
    return picked.view(rows, width, *features.shape[1:]).amax(dim=1)


def merge_mean(images: Tensor, members: Tensor) -> Tensor:
    """Returns the mean [T,...] of the images in each line of `members` [T,m].

    A repeated member changes the mean, so lines cannot be padded with repeats.
    """
    rows, width = members.shape
    return images.index_select(0, members.reshape(-1)).view(rows, width, *images.shape[1:]).mean(dim=1)


class StagedNet(nn.Module):
    """Stages, with a merge between each two. Without cuts there is one stage, which scores single images."""

    def __init__(self, parts: Parts, cuts: Sequence[Cut]) -> None:
        super().__init__()
        self.cuts = tuple(cuts)
        self.pixels = bool(cuts) and cuts[0].after == IMAGES
        if self.pixels and len(cuts) > 1:
            raise ValueError("design.cuts: a design that merges pixels has no other cut; remove the other cuts")
        names = list(parts)
        ends = [0 if cut.after == IMAGES else place(names, cut.after) for cut in cuts]
        if ends != sorted(set(ends)) or len(names) in ends:
            raise ValueError(f"design.cuts must name different parts in this order, except the last: {', '.join(names)}")
        edges = [0, *ends, len(names)]
        self.stages = nn.ModuleList(nn.Sequential(*(parts[name] for name in names[a:b])) for a, b in zip(edges, edges[1:]))

    @property
    def fans(self) -> list[int]:
        """How many rows are merged at each level except the last."""
        return [cut.fan_in for cut in self.cuts[:-1]]

    def merge(self, features: Tensor, members: Tensor) -> Tensor:
        return merge_mean(features, members) if self.pixels else merge_max(features, members)

    def forward(self, images: Tensor, levels: Sequence[Tensor]) -> Tensor:
        """Returns the logits [T,L] of tests.

        `levels` has the rows that each stage after the first merges (see groups.levels).
        """
        return self.tests(self.stages[0](images), levels)

    def tests(self, features: Tensor, levels: Sequence[Tensor]) -> Tensor:
        """As `forward`, but from the features of the first stage."""
        for stage, members in zip(list(self.stages)[1:], levels):
            features = stage(self.merge(features, members))
        return features


def place(names: Sequence[str], name: str) -> int:
    """Returns how many parts there are up to and including `name`."""
    if name not in names:
        raise ValueError(f"the network has no part {name!r}; its parts are {', '.join(names)}")
    return list(names).index(name) + 1


def build(network: NetworkConfig, design: DesignConfig, image: InputConfig) -> StagedNet:
    return StagedNet(backbone(network, image), design.cuts)


def individual(model: StagedNet, images: Tensor) -> Tensor:
    """Returns the logits of single images."""
    alone = torch.arange(len(images), device=images.device).reshape(-1, 1)
    return model(images, [alone] * len(model.cuts))
