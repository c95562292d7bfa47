"""Prepares the input of a training step.

The input is augmented images or, if the first parts are frozen, stored features of augmented images.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Callable

import torch
from torch import Tensor, nn

from . import augment, data, progress
from .backbone import backbone
from .config import Config
from .data import Split
from .fold import folded
from .model import StagedNet, place

CHUNK = 128  # images per pass when features are computed in advance


class Feed:
    """Converts rows of a split to the input of the trainable part of stage 0."""

    def __init__(self, model: StagedNet, split: Split, config: Config, device: torch.device, say: Callable[[str], None]) -> None:
        self.config, self.split, self.device = config, split, device
        self.prefix, self.rest = divide(model, config)
        self.generator = torch.Generator().manual_seed(config.train.seed + 1)
        self.stored = self.store(say) if len(self.prefix) else None

    def images(self, rows: Tensor) -> Tensor:
        moved = augment.augment(self.split.images[rows], self.config.train, self.generator)
        images = data.normalise(moved, self.config.input).to(self.device)
        return images.contiguous(memory_format=torch.channels_last)

    def inputs(self, rows: Tensor) -> Tensor:
        if self.stored is None:
            return self.images(rows)
        variant = torch.randint(len(self.stored), (len(rows),), generator=self.generator)
        picked = torch.stack([self.stored[v][row] for v, row in zip(variant.tolist(), rows.tolist())])
        return picked.to(self.device).float().contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def store(self, say: Callable[[str], None]) -> list[Tensor]:
        """Computes one tensor of bfloat16 features per augmented copy of the split."""
        prefix = folded(self.prefix)
        copies = []
        for variant in range(self.config.train.variants):
            rows = torch.arange(len(self.split.positive))
            parts = [self.features(prefix, part) for part in progress.over(rows.split(CHUNK), "features")]
            copies.append(torch.cat(parts))
            say(f"features of the frozen parts: copy {variant + 1} of {self.config.train.variants}")
        return copies

    def features(self, prefix: nn.Module, rows: Tensor) -> Tensor:
        with half(self.config, self.device):
            return prefix(self.images(rows)).to(torch.bfloat16).cpu()


def divide(model: StagedNet, config: Config) -> tuple[nn.Sequential, nn.Sequential]:
    """Divides stage 0 into a frozen and a trained part."""
    first = model.stages[0]
    assert isinstance(first, nn.Sequential)
    if not config.network.frozen_until:
        return nn.Sequential(), first
    count = place(list(backbone(config.network, config.input)), config.network.frozen_until)
    if count > len(first):
        raise SystemExit("network.frozen_until names a part after the first cut: name a part before it")
    for parameter in first[:count].parameters():
        parameter.requires_grad_(False)
    return first[:count], first[count:]


def half(config: Config, device: torch.device) -> torch.autocast:
    """Returns a context that uses bfloat16 if it is configured and the processor supports it."""
    wanted = config.train.precision == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted and has_bfloat16(device))


@functools.cache
def has_bfloat16(device: torch.device) -> bool:
    """Returns whether the processor has bfloat16 instructions.

    With emulated bfloat16, a step takes several times longer than in float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags
