"""Training can be cut off, and one configuration makes one network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from dorfman_training import config, data, train
from dorfman_training.config import Config, StemLayer
from dorfman_training.data import Split


def tiny(settings: Config, steps: int) -> Config:
    network = dataclasses.replace(settings.network, stem=(StemLayer(4, 5, 4),), tail_channels=4, tail_blocks=1)
    few = dataclasses.replace(
        settings.train, steps=steps, images=24, positives=8, groups=8, warm_up=2, progress_every=2, checkpoint_every=2, sizes=(1, 4), size_weights=(1, 1)
    )
    return dataclasses.replace(settings, network=network, train=few)


def split() -> Split:
    images = torch.randint(0, 256, (60, 28, 28), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return Split(images, torch.arange(60) < 20)


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.float().reshape(-1) for value in model.state_dict().values()])


def test_a_run_that_was_cut_off_ends_as_one_that_was_not(tmp_path: Path, settings: Config) -> None:
    torch.set_num_threads(1)
    whole = train.Trainer(tiny(settings, 4), split(), lambda _: None).run(tmp_path / "whole.pt")
    cut = train.Trainer(tiny(settings, 4), split(), lambda _: None)
    while cut.step < 2:
        cut.one_step()
        cut.step += 1
    cut.save(tmp_path / "cut.pt")
    said: list[str] = []
    rest = train.Trainer(tiny(settings, 4), split(), said.append).run(tmp_path / "cut.pt")
    assert said[0] == "going on from step 2" and "step 4/4" in said[-1]
    assert torch.allclose(weights(rest), weights(whole), atol=1e-6)
    assert torch.allclose(weights(train.trained(tiny(settings, 4), tmp_path / "cut.pt")), weights(whole), atol=1e-6)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path, settings: Config) -> None:
    train.Trainer(tiny(settings, 2), split(), lambda _: None).run(tmp_path / "it.pt")
    with pytest.raises(SystemExit, match="another configuration"):
        train.trained(tiny(settings, 3), tmp_path / "it.pt")
    renamed = dataclasses.replace(tiny(settings, 2), bundle=dataclasses.replace(settings.bundle, description="other words"))
    train.trained(renamed, tmp_path / "it.pt")


def test_images_held_out_are_in_every_class_s_share_and_the_same_each_time(settings: Config) -> None:
    if not Path(settings.data.folder).exists():
        pytest.skip(f"Fashion-MNIST is not in {settings.data.folder}")
    splits = data.load(settings.data)
    sizes = [len(part.images) for part in (splits.train, splits.calibration, splits.test)]
    assert sizes == [50_000, 10_000, 10_000]
    assert [int(part.positive.sum()) for part in (splits.train, splits.calibration, splits.test)] == [5_000, 1_000, 1_000]
    assert torch.equal(splits.calibration.images, data.load(settings.data).calibration.images)


def test_unknown_and_missing_keys_are_refused(settings: Config) -> None:
    table = dataclasses.asdict(settings)
    assert config.parse(table) == settings
    with pytest.raises(ValueError, match="stepz"):
        config.parse({**table, "train": {**table["train"], "stepz": 1}})
    with pytest.raises(ValueError, match="label"):
        config.parse({**table, "bundle": {key: value for key, value in table["bundle"].items() if key != "label"}})
