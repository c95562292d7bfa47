"""Trains one network for all group sizes. An interrupted run resumes from its last checkpoint."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
import time
from pathlib import Path
from typing import Any, Callable, Iterable

import torch
from torch import Tensor, nn

from . import groups, linear_probe, merge_kinds, progress
from .config import Config, NetworkConfig, TrainConfig
from .data import Split
from .deal import Deal
from .distil import Teacher
from .groups import Groups
from .model import StagedNet, build
from .source import Feed, half

SELECTOR_RATE = 20.0  # how many times faster selectors learn: they are linear, and start at zero


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def learning_rate(config: TrainConfig, step: int) -> float:
    """Returns the learning rate of a step: linear warm-up, then half a cosine down to 0."""
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    done = (step - config.warm_up) / max(1, config.steps - config.warm_up)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


class Average:
    """An exponential average of the weights and of the batch norms' statistics.

    The averaged network is calibrated and exported.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        # The first weights are random. A smaller decay in the early steps removes them faster.
        decay = min(self.decay, (1 + step) / (10 + step))
        for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values()):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)


class Trainer:
    def __init__(self, config: Config, split: Split, say: Callable[[str], None], start: dict[str, Tensor] | None = None, origin: str = "") -> None:
        """`start` has the initial weights, as `weights` returns them for a network with the same parts.

        `origin` is the `digest` of the weights that training starts from.
        """
        self.config, self.split, self.say, self.origin = config, split, say, origin
        settings = config.train
        torch.manual_seed(settings.seed)
        self.device = device()
        self.model = build(config.network, config.design, config.input).to(self.device).to(memory_format=torch.channels_last)
        if start is not None:
            load_weights(self.model, start)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.positives = Deal(split.rows(True), settings.hard_share, self.generator)
        self.negatives = Deal(split.rows(False), settings.hard_share, self.generator)
        self.feed = Feed(self.model, split, config, self.device, say)
        self.teacher = Teacher(config, self.device) if settings.distil else None
        self.average = Average(self.model, settings.ema_decay)
        self.optimizer = optimizer(self.model, settings)
        self.step = 0

    def run(self, checkpoint: Path) -> StagedNet:
        settings = self.config.train
        if checkpoint.exists():
            self.restore(torch.load(checkpoint, map_location=self.device))
            self.say(f"resuming from step {self.step}")
        elif settings.linear_probe:
            self.fit_linear_probe()
        self.set_modes()
        started, first, losses = time.monotonic(), self.step, []
        bar = progress.counter(self.config.bundle.name, settings.steps, self.step)
        while self.step < settings.steps:
            losses.append(self.one_step())
            self.step += 1
            bar.update()
            if self.step % settings.progress_every == 0 or self.step == settings.steps:
                pace = (time.monotonic() - started) / (self.step - first)
                left = pace * (settings.steps - self.step)
                self.say(f"step {self.step}/{settings.steps}, loss {sum(losses) / len(losses):.4f}, {pace:.3f} s per step, {left:.0f} s left")
                losses.clear()
            if self.step % settings.checkpoint_every == 0 or self.step == settings.steps:
                self.save(checkpoint)
        bar.close()
        return self.average.model

    def fit_linear_probe(self) -> None:
        """Fits the last linear layer and the selectors, before the first step."""
        self.model.eval()
        try:
            linear_probe.fit(self.model, self.draw, math.ceil(self.config.train.linear_probe / self.config.train.groups))
        except ValueError as error:
            raise SystemExit(f"train.linear_probe: {error}; set it to 0") from error
        self.average = Average(self.model, self.config.train.ema_decay)
        self.say(f"linear probe fitted on {self.config.train.linear_probe} tests")

    def draw(self) -> linear_probe.Drawn:
        rows = self.next_rows()
        with half(self.config, self.device):
            features = self.feed.rest(self.feed.inputs(rows)).float()
        drawn, levels = self.draw_tests()
        hot = torch.arange(len(rows), device=self.device) < self.config.train.positives
        return linear_probe.Drawn(features, levels, hot, drawn.positive.to(self.device))

    def next_rows(self) -> Tensor:
        """Returns the images of a step. The positives come first."""
        settings = self.config.train
        return torch.cat([self.positives.next(settings.positives), self.negatives.next(settings.images - settings.positives)])

    def draw_tests(self) -> tuple[Groups, list[Tensor]]:
        """Draws the tests of a step."""
        settings = self.config.train
        index = torch.arange(settings.images)
        drawn = groups.draw_mixed(settings, index[: settings.positives], index[settings.positives :], self.generator)
        return drawn, [level.to(self.device) for level in groups.levels(drawn.members, drawn.sizes, self.model.fans)]

    def set_modes(self) -> None:
        self.model.train()
        self.feed.prefix.eval()
        if self.config.train.frozen_norms:
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def one_step(self) -> float:
        settings = self.config.train
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(settings, self.step) * group.get("rate", 1.0)
        rows = self.next_rows()
        inputs = self.feed.inputs(rows)
        with half(self.config, self.device):
            features = self.feed.rest(inputs)
            loss = self.teacher.loss(features, inputs) * settings.distil if self.teacher else features.new_zeros(())
            if self.step >= settings.distil_steps:
                loss = loss + self.grouped_loss(features, rows)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip(self.model)
        self.optimizer.step()
        self.average.update(self.model, self.step)
        return loss.item()

    def grouped_loss(self, features: Tensor, rows: Tensor) -> Tensor:
        drawn, levels = self.draw_tests()
        classified: list[Tensor] = []
        logits = self.tests(features, drawn, levels, classified).squeeze(1).float()
        wanted = drawn.positive.float().to(self.device)
        self.learn(rows, drawn, (logits.detach().sigmoid() - wanted).abs().cpu())
        return nn.functional.binary_cross_entropy_with_logits(logits, wanted) + self.selector_loss(classified, levels)

    def selector_loss(self, classified: list[Tensor], levels: list[Tensor]) -> Tensor:
        """Returns the loss of the selectors' classifiers. A row of a later level is positive if one of its images is."""
        loss = torch.zeros((), device=self.device)
        hot = torch.arange(self.config.train.images, device=self.device) < self.config.train.positives
        for logits, members in zip(classified, levels):
            loss = loss + nn.functional.binary_cross_entropy_with_logits(logits, hot.float())
            hot = hot[members].any(dim=1)
        return loss

    def tests(self, features: Tensor, drawn: Groups, levels: list[Tensor], classified: list[Tensor]) -> Tensor:
        if not self.model.cuts:
            return features.index_select(0, drawn.members[:, 0].to(self.device))
        if not self.model.pixels:
            return self.model.tests(features, levels, classified)
        # Repeated members change a mean, so each group is merged at its own size.
        merged = [self.model.merge(0, features, line[:size].unsqueeze(0)) for line, size in zip(levels[0], drawn.sizes.tolist())]
        return self.model.stages[1](torch.cat(merged))

    def learn(self, rows: Tensor, drawn: Groups, errors: Tensor) -> None:
        """Records the errors of the members of negative groups and of the positives of positive groups."""
        if not self.config.train.hard_share:
            return
        owners = torch.arange(len(drawn.sizes)).unsqueeze(1).expand_as(drawn.members)
        hot = drawn.members < self.config.train.positives
        group_hot = drawn.positive.unsqueeze(1).expand_as(hot)
        for deal, mask in ((self.positives, hot), (self.negatives, ~hot & ~group_hot)):
            deal.learn(rows[drawn.members[mask]], errors[owners[mask]])

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        half_written = path.with_suffix(".part")
        torch.save(
            {
                "step": self.step,
                "model": self.model.state_dict(),
                "average": self.average.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "generators": (self.generator.get_state(), self.feed.generator.get_state(), torch.get_rng_state()),
                "deals": (self.positives.state(), self.negatives.state()),
                "cuda_generators": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
                "settings": made_with(self.config),
                "origin": self.origin,
            },
            half_written,
        )
        half_written.replace(path)

    def restore(self, saved: dict[str, Any]) -> None:
        check(saved, self.config, self.origin)
        self.step = saved["step"]
        self.model.load_state_dict(saved["model"])
        self.average.model.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        mine, feed, dropout = saved["generators"]
        self.generator.set_state(mine.cpu())
        self.feed.generator.set_state(feed.cpu())
        torch.set_rng_state(dropout.cpu())
        if len(saved.get("cuda_generators", [])) == torch.cuda.device_count() > 0:
            torch.cuda.set_rng_state_all([state.cpu() for state in saved["cuda_generators"]])
        for deal, state in zip((self.positives, self.negatives), saved["deals"]):
            deal.restore(state)


