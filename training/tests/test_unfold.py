"""Training can start from a bundle."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from conftest import DESIGNS, GREY, levels, settled
from dorfman_training import export, merge_kinds, unfold
from dorfman_training.config import Config, DesignConfig, NetworkConfig, StemLayer
from dorfman_training.cut import stages
from dorfman_training.data import Split
from dorfman_training.exits import compose, depths, heads
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


@pytest.mark.parametrize("merge", merge_kinds.OF_FEATURES)
def test_the_weights_of_exits_and_merges_are_left_out(tmp_path: Path, merge: str) -> None:
    files = export.write_stages(settled(DESIGNS["feature"], merge), (1, 28, 28), tmp_path)
    image = {"width": 28, "height": 28, "channels": "grey"}
    composed = compose.load([(tmp_path / stage.file).read_bytes() for stage in files], {"input": image})
    plain = initializers(tmp_path, "stage0.onnx", "stage1.onnx")
    first = depths.candidates(composed.network, depths.merge_point(composed.network, composed.ends[0]), False)[0]
    head = heads.fit(heads.Kind(("mean", "max"), 4, 1e-2), np.random.default_rng(0).random((30, 2 * first.row[0])), np.arange(30)[:, None] < 9, 0)
    ends = [composed.network.image, first.name, composed.ends[0]]
    for number, (start, end) in enumerate(zip(ends, ends[1:])):
        part = stages.part(composed.network, start, end, alone=True, head=None if number else head, labels_out=1)
        onnx.save(part, str(tmp_path / f"item{number}.onnx"))
    found = initializers(tmp_path, "item0.onnx", "item1.onnx", "stage1.onnx")
    assert len(found) == len(plain) and all(torch.equal(one, other) for one, other in zip(found, plain))


def initializers(folder: Path, *files: str) -> list[torch.Tensor]:
    (folder / "bundle.json").write_text(json.dumps({"stages": [{"file": file} for file in files]}))
    return unfold.initializers(folder)
