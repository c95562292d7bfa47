"""The one file that a bundle is made from. Unknown and missing keys are refused, so that a typing error can't train something else."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping


@dataclass(frozen=True)
class BundleConfig:
    name: str
    version: str
    description: str
    licence: str
    label: str


@dataclass(frozen=True)
class DataConfig:
    folder: str  # the four files of Fashion-MNIST, gzipped
    data: str
    data_licence: str
    positive_class: int
    calibration_images: int  # held out of the training images, by class
    split_seed: int


@dataclass(frozen=True)
class InputConfig:
    width: int
    height: int
    channels: str
    filter: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class StemLayer:
    channels: int
    kernel: int
    stride: int


@dataclass(frozen=True)
class NetworkConfig:
    stem: tuple[StemLayer, ...]
    tail_channels: int
    tail_blocks: int
    dropout: float
    input_channels: int = 1
    labels: int = 1


@dataclass(frozen=True)
class TrainConfig:
    seed: int
    steps: int
    images: int  # a step: how many pass stage 0
    positives: int  # a step: how many of these are positive
    groups: int  # a step: how many tests
    learning_rate: float
    weight_decay: float
    warm_up: int
    ema_decay: float
    shift: int  # pixels, each way
    sizes: tuple[int, ...]  # group sizes to draw from, ...
    size_weights: tuple[float, ...]  # ... and how often each
    positive_share: float  # of the groups
    several_share: float  # of the positive groups, those with two or three positives
    label_smoothing: float
    progress_every: int
    checkpoint_every: int


@dataclass(frozen=True)
class CalibrationConfig:
    seed: int
    arities: tuple[int, ...]
    positives: int
    negatives: int
    quantiles: int
    sensitivities: tuple[float, ...]


@dataclass(frozen=True)
class Config:
    bundle: BundleConfig
    data: DataConfig
    input: InputConfig
    network: NetworkConfig
    train: TrainConfig
    calibration: CalibrationConfig


def build(kind: type, table: Mapping[str, Any], where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(table) - set(fields))
    missing = sorted(
        name for name, field in fields.items() if name not in table and field.default is dataclasses.MISSING
    )
    if unknown or missing:
        raise ValueError(f"{where}: unknown keys {unknown}, missing keys {missing}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in table.items()})


def parse(table: Mapping[str, Any]) -> Config:
    table = dict(table)
    sections = {field.name: field.type for field in dataclasses.fields(Config)}
    kinds = {name: globals()[str(kind)] for name, kind in sections.items()}
    if set(table) != set(kinds):
        raise ValueError(f"sections must be {sorted(kinds)}, not {sorted(table)}")
    network = dict(table["network"])
    network["stem"] = [build(StemLayer, layer, "network.stem") for layer in network.get("stem", [])]
    table["network"] = network
    config = Config(**{name: build(kind, table[name], name) for name, kind in kinds.items()})
    if len(config.train.sizes) != len(config.train.size_weights):
        raise ValueError("train.sizes and train.size_weights differ in length")
    return config


def load(path: Path) -> Config:
    with open(path, "rb") as file:
        return parse(tomllib.load(file))
