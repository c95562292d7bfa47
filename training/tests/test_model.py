"""The merge is exact in every design, and pooling adds no parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from conftest import DESIGNS, alone, levels, settled
from dorfman_training import macs
from dorfman_training.config import Config, Cut
from dorfman_training.fold import folded
from dorfman_training.model import StagedNet, build, individual, merge_max


def images(count: int = 8) -> torch.Tensor:
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def test_merging_is_the_largest_value_over_the_members() -> None:
    features = images()
    merged = merge_max(features, torch.tensor([[0, 3, 5], [2, 2, 2]]))
    assert torch.equal(merged[0], torch.maximum(torch.maximum(features[0], features[3]), features[5]))
    assert torch.equal(merged[1], features[2])


@torch.no_grad()
def test_padding_by_repeats_and_the_order_of_members_change_nothing(small: StagedNet) -> None:
    features = small.stages[0](images())
    plain = small.tests(features, [torch.tensor([[1, 4, 2]])])
    for line in ([1, 4, 2, 1, 4, 2, 1, 4], [2, 1, 4], [4, 4, 4, 4, 2, 1]):
        assert torch.equal(small.tests(features, [torch.tensor([line])]), plain)


@torch.no_grad()
@pytest.mark.parametrize("name", list(DESIGNS))
def test_a_group_of_one_is_the_individual_network_parameter_for_parameter(name: str) -> None:
    model, whole = settled(DESIGNS[name]), settled(())
    count = lambda module: sum(parameter.numel() for parameter in module.parameters())  # noqa: E731
    assert count(model) == count(whole)
    found = model(images(2), alone(torch.arange(2), model))
    assert torch.allclose(found, whole.stages[0](images(2)), atol=1e-5)
    assert torch.allclose(found, individual(model, images(2)), atol=1e-5)


@torch.no_grad()
def test_a_tree_of_maxima_merges_nodes_that_cover_the_line() -> None:
    tree, early = settled(DESIGNS["tree"]), settled(DESIGNS["early"])
    # Each pair has two equal images, so each node of the first level covers one image.
    line = torch.tensor([[3, 3, 6, 6]])
    assert torch.allclose(
        tree(images(), levels(line, tree)),
        tree.tests(early.stages[0](images()), [torch.tensor([[3, 3], [6, 6]]), torch.tensor([[0, 1]])]),
        atol=1e-5,
    )


@torch.no_grad()
def test_folding_removes_all_batch_norms_and_changes_no_score(design: StagedNet) -> None:
    whole, tests = folded(design), levels(torch.tensor([[0, 1, 5], [2, 3, 4]]), design)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in whole.modules())
    assert torch.allclose(whole(images(), tests), design(images(), tests), rtol=1e-4, atol=1e-4)


def test_multiply_adds_of_single_layers() -> None:
    # Convolution: output channels x positions x (input channels of a group x kernel).
    # Linear layer: outputs x inputs.
    assert macs.count(nn.Conv2d(3, 8, 5, stride=2, padding=2), torch.zeros(1, 3, 28, 28)) == 8 * 14 * 14 * 75
    assert macs.count(nn.Conv2d(4, 8, 3, padding=1, groups=2), torch.zeros(1, 4, 7, 7)) == 8 * 7 * 7 * 18
    assert macs.count(nn.Linear(10, 4), torch.zeros(1, 10)) == 40


def test_the_first_stage_has_less_than_an_eighth_of_the_multiply_adds(settings: Config) -> None:
    model = build(settings.network, settings.design, settings.input).eval()
    first = macs.count(model.stages[0], torch.zeros(1, 1, 28, 28))
    last = macs.count(model.stages[1], model.stages[0](torch.zeros(1, 1, 28, 28)))
    assert first / (first + last) < 0.125


@pytest.mark.parametrize("cuts", [(Cut("stem9"),), (Cut("stem1", 2), Cut("stem0")), (Cut("head"),), (Cut("images", 2), Cut("stem0"))])
def test_invalid_cuts_are_refused(cuts: tuple[Cut, ...]) -> None:
    with pytest.raises(ValueError, match="stem|parts|pixels"):
        settled(cuts)
