"""The command `cut`: its arguments, and how they are interpreted."""

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
    parser.add_argument("model", type=Path, help="an ONNX classifier with one image input and one output of scores")
    parser.add_argument("--output", metavar="NAME", help="the output with the scores, for a model with several outputs")
    parser.add_argument("--size", type=size, metavar="N|WxH", help="width and height of the input (default: those of the model)")
    parser.add_argument("--layout", choices=("nchw", "nhwc"), help="order of the input's axes (default: derived from its shape)")
    parser.add_argument("--as-is", action="store_true", help="do not fold constants first (tensors keep all their names; fewer cut points)")
    parser.add_argument("--threads", type=int, default=2, help="number of CPU threads (default: %(default)s)")
    listing = parser.add_argument_group("list the cut points (without --at)")
    listing.add_argument("--list", action="store_true", help="list the cut points; the default without --at")
    listing.add_argument("--all", action="store_true", help="list also points that have no multiply-adds between them and a listed point")
    listing.add_argument("--json", action="store_true", help="print JSON instead of a table; progress goes to standard error")
    listing.add_argument("--no-time", action="store_true", help="count multiply-adds and measure no time")
    listing.add_argument("--batch", type=int, default=16, help="images per timed run (default: %(default)s)")
    listing.add_argument("--repeats", type=int, default=8, help="timed runs of each part; the fastest run is used (default: %(default)s)")
    add_cutting(parser.add_argument_group("cut the network (with --at or --exits)"))
    add_exits(parser.add_argument_group("early exits (docs/cut.md)"))


def add_exits(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--exits", action="store_true", help="add early exits; without --at, their depths and the merge are chosen")
    add("--most", type=int, default=4, metavar="N", help="largest number of exits (default: %(default)s)")
    add(
        "--loss", type=float, default=0.01, metavar="X", help="largest share of the positives that all exits together may lose (default: %(default)s)"
    )
    add(
        "--target",
        choices=("labels", "verdicts"),
        default="labels",
        help="what exits learn; verdicts: the network's own verdicts, so that --data needs no classes (default: %(default)s)",
    )
    add("--verdict-threshold", type=float, metavar="X", help="score from which the network's verdict is positive (default with verdicts: 0.5)")
    add(
        "--verdict-sensitivity",
        type=float,
        default=0.99,
        metavar="X",
        help="with labels: sensitivity of the individual test (default: %(default)s)",
    )


def add_cutting(cutting: argparse._ArgumentGroup) -> None:
    add = cutting.add_argument
    add(
        "--at",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="the tensors to cut at; the cut at the last tensor merges all rows of a test",
    )
    add("--fan-in", type=int, default=2, metavar="N", help="how many rows each cut except the last merges (default: %(default)s)")
    add("--out", type=Path, metavar="DIR", help="folder for the bundle")
    add("--name", help="name of the bundle")
    add("--version", help="version of the bundle")
    add("--licence", metavar="SPDX", help="licence of the weights")
    add("--description", default="", help="one-line description of the bundle")
    add("--labels", metavar="A,B|FILE", help="names of the scores in order, or a file with one name per line")
    add("--positive", type=listed, metavar="A[,B]", help="labels that the worker flags")
    add(
        "--activation",
        choices=("none", "softmax", "sigmoid"),
        default="none",
        help="function that converts the output to probabilities (default: %(default)s)",
    )
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
        help="classes of the data that are positive, for all positive labels or for one LABEL; may be repeated",
    )
    add("--data-name", default="", help="name of the network's training data, for the manifest")
    add("--data-licence", default="", help="licence of the training data, for the manifest")
    add("--channels", choices=("rgb", "bgr", "grey"), help="the network's colour channels, in order")
    add("--mean", type=numbers, metavar="X[,X,X]", help="subtracted from each channel, in units of 0..255")
    add("--std", type=numbers, metavar="X[,X,X]", help="divides each channel after the subtraction, in units of 0..255")
    add(
        "--short-side",
        type=short_side,
        metavar="N|stretch",
        help="resize the short side to N and crop the centre, or stretch to the size of the input",
    )
    add("--filter", choices=("bilinear", "bicubic", "lanczos3", "nearest"), default="bilinear", help="resize filter (default: %(default)s)")
    add("--draft", action="store_true", help="decode a JPEG at 1/2, 1/4 or 1/8 of its size if its sides remain long enough")
    add("--arities", type=integers, default=(1, 2, 4, 8, 16), metavar="N,N", help="group sizes to calibrate (default: 1,2,4,8,16)")
    add(
        "--groups",
        type=int,
        default=1000,
        metavar="N",
        help="number of positive groups, and of negative groups, at each arity above 1 (default: %(default)s)",
    )
    add("--images", type=int, metavar="N", help="use at most N images of each class (default: all)")
    add("--sensitivities", type=numbers, default=(0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999), metavar="X,X",
        help="sensitivities; a threshold is set for each (default: 0.9 to 0.999)")  # fmt: skip
    add("--seed", type=int, default=30, help="seed for drawing images and groups (default: %(default)s)")


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


