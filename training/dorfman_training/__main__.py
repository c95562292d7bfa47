"""The commands. `python3 -m dorfman_training --help` lists them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import torch

from . import agreement, calibrate, check, config, data, export, manifest, report, train
from .config import Config


def say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.run(arguments, config.load(arguments.config))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python3 -m dorfman_training", description=__doc__)
    commands = top.add_subparsers(required=True)
    for name, run, text in [
        ("train", run_train, "train the network; goes on from a checkpoint if there is one"),
        ("calibrate", run_calibrate, "score held-out groups at every arity"),
        ("export", run_export, "write the bundle"),
        ("make-bundle", run_all, "train, calibrate and export"),
        ("report", run_report, "print quality on the test images and time in ONNX Runtime"),
        ("make-agreement", run_agreement, "write the scores that the worker's tests hold themselves against"),
    ]:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        command.add_argument("config", type=Path, help="the bundle's TOML file")
        command.add_argument("--work", type=Path, help="where checkpoints lie between commands (default: work/NAME beside configs/)")
        command.add_argument("--threads", type=int, default=2, help="threads to compute with (default: %(default)s)")
        if name in ("export", "make-bundle", "report"):
            command.add_argument("--bundle", type=Path, help="the bundle's folder (default: models/NAME beside training/)")
        if name == "make-agreement":
            command.add_argument("--photos", type=Path, help="folder or .zip of clothing-dataset-small's test images; without it, the photos in the fixture's folder stay")
            command.add_argument("--folder", type=Path, help="the fixture's folder (default: tests/data/agreement beside training/)")
    return top


def root(arguments: argparse.Namespace) -> Path:
    """The folder that holds training/, models/ and tests/."""
    return arguments.config.resolve().parents[2]


def work(arguments: argparse.Namespace, settings: Config) -> Path:
    return arguments.work or root(arguments) / "training" / "work" / settings.bundle.name


def bundle(arguments: argparse.Namespace, settings: Config) -> Path:
    return arguments.bundle or root(arguments) / "models" / settings.bundle.name


def run_train(arguments: argparse.Namespace, settings: Config) -> None:
    started = time.monotonic()
    splits = data.load(settings.data)
    say(f"{len(splits.train.images)} training images, {int(splits.train.positive.sum())} of them positive")
    train.Trainer(settings, splits.train, say).run(work(arguments, settings) / "checkpoint.pt")
    say(f"trained in {time.monotonic() - started:.0f} s")


def run_calibrate(arguments: argparse.Namespace, settings: Config) -> None:
    model = train.trained(settings, work(arguments, settings) / "checkpoint.pt")
    entries = calibrate.calibrate(model, data.load(settings.data).calibration, settings, say)
    rows = [dataclasses.asdict(entry) for entry in entries]
    (work(arguments, settings) / "calibration.json").write_text(json.dumps(rows))


def run_export(arguments: argparse.Namespace, settings: Config) -> None:
    model = train.trained(settings, work(arguments, settings) / "checkpoint.pt")
    saved = work(arguments, settings) / "calibration.json"
    if not saved.exists():
        raise SystemExit(f"there is no {saved}: run `calibrate` first")
    entries = manifest.entries_from(json.loads(saved.read_text()))
    folder = bundle(arguments, settings)
    shape = (settings.network.input_channels, settings.input.height, settings.input.width)
    stages = export.write_stages(model, shape, folder)
    command = f"PYTHONPATH=training python3 -m dorfman_training make-bundle training/configs/{arguments.config.name}"
    manifest.write(folder / "bundle.json", manifest.manifest(settings, stages, entries, command))
    size = sum((folder / stage.file).stat().st_size for stage in stages)
    say(f"wrote {folder}: {size / 1e6:.1f} MB of networks, {sum(stage.macs for stage in stages) / 1e6:.1f} M multiply-adds an individual test")
    if not check.has_runtime():
        say("NOT checked against ONNX Runtime: this Python has no onnxruntime")
        return
    images = data.normalise(data.load(settings.data).calibration.images[:256], settings.input)
    worst = check.largest_difference(model, folder, images, settings.calibration.arities)
    say(f"largest difference between PyTorch's and ONNX Runtime's scores: {worst:.1e}")
    if worst > check.TOLERANCE:
        raise SystemExit("that is too much")


def run_all(arguments: argparse.Namespace, settings: Config) -> None:
    for step in (run_train, run_calibrate, run_export):
        step(arguments, settings)


def run_report(arguments: argparse.Namespace, settings: Config) -> None:
    folder = bundle(arguments, settings)
    report.report(folder, data.load(settings.data).test, settings, arguments.threads, say)


def run_agreement(arguments: argparse.Namespace, settings: Config) -> None:
    model = train.trained(settings, work(arguments, settings) / "checkpoint.pt")
    folder = arguments.folder or root(arguments) / "tests" / "data" / "agreement"
    if arguments.photos:
        agreement.copy_photos(arguments.photos, folder)
    agreement.write(model, settings, folder)
    say(f"wrote {folder}")


if __name__ == "__main__":
    sys.exit(main())