def clip(model: StagedNet) -> None:
    """Limits the norm of the gradients to 1, of the stages and of the selectors apart.

    The selectors are classifiers of their own: with a common norm, large gradients of one would shrink the other's.
    """
    for part in (model.stages, model.selectors):
        nn.utils.clip_grad_norm_([p for p in part.parameters() if p.requires_grad], 1.0)


def optimizer(model: StagedNet, settings: TrainConfig) -> torch.optim.Optimizer:
    trained = [p for p in model.stages.parameters() if p.requires_grad]
    # Norms and biases have no weight decay, which would only slow training down.
    parameters: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if len(model.selectors):
        parameters.append({"params": list(model.selectors.parameters()), "weight_decay": 0.0, "rate": SELECTOR_RATE})
    return torch.optim.AdamW(parameters, lr=settings.learning_rate)


def weights(model: StagedNet) -> dict[str, Tensor]:
    """Returns the weights, numbered in the order of the parts.

    The order does not depend on the cuts, so all designs of one backbone can exchange weights.
    """
    values = [value for stage in model.stages for value in stage.state_dict().values()]
    return {str(index): value for index, value in enumerate(values)}


def load_weights(model: StagedNet, start: dict[str, Tensor]) -> None:
    mine = weights(model)
    if [v.shape for v in mine.values()] != [v.shape for v in start.values()]:
        raise SystemExit("network.init names a configuration of another network: name one with the same parts")
    with torch.no_grad():
        for name, value in mine.items():
            value.copy_(start[name])


