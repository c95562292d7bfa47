"""The command `exits`: its arguments, and how they are interpreted."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from .. import config, pooling
from ..config import Config, ScreenConfig
from ..cut import arguments as words
from ..cut.errors import CutError
from ..progress import say

if TYPE_CHECKING:
    from .options import Images, Options
    from .screen import Source


FIELDS = ("most", "loss", "deeper", "rows", "mirror")  # options of both the command line and [exits]
MOST = 5  # exits; the search takes too long for more


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("bundle", type=Path, metavar="CONFIG|BUNDLE", help="the TOML file of a bundle that was exported, or the folder of a bundle")
    add("--bundle", type=Path, dest="folder", metavar="DIR", help="with CONFIG: folder of the bundle (default: where `export` writes it)")
    add("--work", type=Path, help="with CONFIG: folder of checkpoints and calibrations (default: work/ beside configs/)")
    add(
        "--data", type=Path, metavar="PATH", help="CONFIG: folder of the data (default: data.folder); BUNDLE: a folder or zip of CLASS/NAME, or a CSV"
    )
    add("--out", type=Path, metavar="DIR", help="folder for the result (default: the bundle's folder)")
    add("--threads", type=int, default=2, help="number of CPU threads (default: %(default)s)")
    add_choice(parser.add_argument_group("exits"))
    add_bundle(parser.add_argument_group("BUNDLE: images that the network was NOT trained on"))
    add_screen(parser.add_argument_group("screen: a small network that judges every image first"))


def add_choice(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--most", type=int, metavar="N", help=f"largest number of exits, without the screen, at most {MOST} (default: 4)")
    add("--loss", type=float, metavar="X", help="largest share of the positives that all exits together may lose (default: 0.002)")
    add("--deeper", action="store_const", const=True, help="also put exits behind the merge; the merge moves behind the last exit")
    add("--rows", choices=("auto", "calibration", "all"),
        help="images that set thresholds; all: also training images, out of fold; auto: all if calibration has fewer than 299 positives")  # fmt: skip
    add("--no-mirror", action="store_const", const=False, dest="mirror", help="with few images: do not also fit heads on mirror images")
    add("--after-groups", type=int, default=500, metavar="N", help="groups per arity in the calibration after exits (default: %(default)s)")


def add_bundle(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--positive-class", action="append", default=[], metavar="[LABEL=]C[,C]", help="classes of the data that are positive, as in `cut`")
    add("--images", type=int, metavar="N", help="use at most N images of each class (default: all)")
    add_target(group)


def add_target(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--target", choices=("labels", "verdicts"), default="labels",
        help="what heads learn; verdicts: the individual test's own verdicts, so that no classes are needed (default: %(default)s)")  # fmt: skip
    add("--verdict-threshold", type=float, metavar="X", help="score from which the individual test is positive (default: the calibrated threshold)")
    add("--verdict-sensitivity", type=float, default=0.99, metavar="X",
        help="calibrated sensitivity of the individual test whose threshold is used (default: %(default)s)")  # fmt: skip


def add_screen(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--screen", metavar="lite0|MODEL.onnx", help="the screen's network: part of EfficientNet-Lite0 with a head, or your own ONNX classifier")
    add("--no-screen", action="store_true", help="leave out the screen that the configuration or the bundle has")
    add("--screen-until", default="block5_wide", metavar="PART", help="lite0: the last part (default: %(default)s)")
    add(
        "--screen-size",
        type=words.size,
        metavar="N|WxH",
        help="width and height of the screen's input (default: 64 for lite0, else those of the model)",
    )
    add("--screen-head", action="store_true", help="MODEL.onnx: fit a head on the output of the model")
    add("--screen-columns", type=words.integers, default=(), metavar="N,N", help="MODEL.onnx: the score for each positive label, from 0")
    add("--screen-activation", choices=("none", "softmax", "sigmoid"), default="none", help="MODEL.onnx: as --activation of `cut`")
    add("--screen-channels", choices=("rgb", "bgr", "grey"), help="MODEL.onnx: the colour channels, in order")
    add("--screen-mean", type=words.numbers, metavar="X[,X,X]", help="MODEL.onnx: subtracted from each channel, in units of 0..255")
    add("--screen-std", type=words.numbers, metavar="X[,X,X]", help="MODEL.onnx: divides each channel after the subtraction")
    add("--screen-short-side", type=words.short_side, default="stretch", metavar="N|stretch", help="MODEL.onnx: as --short-side of `cut`")
    add("--screen-filter", choices=("bilinear", "bicubic", "lanczos3", "nearest"), default="bilinear", help="MODEL.onnx: resize filter")
    add("--screen-draft", type=int, choices=(1, 2, 3), default=0, metavar="N", help="MODEL.onnx: as --draft of `cut`; lite0 has 2")
    add("--screen-layout", choices=("nchw", "nhwc"), help="MODEL.onnx: order of the input's axes (default: derived from its shape)")


def run(arguments: argparse.Namespace) -> None:
    if arguments.bundle.is_dir():
        guarded(lambda: of_bundle(arguments))
    else:
        guarded(lambda: of_config(arguments, config.load(arguments.bundle), folder_of(arguments)))


def guarded(work: Callable[[], None]) -> None:
    """Runs `work`. Exits with a message if packages are missing or it is refused."""
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(f"exits: missing Python packages: install {' and '.join(missing)}")
    try:
        work()
    except CutError as error:
        raise SystemExit(f"exits: {error}") from error


def folder_of(arguments: argparse.Namespace) -> Path:
    """Returns the folder to which `export` writes the bundle of a configuration."""
    settings = config.load(arguments.bundle)
    root = arguments.bundle.resolve().parents[2]
    work = (arguments.work or root / "training" / "work") / settings.bundle.name / "bundle"
    return arguments.folder or (root / "models" / settings.bundle.name if settings.bundle.ships else work)


def add(settings: Config, folder: Path, data: Path | None, threads: int) -> None:
    """Adds the exits of a configuration to its bundle in `folder`."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = parser.parse_args([folder.name, "--threads", str(threads)])
    arguments.data = data
    guarded(lambda: of_config(arguments, settings, folder))


