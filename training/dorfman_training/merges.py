"""How the rows of a test are merged into one row.

- `max`: the element-wise maximum. It overlays the members' feature vectors channel by channel.
- `cam`: at each place, the whole feature vector of the member whose linear logit is highest there. The
  logits of all places are a class activation map (Zhou et al. 2016), so the map selects what stays.
- `mean`: the mean, for pixels.

A merge of one row does not change it. Repeated members do not change a maximum or a selection. If
different members have the same highest logit, this module takes the first, and the exported graph the
element-wise maximum of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def picked(rows: Tensor, members: Tensor) -> Tensor:
    """Returns the rows [T,m,...] of `rows` [R,...] in each line of `members` [T,m]."""
    # The gradient of index_select and view is several times faster than that of rows[members].
    return rows.index_select(0, members.reshape(-1)).view(*members.shape, *rows.shape[1:])


def largest(features: Tensor, members: Tensor) -> Tensor:
    """Returns the element-wise maximum [T,...] of the rows of `features` [R,...] in each line of `members` [T,m]."""
    return picked(features, members).amax(dim=1)


def mean(images: Tensor, members: Tensor) -> Tensor:
    """Returns the mean [T,...] of the images in each line of `members` [T,m].

    A repeated member changes the mean, so lines cannot be padded with repeats.
    """
    return picked(images, members).mean(dim=1)


class Selector(nn.Module):
    """Merges feature maps [R,C,H,W] by class activation maps.

    A linear classifier on the mean over places has the same weights as the map: the logit of an image is
    the mean of the logits of its places. The weights are trained as this classifier.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(1))

    def places(self, features: Tensor) -> Tensor:
        """Returns the logits [R,places] of single places, without the bias."""
        # In bfloat16, places would tie that differ in the exported graph.
        with torch.autocast(features.device.type, enabled=False):
            return torch.matmul(self.weight, features.float().flatten(2))

    def logits(self, features: Tensor) -> Tensor:
        """Returns the logits [R] of the classifier."""
        return self.places(features).mean(dim=1) + self.bias

    def forward(self, features: Tensor, members: Tensor) -> Tensor:
        """Returns the merged features [T,C,H,W] of each line of `members` [T,m]."""
        with torch.no_grad():
            logits = picked(self.places(features), members)
            chosen = members.gather(1, logits.argmax(dim=1))
        channels, places = features.shape[1], logits.shape[2]
        # One line per place of a row, so that only the selected vectors are copied.
        vectors = features.flatten(2).transpose(1, 2).reshape(-1, channels)
        lines = chosen * places + torch.arange(places, device=chosen.device)
        merged = vectors.index_select(0, lines.reshape(-1)).view(len(members), places, channels).transpose(1, 2)
        return merged.reshape(len(members), *features.shape[1:])
