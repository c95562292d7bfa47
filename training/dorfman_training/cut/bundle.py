"""Builds the stages, checks and calibrates them, and writes the bundle."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np
import onnx

from .. import manifest, merge_kinds, pooling, progress
from ..calibrate import Entry
from ..pixels import absorbed
from . import calibration, images, macs, selector, stages, verify
from .calibration import Settings, Target
from .chain import Chain, Whole, session
from .dataset import Labelled
from .errors import CutError
from .images import Input
from .network import Network, Original
from .points import Point
from .selector import Halves

CHECKED = 32  # images on which the stages are compared with the whole network
BATCH = 16
Say = Callable[[str], None]
MOST_BYTES = 8 << 30  # limit of the features kept on disk during calibration


@dataclass(frozen=True)
class About:
    """The fields of bundle.json that the user gives."""

    name: str
    version: str
    licence: str
    description: str
    data: str
    data_licence: str
    command: str
    labels: tuple[str, ...]
    positive: dict[str, tuple[str, ...]]  # the classes of the data that belong to each positive label


@dataclass(frozen=True)
class Plan:
    original: Original
    network: Network
    cuts: Sequence[Point]
    fan_in: tuple[int, ...]
    activation: str
    input: Input
    threads: int
    merge: str = merge_kinds.MAX


def make(folder: Path, plan: Plan, about: About, found: Sequence[Labelled], settings: Settings, say: Say) -> None:
    columns = stages.labels(plan.network)
    if columns != len(about.labels):
        raise CutError(f"--labels has {len(about.labels)} names, but the model has {columns} scores")
    models = stages.build(plan.network, plan.cuts, plan.activation)
    chain = Chain(models, plan.fan_in, plan.threads)
    whole, pictures = Whole(plan.original, plan.activation, plan.threads), some(found, plan.input)
    tell(verify.check(whole, chain, pictures), say)
    with tempfile.TemporaryDirectory() as scratch:
        features, kinds = embed(chain, found, plan, Path(scratch), say)
        targets, negatives = split(about, kinds)
        if plan.merge == merge_kinds.CAM:
            halves = selector.halves(kinds, targets, negatives, settings.seed)
            models = stages.build(plan.network, plan.cuts, plan.activation, selector.fit(features, targets, halves.learn))
            chain = Chain(models, plan.fan_in, plan.threads)
            say(f"weights of the merge: fitted on {len(halves.learn)} images; the other {len(halves.judge)} set the thresholds of pooled tests")
            tell(verify.check(whole, chain, pictures), say)
            entries = in_halves(chain, features, targets, negatives, halves, settings, say)
        else:
            entries = calibration.run(chain, features, targets, negatives, settings, say)
        del features
    write(folder, plan, about, models, entries)
    say(pooling.text(folder))
    say(f"wrote {folder}; the thresholds are valid for images like those of --data that the network was not trained on")


def in_halves(
    chain: Chain, features: np.ndarray, targets: Sequence[Target], negatives: np.ndarray, halves: Halves, settings: Settings, say: Say
) -> list[Entry]:
    """Calibrates single images on all images, and groups on those that the weights of the merge were not fitted on."""
    alone = calibration.run(chain, features, targets, negatives, dataclasses.replace(settings, arities=(1,)), say)
    pooled = dataclasses.replace(settings, arities=tuple(arity for arity in settings.arities if arity > 1))
    entries = alone + calibration.run(chain, features, *halves.judged(targets, negatives), pooled, say)
    order = [target.label for target in targets]
    return sorted(entries, key=lambda entry: (order.index(entry.label), entry.arity))


def tell(differences: verify.Differences, say: Say) -> None:
    say(
        f"largest difference of a score: {differences.individual:.1e} between the cut and the whole network; "
        f"{differences.repeats:.1e} with members repeated as padding, {differences.order:.1e} with members in another order"
    )


def some(found: Sequence[Labelled], wanted: Input) -> np.ndarray:
    """Returns the first images that can be read, at most CHECKED."""
    tensors = []
    for entry in found:
        tensor = read(entry, wanted)
        if tensor is not None:
            tensors.append(tensor)
        if len(tensors) == CHECKED:
            break
    if len(tensors) < 3:
        raise CutError("--data: fewer than three images can be read")
    return np.stack(tensors)


def read(entry: Labelled, wanted: Input) -> np.ndarray | None:
    try:
        return images.tensor(entry.read(), wanted)
    except (OSError, ValueError, SyntaxError):  # Pillow raises any of these for a file that it cannot read
        return None


def embed(chain: Chain, found: Sequence[Labelled], plan: Plan, scratch: Path, say: Say) -> tuple[np.ndarray, list[str]]:
    """Runs stage 0 on every image. Returns the features, kept in a file, and the images' classes."""
    needed = plan.cuts[0].bytes * len(found)
    if needed > MOST_BYTES:
        raise CutError(f"the features of {len(found)} images take {needed / 1e9:.0f} GB: use fewer images (--images) or cut later")
    rows = np.lib.format.open_memmap(scratch / "rows.npy", "w+", np.float32, (len(found), *plan.cuts[0].row))
    kinds: list[str] = []
    skipped = 0
    for start in progress.over(range(0, len(found), BATCH), "stage 0"):
        part = [(entry.kind, read(entry, plan.input)) for entry in found[start : start + BATCH]]
        good = [(kind, tensor) for kind, tensor in part if tensor is not None]
        skipped += len(part) - len(good)
        if good:
            rows[len(kinds) : len(kinds) + len(good)] = chain.features(np.stack([tensor for _, tensor in good]))
            kinds += [kind for kind, _ in good]
        if start % 512 == 0:
            say(f"stage 0: {len(kinds)} of {len(found)} images")
    if skipped:
        say(f"skipped {skipped} files that cannot be read")
    return rows[: len(kinds)], kinds


