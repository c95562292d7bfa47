"""The network that `dorfman_training.imagenet` cuts."""

from __future__ import annotations

import torch

from dorfman_training.imagenet import CLASSES, Summed


def test_the_score_is_the_probability_of_the_chosen_classes_together() -> None:
    logits = torch.randn(5, CLASSES, generator=torch.Generator().manual_seed(1))
    shares = torch.softmax(logits, dim=1)
    scores = Summed((3, 7))(logits)
    assert torch.allclose(scores[:, 0], shares[:, 3] + shares[:, 7])
    assert torch.allclose(scores.sum(dim=1), torch.ones(5))