def made_with(config: Config) -> str:
    """Returns the settings that determine the weights.

    A change of other settings, such as the description or the calibration, needs no new training.
    """
    data = (config.data.kind, config.data.positive, config.data.calibration_images, config.data.split_seed)
    # Written like this before there was another merge, so that old checkpoints stay valid.
    design = f"DesignConfig(cuts={config.design.cuts!r})" if config.design.merge == merge_kinds.MAX else repr(config.design)
    return f"({data!r}, {config.input!r}, {chosen(config.network)!r}, {design}, {chosen(config.train)!r})"


def chosen(section: NetworkConfig | TrainConfig) -> dict[str, Any]:
    """Returns the settings of a section that differ from their defaults.

    A checkpoint therefore stays valid when a new setting with a default is added.
    """
    fields = dataclasses.fields(section)
    return {field.name: getattr(section, field.name) for field in fields if getattr(section, field.name) != field.default}


def digest(values: Iterable[Tensor]) -> str:
    """Returns a SHA-256 digest that identifies a set of weights."""
    held = hashlib.sha256()
    for value in values:
        held.update(value.detach().cpu().contiguous().numpy().tobytes())
    return held.hexdigest()


def check(saved: dict[str, Any], config: Config, origin: str | None = None) -> None:
    """Exits if the checkpoint does not fit the configuration or the initial weights.

    `origin` is the digest of the weights that training would start from now. The origin is not
    checked if `origin` is None or the checkpoint has none.
    """
    if saved["settings"] != made_with(config):
        raise SystemExit("the checkpoint was made with another configuration: remove the checkpoint, or name another --work folder")
    if origin is not None and saved.get("origin", origin) != origin:
        raise SystemExit("the checkpoint started from other weights than network.init has now: remove the checkpoint, or name another --work folder")


def is_finished(config: Config, checkpoint: Path, origin: str | None = None) -> bool:
    """Returns whether training is finished.

    Callers check this before they create a Trainer: with frozen parts, a Trainer first computes the
    features of all images.
    """
    return checkpoint.exists() and opened(config, checkpoint, origin)["step"] >= config.train.steps


def opened(config: Config, checkpoint: Path, origin: str | None = None) -> dict[str, Any]:
    saved = torch.load(checkpoint, map_location="cpu")
    check(saved, config, origin)
    return saved


def trained(config: Config, checkpoint: Path) -> StagedNet:
    """Returns the averaged network of a finished run. Exits if the run is not finished."""
    if not checkpoint.exists():
        raise SystemExit(f"{checkpoint} does not exist: run `train` first")
    saved = opened(config, checkpoint)
    if saved["step"] < config.train.steps:
        raise SystemExit(f"training stopped at step {saved['step']} of {config.train.steps}: run `train` again to finish it")
    model = build(config.network, config.design, config.input)
    model.load_state_dict(saved["average"])
    return model.eval()
