"""Merges are compared on a network that is not trained on groups."""

from __future__ import annotations

import dataclasses

import torch

from conftest import ROOT
from dorfman_training import compare, config
from dorfman_training.data import Split


def test_every_merge_keeps_a_single_image_and_ignores_the_order() -> None:
    rows = torch.rand(3, 4, 5, 2, 2)
    for name, merge in compare.merges_of(torch.rand(5)).items():
        single = rows[:, :1]
        assert torch.allclose(merge(single), single[:, 0], atol=1e-4), name
        assert torch.allclose(merge(rows), merge(rows.flip(1)), atol=1e-5), name
        assert merge(rows).shape == (3, 5, 2, 2)


def test_selecting_merges_keep_whole_vectors() -> None:
    rows = torch.tensor([[3.0, 0.0], [1.0, 1.0], [0.0, 2.0]]).reshape(1, 3, 2, 1, 1)
    found = {name: merge(rows).flatten().tolist() for name, merge in compare.merges_of(torch.tensor([0.1, 1.0])).items()}
    assert found["max"] == [3.0, 2.0] and found["cam"] == [0.0, 2.0] and found["energy"] == [3.0, 0.0] and found["top2"] == [2.0, 1.5]


def test_a_table_has_the_clean_groups_that_test_positive() -> None:
    settings = config.load(ROOT / "training" / "configs" / "tiny-map.toml")
    cuts = (dataclasses.replace(settings.design.cuts[-1], fan_in=0),)
    settings = dataclasses.replace(settings, design=dataclasses.replace(settings.design, cuts=cuts))
    torch.manual_seed(1)
    positive = torch.arange(80) % 4 == 0
    images = torch.randint(0, 60, (80, settings.input.height, settings.input.width), dtype=torch.uint8)
    images[positive, 8:16, 8:16] += 150  # a bright square
    split = Split(images, positive, tuple("hot" if hot else "cold" for hot in positive.tolist()))
    held = compare.Comparison(settings, split, split)
    merges = compare.merges_of(held.weight)
    assert held.positive(merges["max"], 1, 40) == held.positive(merges["cam"], 1, 40) < 0.2, "single images are not merged"
    assert held.positive(merges["cam"], 4, 40) < held.positive(merges["mean"], 16, 40)
    lines = compare.table(held, ["max", "cam"], [1, 4], 20).splitlines()
    assert len(lines) == 4 and lines[0] == "| merge | M = 1 | M = 4 |" and lines[3].startswith("| cam | ")
