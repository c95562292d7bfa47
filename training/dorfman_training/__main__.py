"""Command line of the training package. `python3 -m dorfman_training --help` lists the commands."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Callable

import torch
from torch import Tensor

from . import agreement, calibrate, check, compare, config, cut, data, exits, export, half, manifest, pixels, pooling, report, sample, train, unfold
from .config import Config
from .manifest import ConfirmFile
from .model import StagedNet
from .progress import say


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.run(arguments)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python3 -m dorfman_training", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in [
        ("train", run_train, "train the network; resumes from a checkpoint if one exists"),
        ("calibrate", run_calibrate, "score groups of held-out images at every arity"),
        ("export", run_export, "write the bundle"),
        ("make-bundle", run_all, "train, calibrate and export the network, after the networks that it depends on"),
        ("report", run_report, "print AUC and false positive rates for groups of the test images"),
        ("images", run_images, "write a split's images as files, for `dorfman evaluate`"),
        ("sample", run_sample, "write a small zip of a split's photos, for `dorfman demo`"),
        ("make-agreement", run_agreement, "write the reference scores that the worker's tests compare with"),
    ]:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=with_config(run))
        command.add_argument("config", type=Path, help="the bundle's TOML file")
        command.add_argument("--data", type=Path, help="folder of the data (default: data.folder of the configuration)")
        command.add_argument("--work", type=Path, help="folder for checkpoints and calibrations (default: work/ beside configs/)")
        command.add_argument("--threads", type=int, default=2, help="number of CPU threads (default: %(default)s)")
        if name in ("export", "make-bundle"):
            command.add_argument(
                "--bundle",
                type=Path,
                help="folder for the bundle (default: models/NAME beside training/ if bundle.ships is true, else bundle/ in the work folder)",
            )
        if name == "images":
            command.add_argument("--split", choices=data.SPLITS, default="test")
            command.add_argument("--out", type=Path, required=True, help="output folder for the files CLASS/NAME and list.csv")
        if name == "sample":
            command.add_argument("--split", choices=data.SPLITS, default="test")
            command.add_argument("--out", type=Path, required=True, help="output zip file, with entries CLASS/NAME.jpg")
            command.add_argument(
                "--negatives", type=int, default=240, help="number of negative photos (default: %(default)s); all positive photos are included"
            )
            command.add_argument("--side", type=int, default=192, help="largest shorter side of a photo, in pixels (default: %(default)s)")
        if name == "make-agreement":
            command.add_argument(
                "--photos",
                type=Path,
                help="folder or .zip of clothing-dataset-small's test images; without it, the photos in the fixture's folder are used",
            )
            command.add_argument("--folder", type=Path, help="folder for scores.json (default: beside the images, in tests/data/agreement)")
    adder = commands.add_parser("exits", help="add early exits and a screen to a bundle, in minutes", description=exits.__doc__)
    exits.add_arguments(adder)
    adder.set_defaults(run=exits.run)
    converter = commands.add_parser("pixels", help="make the networks of an older bundle read uint8", description=pixels.__doc__)
    converter.add_argument("bundle", type=Path, help="folder of the bundle, which is changed")
    converter.add_argument("--threads", type=int, default=2, help=argparse.SUPPRESS)
    converter.set_defaults(run=run_pixels)
    comparer = commands.add_parser("merges", help="compare merges on a network that is not trained on groups", description=compare.__doc__)
    compare.add_arguments(comparer)
    comparer.set_defaults(run=with_config(compare.run))
    judge = commands.add_parser("pooling", help="say whether pooling pays for a bundle, from three numbers", description=pooling.__doc__)
    pooling.add_arguments(judge)
    judge.set_defaults(run=pooling.run)
    halver = commands.add_parser("half", help="convert a bundle to float16, for a GPU", description=half.__doc__)
    half.add_arguments(halver)
    halver.set_defaults(run=half.run)
    cutter = commands.add_parser("cut", help="cut your own ONNX classifier into a bundle", description=cut.__doc__)
    cut.add_arguments(cutter)
    cutter.set_defaults(run=cut.run)
    if not any(action.dest == "threads" for action in cutter._actions):
        cutter.add_argument("--threads", type=int, default=2, help="number of CPU threads (default: %(default)s)")
    return top


def with_config(run: Callable[[argparse.Namespace, Config], None]) -> Callable[[argparse.Namespace], None]:
    return lambda arguments: run(arguments, config.load(arguments.config))


def root(arguments: argparse.Namespace) -> Path:
    """Returns the folder that contains training/, models/ and tests/."""
    return arguments.config.resolve().parents[2]


def work(arguments: argparse.Namespace, settings: Config) -> Path:
    return (arguments.work or root(arguments) / "training" / "work") / settings.bundle.name


def bundle(arguments: argparse.Namespace, settings: Config) -> Path:
    shipped = root(arguments) / "models" / settings.bundle.name
    return arguments.bundle or (shipped if settings.bundle.ships else work(arguments, settings) / "bundle")


def other(arguments: argparse.Namespace, name: str) -> Config:
    """Loads the configuration `name` from the folder of this one."""
    return config.load(arguments.config.parent / name)


def network(arguments: argparse.Namespace, settings: Config) -> StagedNet:
    return train.trained(settings, work(arguments, settings) / "checkpoint.pt")


def run_train(arguments: argparse.Namespace, settings: Config) -> None:
    started, checkpoint = time.monotonic(), work(arguments, settings) / "checkpoint.pt"
    if train.is_finished(settings, checkpoint, known_origin(arguments, settings)):
        say(f"{settings.bundle.name}: already trained")
        return
    source = origin(arguments, settings)
    split = data.load(settings, "train", arguments.data)
    say(f"{settings.bundle.name}: {len(split.positive)} training images, {int(split.positive.sum())} of them positive")
    train.Trainer(settings, split, say, start(arguments, settings, split), source).run(checkpoint)
    say(f"trained in {time.monotonic() - started:.0f} s")


def start(arguments: argparse.Namespace, settings: Config, split: data.Split) -> dict[str, Tensor] | None:
    """Returns the weights that training starts from: those of another configuration or of a bundle."""
    name = settings.network.init
    if not name:
        return None
    if not is_bundle(arguments, name):
        return train.weights(network(arguments, other(arguments, name)))
    return unfold.start(settings, arguments.config.parent / name, split)


def origin(arguments: argparse.Namespace, settings: Config) -> str:
    """Returns a digest of the weights that training starts from, or "" without `network.init`.

    The digest changes when the network that `network.init` names is trained again.
    """
    name = settings.network.init
    if not name:
        return ""
    if is_bundle(arguments, name):
        return train.digest(unfold.initializers(arguments.config.parent / name))
    return train.digest(train.weights(network(arguments, other(arguments, name))).values())


def known_origin(arguments: argparse.Namespace, settings: Config) -> str | None:
    """As `origin`, but None if the checkpoint that training starts from no longer exists.

    A finished network does not need that checkpoint.
    """
    name = settings.network.init
    gone = name and not is_bundle(arguments, name) and not (work(arguments, other(arguments, name)) / "checkpoint.pt").exists()
    return None if gone else origin(arguments, settings)


def is_bundle(arguments: argparse.Namespace, name: str) -> bool:
    return (arguments.config.parent / name).is_dir()


def run_calibrate(arguments: argparse.Namespace, settings: Config) -> None:
    model = network(arguments, settings)
    entries = calibrate.calibrate(model, data.load(settings, "calibration", arguments.data), settings, say)
    path = work(arguments, settings) / "calibration.json"
    path.write_text(json.dumps([dataclasses.asdict(entry) for entry in entries]))


def calibration(arguments: argparse.Namespace, settings: Config) -> list[calibrate.Entry]:
    saved = work(arguments, settings) / "calibration.json"
    if not saved.exists():
        raise SystemExit(f"{saved} does not exist: run `calibrate` first")
    return manifest.entries_from(json.loads(saved.read_text()))


def run_export(arguments: argparse.Namespace, settings: Config) -> None:
    if not settings.design.cuts:
        raise SystemExit(f"{settings.bundle.name} has no design.cuts: export a bundle whose bundle.confirm names this configuration")
    model, entries = network(arguments, settings), calibration(arguments, settings)
    folder = bundle(arguments, settings)
    for old in [*folder.glob("stage*.onnx"), folder / "screen.onnx", folder / "joint.csv"]:
        old.unlink(missing_ok=True)  # a bundle with exits has more files
    stages = export.write_stages(model, image_shape(settings), folder, settings.input)
    confirm = write_confirm(arguments, settings, folder)
    command = f"PYTHONPATH=training python3 -m dorfman_training make-bundle training/configs/{arguments.config.name}{given(settings)}"
    manifest.write(folder / "bundle.json", manifest.manifest(settings, stages, entries, confirm, command))
    size = sum((folder / stage.file).stat().st_size for stage in stages)
    say(f"wrote {folder}: {size / 1e6:.1f} MB of networks, {sum(stage.macs for stage in stages) / 1e6:.1f} M multiply-adds per individual test")
    if not check.has_runtime():
        if settings.exits:
            raise SystemExit("the section [exits] needs onnxruntime: install it and run `export` again")
        say("NOT checked against ONNX Runtime: install onnxruntime to check the bundle")
        return
    images, raw = some_images(arguments, settings)
    worst = check.largest_difference(model, folder, images, settings.calibration.arities, raw)
    if confirm:
        last_word = other(arguments, settings.bundle.confirm)
        images, raw = some_images(arguments, last_word)
        worst = max(worst, check.confirm_difference(network(arguments, last_word), folder / confirm.file.file, images, raw))
    say(f"largest difference between PyTorch's and ONNX Runtime's scores: {worst:.1e}")
    if worst > check.TOLERANCE:
        raise SystemExit("the difference is too large: the exported files do not match the network")
    if settings.exits:
        exits.add(settings, folder, arguments.data, arguments.threads)
    else:
        say(pooling.text(folder))


def some_images(arguments: argparse.Namespace, settings: Config) -> tuple[Tensor, Tensor]:
    """Returns images that the network was not trained on, normalised, and as uint8 [N,C,H,W]."""
    found = data.load(settings, "calibration", arguments.data).images[:64]
    return data.normalise(found, settings.input), found.reshape(len(found), *image_shape(settings))


def write_confirm(arguments: argparse.Namespace, settings: Config, folder: Path) -> ConfirmFile | None:
    if not settings.bundle.confirm:
        return None
    last_word = other(arguments, settings.bundle.confirm)
    file = export.write_confirm(network(arguments, last_word), image_shape(last_word), folder, last_word.input)
    return ConfirmFile(file, [entry for entry in calibration(arguments, last_word) if entry.arity == 1])


def given(settings: Config) -> str:
    """Returns the option --data DIR, except for Fashion-MNIST, whose folder is the configured one."""
    return "" if settings.data.kind == "idx" else " --data DIR"


def image_shape(settings: Config) -> tuple[int, int, int]:
    return (1 if settings.input.channels == "grey" else 3, settings.input.height, settings.input.width)


def run_all(arguments: argparse.Namespace, settings: Config) -> None:
    if settings.bundle.confirm:
        make_ready(arguments, other(arguments, settings.bundle.confirm))
    make_ready(arguments, settings)
    if settings.design.cuts:
        run_export(arguments, settings)


def make_ready(arguments: argparse.Namespace, settings: Config) -> None:
    """Trains and calibrates a network. A repeated run does only the steps that are not finished."""
    train_chain(arguments, settings)
    folder = work(arguments, settings)
    weights, measured = folder / "checkpoint.pt", folder / "calibration.json"
    # A calibration is valid only for the weights that it was measured with.
    if not measured.exists() or measured.stat().st_mtime < weights.stat().st_mtime:
        run_calibrate(arguments, settings)


def train_chain(arguments: argparse.Namespace, settings: Config) -> None:
    """Trains the networks that this network starts from, then this network."""
    if settings.network.init and not is_bundle(arguments, settings.network.init):
        train_chain(arguments, other(arguments, settings.network.init))
    run_train(arguments, settings)


def run_report(arguments: argparse.Namespace, settings: Config) -> None:
    entries = calibration(arguments, settings)
    report.report(network(arguments, settings), entries, data.load(settings, "test", arguments.data), settings, say)


def run_images(arguments: argparse.Namespace, settings: Config) -> None:
    count = data.write_images(settings, arguments.split, arguments.out, arguments.data)
    say(f"wrote {count} images to {arguments.out}")


def run_sample(arguments: argparse.Namespace, settings: Config) -> None:
    count = sample.write(settings, arguments.split, arguments.data, arguments.out, arguments.negatives, arguments.side)
    say(f"wrote {count} photos to {arguments.out}, {arguments.out.stat().st_size / 1e6:.1f} MB")


def run_agreement(arguments: argparse.Namespace, settings: Config) -> None:
    images = root(arguments) / "tests" / "data" / "agreement"
    folder = arguments.folder or images
    if arguments.photos:
        agreement.copy_photos(arguments.photos, images)
    agreement.write(network(arguments, settings), settings, images, folder)
    say(f"wrote {folder}")


def run_pixels(arguments: argparse.Namespace) -> None:
    if not (arguments.bundle / "bundle.json").exists():
        raise SystemExit(f"{arguments.bundle} has no bundle.json: name the folder of a bundle")
    changed = pixels.convert(arguments.bundle)
    say(f"{', '.join(changed)} now read uint8" if changed else "the networks of this bundle read uint8 already")


if __name__ == "__main__":
    main()
