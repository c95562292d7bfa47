"""Fixtures for several tests: the committed configuration and bundle, and small untrained networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import dorfman_training  # noqa: F401  (before torch: it configures OpenMP)
from dorfman_training import config, groups
from dorfman_training.config import Config, Cut, DesignConfig, InputConfig, NetworkConfig, StemLayer
from dorfman_training.model import StagedNet, build

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def settings() -> Config:
    return config.load(ROOT / "training" / "configs" / "fashion-bag.toml")


@pytest.fixture(scope="session")
def bundle() -> Path:
    return ROOT / "models" / "fashion-bag"


GREY = InputConfig(28, 28, "grey", "bilinear", (72.9,), (90.0,))
DESIGNS = {
    "pixel": (Cut("images"),),
    "feature": (Cut("stem1"),),
    "early": (Cut("stem0"),),
    "tree": (Cut("stem0", 2), Cut("stem1")),
    "three levels": (Cut("stem0", 2), Cut("stem1", 2), Cut("widen")),
}


# The designs that merge features, by class activation maps.
BY_MAP = {f"{name}, by map": DESIGNS[name] for name in ("feature", "three levels")}


def settled(cuts: tuple[Cut, ...], merge: str = "max") -> StagedNet:
    """Returns an untrained network with the same weights for every design.

    Its batch norms are not the identity, so that errors of folding change the scores.
    """
    torch.manual_seed(5)
    torch.set_num_threads(2)
    network = NetworkConfig("small", (StemLayer(8, 5, 2), StemLayer(8, 3, 2)), tail_channels=12, tail_blocks=1, dropout=0.1)
    model = build(network, DesignConfig(cuts, merge), GREY)
    for name, value in model.state_dict().items():
        if name.endswith(("running_mean", "running_var")) or value.ndim == 1:
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.5)
    return model.eval()


@pytest.fixture(scope="session", params=[*DESIGNS, *BY_MAP])
def design(request: pytest.FixtureRequest) -> StagedNet:
    """A small network, of each design in turn."""
    return settled(BY_MAP[request.param], "cam") if request.param in BY_MAP else settled(DESIGNS[request.param])


@pytest.fixture(scope="session")
def small() -> StagedNet:
    return settled(DESIGNS["feature"])


def alone(rows: torch.Tensor, model: StagedNet) -> list[torch.Tensor]:
    return levels(rows.reshape(-1, 1), model)


def levels(members: torch.Tensor, model: StagedNet) -> list[torch.Tensor]:
    return groups.levels(members, torch.full((len(members),), members.shape[1]), model.fans)
