"""The merge is exact in every design, and pooling adds no parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from conftest import BY_MAP, DESIGNS, alone, levels, settled
from dorfman_training import macs, merge_kinds, merges
from dorfman_training.config import Config, Cut
from dorfman_training.fold import folded
from dorfman_training.model import StagedNet, build, individual


def images(count: int = 8) -> torch.Tensor:
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def test_merging_is_the_largest_value_over_the_members() -> None:
    features = images()
    merged = merges.largest(features, torch.tensor([[0, 3, 5], [2, 2, 2]]))
    assert torch.equal(merged[0], torch.maximum(torch.maximum(features[0], features[3]), features[5]))
    assert torch.equal(merged[1], features[2])


def test_a_map_selects_whole_vectors() -> None:
    # Two images of two places with two channels. The logit is the difference of the channels.
    features = torch.tensor([[[[5.0, 1.0]], [[3.0, 0.0]]], [[[4.0, 9.0]], [[0.0, 9.0]]]])
    selector = merges.Selector(2)
    selector.weight.data = torch.tensor([1.0, -1.0])
    merged = selector(features, torch.tensor([[0, 1], [0, 0]]))
    assert merged[0].tolist() == [[[4.0, 1.0]], [[0.0, 0.0]]], "the second image at the first place, the first at the second"
    assert torch.equal(merged[1], features[0])
    selector.bias.data = torch.tensor([0.5])
    assert selector.logits(features).tolist() == [2.0, 2.5], "the mean over places, and the bias"


@torch.no_grad()
@pytest.mark.parametrize("merge", merge_kinds.OF_FEATURES)
def test_padding_by_repeats_and_the_order_of_members_change_nothing(merge: str) -> None:
    small = settled(DESIGNS["feature"], merge)
    features = small.stages[0](images())
    plain = small.tests(features, [torch.tensor([[1, 4, 2]])])
    for line in ([1, 4, 2, 1, 4, 2, 1, 4], [2, 1, 4], [4, 4, 4, 4, 2, 1]):
        assert torch.equal(small.tests(features, [torch.tensor([line])]), plain)
    assert not torch.equal(small.tests(features, [torch.tensor([[1, 4]])]), plain)


@torch.no_grad()
@pytest.mark.parametrize("name", list(BY_MAP))
def test_maps_add_one_weight_per_channel_and_change_no_individual_test(name: str) -> None:
    model, whole = settled(BY_MAP[name], "cam"), settled(())
    assert [selector.weight.numel() for selector in model.selectors] == [row[0] for row in model.shapes((1, 28, 28))]
    assert torch.allclose(individual(model, images(2)), whole.stages[0](images(2)), atol=1e-5)


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
