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
    ships: bool = True  # in models/, committed; otherwise it is written to the work folder, which git ignores
    confirm: str = ""  # the configuration, beside this one, of the network that has the last word; of one with cuts, its individual test


@dataclass(frozen=True)
class DataConfig:
    kind: str  # idx: Fashion-MNIST's files; zip: SPLIT.zip of CLASS/NAME; csv: index.csv and SPLIT.tar
    folder: str  # where they are; --data names another place
    data: str
    data_licence: str
    positive: tuple[str, ...]  # classes
    calibration_images: int = 0  # idx only: held out of the training images, by class
    split_seed: int = 0


@dataclass(frozen=True)
class InputConfig:
    width: int
    height: int
    channels: str  # grey or rgb
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
    kind: str  # small, lite0, or MODULE:FUNCTION of your own: function(channels=, labels=) gives the parts by name
    stem: tuple[StemLayer, ...] = ()  # small only: its first layers
    coarse_until: str = ""  # lite0 only: this block does not halve the image's sides, the stem does it in its place
    tail_channels: int = 0  # small only
    tail_blocks: int = 0  # small only
    dropout: float = 0.0
    frozen_until: str = ""  # the last part whose weights stay as they were pretrained; its features are computed once
    init: str = ""  # whose weights training starts from: another configuration, beside this one, or a bundle's folder


@dataclass(frozen=True)
class Cut:
    after: str  # the part after which features are merged; "images" merges pixels
    fan_in: int = 0  # how many rows a row merges; 0 for the last cut, which merges all that is left


@dataclass(frozen=True)
class DesignConfig:
    cuts: tuple[Cut, ...]  # none: a network that tests single images only


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
    progress_every: int
    checkpoint_every: int
    hard_share: float = 0.0  # of the images of a step, those drawn by how much they still teach
    zoom: float = 1.0  # the smallest side of a crop, as a share of the image's
    erase: float = 0.0  # the longest side of a rectangle that covers a part of half the images, as a share of the image's
    colour: float = 0.0  # how far brightness and contrast are moved
    frozen_norms: bool = False  # whether norms keep the statistics that they start with
    variants: int = 0  # frozen networks: how many augmented copies of an image have their features kept
    distil: float = 0.0  # weight of the loss that holds a coarse first stage to the features of the pretrained one
    distil_steps: int = 0  # steps of that loss alone, before the others
    precision: str = "fp32"  # or bf16: fp32 all the same where the processor does not compute in it


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
    design: DesignConfig
    train: TrainConfig
    calibration: CalibrationConfig


def build(kind: type, table: Mapping[str, Any], where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(table) - set(fields))
    missing = sorted(name for name, field in fields.items() if name not in table and field.default is dataclasses.MISSING)
    if unknown or missing:
        raise ValueError(f"{where}: unknown keys {unknown}, missing keys {missing}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in table.items()})


def parse(table: Mapping[str, Any]) -> Config:
    table = {name: dict(section) for name, section in table.items()}
    sections = {field.name: field.type for field in dataclasses.fields(Config)}
    kinds = {name: globals()[str(kind)] for name, kind in sections.items()}
    if set(table) != set(kinds):
        raise ValueError(f"sections must be {sorted(kinds)}, not {sorted(table)}")
    nested(table["network"], "stem", StemLayer, "network.stem")
    nested(table["design"], "cuts", Cut, "design.cuts")
    config = Config(**{name: build(kind, table[name], name) for name, kind in kinds.items()})
    check(config)
    return config


def nested(section: dict[str, Any], key: str, kind: type, where: str) -> None:
    if key in section:
        section[key] = [build(kind, entry, where) for entry in section[key]]


def check(config: Config) -> None:
    train, cuts = config.train, config.design.cuts
    if len(train.sizes) != len(train.size_weights):
        raise ValueError("train.sizes and train.size_weights differ in length")
    if any(cut.fan_in < 2 for cut in cuts[:-1]) or any(cut.fan_in for cut in cuts[-1:]):
        raise ValueError("design.cuts: every cut but the last has a fan_in of 2 or more, the last has none")
    if not cuts and max(train.sizes) > 1:
        raise ValueError("train.sizes: a network without cuts tests single images only")
    if train.precision not in ("fp32", "bf16"):
        raise ValueError(f"train.precision must be fp32 or bf16, not {train.precision}")
    if train.distil and not (config.network.coarse_until and cuts):
        raise ValueError("train.distil teaches what lies before the first cut: it needs network.coarse_until and design.cuts")
    if bool(config.network.frozen_until) != bool(train.variants):
        raise ValueError("network.frozen_until and train.variants go together")


def load(path: Path) -> Config:
    with open(path, "rb") as file:
        return parse(tomllib.load(file))
