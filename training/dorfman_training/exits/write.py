"""Writes the stages with exits, their calibration, joint.csv and the manifest."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import onnx

from .. import calibrate, manifest
from ..calibrate import Sample
from ..cut import calibration, macs, stages
from ..cut.chain import Chain
from ..cut.errors import CutError
from ..cut.points import Point
from . import after, choose, joint, screen
from .bundle import Bundle
from .fitting import Fitted
from .joint import CALIBRATION, TRAINING, Joint
from .learn import MOST_BYTES, Heads, Say
from .options import Options
from .pictures import batches

TOLERANCE = 1e-4
CHECKED = 256  # images on which scores are compared before and after
BATCH = 32
BEHIND = "; then "  # separates the command that made a bundle from the one that added exits
LATE = ("stages", "screen", "joint", "calibration", "confirm")  # the long fields of the manifest


@dataclass(frozen=True)
class ExitDetail:
    """The quantiles and operating points of exits and of the screen."""

    quantiles: int = 201
    sensitivities: tuple[float, ...] = choose.SENSITIVITIES


@dataclass(frozen=True)
class Item:
    """An item stage, which ends at `point`; `fit` is the head of its exit, or None."""

    point: Point
    fit: Fitted | None
    model: onnx.ModelProto


def item_stages(bundle: Bundle, heads: Heads, exits: set[str]) -> list[Item]:
    """Returns the item stages: one per exit, and one up to the merge if no exit is there or behind it."""
    ends: list[tuple[Point, Fitted | None]] = [(point, fit) for point, fit in zip(heads.points, heads.fits) if point.name in exits]
    if not ends or ends[-1][0].position < bundle.merge.position:
        ends.append((bundle.merge, None))
    starts = [bundle.network.image, *(point.name for point, _ in ends)]
    count = len(bundle.labels.names)
    made = []
    for start, (point, fit) in zip(starts, ends):
        head = fit.head.spread(bundle.labels.columns, count) if fit else None
        model = stages.part(bundle.network, start, point.name, alone=True, head=head, labels_out=count)
        made.append(Item(point, fit, model))
    return made


def later_stages(bundle: Bundle, end: Point) -> tuple[list[tuple[dict[str, Any], bytes]], bool]:
    """Returns the stages that merge, and whether the merge moved. They do not change if it did not."""
    if end.position <= bundle.merge.position:
        return list(zip(bundle.table["stages"], bundle.contents))[bundle.items :], False
    model = stages.part(bundle.network, end.name, None)
    return [({"macs": bundle.total - end.macs}, model.SerializeToString())], True


def described(path: Path, content: bytes, table: dict[str, Any]) -> dict[str, Any]:
    """Writes a file and returns its fields of the manifest, with those of `table`."""
    path.write_bytes(content)
    rest = {key: value for key, value in table.items() if key not in ("file", "sha256")}
    return {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), **rest}


class Writer:
    """Writes one bundle to the folder `out`."""

    def __init__(self, bundle: Bundle, heads: Heads, exits: set[str], options: Options, out: Path, say: Say) -> None:
        self.bundle, self.heads, self.options, self.out, self.say = bundle, heads, options, out, say
        self.items = item_stages(bundle, heads, exits)
        later, self.moved = later_stages(bundle, self.items[-1].point)
        self.tables = [self.item_table(number, item) for number, item in enumerate(self.items)]
        self.tables += [described(out / f"stage{len(self.items) + number}.onnx", content, table) for number, (table, content) in enumerate(later)]
        models = [*(item.model for item in self.items), *(onnx.load_from_string(content) for _, content in later)]
        self.chain = Chain(models, [table["fan_in"] for table in self.tables if "fan_in" in table], options.threads)

    def item_table(self, number: int, item: Item) -> dict[str, Any]:
        table = {"macs": macs.of_model(item.model), "features": list(item.point.row), **({"fan_in": 1} if number else {})}
        return described(self.out / f"stage{number}.onnx", item.model.SerializeToString(), table)

    def run(self) -> None:
        features, measured = self.embed()
        self.verify(features)
        parts = self.parts(measured)
        table = {key: value for key, value in self.bundle.table.items() if key not in LATE}
        for number, stage in enumerate(self.tables):
            if f"stage{number}" in parts:
                stage["exit"] = {"calibration": self.entries(parts[f"stage{number}"])}
        table["stages"] = self.tables
        if self.options.command:
            table["provenance"] = with_command(table.get("provenance", {}), self.options.command)
        if self.heads.screen:
            made = self.heads.screen
            inner = {"macs": made.macs, "input": made.input.as_pixels().table(), "calibration": self.entries(parts["screen"])}
            table["screen"] = described(self.out / screen.FILE, made.reading_pixels().SerializeToString(), inner)
        if parts:
            joint.write(self.out / joint.FILE, self.joint(parts))
            table["joint"] = {"file": joint.FILE, "sha256": hashlib.sha256((self.out / joint.FILE).read_bytes()).hexdigest()}
        standard = self.standard(features)
        table["calibration"] = [*standard, *self.after(features, parts, standard)]
        table |= {"confirm": self.bundle.table["confirm"]} if "confirm" in self.bundle.table else {}
        manifest.write(self.out / "bundle.json", table)

    def embed(self) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """Runs the item stages on the judged images. Returns their features and the exits' scores [N,labels]."""
        pixels = self.heads.seen.pixels
        needed = 4 * int(np.prod(self.items[-1].point.row)) * len(pixels)
        if needed > MOST_BYTES:
            raise CutError(f"the features of {len(pixels)} images take {needed / 1e9:.0f} GB: use fewer images (--images)")
        rows, found = [], []
        for part in batches(pixels, self.bundle.input):
            features, exits = self.chain.exits(part)
            rows.append(features)
            found.append(exits)
        return np.concatenate(rows), {stage: np.concatenate([exits[stage] for exits in found]) for stage in found[0]}

    def verify(self, features: np.ndarray) -> None:
        """Compares individual scores before and after."""
        count = min(CHECKED, len(features))
        parts = [np.arange(at, min(at + BATCH, count))[:, None] for at in range(0, count, BATCH)]
        scores = np.concatenate([self.chain.scores(features, members) for members in parts])
        worst = float(np.abs(scores - self.heads.seen.scores[:count]).max())
        self.say(f"largest difference of an individual score before and after: {worst:.1e}")
        if worst > TOLERANCE:
            raise CutError(f"the individual scores change by {worst:.1e}, more than {TOLERANCE:.0e}: the stages do not compose to the network")

    def parts(self, measured: dict[int, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the scores of the screen and of each exit for the rows of joint.csv.

        The judged images get the scores of the written stages, unless the heads were fitted on them.
        """
        found = {"screen": self.heads.scores(self.heads.screen)} if self.heads.screen else {}
        for number, item in enumerate(self.items):
            if item.fit is None:
                continue
            fit = item.fit
            if self.heads.seen.data.learn is not None:
                scores = measured[number][:, list(self.bundle.labels.columns)]
                worst = float(np.abs(scores - fit.judged).max())
                if worst > TOLERANCE:
                    raise CutError(f"the written exit {number} differs from the fitted head by {worst:.1e}, more than {TOLERANCE:.0e}")
                fit = dataclasses.replace(fit, judged=scores)
            found[f"stage{number}"] = self.heads.scores(fit)
        return found

    def joint(self, parts: dict[str, np.ndarray]) -> Joint:
        wanted, known = self.heads.rows.wanted, self.heads.seen.individual
        source = np.array([CALIBRATION] * len(known) + [TRAINING] * (len(wanted) - len(known)))
        unknown = np.full((len(wanted) - len(known), wanted.shape[1]), np.nan)
        return Joint(self.bundle.labels.positive, source, wanted, parts, np.concatenate([known, unknown]))

    def entries(self, scores: np.ndarray) -> list[dict[str, Any]]:
        """Returns the calibration of an exit or of the screen, with one entry per positive label."""
        rows, found = self.heads.rows, []
        for column, label in enumerate(self.bundle.labels.positive):
            sample = Sample(scores[rows.wanted[:, column], column], scores[rows.negative, column])
            found.append(dataclasses.asdict(calibrate.entry(label, 1, sample, ExitDetail())))
        return found

    def standard(self, features: np.ndarray) -> list[dict[str, Any]]:
        """Returns the calibration on all images. It is measured anew if the merge moved."""
        kept = self.bundle.standard
        if not self.moved and self.options.pooled is None:
            return kept
        self.say("the merge moved: pooled tests are calibrated anew" if self.moved else "pooled tests are calibrated")
        settings = self.options.pooled or settings_of(kept, self.options.seed)
        targets, negatives = self.targets()
        return [dataclasses.asdict(entry) for entry in calibration.run(self.chain, features, targets, negatives, settings, self.say)]

    def targets(self) -> tuple[list[calibration.Target], np.ndarray]:
        """Returns the judged images of each positive label, and those of none."""
        wanted, labels = self.heads.seen.data.judge.wanted, self.bundle.labels
        pairs = zip(labels.positive, labels.columns)
        found = [calibration.Target(label, column, np.flatnonzero(wanted[:, place])) for place, (label, column) in enumerate(pairs)]
        return found, np.flatnonzero(~wanted.any(axis=1))

    def after(self, features: np.ndarray, parts: dict[str, np.ndarray], standard: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns the calibration of tests on images that pass the screen and all exits at the same sensitivity."""
        if not parts:
            return []
        wanted, passed = self.heads.rows.wanted, {}
        for at in after.SENSITIVITIES:
            alive = [choose.passes(scores[: len(features)], choose.thresholds(scores, wanted, at)) for scores in parts.values()]
            passed[at] = np.logical_and.reduce(alive)
        targets, negatives = self.targets()
        arities = sorted({entry["arity"] for entry in standard})
        sensitivities = tuple(point["sensitivity"] for point in standard[0]["operating_points"])
        settings = after.Settings(arities, self.options.groups, sensitivities, self.options.seed)
        return after.calibrated(self.chain, features, self.heads.seen.scores, targets, negatives, passed, settings, self.say)


def with_command(provenance: dict[str, Any], command: str) -> dict[str, Any]:
    """Returns the field `provenance` with the command that added exits. It replaces that of an earlier run."""
    before = provenance.get("command", "").partition(BEHIND)[0]
    return {**provenance, "command": f"{before}{BEHIND}{command}" if before else command}


def settings_of(entries: Sequence[dict[str, Any]], seed: int) -> calibration.Settings:
    """Returns the settings with which existing entries were measured."""
    pooled = [entry["positives"] for entry in entries if entry["arity"] > 1]
    arities = tuple(sorted({entry["arity"] for entry in entries}))
    sensitivities = tuple(point["sensitivity"] for point in entries[0]["operating_points"])
    return calibration.Settings(arities, max(pooled, default=1000), sensitivities, len(entries[0]["positive_scores"]), seed)
