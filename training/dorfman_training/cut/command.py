"""The command `cut`: its arguments, and what they mean."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from .. import progress
from .errors import CutError

if TYPE_CHECKING:
    from .bundle import About, Plan
    from .images import Input
    from .network import Network, Original


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="an ONNX classifier: one image input, one output that scores")
    parser.add_argument("--output", metavar="NAME", help="the output that scores, of a model with several")
    parser.add_argument("--size", type=size, metavar="N|WxH", help="width and height of the input (default: what the model says)")
    parser.add_argument("--layout", choices=("nchw", "nhwc"), help="order of the input's axes (default: what its shape says)")
    parser.add_argument("--as-is", action="store_true", help="don't fold constants first (tensors keep all their names; fewer cuts)")
    parser.add_argument("--threads", type=int, default=2, help="threads to compute with (default: %(default)s)")
    listing = parser.add_argument_group("where can it be cut? (without --at)")
    listing.add_argument("--list", action="store_true", help="list the cut points; what happens without --at")
    listing.add_argument("--all", action="store_true", help="also points with nothing to compute between them and a better one")
    listing.add_argument("--json", action="store_true", help="JSON instead of a table; progress goes to standard error")
    listing.add_argument("--no-time", action="store_true", help="count multiply-adds only")
    listing.add_argument("--batch", type=int, default=16, help="images a timed run (default: %(default)s)")
    listing.add_argument("--repeats", type=int, default=8, help="timed runs of each part; the fastest counts (default: %(default)s)")
    add_cutting(parser.add_argument_group("cut it there"))


def add_cutting(cutting: argparse._ArgumentGroup) -> None:
    add = cutting.add_argument
    add("--at", nargs="+", action="extend", default=[], metavar="NAME", help="the tensor to cut at; of several, the last merges all")
    add("--fan-in", type=int, default=2, metavar="N", help="how many rows each cut but the last merges (default: %(default)s)")
    add("--out", type=Path, metavar="DIR", help="the bundle's folder")
    add("--name", help="the bundle's name")
    add("--version", help="the bundle's version")
    add("--licence", metavar="SPDX", help="licence of the weights")
    add("--description", default="", help="one line for people")
    add("--labels", metavar="A,B|FILE", help="names of the scores in order, or a file with one a line")
    add("--positive", type=listed, metavar="A[,B]", help="the labels that the worker looks for")
    add("--activation", choices=("none", "softmax", "sigmoid"), default="none", help="what makes the output probabilities (default: %(default)s)")
    add(
        "--data",
        type=Path,
        metavar="PATH",
        help="labelled images that the network was NOT trained on: a folder or zip of CLASS/NAME, or a CSV with path,class",
    )
    add(
        "--positive-class",
        action="append",
        default=[],
        metavar="[LABEL=]C[,C]",
        help="the data's classes that are positive, for all positive labels or for one",
    )
    add("--data-name", default="", help="what the network was trained on, for the manifest")
    add("--data-licence", default="", help="and that data's licence")
    add("--channels", choices=("rgb", "bgr", "grey"), help="colour channels in the network's order")
    add("--mean", type=numbers, metavar="X[,X,X]", help="taken off each channel, in units of 0..255")
    add("--std", type=numbers, metavar="X[,X,X]", help="divides each channel after that")
    add("--short-side", type=short_side, metavar="N|stretch", help="shrink the short side to N and crop the centre, or stretch to the size")
    add("--filter", choices=("bilinear", "bicubic", "lanczos3", "nearest"), default="bilinear", help="of the resizing (default: %(default)s)")
    add("--arities", type=integers, default=(1, 2, 4, 8, 16), metavar="N,N", help="group sizes to calibrate (default: 1,2,4,8,16)")
    add("--groups", type=int, default=1000, metavar="N", help="groups to draw, positive and negative, at each arity (default: %(default)s)")
    add("--images", type=int, metavar="N", help="take at most so many images of each class (default: all)")
    add("--sensitivities", type=numbers, default=(0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999), metavar="X,X",
        help="shares of positive groups to keep, each with its threshold (default: 0.9 to 0.999)")  # fmt: skip
    add("--seed", type=int, default=30, help="of the groups drawn (default: %(default)s)")


def size(text: str) -> tuple[int, int]:
    """Width and height."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not found or 0 in map(int, filter(None, found.groups())):
        raise argparse.ArgumentTypeError(f"{text} is neither N nor WxH, of at least 1")
    return int(found[1]), int(found[2] or found[1])


def listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in listed(text))


def integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in listed(text))


def short_side(text: str) -> int | str:
    return text if text == "stretch" else int(text)


def run(arguments: argparse.Namespace) -> None:
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(f"cut: this Python has no {' and no '.join(missing)}")
    try:
        cut(arguments) if arguments.at else list_points(arguments)
    except CutError as error:
        raise SystemExit(f"cut: {error}") from error


def say(text: str) -> None:
    progress.say(text, sys.stderr)


def opened(arguments: argparse.Namespace) -> tuple[Original, Network, str]:
    """The model, the model ready to be cut, and the layout of its input."""
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
        raise CutError("the model takes any width and height: say with --size which")
    # What is left open is the number of channels; a model that says nothing is asked for on the command line.
    shape[channels] = shape[channels] or (1 if arguments.channels == "grey" else 3)
    known = [length for length in shape if length is not None]
    return original, network.prepare(original, known, simplify=not arguments.as_is), layout


def layout_of(original: Original) -> str:
    first, last = original.image_shape[0], original.image_shape[2]
    fits = [name for name, count in (("nchw", first), ("nhwc", last)) if count in (1, 3)]
    if len(fits) != 1:
        raise CutError(f"the input's shape {list(original.image_shape)} does not tell its layout: say --layout nchw or nhwc")
    return fits[0]


