"""The command `cut`: its arguments, and what it does."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Sequence

from .. import merge_kinds, progress
from .arguments import described, integers, listed, numbers, opened, planned, short_side, size
from .errors import CutError


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
    add(
        "--merge",
        choices=merge_kinds.OF_FEATURES,
        default=merge_kinds.MAX,
        help="how features are merged; max: the element-wise maximum; cam: at each place, the vector with the highest linear logit, "
        "whose weights are fitted on half of --data; one cut, without --exits (default: %(default)s)",
    )
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
    add("--mean", type=numbers, metavar="X[,X,X]", help="subtracted from each channel, in units of 0..255; not for a model that reads uint8")
    add(
        "--std",
        type=numbers,
        metavar="X[,X,X]",
        help="divides each channel after the subtraction, in units of 0..255; not for a model that reads uint8",
    )
    add(
        "--short-side",
        type=short_side,
        metavar="N|stretch",
        help="resize the short side to N and crop the centre, or stretch to the size of the input",
    )
    add("--filter", choices=("bilinear", "bicubic", "lanczos3", "nearest"), default="bilinear", help="resize filter (default: %(default)s)")
    add("--draft", type=int, choices=(1, 2, 3), default=0, metavar="N",
        help="decode a JPEG at 1/2, 1/4 or 1/8 of its size, as long as its sides remain at least N times the target's; 1 is fastest, "
        "with 2 the pixels hardly depend on the size of the photo (default: decode in full)")  # fmt: skip
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


def list_points(arguments: argparse.Namespace) -> None:
    from . import listing, macs, points, timing

    if arguments.merge != merge_kinds.MAX:
        raise CutError("--merge: give the cut point with --at; without --at, the cut points are listed and nothing is merged")
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

    wanted: tuple[str, ...] = ("out", "name", "version", "licence", "labels", "positive", "data", "positive_class", "short_side")
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