def split(about: About, kinds: Sequence[str]) -> tuple[list[Target], np.ndarray]:
    """Returns the images of each positive label, and the images of none."""
    of = np.array(kinds)
    targets = [Target(label, about.labels.index(label), np.flatnonzero(np.isin(of, classes))) for label, classes in about.positive.items()]
    hot = {kind for classes in about.positive.values() for kind in classes}
    negatives = np.flatnonzero(~np.isin(of, sorted(hot)))
    for target in targets:
        if not len(target.rows):
            raise CutError(f"--data: no image of label {target.label} can be read")
    if not len(negatives):
        raise CutError("--data: every image has a positive class; add negative images")
    return targets, negatives


def write(folder: Path, plan: Plan, about: About, models: Sequence[onnx.ModelProto], entries: Sequence[Entry]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, model in enumerate([reading_pixels(models[0], plan), *models[1:]]):
        content = model.SerializeToString()
        (folder / f"stage{number}.onnx").write_bytes(content)
        written.append({"file": f"stage{number}.onnx", "sha256": hashlib.sha256(content).hexdigest()})
    for number, table in enumerate(written):
        table |= measures(plan, number)
    manifest.write(folder / "bundle.json", table_of(plan, about, written, entries))


def reading_pixels(first: onnx.ModelProto, plan: Plan) -> onnx.ModelProto:
    """Returns stage 0 with the normalisation inside, after a comparison with stage 0 and the normalisation outside."""
    shape = plan.input
    if shape.is_pixels:
        return first
    changed = absorbed(first, shape.mean, shape.std, shape.layout)
    random = np.random.default_rng(0).integers(0, 256, (CHECKED, shape.height, shape.width, images.CHANNELS[shape.channels]), dtype=np.uint8)
    given = [np.stack([images.normalise(values, each) for values in random]) for each in (shape, shape.as_pixels())]
    outside, inside = (session(model, plan.threads).run(None, {"images": part})[0] for model, part in zip((first, changed), given))
    verify.largest(inside, outside, "the output of stage 0, with the normalisation inside,")
    return changed


def measures(plan: Plan, number: int) -> dict[str, Any]:
    """Returns the multiply-adds of a stage, the shape of its rows and its fan_in."""
    ends = [0, *(cut.macs for cut in plan.cuts), sum(macs.counts(plan.network))]
    table: dict[str, Any] = {"macs": ends[number + 1] - ends[number]}
    if number < len(plan.cuts):
        table["features"] = list(plan.cuts[number].row)
        if number:
            table["fan_in"] = plan.fan_in[number - 1]
    return table


def table_of(plan: Plan, about: About, written: Sequence[dict[str, Any]], entries: Sequence[Entry]) -> dict[str, Any]:
    return {
        "format": manifest.FORMAT,
        "name": about.name,
        "version": about.version,
        "description": about.description,
        "licence": about.licence,
        "provenance": {"data": about.data, "data_licence": about.data_licence, "command": about.command},
        "labels": [{"name": label, "positive": True} if label in about.positive else {"name": label} for label in about.labels],
        "input": plan.input.as_pixels().table(),
        "merge": plan.merge,
        "stages": list(written),
        "calibration": [dataclasses.asdict(entry) for entry in entries],
    }
