"""What several tests need: the committed configuration and bundle, and a small network with settled norms."""

from __future__ import annotations

from pathlib import Path

import dorfman_training  # noqa: F401  (before torch: it quietens OpenMP)
import pytest
import torch

from dorfman_training import config
from dorfman_training.config import Config, NetworkConfig, StemLayer
from dorfman_training.model import FeatureMergeNet

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def settings() -> Config:
    return config.load(ROOT / "training" / "configs" / "fashion-bag.toml")


@pytest.fixture(scope="session")
def bundle() -> Path:
    return ROOT / "models" / "fashion-bag"


@pytest.fixture(scope="session")
def small() -> FeatureMergeNet:
    """Untrained, but with norms that are not the identity, so that a wrong fold shows."""
    torch.manual_seed(5)
    torch.set_num_threads(2)
    network = NetworkConfig((StemLayer(8, 5, 2), StemLayer(8, 3, 2)), tail_channels=12, tail_blocks=1, dropout=0.1)
    model = FeatureMergeNet(network)
    for name, value in model.state_dict().items():
        if name.endswith(("running_mean", "running_var")) or value.ndim == 1:
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.5)
    return model.eval()
