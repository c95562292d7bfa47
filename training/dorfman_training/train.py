"""Trains one network for all group sizes. A run that was cut off goes on from its last checkpoint."""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path
from typing import Any, Callable

import torch
from torch import Tensor, nn

from . import data, groups
from .config import Config, TrainConfig
from .data import Split
from .model import FeatureMergeNet


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then half a cosine down to nothing."""
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    done = (step - config.warm_up) / max(1, config.steps - config.warm_up)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


class Average:
    """An exponential average of the weights and of the norms' statistics: what is calibrated and exported."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        # The first weights are noise: a short memory early on forgets them.
        decay = min(self.decay, (1 + step) / (10 + step))
        for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values()):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)


class Deal:
    """Deals rows so that each is seen once before any is seen again."""

    def __init__(self, rows: Tensor, generator: torch.Generator) -> None:
        self.rows, self.generator = rows, generator
        self.left = rows[:0]

    def next(self, count: int) -> Tensor:
        while len(self.left) < count:
            self.left = torch.cat([self.left, self.rows[torch.randperm(len(self.rows), generator=self.generator)]])
        dealt, self.left = self.left[:count], self.left[count:]
        return dealt


class Trainer:
    def __init__(self, config: Config, split: Split, say: Callable[[str], None]) -> None:
        self.config, self.split, self.say = config, split, say
        settings = config.train
        torch.manual_seed(settings.seed)
        self.device = device()
        self.model = FeatureMergeNet(config.network).to(self.device).to(memory_format=torch.channels_last)
        self.average = Average(self.model, settings.ema_decay)
        # Norms and biases are left out of the decay: pulling them to nought only slows training.
        weights = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=settings.learning_rate,
        )
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.positives = Deal(split.rows(True), self.generator)
        self.negatives = Deal(split.rows(False), self.generator)
        self.step = 0

    def run(self, checkpoint: Path) -> FeatureMergeNet:
        settings = self.config.train
        if checkpoint.exists():
            self.restore(torch.load(checkpoint, map_location=self.device))
            self.say(f"going on from step {self.step}")
        self.model.train()
        started, first, losses = time.monotonic(), self.step, []
        while self.step < settings.steps:
            losses.append(self.one_step())
            self.step += 1
            if self.step % settings.progress_every == 0 or self.step == settings.steps:
                pace = (time.monotonic() - started) / (self.step - first)
                left = pace * (settings.steps - self.step)
                self.say(f"step {self.step}/{settings.steps}, loss {sum(losses) / len(losses):.4f}, {pace:.3f} s a step, {left:.0f} s left")
                losses.clear()
            if self.step % settings.checkpoint_every == 0 or self.step == settings.steps:
                self.save(checkpoint)
        return self.average.model

    def one_step(self) -> float:
        settings = self.config.train
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(settings, self.step)
        rows = torch.cat([self.positives.next(settings.positives), self.negatives.next(settings.images - settings.positives)])
        images = data.augment(self.split.images[rows], settings.shift, self.generator)
        images = data.normalise(images, self.config.input).to(self.device).contiguous(memory_format=torch.channels_last)
        index = torch.arange(len(rows))
        drawn = groups.draw_mixed(settings, index[: settings.positives], index[settings.positives :], self.generator)
        logits = self.model(images, drawn.members.to(self.device)).squeeze(1)
        wanted = drawn.positive.float().to(self.device)
        wanted = wanted * (1 - settings.label_smoothing) + 0.5 * settings.label_smoothing
        loss = nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.average.update(self.model, self.step)
        return loss.item()

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".part")
        torch.save(
            {
                "step": self.step,
                "model": self.model.state_dict(),
                "average": self.average.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "generator": self.generator.get_state(),
                "dropout": torch.get_rng_state(),
                "left": (self.positives.left, self.negatives.left),
                "settings": made_with(self.config),
            },
            half,
        )
        half.replace(path)

    def restore(self, saved: dict[str, Any]) -> None:
        check(saved, self.config)
        self.step = saved["step"]
        self.model.load_state_dict(saved["model"])
        self.average.model.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.generator.set_state(saved["generator"].cpu())
        torch.set_rng_state(saved["dropout"].cpu())
        self.positives.left, self.negatives.left = (left.cpu() for left in saved["left"])


def made_with(config: Config) -> str:
    """What decides the weights: a new description or calibration needs no new training."""
    return repr((config.data, config.input, config.network, config.train))


def check(saved: dict[str, Any], config: Config) -> None:
    if saved["settings"] != made_with(config):
        raise SystemExit("the checkpoint was made with another configuration: remove it, or name another --work folder")


def trained(config: Config, checkpoint: Path) -> FeatureMergeNet:
    """The averaged network of a finished run."""
    if not checkpoint.exists():
        raise SystemExit(f"there is no {checkpoint}: run `train` first")
    saved = torch.load(checkpoint, map_location="cpu")
    check(saved, config)
    if saved["step"] < config.train.steps:
        raise SystemExit(f"training stopped at step {saved['step']} of {config.train.steps}: run `train` again to finish it")
    model = FeatureMergeNet(config.network)
    model.load_state_dict(saved["average"])
    return model.eval()
