"""Training can be interrupted and resumed, and a checkpoint belongs to one configuration."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from dorfman_training import check, config, data, export, merge_kinds, train
from dorfman_training.config import Config, Cut, DesignConfig, NetworkConfig, StemLayer
from dorfman_training.data import Split
from dorfman_training.deal import Deal
from dorfman_training.model import build, individual


def tiny(settings: Config, steps: int) -> Config:
    network = dataclasses.replace(settings.network, stem=(StemLayer(4, 5, 4),), tail_channels=4, tail_blocks=1)
    design = DesignConfig((Cut("stem0", 2), Cut("widen")))
    few = dataclasses.replace(
        settings.train,
        steps=steps,
        images=24,
        positives=8,
        groups=8,
        warm_up=2,
        progress_every=2,
        checkpoint_every=2,
        sizes=(1, 4),
        size_weights=(1, 1),
        precision="fp32",
    )
    return dataclasses.replace(settings, network=network, design=design, train=few)


def split() -> Split:
    images = torch.randint(0, 256, (60, 28, 28), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return Split(images, torch.arange(60) < 20, tuple("bag" if i < 20 else "coat" for i in range(60)))


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.float().reshape(-1) for value in model.state_dict().values()])


@pytest.mark.parametrize("merge", merge_kinds.OF_FEATURES)
def test_a_resumed_run_gives_the_weights_of_an_uninterrupted_run(tmp_path: Path, settings: Config, merge: str) -> None:
    torch.set_num_threads(1)
    four = tiny(settings, 4)
    four = dataclasses.replace(four, design=dataclasses.replace(four.design, merge=merge))
    whole = train.Trainer(four, split(), lambda _: None).run(tmp_path / "whole.pt")
    cut = train.Trainer(four, split(), lambda _: None)
    while cut.step < 2:
        cut.one_step()
        cut.step += 1
    cut.save(tmp_path / "cut.pt")
    said: list[str] = []
    rest = train.Trainer(four, split(), said.append).run(tmp_path / "cut.pt")
    assert said[0] == "resuming from step 2" and "step 4/4" in said[-1]
    assert train.is_finished(four, tmp_path / "cut.pt") and not train.is_finished(four, tmp_path / "none.pt")
    assert torch.allclose(weights(rest), weights(whole), atol=1e-6)
    assert torch.allclose(weights(train.trained(four, tmp_path / "cut.pt")), weights(whole), atol=1e-6)


def test_large_gradients_of_selectors_do_not_shrink_those_of_the_stages(settings: Config) -> None:
    base = tiny(settings, 2)
    model = build(base.network, dataclasses.replace(base.design, merge="cam"), base.input)
    parameters = list(model.stages.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    parameters[0].grad = torch.full_like(parameters[0], 0.5 / parameters[0].numel() ** 0.5)
    model.selectors[0].weight.grad = torch.full_like(model.selectors[0].weight, 100.0)
    before = parameters[0].grad.clone()
    train.clip(model)
    assert torch.equal(parameters[0].grad, before) and float(model.selectors[0].weight.grad.norm()) == pytest.approx(1, abs=1e-3)


def test_selectors_learn_as_classifiers(tmp_path: Path, settings: Config) -> None:
    torch.set_num_threads(1)
    base = tiny(settings, 30)
    by_map = dataclasses.replace(base, design=dataclasses.replace(base.design, merge="cam"))
    bright = split()
    bright.images[:20] = bright.images[:20] // 2 + 128  # the positive images are brighter
    trainer = train.Trainer(by_map, bright, lambda _: None)
    model = trainer.run(tmp_path / "it.pt").eval()
    features = model.stages[0](data.normalise(bright.images, by_map.input))
    logits = model.selectors[0].logits(features)
    assert logits[:20].mean() > logits[20:].mean() + 0.1
    assert train.made_with(by_map) != train.made_with(base), "another merge needs new training"
    assert "DesignConfig(cuts=(Cut(after='stem0', fan_in=2), Cut(after='widen', fan_in=0)))," in train.made_with(base), "old checkpoints stay valid"


@pytest.mark.parametrize("merge", merge_kinds.OF_FEATURES)
def test_a_linear_probe_changes_only_the_last_layer_and_the_selectors(tmp_path: Path, settings: Config, merge: str) -> None:
    base = tiny(settings, 0)
    probed = dataclasses.replace(base, design=dataclasses.replace(base.design, merge=merge), train=dataclasses.replace(base.train, linear_probe=256))
    bright = split()
    bright.images[:20] = bright.images[:20] // 2 + 128  # the positive images are brighter
    trainer, said = train.Trainer(probed, bright, lambda _: None), list[str]()
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.say = said.append
    model = trainer.run(tmp_path / "it.pt")
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    last = {name for name in before if name.startswith(f"stages.{len(model.stages) - 1}.") and ".linear." in name}
    assert changed == last | {name for name in before if name.startswith("selectors.")}
    assert said == ["linear probe fitted on 256 tests"]
    scores = individual(model, data.normalise(bright.images, probed.input)).squeeze(1)
    assert scores[:20].median() > scores[20:].max()


def test_a_linear_probe_needs_a_last_linear_layer(tmp_path: Path, settings: Config) -> None:
    base = tiny(settings, 0)
    trainer = train.Trainer(dataclasses.replace(base, train=dataclasses.replace(base.train, linear_probe=256)), split(), lambda _: None)
    trainer.model.stages[-1][-1].linear = torch.nn.Identity()
    with pytest.raises(SystemExit, match="train.linear_probe: the network's last part has no layer `linear`.*set it to 0"):
        trainer.run(tmp_path / "it.pt")


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path, settings: Config) -> None:
    train.Trainer(tiny(settings, 2), split(), lambda _: None).run(tmp_path / "it.pt")
    with pytest.raises(SystemExit, match="another configuration"):
        train.trained(tiny(settings, 3), tmp_path / "it.pt")
    renamed = dataclasses.replace(tiny(settings, 2), bundle=dataclasses.replace(settings.bundle, description="other words"))
    train.trained(renamed, tmp_path / "it.pt")


def test_a_checkpoint_that_started_from_other_weights_is_refused(tmp_path: Path, settings: Config) -> None:
    base, path = tiny(settings, 2), tmp_path / "it.pt"
    first = train.weights(train.Trainer(base, split(), lambda _: None).model)
    origin = train.digest(first.values())
    train.Trainer(base, split(), lambda _: None, first, origin).run(path)
    assert train.is_finished(base, path, origin)
    other = train.digest(value + 1 for value in first.values())
    with pytest.raises(SystemExit, match="network.init"):
        train.is_finished(base, path, other)
    with pytest.raises(SystemExit, match="network.init"):
        train.Trainer(base, split(), lambda _: None, first, other).run(path)


OWN = """
from torch import nn