def of_config(arguments: argparse.Namespace, settings: Config, folder: Path) -> None:
    from . import options, pictures

    if not (folder / "bundle.json").exists():
        raise CutError(f"{folder} has no bundle.json: run `export` first, or name the bundle's folder with --bundle")
    if arguments.target == "verdicts":
        raise CutError("--target verdicts: give the folder of a bundle instead of a configuration")
    judge, learn, test = (pictures.of_split(settings, name, arguments.data) for name in ("calibration", "train", "test"))
    finish(arguments, settings, folder, options.Images(judge, learn, test))


def of_bundle(arguments: argparse.Namespace) -> None:
    from . import bundle, options, pictures

    folder = arguments.bundle
    if not (folder / "bundle.json").exists():
        raise CutError(f"{folder} has no bundle.json: name the folder of a bundle")
    if arguments.data is None:
        raise CutError("--data: name the images, a folder or zip of CLASS/NAME or a CSV with path,class")
    table = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    labels = bundle.labels_of(table).positive
    judge = pictures.of_files(*found(arguments, labels), say)
    finish(arguments, None, folder, options.Images(judge))


def found(arguments: argparse.Namespace, labels: tuple[str, ...]) -> tuple[Any, list[tuple[str, ...]]]:
    """Returns the image files and the positive classes of each label."""
    from ..cut import dataset

    verdicts = arguments.target == "verdicts"
    files = dataset.find(arguments.data, classes=not verdicts)
    if verdicts:
        return dataset.sample(files, arguments.images, 40), [() for _ in labels]
    if not arguments.positive_class:
        raise CutError("--positive-class: name the positive classes of the data, or give --target verdicts")
    classes = words.positive_classes(labels, arguments.positive_class)
    dataset.check_classes(files, [kind for kinds in classes.values() for kind in kinds])
    return dataset.sample(files, arguments.images, 40), list(classes.values())


def finish(arguments: argparse.Namespace, settings: Config | None, folder: Path, data: "Images") -> None:
    from . import build

    source = screen_of(arguments, settings, folder)
    build.add(folder, arguments.out or folder, data, chosen(arguments, settings), source, say)
    say(pooling.text(arguments.out or folder))
    say(f"wrote {arguments.out or folder}")


def chosen(arguments: argparse.Namespace, settings: Config | None) -> "Options":
    """Returns the settings of the command line, or else of the configuration, or else the defaults."""
    from .options import Options

    table = settings.exits if settings and settings.exits else config.ExitsConfig()
    given = {name: getattr(arguments, name) for name in FIELDS if getattr(arguments, name) is not None}
    values = {**{name: getattr(table, name) for name in FIELDS}, **given}
    if not 0 <= values["loss"] < 0.5:
        raise CutError("--loss: must be 0 to 0.5")
    if not 0 <= values["most"] <= MOST:
        raise CutError(f"--most: must be 0 to {MOST}")
    # With the section [exits], the command that makes the bundle adds the exits too.
    command = "" if settings and settings.exits else words.command_line(sys.argv[1:])
    return Options(
        **values, sensitivity=arguments.verdict_sensitivity, verdicts=arguments.target == "verdicts",
        verdict_threshold=arguments.verdict_threshold, groups=arguments.after_groups, command=command, threads=arguments.threads,
    )  # fmt: skip


def screen_of(arguments: argparse.Namespace, settings: Config | None, folder: Path) -> "Source | None":
    """Returns the screen of the command line, or else of the configuration, or else of the bundle."""
    from . import screen

    if arguments.no_screen:
        return None
    table = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    asked: ScreenConfig | None = settings.exits.screen if settings and settings.exits else None
    if arguments.screen == screen.LITE0:
        side = arguments.screen_size or (64, 64)
        if side[0] != side[1]:
            raise CutError("--screen-size: the input of lite0 is a square, give one number")
        return screen.lite0(arguments.screen_until, side[0])
    if arguments.screen:
        return own_screen(arguments)
    if asked is not None:
        return screen.lite0(asked.until, asked.side)
    return screen.kept(folder, table["screen"]) if "screen" in table else None


def own_screen(arguments: argparse.Namespace) -> "Source":
    from . import screen

    inner = argparse.Namespace(
        model=Path(arguments.screen), output=None, layout=arguments.screen_layout, size=arguments.screen_size, as_is=False,
        channels=arguments.screen_channels, mean=arguments.screen_mean, std=arguments.screen_std,
        short_side=arguments.screen_short_side, filter=arguments.screen_filter, draft=arguments.screen_draft,
    )  # fmt: skip
    _, net, layout = words.opened(inner)
    shape = words.input_of(inner, net.shapes[net.image], layout, net.kind, "--screen-")
    return screen.own(inner.model, shape, arguments.screen_head, arguments.screen_activation, arguments.screen_columns)