def list_points(arguments: argparse.Namespace) -> None:
    from . import listing, macs, points, timing

    _, network, _ = opened(arguments)
    every = points.find(network)
    chosen = every if arguments.all else points.worth_listing(every)
    if not chosen:
        raise CutError("there is no tensor that alone carries the image's way to the score")
    shares: Sequence[float | None] = [None] * len(chosen)
    seconds = None
    if not arguments.no_time:
        shares, seconds = timing.shares(network, chosen, arguments.batch, arguments.repeats, arguments.threads, say)
    rows = [listing.Row(point, share) for point, share in zip(chosen, shares)]
    total = sum(macs.counts(network))
    if arguments.json:
        print(listing.as_json(rows, total, seconds, arguments.batch))
        return
    print(listing.as_table(rows))
    print(f"{len(every)} cut points, {len(rows)} listed; {total / 1e6:.1f} M multiply-adds an image", end="")
    print("" if seconds is None else f", {seconds * 1e3:.2f} ms at batch {arguments.batch} on {arguments.threads} threads")


def cut(arguments: argparse.Namespace) -> None:
    from . import bundle, dataset
    from .calibration import Settings

    wanted = ("out", "name", "version", "licence", "labels", "positive", "data", "positive_class", "mean", "std", "short_side")
    missing = [f"--{field.replace('_', '-')}" for field in wanted if not getattr(arguments, field)]
    if missing:
        raise CutError(f"--at also needs {', '.join(missing)}")
    about = described(arguments)
    plan = planned(arguments)
    found = dataset.find(arguments.data)
    dataset.check_classes(found, [kind for kinds in about.positive.values() for kind in kinds])
    found = dataset.sample(found, arguments.images, arguments.seed)
    if 1 not in arguments.arities or not all(1 <= arity <= 64 for arity in arguments.arities):
        raise CutError("--arities: they must be 1 to 64, and 1 is always needed")
    if not all(0 < share <= 1 for share in arguments.sensitivities):
        raise CutError("--sensitivities: each must be above 0 and at most 1")
    settings = Settings(arguments.arities, arguments.groups, arguments.sensitivities, 201, arguments.seed)
    bundle.make(arguments.out, plan, about, found, settings, say)


def planned(arguments: argparse.Namespace) -> Plan:
    from . import points
    from .bundle import Plan

    original, network, layout = opened(arguments)
    original_names = frozenset(name for node in original.model.graph.node for name in [*node.input, *node.output])
    cuts = points.choose(network, arguments.at, original_names)
    between = len(cuts) - 1
    if between and not 2 <= arguments.fan_in <= 64:
        raise CutError("--fan-in: must be 2 to 64")
    wanted = input_of(arguments, network.shapes[network.image], layout)
    return Plan(original, network, cuts, (arguments.fan_in,) * between, arguments.activation, wanted, arguments.threads)


def input_of(arguments: argparse.Namespace, shape: Sequence[int], layout: str) -> Input:
    from .images import CHANNELS, Input

    count, height, width = shape[1:] if layout == "nchw" else (shape[3], shape[1], shape[2])
    channels = arguments.channels or ("grey" if count == 1 else None)
    if channels is None:
        raise CutError("--channels: say whether the network was trained on rgb or bgr")
    if CHANNELS[channels] != count:
        raise CutError(f"--channels {channels}: the model's images have {count} channels")
    side = None if arguments.short_side == "stretch" else arguments.short_side
    return Input(width, height, channels, layout, side, arguments.filter, arguments.mean, arguments.std)


def described(arguments: argparse.Namespace) -> About:
    from .bundle import About

    file = Path(arguments.labels)
    labels = tuple(file.read_text(encoding="utf-8").split("\n")) if file.is_file() else listed(arguments.labels)
    labels = tuple(label.strip() for label in labels if label.strip())
    if len(set(labels)) != len(labels):
        raise CutError("--labels: a name stands there twice")
    unknown = [label for label in arguments.positive if label not in labels]
    if unknown:
        raise CutError(f"--positive: {', '.join(unknown)} is none of the labels")
    for field in ("name", "version", "licence"):
        if not getattr(arguments, field).strip():
            raise CutError(f"--{field} must not be empty")
    return About(
        arguments.name, arguments.version, arguments.licence, arguments.description,
        arguments.data_name, arguments.data_licence, command_line(sys.argv[1:]), labels,
        positive_classes(arguments.positive, arguments.positive_class),
    )  # fmt: skip


def positive_classes(labels: Sequence[str], given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The classes of the data for each positive label: those given for it, or else those given for all."""
    classes: dict[str, tuple[str, ...]] = {label: () for label in labels}
    for text in given:
        label, equals, kinds = text.rpartition("=")
        if equals and label not in classes:
            raise CutError(f"--positive-class: {label} is no positive label")
        for each in [label] if equals else labels:
            classes[each] += listed(kinds)
    without = [label for label, kinds in classes.items() if not kinds]
    if without:
        raise CutError(f"--positive-class: none is given for {', '.join(without)}")
    return classes


def command_line(words: Sequence[str]) -> str:
    """What was typed, for the manifest; of paths only the last part, as nobody else has the folders."""
    return shlex.join(["python3", "-m", "dorfman_training", *(Path(word).name if is_path(word) else word for word in words)])


def is_path(word: str) -> bool:
    """A tensor's name may begin with a slash too, but lies in no folder that there is."""
    if Path(word).exists() or word.startswith(("./", "../", "~")):
        return True
    return word.startswith("/") and Path(word).parent != Path("/") and Path(word).parent.exists()
