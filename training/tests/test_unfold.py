"""Training can start from a bundle."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from conftest import DESIGNS, GREY, levels, settled
from dorfman_training import export, unfold
from dorfman_training.config import Config, DesignConfig, NetworkConfig, StemLayer
from dorfman_training.data import Split
from dorfman_training.model import StagedNet, build

IMAGES = torch.rand(24, 1, 28, 28, generator=torch.Generator().manual_seed(1))
MEMBERS = torch.arange(24).reshape(8, 3)


def exported(folder: Path) -> StagedNet:
    model = settled(DESIGNS["feature"])
    files = export.write_stages(model, (1, 28, 28), folder)
    (folder / "bundle.json").write_text(json.dumps({"stages": [{"file": stage.file} for stage in files]}))
    return model


def fresh(name: str, tail: int = 12) -> StagedNet:
    network = NetworkConfig("small", (StemLayer(8, 5, 2), StemLayer(8, 3, 2)), tail_channels=tail, tail_blocks=1, dropout=0.1)
    return build(network, DesignConfig(DESIGNS[name]), GREY)


def scores(model: StagedNet, members: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IMAGES, levels(members, model))


@pytest.mark.parametrize("name", ["feature", "early", "tree", "three levels"])
def test_every_design_loads_a_bundle_with_equal_scores(name: str, tmp_path: Path) -> None:
    source, model = exported(tmp_path), fresh(name)
    unfold.load(model, tmp_path, IMAGES, levels(MEMBERS, model))
    alone = MEMBERS.reshape(-1, 1)
    assert torch.allclose(scores(model, alone), scores(source, alone), atol=1e-4)


def test_the_batch_norms_have_the_statistics_of_the_batch(tmp_path: Path) -> None:
    exported(tmp_path)
    model = fresh("feature")
    unfold.load(model, tmp_path, IMAGES, levels(MEMBERS, model))
    wanted = scores(model, MEMBERS)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        found = model.train()(IMAGES, levels(MEMBERS, model))
    assert torch.allclose(found, wanted, atol=1e-3), "the statistics of the batch are those of the norms"


def test_a_bundle_of_another_network_is_refused(tmp_path: Path) -> None:
    exported(tmp_path)
    model = fresh("feature", tail=16)
    with pytest.raises(SystemExit, match="another network"):
        unfold.load(model, tmp_path, IMAGES, levels(MEMBERS, model))


def test_training_can_start_from_the_shipped_bundle(settings: Config, bundle: Path) -> None:
    images = torch.randint(0, 256, (600, 28, 28), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    split = Split(images, torch.arange(600) < 200, tuple("bag" if i < 200 else "coat" for i in range(600)))
    tree = dataclasses.replace(settings, design=DesignConfig(DESIGNS["tree"]))
    start = unfold.start(tree, bundle, split)
    assert all(torch.isfinite(value).all() for value in start.values())
