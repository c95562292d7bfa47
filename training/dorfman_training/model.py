"""A backbone cut into stages, with a merge between each two.

The first stage runs once per image. The later stages run once per test, on the merged features of the
test's members. A group of any size has a high score if a member is positive. An individual test is a
group of one. One network therefore serves every group size. With the maximum, pooling adds no
parameters; with class activation maps, it adds one weight per channel.
"""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor, nn

from . import merge_kinds, merges
from .backbone import Parts, backbone
from .config import Cut, DesignConfig, InputConfig, NetworkConfig

IMAGES = "images"


class StagedNet(nn.Module):
    """Stages, with a merge between each two. Without cuts there is one stage, which scores single images."""

    def __init__(self, parts: Parts, cuts: Sequence[Cut], image: tuple[int, ...] | None = None) -> None:
        """With `image`, the shape of an image [C,H,W], rows are merged by class activation maps."""
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
        # Apart from the stages, so that networks with other merges can exchange the weights of the stages.
        self.selectors = nn.ModuleList(merges.Selector(shape[0]) for shape in (self.shapes(image) if image else []))

    @property
    def fans(self) -> list[int]:
        """How many rows are merged at each level except the last."""
        return [cut.fan_in for cut in self.cuts[:-1]]

    @property
    def merging(self) -> str:
        """The name of the merge."""
        return merge_kinds.MEAN if self.pixels else merge_kinds.CAM if len(self.selectors) else merge_kinds.MAX

    @torch.no_grad()
    def shapes(self, image: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Returns the shape of one row of features at each cut. A map selects at places, so each is [C,H,W]."""
        rows, found = torch.zeros(2, *image), []
        for stage in list(self.stages)[:-1]:
            training, rows = stage.training, stage.eval()(rows)
            stage.train(training)
            found.append(tuple(rows.shape[1:]))
        for cut, row in zip(self.cuts, found):
            if len(row) != 3:
                raise ValueError(f"design.merge = cam needs feature maps [C,H,W], but {cut.after} returns rows of the shape {list(row)}")
        return found

    def merge(self, level: int, features: Tensor, members: Tensor) -> Tensor:
        """Merges the rows in each line of `members`. Level k merges features of stage k."""
        if self.pixels:
            return merges.mean(features, members)
        return self.selectors[level](features, members) if len(self.selectors) else merges.largest(features, members)

    def forward(self, images: Tensor, levels: Sequence[Tensor]) -> Tensor:
        """Returns the logits [T,L] of tests.

        `levels` has the rows that each stage after the first merges (see groups.levels).
        """
        return self.tests(self.stages[0](images), levels)

    def tests(self, features: Tensor, levels: Sequence[Tensor], classified: list[Tensor] | None = None) -> Tensor:
        """As `forward`, but from the features of the first stage.

        `classified` receives the logits of each selector's classifier, one per row that its merge may
        take. No gradient flows from them to the stages.
        """
        for level, (stage, members) in enumerate(zip(list(self.stages)[1:], levels)):
            if classified is not None and len(self.selectors):
                classified.append(self.selectors[level].logits(features.detach()))
            features = stage(self.merge(level, features, members))
        return features


def place(names: Sequence[str], name: str) -> int:
    """Returns how many parts there are up to and including `name`."""
    if name not in names:
        raise ValueError(f"the network has no part {name!r}; its parts are {', '.join(names)}")
    return list(names).index(name) + 1


def build(network: NetworkConfig, design: DesignConfig, image: InputConfig) -> StagedNet:
    shape = (1 if image.channels == "grey" else 3, image.height, image.width)
    return StagedNet(backbone(network, image), design.cuts, shape if design.merge == merge_kinds.CAM else None)


def individual(model: StagedNet, images: Tensor) -> Tensor:
    """Returns the logits of single images."""
    alone = torch.arange(len(images), device=images.device).reshape(-1, 1)
    return model(images, [alone] * len(model.cuts))