def parts(channels, labels):
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, labels))
    return {"first": nn.Conv2d(channels, 6, 5, 4), "second": nn.Sequential(nn.ReLU(), nn.Conv2d(6, 8, 3)), "head": head}

def vectors(channels, labels):
    return {"first": nn.Flatten(), "head": nn.Linear(28 * 28 * channels, labels)}

def broken(channels, labels):
    return {"first": nn.ReLU(), "head": 7}
"""


def test_a_user_network_can_be_trained_and_exported(tmp_path: Path, settings: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_network.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = NetworkConfig("own_network:parts")
    own = dataclasses.replace(tiny(settings, 2), network=kind, design=DesignConfig((Cut("first", 2), Cut("second"))))
    model = train.Trainer(own, split(), lambda _: None).run(tmp_path / "own.pt").eval()
    export.write_stages(model, (1, 28, 28), tmp_path)
    if check.has_runtime():
        images = torch.randn(12, 1, 28, 28, generator=torch.Generator().manual_seed(2))
        assert check.largest_difference(model, tmp_path, images, range(1, 7)) < check.TOLERANCE
    for wrong, why in [
        ("own_network:broken", "head"),
        ("own_network:nothing", "nothing"),
        ("no_such_module:parts", "PYTHONPATH"),
        (":parts", "PYTHONPATH"),
    ]:
        with pytest.raises(SystemExit, match=why):
            train.Trainer(dataclasses.replace(own, network=dataclasses.replace(kind, kind=wrong)), split(), lambda _: None)
    flat = dataclasses.replace(own, network=dataclasses.replace(kind, kind="own_network:vectors"), design=DesignConfig((Cut("first"),), "cam"))
    with pytest.raises(ValueError, match=r"feature maps \[C,H,W\], but first returns rows of the shape \[784\]"):
        train.Trainer(flat, split(), lambda _: None)
    with pytest.raises(ValueError, match="only frozen_until and init"):
        train.Trainer(dataclasses.replace(own, network=dataclasses.replace(kind, dropout=0.1)), split(), lambda _: None)


def test_held_out_images_are_proportional_to_the_classes_and_reproducible(settings: Config) -> None:
    if not Path(settings.data.folder).exists():
        pytest.skip(f"Fashion-MNIST is not in {settings.data.folder}")
    splits = [data.load(settings, name) for name in data.SPLITS]
    assert [len(part.images) for part in splits] == [50_000, 10_000, 10_000]
    assert [int(part.positive.sum()) for part in splits] == [5_000, 1_000, 1_000]
    assert torch.equal(splits[1].images, data.load(settings, "calibration").images)


def test_unknown_and_missing_keys_are_refused(settings: Config) -> None:
    table = dataclasses.asdict(settings)
    assert config.parse(table) == settings
    for section, key, value, why in [
        ("design", "merge", "sum", "max or cam"),
        ("design", "cuts", [{"after": "images"}], "merges features"),
        ("exits", "deeper", True, "exits.deeper moves the merge"),
    ]:
        design = {**table["design"], "merge": "cam"}
        changed = {**table, "design": design}
        changed[section] = {**changed[section], key: value}
        with pytest.raises(ValueError, match=why):
            config.parse(changed)
    with pytest.raises(ValueError, match="stepz"):
        config.parse({**table, "train": {**table["train"], "stepz": 1}})
    with pytest.raises(ValueError, match="label"):
        config.parse({**table, "bundle": {key: value for key, value in table["bundle"].items() if key != "label"}})
    with pytest.raises(ValueError, match="train.linear_probe is for networks that merge features"):
        config.parse({**table, "design": {"cuts": [{"after": "images"}]}, "train": {**table["train"], "linear_probe": 64}})
    with pytest.raises(ValueError, match="train.distil"):
        config.parse({**table, "train": {**table["train"], "distil": 1.0}})


def test_frozen_parts_are_not_trained(tmp_path: Path, settings: Config) -> None:
    base = tiny(settings, 3)
    frozen = dataclasses.replace(
        base, network=dataclasses.replace(base.network, frozen_until="stem0"), train=dataclasses.replace(base.train, variants=2)
    )
    trainer = train.Trainer(frozen, split(), lambda _: None)
    before = [value.clone() for value in trainer.model.stages[0].state_dict().values()]
    last = trainer.model.stages[-1].state_dict()
    rest = {name: value.clone() for name, value in last.items()}
    trainer.run(tmp_path / "frozen.pt")
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.stages[0].state_dict().values()))
    assert any(not torch.equal(rest[name], value) for name, value in trainer.model.stages[-1].state_dict().items())


def test_a_network_can_start_from_the_weights_of_another_design(settings: Config) -> None:
    base = tiny(settings, 3)
    first = train.Trainer(base, split(), lambda _: None).model
    cut = dataclasses.replace(base, design=DesignConfig((Cut("widen"),)), train=dataclasses.replace(base.train, seed=9))
    second = train.Trainer(cut, split(), lambda _: None, train.weights(first)).model
    assert torch.equal(weights(first), weights(second))
    wider = dataclasses.replace(base, network=dataclasses.replace(base.network, tail_channels=6))
    with pytest.raises(SystemExit, match="another network"):
        train.Trainer(wider, split(), lambda _: None, train.weights(first))


@pytest.mark.parametrize("cuts, sizes", [((Cut("images"),), (1, 4)), ((), (1,))])
def test_the_pixel_design_and_individual_networks_can_be_trained(
    tmp_path: Path, settings: Config, cuts: tuple[Cut, ...], sizes: tuple[int, ...]
) -> None:
    base = tiny(settings, 2)
    other = dataclasses.replace(base, design=DesignConfig(cuts), train=dataclasses.replace(base.train, sizes=sizes, size_weights=(1,) * len(sizes)))
    assert train.Trainer(other, split(), lambda _: None).run(tmp_path / "other.pt") is not None


def test_images_with_a_larger_error_are_drawn_more_often() -> None:
    deal = Deal(torch.arange(10, 110), 0.5, torch.Generator().manual_seed(0))
    for _ in range(20):
        deal.learn(torch.arange(10, 110), (torch.arange(10, 110) < 15).float())
    drawn = torch.cat([deal.next(20) for _ in range(50)])
    assert (drawn < 15).float().mean() > 0.2, "rows with errors are a twentieth of all rows"
    assert set(drawn.tolist()) == set(range(10, 110)), "every row is still drawn"


def test_frozen_norms_keep_their_statistics(tmp_path: Path, settings: Config) -> None:
    base = tiny(settings, 3)
    kept = dataclasses.replace(base, train=dataclasses.replace(base.train, frozen_norms=True))
    trainer = train.Trainer(kept, split(), lambda _: None)
    norms = [module for module in trainer.model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    before = [(norm.running_mean.clone(), norm.weight.clone()) for norm in norms]
    trainer.run(tmp_path / "it.pt")
    assert all(torch.equal(norm.running_mean, mean) for norm, (mean, _) in zip(norms, before))
    assert any(not torch.equal(norm.weight, weight) for norm, (_, weight) in zip(norms, before)), "the weights of the norms are trained"
