"""Reads the configuration file of a bundle. Unknown and missing keys are errors, to catch mistyped keys."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

from . import merge_kinds


@dataclass(frozen=True)
class BundleConfig:
    name: str
    version: str
    description: str
    licence: str
    label: str
    ships: bool = True  # true: written to models/ and committed; false: written to the work folder, which git ignores
    # File name of the confirm network's configuration, in the folder of this one. If that network
    # has cuts, its individual test is used.
    confirm: str = ""


@dataclass(frozen=True)
class DataConfig:
    kind: str  # idx: files of Fashion-MNIST; zip: SPLIT.zip with entries CLASS/NAME; csv: index.csv and SPLIT.tar
    folder: str  # folder of the files; the option --data replaces it
    data: str
    data_licence: str
    positive: tuple[str, ...]  # the positive classes
    calibration_images: int = 0  # idx only: how many training images are held out, in proportion to the classes
    split_seed: int = 0


@dataclass(frozen=True)
class InputConfig:
    width: int
    height: int
    channels: str  # grey or rgb
    filter: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    draft: int = 0  # a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size down to this many times the input; 0: it is decoded in full


@dataclass(frozen=True)
class StemLayer:
    channels: int
    kernel: int
    stride: int


@dataclass(frozen=True)
class NetworkConfig:
    kind: str  # small, lite0, lite2, or MODULE:FUNCTION of a user: function(channels=, labels=) returns the parts by name
    stem: tuple[StemLayer, ...] = ()  # small only: the first layers
    coarse_until: str = ""  # lite0 and lite2 only: the stem halves the image's sides once more, and this block does not
    tail_channels: int = 0  # small only
    tail_blocks: int = 0  # small only
    dropout: float = 0.0
    frozen_until: str = ""  # the last part whose pretrained weights are not trained; its features are computed once
    init: str = ""  # initial weights: a configuration file in the folder of this one, or the folder of a bundle


@dataclass(frozen=True)
class Cut:
    after: str  # the part after which features are merged; "images" merges pixels
    fan_in: int = 0  # how many rows of the stage before are merged into one; 0 for the last cut, which merges all rows of a test


@dataclass(frozen=True)
class DesignConfig:
    cuts: tuple[Cut, ...]  # empty: the network tests single images only
    merge: str = "max"  # max: the element-wise maximum; cam: at each place, the vector with the highest linear logit


@dataclass(frozen=True)
class TrainConfig:
    seed: int
    steps: int
    images: int  # images per step
    positives: int  # positive images per step
    groups: int  # tests per step
    learning_rate: float
    weight_decay: float
    warm_up: int
    ema_decay: float
    shift: int  # largest shift, in pixels, in each direction
    sizes: tuple[int, ...]  # group sizes to draw from
    size_weights: tuple[float, ...]  # relative frequency of each group size
    positive_share: float  # share of the groups that are positive
    several_share: float  # share of the positive groups that have two or three positives
    progress_every: int
    checkpoint_every: int
    hard_share: float = 0.0  # share of a step's images that are drawn in proportion to their recent error
    zoom: float = 1.0  # the smallest side of a crop, as a share of the image's side
    erase: float = 0.0  # the longest side of the rectangle erased in half of the images, as a share of the image's side
    colour: float = 0.0  # largest relative change of brightness and contrast
    frozen_norms: bool = False  # whether batch norms keep their initial statistics
    variants: int = 0  # with frozen parts: for how many augmented copies of each image features are stored
    distil: float = 0.0  # weight of the loss between the features of a coarse first stage and the pretrained ones
    distil_steps: int = 0  # first steps that use only this loss
    linear_probe: int = 0  # tests on which the last linear layer and the selectors are fitted before the first step; 0: no linear probe
    precision: str = "fp32"  # fp32 or bf16; bf16 becomes fp32 on a processor without bfloat16 instructions


@dataclass(frozen=True)
class CalibrationConfig:
    seed: int
    arities: tuple[int, ...]
    positives: int
    negatives: int
    quantiles: int
    sensitivities: tuple[float, ...]


@dataclass(frozen=True)
class ScreenConfig:
    """A screen: EfficientNet-Lite0 with frozen ImageNet weights, cut off, with a head of its own."""

    until: str = "block5_wide"  # the last part
    side: int = 64  # width and height of its input, in pixels


@dataclass(frozen=True)
class ExitsConfig:
    """Early exits, which `export` adds to the bundle. They do not change the network."""

    most: int = 4  # largest number of exits, without the screen
    loss: float = 0.002  # largest share of the positives that all exits together may lose
    deeper: bool = False  # whether exits may lie behind the merge, which then moves behind the last of them
    rows: str = "auto"  # images that set the thresholds: calibration, all (also training images, out of fold) or auto
    mirror: bool = True  # with few images: whether heads are also fitted on mirror images
    screen: ScreenConfig | None = None


@dataclass(frozen=True)
class Config:
    bundle: BundleConfig
    data: DataConfig
    input: InputConfig
    network: NetworkConfig
    design: DesignConfig
    train: TrainConfig
    calibration: CalibrationConfig
    exits: ExitsConfig | None = None  # None: the bundle has no exits


def build(kind: type, table: Mapping[str, Any], where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(table) - set(fields))
    missing = sorted(name for name, field in fields.items() if name not in table and field.default is dataclasses.MISSING)
    if unknown or missing:
        raise ValueError(f"{where}: unknown keys {unknown}, missing keys {missing}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in table.items()})


def parse(table: Mapping[str, Any]) -> Config:
    table = {name: dict(section) for name, section in table.items() if section is not None}
    sections = {field.name: field.type for field in dataclasses.fields(Config)}
    kinds = {name: globals()[str(kind).removesuffix(" | None")] for name, kind in sections.items()}
    if set(table) | {"exits"} != set(kinds):
        raise ValueError(f"sections must be {sorted(kinds)} (exits is optional), not {sorted(table)}")
    kinds = {name: kind for name, kind in kinds.items() if name in table}
    if table.get("exits", {}).get("screen") is not None:
        table["exits"]["screen"] = build(ScreenConfig, table["exits"]["screen"], "exits.screen")
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
        raise ValueError("train.sizes and train.size_weights differ in length: give one weight per size")
    if any(cut.fan_in < 2 for cut in cuts[:-1]) or any(cut.fan_in for cut in cuts[-1:]):
        raise ValueError("design.cuts: give every cut except the last a fan_in of 2 or more, and the last cut none")
    if config.design.merge not in merge_kinds.OF_FEATURES:
        raise ValueError(f"design.merge must be {' or '.join(merge_kinds.OF_FEATURES)}, not {config.design.merge}; pixels are merged by their mean")
    if config.design.merge != merge_kinds.MAX and (not cuts or cuts[0].after == "images"):
        raise ValueError(f"design.merge = {config.design.merge} merges features: give design.cuts a part of the network")
    if config.exits and config.exits.deeper and config.design.merge != merge_kinds.MAX:
        raise ValueError("exits.deeper moves the merge, which only a maximum allows: set it to false, or design.merge to max")
    if not cuts and max(train.sizes) > 1:
        raise ValueError("train.sizes: a network without cuts tests single images only; set it to [1]")
    if config.exits and config.exits.rows not in ("auto", "calibration", "all"):
        raise ValueError(f"exits.rows must be auto, calibration or all, not {config.exits.rows}")
    if train.linear_probe and (not cuts or cuts[0].after == "images"):
        raise ValueError("train.linear_probe is for networks that merge features: set it to 0, or give design.cuts a part of the network")
    if train.precision not in ("fp32", "bf16"):
        raise ValueError(f"train.precision must be fp32 or bf16, not {train.precision}")
    if train.distil and not (config.network.coarse_until and cuts):
        raise ValueError("train.distil trains the stage before the first cut: set network.coarse_until and design.cuts too")
    if bool(config.network.frozen_until) != bool(train.variants):
        raise ValueError("set network.frozen_until and train.variants together, or neither")


def load(path: Path) -> Config:
    with open(path, "rb") as file:
        return parse(tomllib.load(file))
