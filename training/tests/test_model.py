"""The merge is exact, and pooling needs no parameter."""

from __future__ import annotations

import torch
from torch import nn

from dorfman_training import macs
from dorfman_training.config import Config
from dorfman_training.fold import folded
from dorfman_training.model import FeatureMergeNet, merge


def images(count: int = 6) -> torch.Tensor:
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def test_merging_is_the_largest_value_over_the_members() -> None:
    features = images()
    merged = merge(features, torch.tensor([[0, 3, 5], [2, 2, 2]]))
    assert torch.equal(merged[0], torch.maximum(torch.maximum(features[0], features[3]), features[5]))
    assert torch.equal(merged[1], features[2])


@torch.no_grad()
def test_padding_by_repeats_and_the_order_of_members_change_nothing(small: FeatureMergeNet) -> None:
    features = small.stage0(images())
    plain = small.last(merge(features, torch.tensor([[1, 4, 2]])))
    for line in ([1, 4, 2, 1, 4, 2, 1, 4], [2, 1, 4], [4, 4, 4, 4, 2, 1]):
        assert torch.equal(small.last(merge(features, torch.tensor([line]))), plain)


@torch.no_grad()
def test_a_group_of_one_is_the_individual_network_parameter_for_parameter(settings: Config) -> None:
    model = FeatureMergeNet(settings.network).eval()
    individual = nn.Sequential(model.stage0, model.last)
    count = lambda module: sum(parameter.numel() for parameter in module.parameters())  # noqa: E731
    assert count(model) == count(individual)
    assert torch.equal(model(images(2), torch.tensor([[0], [1]])), individual(images(2)))


@torch.no_grad()
def test_folding_the_norms_changes_no_score_and_leaves_none(small: FeatureMergeNet) -> None:
    members = torch.tensor([[0, 1], [2, 3]])
    whole = folded(small)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in whole.modules())
    assert torch.allclose(whole(images(), members), small(images(), members), rtol=1e-4, atol=1e-4)


def test_multiply_adds_of_layers_known_by_hand() -> None:
    # output channels x places x (input channels of a group x kernel); outputs x inputs of a linear layer
    assert macs.count(nn.Conv2d(3, 8, 5, stride=2, padding=2), torch.zeros(1, 3, 28, 28)) == 8 * 14 * 14 * 75
    assert macs.count(nn.Conv2d(4, 8, 3, padding=1, groups=2), torch.zeros(1, 4, 7, 7)) == 8 * 7 * 7 * 18
    assert macs.count(nn.Linear(10, 4), torch.zeros(1, 10)) == 40


def test_the_first_stage_is_at_most_an_eighth_of_the_work(settings: Config) -> None:
    model = FeatureMergeNet(settings.network).eval()
    first = macs.count(model.stage0, torch.zeros(1, 1, 28, 28))
    last = macs.count(model.last, model.stage0(torch.zeros(1, 1, 28, 28)))
    assert first / (first + last) < 0.125
