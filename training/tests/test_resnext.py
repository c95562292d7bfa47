"""ResNeXt-101 32x8d matches the published network, and its designs match the paper's."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

import dorfman_training  # noqa: F401  (before torch: it configures OpenMP)
from dorfman_training import macs
from dorfman_training.model import StagedNet
from dorfman_training.paper import DESIGNS, READS, SIDE
from dorfman_training.resnext import resnext101


@pytest.fixture(scope="module")
def parts() -> "OrderedDict[str, nn.Module]":
    return resnext101(labels=1000)


def test_the_number_of_parameters_is_the_published_one(parts: "OrderedDict[str, nn.Module]") -> None:
    # torchvision's resnext101_32x8d has 88,791,336.
    assert sum(p.numel() for part in parts.values() for p in part.parameters()) == 88_791_336


@torch.no_grad()
def test_multiply_adds_match_torchvision_and_the_paper(parts: "OrderedDict[str, nn.Module]") -> None:
    x, giga = torch.zeros(1, len(READS.mean), SIDE, SIDE), {}
    for name, part in parts.items():
        giga[name] = macs.count(part, x) / 1e9
        x = part.eval()(x)
    # torchvision documents 16.41 G. The paper has 16.5 G in all, 1.449 G up to the end of layer1
    # and 3.65 G up to the end of layer2. The paper's figures include norms and activations.
    assert x.shape == (1, 1000) and torch.isfinite(x).all()
    assert round(sum(giga.values()), 2) == 16.41
    assert round(giga["stem"] + giga["layer1"], 2) == 1.42
    assert round(giga["stem"] + giga["layer1"] + giga["layer2"], 2) == 3.61


def test_the_designs_have_the_cuts_of_the_paper(parts: "OrderedDict[str, nn.Module]") -> None:
    stages = {design: StagedNet(parts, cuts) for design, cuts in DESIGNS.items()}
    # The first stage of the pixel design has no layers.
    assert [len(stages[design].stages) for design in ("d1", "d2", "d3")] == [2, 2, 3]
    assert stages["d1"].pixels and not stages["d2"].pixels and stages["d3"].fans == [2]
    assert list(stages["d3"].stages[1]) == [parts["layer2"]] and stages["d2"].stages[1][0] is parts["layer3"]


def test_the_same_seed_gives_the_same_weights(parts: "OrderedDict[str, nn.Module]") -> None:
    assert torch.equal(resnext101(labels=1000)["stem"][0][0].weight, parts["stem"][0][0].weight)