def run(arguments: argparse.Namespace) -> None:
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(f"cut: missing Python packages: install {' and '.join(missing)}")
    try:
        cut(arguments) if arguments.at or arguments.exits else list_points(arguments)
    except CutError as error:
        raise SystemExit(f"cut: {error}") from error


def say(text: str) -> None:
    progress.say(text, sys.stderr)


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


def list_points(arguments: argparse.Namespace) -> None:
    from . import listing, macs, points, timing

    _, network, _ = opened(arguments)
    every = points.find(network)
    chosen = every if arguments.all else points.worth_listing(every)
    if not chosen:
        raise CutError("the network has no cut point: no single tensor separates the image from the scores")
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
    print(f"{len(every)} cut points, {len(rows)} listed; {total / 1e6:.1f} M multiply-adds per image", end="")
    print("" if seconds is None else f", {seconds * 1e3:.2f} ms at batch {arguments.batch} on {arguments.threads} threads")


def cut(arguments: argparse.Namespace) -> None:
    from . import bundle, dataset
    from .calibration import Settings

    wanted: tuple[str, ...] = ("out", "name", "version", "licence", "labels", "positive", "data", "positive_class", "mean", "std", "short_side")
    if arguments.exits and arguments.target == "verdicts":
        wanted = tuple(field for field in wanted if field != "positive_class")
    missing = [f"--{field.replace('_', '-')}" for field in wanted if not getattr(arguments, field)]
    if missing:
        raise CutError(f"{'--exits' if arguments.exits else '--at'} also needs {', '.join(missing)}")
    if 1 not in arguments.arities or not all(1 <= arity <= 64 for arity in arguments.arities):
        raise CutError("--arities: every arity must be 1 to 64, and 1 is always needed")
    if not all(0 < share <= 1 for share in arguments.sensitivities):
        raise CutError("--sensitivities: each must be above 0 and at most 1")
    settings = Settings(arguments.arities, arguments.groups, arguments.sensitivities, 201, arguments.seed)
    if arguments.exits:
        from ..exits import cutting

        cutting.run(arguments, settings, say)
        return
    about = described(arguments)
    plan = planned(arguments)
    found = dataset.find(arguments.data)
    dataset.check_classes(found, [kind for kinds in about.positive.values() for kind in kinds])
    found = dataset.sample(found, arguments.images, arguments.seed)
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
        raise CutError("--channels: give the channel order that the network was trained on, rgb or bgr")
    if CHANNELS[channels] != count:
        raise CutError(f"--channels {channels}: the model's images have {count} channels")
    side = None if arguments.short_side == "stretch" else arguments.short_side
    return Input(width, height, channels, layout, side, arguments.filter, arguments.mean, arguments.std, arguments.draft)


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
