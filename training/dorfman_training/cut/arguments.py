"""What the arguments of `cut` mean: the types of their values, the network, its input and the labels."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from .. import merge_kinds
from .errors import CutError

if TYPE_CHECKING:
    from .bundle import About, Plan
    from .images import Input
    from .network import Network, Original
    from .points import Point


def size(text: str) -> tuple[int, int]:
    """Parses N or WxH to a width and a height."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not found or 0 in map(int, filter(None, found.groups())):
        raise argparse.ArgumentTypeError(f"{text} is neither N nor WxH with numbers of at least 1")
    return int(found[1]), int(found[2] or found[1])


def listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in listed(text))


def integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in listed(text))


def short_side(text: str) -> int | str:
    return text if text == "stretch" else int(text)


def opened(arguments: argparse.Namespace) -> tuple[Original, Network, str]:
    """Returns the original model, the network prepared for cutting, and the layout of its input."""
    from . import network

    original = network.read(arguments.model, arguments.output)
    layout = arguments.layout or layout_of(original)
    height, width, channels = (1, 2, 0) if layout == "nchw" else (0, 1, 2)
    shape = list(original.image_shape)
    for axis, wanted, what in ((width, 0, "width"), (height, 1, "height")):
        given = arguments.size and arguments.size[wanted]
        if given and shape[axis] not in (None, given):
            raise CutError(f"--size: the model's {what} is {shape[axis]}, not {given}")
        shape[axis] = shape[axis] or given
    if None in (shape[width], shape[height]):
        raise CutError("the model takes any width and height: give them with --size")
    # Only the number of channels can still be unknown. It then follows from --channels.
    shape[channels] = shape[channels] or (1 if arguments.channels == "grey" else 3)
    known = [length for length in shape if length is not None]
    return original, network.prepare(original, known, simplify=not arguments.as_is), layout


def layout_of(original: Original) -> str:
    first, last = original.image_shape[0], original.image_shape[2]
    fits = [name for name, count in (("nchw", first), ("nhwc", last)) if count in (1, 3)]
    if len(fits) != 1:
        raise CutError(f"the layout does not follow from the input's shape {list(original.image_shape)}: give --layout nchw or nhwc")
    return fits[0]


def planned(arguments: argparse.Namespace) -> Plan:
    from . import points
    from .bundle import Plan

    original, network, layout = opened(arguments)
    original_names = frozenset(name for node in original.model.graph.node for name in [*node.input, *node.output])
    cuts = points.choose(network, arguments.at, original_names)
    between = len(cuts) - 1
    if between and not 2 <= arguments.fan_in <= 64:
        raise CutError("--fan-in: must be 2 to 64")
    if arguments.merge == merge_kinds.CAM:
        check_cam(arguments, network, cuts)
    wanted = input_of(arguments, network.shapes[network.image], layout, network.kind)
    return Plan(original, network, cuts, (arguments.fan_in,) * between, arguments.activation, wanted, arguments.threads, arguments.merge)


def check_cam(arguments: argparse.Namespace, network: Network, cuts: Sequence[Point]) -> None:
    """Raises CutError if the network cannot merge by class activation maps at the cuts."""
    from .. import merge_nodes
    from .network import opset

    if arguments.exits:
        raise CutError("--merge cam: give --at without --exits; then add exits with the command `exits`, from images that `cut` did not use")
    if len(cuts) > 1:
        raise CutError("--merge cam: give one cut point; a tree merges by maximum")
    if len(cuts[0].row) != 3:
        raise CutError(f"--merge cam: a row of {cuts[0].name} has the shape {list(cuts[0].row)}; cut at a feature map, whose rows are [C,H,W]")
    if opset(network.model) < merge_nodes.OLDEST_CAM:
        raise CutError(f"--merge cam: the model has opset {opset(network.model)}; export it with {merge_nodes.OLDEST_CAM} or later")


def input_of(arguments: argparse.Namespace, shape: Sequence[int], layout: str, kind: int, flags: str = "--") -> Input:
    """Returns the input of a network. `flags` begins the names of the options, for messages."""
    from .images import CHANNELS, Input

    mean, std = normalisation(arguments, kind, flags)
    count, height, width = shape[1:] if layout == "nchw" else (shape[3], shape[1], shape[2])
    channels = arguments.channels or ("grey" if count == 1 else None)
    if channels is None:
        raise CutError(f"{flags}channels: give the channel order that the network was trained on, rgb or bgr")
    if CHANNELS[channels] != count:
        raise CutError(f"{flags}channels {channels}: the model's images have {count} channels")
    side = None if arguments.short_side == "stretch" else arguments.short_side
    return Input(width, height, channels, layout, side, arguments.filter, mean, std, arguments.draft)


def normalisation(arguments: argparse.Namespace, kind: int, flags: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the mean and the deviation for a network that reads `kind`: none if it reads uint8."""
    from onnx import TensorProto

    given = {name: getattr(arguments, name) or () for name in ("mean", "std")}
    if kind == TensorProto.UINT8 and any(given.values()):
        raise CutError(f"{flags}mean, {flags}std: the model reads uint8, so it normalises the pixels itself; leave both out")
    if kind != TensorProto.UINT8 and not all(given.values()):
        raise CutError(f"{flags}mean, {flags}std: give both, because the model reads float32")
    return given["mean"], given["std"]


def described(arguments: argparse.Namespace) -> About:
    from .bundle import About

    file = Path(arguments.labels)
    labels = tuple(file.read_text(encoding="utf-8").split("\n")) if file.is_file() else listed(arguments.labels)
    labels = tuple(label.strip() for label in labels if label.strip())
    if len(set(labels)) != len(labels):
        raise CutError("--labels: a name is given twice")
    unknown = [label for label in arguments.positive if label not in labels]
    if unknown:
        raise CutError(f"--positive: {', '.join(unknown)} is not in --labels")
    for field in ("name", "version", "licence"):
        if not getattr(arguments, field).strip():
            raise CutError(f"--{field} must not be empty")
    return About(
        arguments.name, arguments.version, arguments.licence, arguments.description,
        arguments.data_name, arguments.data_licence, command_line(sys.argv[1:]), labels,
        classes_of(arguments),
    )  # fmt: skip


def classes_of(arguments: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    if arguments.exits and arguments.target == "verdicts":
        return {label: () for label in arguments.positive}
    return positive_classes(arguments.positive, arguments.positive_class)


def positive_classes(labels: Sequence[str], given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns the classes of the data for each positive label.

    They are the classes given for that label and the classes given for all labels.
    """
    classes: dict[str, tuple[str, ...]] = {label: () for label in labels}
    for text in given:
        label, equals, kinds = text.rpartition("=")
        if equals and label not in classes:
            raise CutError(f"--positive-class: {label} is not a positive label")
        for each in [label] if equals else labels:
            classes[each] += listed(kinds)
    without = [label for label, kinds in classes.items() if not kinds]
    if without:
        raise CutError(f"--positive-class: give a class for {', '.join(without)}")
    return classes


def command_line(words: Sequence[str]) -> str:
    """Returns the command line for the manifest. Paths are shortened to their last part."""
    return shlex.join(["python3", "-m", "dorfman_training", *(Path(word).name if is_path(word) else word for word in words)])


def is_path(word: str) -> bool:
    """Returns whether a word is a path.

    The name of a tensor may also begin with a slash, but its parent folder does not exist.
    """
    if Path(word).exists() or word.startswith(("./", "../", "~")):
        return True
    return word.startswith("/") and Path(word).parent != Path("/") and Path(word).parent.exists()
