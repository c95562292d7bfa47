"""Adds exits and a screen to a bundle: fits heads, chooses depths, writes the stages and measures the result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np
import onnx

from .. import calibrate, manifest
from ..calibrate import Sample
from ..cut import calibration, images, macs, stages
from ..cut.chain import Chain
from ..cut.errors import CutError
from ..cut.points import Point
from . import after, choose, compose, depths, folds, joint, pools, probe, screen
from .choose import Gate, Plan, Rows
from .compose import Composed
from .fitting import Fitted, Learner
from .joint import CALIBRATION, TRAINING, Joint
from .pictures import Pictures, batches
from .screen import Screen

TOLERANCE = 1e-4
MOST_BYTES = 8 << 30  # limit of the pooled features, which are kept in memory
CHECKED = 256  # images on which scores are compared before and after
ENOUGH = 299  # positives with none lost show a loss below 1 % at 95 % confidence
Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    most: int = 4
    loss: float = 0.002
    deeper: bool = False
    rows: str = "auto"  # auto, calibration or all
    sensitivity: float = 0.99  # of the individual test
    verdicts: bool = False  # the targets are the verdicts of the individual test
    verdict_threshold: float | None = None  # of the individual test; None: the calibrated one at `sensitivity`
    groups: int = 500  # groups per arity of the calibration after exits
    pooled: calibration.Settings | None = None  # how pooled tests are calibrated if the merge moves
    seed: int = 40
    threads: int = 2


@dataclass(frozen=True)
class Images:
    """`learn` has training images, on which heads are fitted; None: heads are fitted on the folds of `judge`."""

    judge: Pictures
    learn: Pictures | None = None
    test: Pictures | None = None


@dataclass(frozen=True)
class Labels:
    """The bundle's labels, and the columns of the positive ones."""

    names: tuple[str, ...]
    columns: tuple[int, ...]

    @property
    def positive(self) -> tuple[str, ...]:
        return tuple(self.names[column] for column in self.columns)


@dataclass(frozen=True)
class Exits:
    sensitivities: tuple[float, ...] = choose.SENSITIVITIES
    quantiles: int = 201


def labels_of(table: dict[str, Any]) -> Labels:
    names = tuple(label["name"] for label in table["labels"])
    return Labels(names, tuple(column for column, label in enumerate(table["labels"]) if label.get("positive")))


def individual_thresholds(table: dict[str, Any], labels: Labels, sensitivity: float) -> np.ndarray:
    """Returns the threshold of the individual test per positive label, at the calibrated sensitivity nearest to `sensitivity`."""
    found = []
    for label in labels.positive:
        entry = next(entry for entry in table["calibration"] if entry["label"] == label and entry["arity"] == 1 and "exit_sensitivity" not in entry)
        points = entry["operating_points"]
        found.append(min(points, key=lambda point: abs(point["sensitivity"] - sensitivity))["threshold"])
    return np.array(found)


class Builder:
    """One run of `exits` on one bundle."""

    def __init__(self, folder: Path, data: Images, options: Options, source: screen.Source | None, say: Say) -> None:
        self.folder, self.options, self.say = folder, options, say
        self.table = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        self.labels = labels_of(self.table)
        self.input = images.from_table(self.table["input"])
        self.composed: Composed = compose.load(folder, self.table)
        net = self.composed.network
        self.total = sum(macs.counts(net))
        self.items = 1 + sum(stage.get("fan_in") == 1 for stage in self.table["stages"])
        if options.deeper and len(self.table["stages"]) > self.items + 1:
            raise CutError("--deeper: the bundle merges in several steps, and exits behind its first merge cannot be added; leave --deeper out")
        if options.deeper and self.table["merge"] != "max":
            raise CutError("--deeper: the bundle does not merge by maximum; leave --deeper out")
        self.merge = depths.merge_point(net, self.composed.ends[self.items - 1])
        self.points = depths.candidates(net, self.merge, options.deeper)
        self.data, self.source = data, source

    def run(self, out: Path) -> Plan:
        self.look()
        self.fit()
        plan = self.chosen()
        # A run that is interrupted must not leave a bundle in `out` that is half old and half new.
        with tempfile.TemporaryDirectory() as scratch:
            self.write(Path(scratch), plan)
            self.publish(Path(scratch), out)
        return plan

    def publish(self, made: Path, out: Path) -> None:
        """Moves the new files to `out`, with the other files of the bundle."""
        out.mkdir(parents=True, exist_ok=True)
        old = {stage["file"] for stage in self.table["stages"]} | {screen.FILE, joint.FILE, "bundle.json"}
        for path in self.folder.iterdir():
            if path.is_file() and path.name not in old and out.resolve() != self.folder.resolve():
                shutil.copyfile(path, out / path.name)
        for name in old:
            (out / name).unlink(missing_ok=True)
        for path in made.iterdir():
            shutil.copyfile(path, out / path.name)

    def limit(self) -> None:
        """Keeps the pooled features of all images within MOST_BYTES: training images are sampled if there are too many."""
        width = 4 * sum(sum(pools.parts(point.row).values()) for point in self.points)
        left = MOST_BYTES // width - len(self.data.judge)
        if left <= 0:
            raise CutError(
                f"the pooled features of {len(self.data.judge)} images take {len(self.data.judge) * width / 1e9:.0f} GB: use fewer (--images)"
            )
        if self.data.learn and len(self.data.learn) > left:
            self.say(f"{left} of {len(self.data.learn)} training images are used, to stay within {MOST_BYTES >> 30} GiB")
            kept = self.data.learn.subset(folds.few(self.data.learn.wanted, left, self.options.seed))
            self.data = dataclasses.replace(self.data, learn=kept)

    def look(self) -> None:
        """Runs the network on all images."""
        self.limit()
        names, threads = [point.name for point in self.points], self.options.threads
        more = f" and {len(self.data.learn)} images of the training split" if self.data.learn else ""
        self.say(f"{len(self.points)} depths of {len(self.data.judge)} images{more}")
        self.pixels = self.data.judge.pixels(self.input)
        *self.judged, self.scores = probe.run(self.composed.network, names, True, self.pixels, self.input, threads)
        self.individual = self.scores[:, list(self.labels.columns)]
        if self.options.verdicts:
            self.judge_by_verdicts()
        self.learned: list[np.ndarray] | None = None
        if self.data.learn:
            self.learned = probe.run(self.composed.network, names, False, self.data.learn.pixels(self.input), self.input, threads)

    def judge_by_verdicts(self) -> None:
        """Replaces the labels of the images by the network's own verdicts."""
        wanted = self.individual >= self.thresholds
        if (wanted.sum(axis=0) < 10).any() or (~wanted.any(axis=1)).sum() < 10:
            raise CutError(
                f"--target verdicts: the network flags {wanted.sum(axis=0).tolist()} of {len(wanted)} images; "
                "give images of which it flags at least 10 and clears at least 10"
            )
        self.data = dataclasses.replace(self.data, judge=dataclasses.replace(self.data.judge, wanted=wanted))
        self.say(f"the network's own verdicts: {', '.join(f'{count} {label}' for label, count in zip(self.labels.positive, wanted.sum(axis=0)))}")

    @property
    def thresholds(self) -> np.ndarray:
        """Returns the threshold of the individual test per positive label."""
        given = self.options.verdict_threshold
        if given is not None:
            return np.full(len(self.labels.columns), given)
        if not self.table["calibration"]:
            return choose.thresholds(self.individual, self.data.judge.wanted, self.options.sensitivity)
        return individual_thresholds(self.table, self.labels, self.options.sensitivity)

    def fit(self) -> None:
        judge, learn = self.data.judge.wanted, self.data.learn.wanted if self.data.learn else None
        fewest = int(judge.sum(axis=0).min())
        self.with_training = learn is not None and (self.options.rows == "all" or (self.options.rows == "auto" and fewest < ENOUGH))
        self.prove(judge, learn)
        self.learner = Learner(learn, judge, self.with_training, self.options.seed)
        self.fits: list[Fitted] = []
        for number, point in enumerate(self.points):
            found = self.learner.fit(point.row, self.judged[number], self.learned[number] if self.learned else None)
            self.fits.append(found)
            self.say(f"depth {point.macs_share:.2%} ({point.name}): {found.head.kind}, {self.sketch(found)}")
        self.screen: Screen | None = None
        if self.source is not None:
            self.screen = screen.fit(
                self.source, self.data.judge, self.data.learn, self.learner, self.labels.names, self.labels.columns, self.options.threads
            )
            self.say(f"screen ({self.screen.macs / self.total:.2%} of the network): {self.screen.about}, {self.sketch(self.screen)}")

    def prove(self, judge: np.ndarray, learn: np.ndarray | None) -> None:
        for label, name in enumerate(self.labels.positive):
            count = int(judge[:, label].sum()) + (int(learn[:, label].sum()) if learn is not None and self.with_training else 0)
            self.say(
                f"{name}: {count} positives set the thresholds. With none of them lost, the loss is below {choose.provable(count):.1%} "
                "at 95 % confidence (299 positives: 1 %; 149: 2 %; 43: 7 %)"
            )

    def sketch(self, found: Fitted | Screen) -> str:
        scores, rows = self.joined(found), self.rows()
        cold = scores[rows.negative]
        shares = [choose.passes(cold, choose.thresholds(scores, rows.wanted, at)).mean() for at in (0.98, 0.99, 0.995, 1.0)]
        return "negatives passed at 98, 99, 99.5, 100 %: " + ", ".join(f"{share:.1%}" for share in shares)

    def joined(self, found: Fitted | Screen) -> np.ndarray:
        """Returns the scores of all rows that set thresholds, rounded as in joint.csv."""
        scores = [found.judged] + ([found.learned] if self.with_training and found.learned is not None else [])
        return joint.rounded_down(np.concatenate(scores))

    def rows(self) -> Rows:
        wanted, found = self.data.judge.wanted, self.individual >= self.thresholds
        if self.with_training and self.data.learn:
            more = self.data.learn.wanted
            wanted, found = np.concatenate([wanted, more]), np.concatenate([found, np.ones_like(more)])
        return Rows(wanted, found)

    def gates(self) -> list[Gate]:
        ahead = [Gate("screen", 0, self.screen.macs, self.joined(self.screen), forced=True)] if self.screen else []
        return [*ahead, *(Gate(point.name, point.macs, fit.head.macs, self.joined(fit)) for point, fit in zip(self.points, self.fits))]

    def chosen(self) -> Plan:
        plan = choose.search(self.gates(), self.rows(), self.total, self.options.most, self.options.loss)
        if not any(not picked.gate.forced for picked in plan.picked):
            self.say("no exit saves more than it costs")
        return plan

    def write(self, out: Path, plan: Plan) -> None:
        exits = {picked.gate.name for picked in plan.picked if not picked.gate.forced}
        made = self.item_stages(exits)
        later, moved = self.later_stages(made[-1][0])
        tables: list[dict[str, Any]] = []
        models: list[onnx.ModelProto] = []
        for number, (point, fit, model) in enumerate(made):
            tables.append(self.item_table(number, point, fit, model, out))
            models.append(model)
        for table, model in later:
            table = {**table, "file": f"stage{len(tables)}.onnx"}
            tables.append(described(out / table["file"], model) | {key: value for key, value in table.items() if key not in ("file", "sha256")})
            models.append(onnx.load_from_string(model))
        self.finish(out, plan, made, tables, models, moved)

    def item_stages(self, exits: set[str]) -> list[tuple[Point, Fitted | None, onnx.ModelProto]]:
        """Returns the item stages: one per exit, and one up to the merge if no exit is there or behind it."""
        net = self.composed.network
        chosen = [(point, fit) for point, fit in zip(self.points, self.fits) if point.name in exits]
        ends: list[tuple[Point, Fitted | None]] = [*chosen]
        if not ends or ends[-1][0].position < self.merge.position:
            ends.append((self.merge, None))
        starts = [net.image, *(point.name for point, _ in ends)]
        made = []
        for start, (point, fit) in zip(starts, ends):
            head = fit.head.spread(self.labels.columns, len(self.labels.names)) if fit else None
            model = stages.part(net, start, point.name, alone=True, head=head, labels_out=len(self.labels.names))
            made.append((point, fit, model))
        return made

    def item_table(self, number: int, point: Point, fit: Fitted | None, model: onnx.ModelProto, out: Path) -> dict[str, Any]:
        content = model.SerializeToString()
        table = described(out / f"stage{number}.onnx", content)
        table |= {"macs": macs.of_model(model), "features": list(point.row)}
        return table | ({"fan_in": 1} if number else {})

    def later_stages(self, end: Point) -> tuple[list[tuple[dict[str, Any], bytes]], bool]:
        """Returns the stages that merge, and whether the merge moved. Stages whose merge did not move are unchanged."""
        if end.position <= self.merge.position:
            kept = self.table["stages"][self.items :]
            return [(stage, (self.folder / stage["file"]).read_bytes()) for stage in kept], False
        model = stages.part(self.composed.network, end.name, None)
        return [({"macs": self.total - end.macs}, model.SerializeToString())], True

    def finish(
        self,
        out: Path,
        plan: Plan,
        made: Sequence[tuple[Point, Fitted | None, onnx.ModelProto]],
        tables: list[dict[str, Any]],
        models: Sequence[onnx.ModelProto],
        moved: bool,
    ) -> None:
        chain = Chain(models, [table["fan_in"] for table in tables if "fan_in" in table], self.options.threads)
        features, measured = self.embed(chain, made[-1][0])
        self.verify(chain, features)
        parts = self.parts(made, measured)
        source = np.array([CALIBRATION] * len(self.data.judge) + [TRAINING] * (len(self.rows().wanted) - len(self.data.judge)))
        unknown = np.full((len(source) - len(self.individual), len(self.labels.columns)), np.nan)
        rows = Joint(self.labels.positive, source, self.rows().wanted, parts, np.concatenate([self.individual, unknown]))
        table = {key: value for key, value in self.table.items() if key not in ("screen", "joint")}
        for number, stage in enumerate(tables):
            if f"stage{number}" in parts:
                stage["exit"] = {"calibration": self.entries(parts[f"stage{number}"])}
        table["stages"] = tables
        if self.screen:
            table["screen"] = described(out / screen.FILE, self.screen.model.SerializeToString())
            table["screen"] |= {"macs": self.screen.macs, "input": self.screen.input.table(), "calibration": self.entries(parts["screen"])}
        standard = self.standard(chain, features, moved)
        table["calibration"] = [*standard, *self.after(chain, features, parts, standard)]
        if parts:
            joint.write(out / joint.FILE, rows)
            table["joint"] = {"file": joint.FILE, "sha256": hashlib.sha256((out / joint.FILE).read_bytes()).hexdigest()}
        manifest.write(out / "bundle.json", ordered(table))
        self.report(plan, chain)

    def embed(self, chain: Chain, end: Point) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """Runs the item stages on the judged images. Returns their features and the exits' scores [N,labels]."""
        needed = 4 * int(np.prod(end.row)) * len(self.pixels)
        if needed > MOST_BYTES:
            raise CutError(f"the features of {len(self.pixels)} images take {needed / 1e9:.0f} GB: use fewer images (--images)")
        rows, found = [], []
        for part in batches(self.pixels, self.input):
            features, exits = chain.exits(part)
            rows.append(features)
            found.append(exits)
        return np.concatenate(rows), {stage: np.concatenate([exits[stage] for exits in found]) for stage in found[0]}

    def verify(self, chain: Chain, features: np.ndarray) -> None:
        count = min(CHECKED, len(features))
        scores = np.concatenate([chain.scores(features, np.arange(at, min(at + 32, count))[:, None]) for at in range(0, count, 32)])
        worst = float(np.abs(scores - self.scores[:count]).max())
        self.say(f"largest difference of an individual score before and after: {worst:.1e}")
        if worst > TOLERANCE:
            raise CutError(f"the individual scores change by {worst:.1e}, more than {TOLERANCE:.0e}: the stages do not compose to the network")

    def parts(self, made: Sequence[tuple[Point, Fitted | None, onnx.ModelProto]], measured: dict[int, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the scores of the screen and of each exit for the rows of joint.csv."""
        found = {"screen": self.joined(self.screen)} if self.screen else {}
        for number, (_, fit, _) in enumerate(made):
            if fit is None:
                continue
            scores = measured[number][:, list(self.labels.columns)]
            if self.data.learn is not None:
                # The judged images did not fit this head: the scores of the written stage are used.
                worst = float(np.abs(scores - fit.judged).max())
                if worst > TOLERANCE:
                    raise CutError(f"the written exit {number} differs from the fitted head by {worst:.1e}, more than {TOLERANCE:.0e}")
                fit = dataclasses.replace(fit, judged=scores)
            found[f"stage{number}"] = self.joined(fit)
        return found

    def entries(self, scores: np.ndarray) -> list[dict[str, Any]]:
        """Returns the calibration of an exit or of the screen, with one entry per positive label."""
        rows, found = self.rows(), []
        for column, label in enumerate(self.labels.positive):
            sample = Sample(scores[rows.wanted[:, column], column], scores[rows.negative, column])
            found.append(dataclasses.asdict(calibrate.entry(label, 1, sample, Exits())))
        return found

    def standard(self, chain: Chain, features: np.ndarray, moved: bool) -> list[dict[str, Any]]:
        """Returns the calibration on all images. It is measured anew if the merge moved."""
        kept = [entry for entry in self.table["calibration"] if "exit_sensitivity" not in entry]
        if not moved and self.options.pooled is None:
            return kept
        self.say("the merge moved: pooled tests are calibrated anew" if moved else "pooled tests are calibrated")
        settings = self.options.pooled or settings_of(kept, self.options.seed)
        targets, negatives = self.targets()
        return [dataclasses.asdict(entry) for entry in calibration.run(chain, features, targets, negatives, settings, self.say)]

    def targets(self) -> tuple[list[calibration.Target], np.ndarray]:
        wanted = self.data.judge.wanted
        found = [
            calibration.Target(label, column, np.flatnonzero(wanted[:, place]))
            for place, (label, column) in enumerate(zip(self.labels.positive, self.labels.columns))
        ]
        return found, np.flatnonzero(~wanted.any(axis=1))

    def after(self, chain: Chain, features: np.ndarray, parts: dict[str, np.ndarray], standard: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns the calibration of tests on images that pass the last exit, or else the screen."""
        if not parts:
            return []
        last = list(parts)[-1]
        limits = {at: choose.thresholds(parts[last], self.rows().wanted, at) for at in after.SENSITIVITIES}
        passed = {at: choose.passes(parts[last][: len(features)], limit) for at, limit in limits.items()}
        targets, negatives = self.targets()
        arities = sorted({entry["arity"] for entry in standard})
        sensitivities = tuple(point["sensitivity"] for point in standard[0]["operating_points"])
        settings = after.Settings(arities, self.options.groups, sensitivities, self.options.seed)
        return after.calibrated(chain, features, self.scores, targets, negatives, passed, settings, self.say)

    def report(self, plan: Plan, chain: Chain) -> None:
        from . import report

        rows = self.rows()
        self.say(report.table(plan, rows, self.total))
        measured = choose.measure(plan.picked, rows, self.total)
        kind = "out-of-fold" if self.data.learn is None else "calibration" + (" and out-of-fold training" if self.with_training else "")
        self.say(report.line(f"on the {kind} images", measured, rows))
        if self.data.test is not None:
            self.say(report.line("on the test images", *self.test(plan, chain)))

    def test(self, plan: Plan, chain: Chain) -> tuple[choose.Measured, Rows]:
        assert self.data.test is not None
        columns = list(self.labels.columns)
        pixels = self.data.test.pixels(self.input)
        exits, scores = [], []
        for part in batches(pixels, self.input):
            features, found = chain.exits(part)
            exits.append(list(found.values()))
            scores.append(chain.scores(features, np.arange(len(features))[:, None])[:, columns])
        gates = [np.concatenate(parts)[:, columns] for parts in zip(*exits)]
        if self.screen:
            gates = [self.screen.scores(self.data.test.pixels(self.screen.input), self.options.threads)[:, columns], *gates]
        rows = Rows(self.data.test.wanted, np.concatenate(scores) >= self.thresholds)
        return choose.measure(plan.picked, rows, self.total, gates), rows


def described(path: Path, content: bytes) -> dict[str, Any]:
    """Writes a file and returns its fields of the manifest."""
    path.write_bytes(content)
    return {"file": path.name, "sha256": hashlib.sha256(content).hexdigest()}


def settings_of(entries: Sequence[dict[str, Any]], seed: int) -> calibration.Settings:
    """Returns the settings with which existing entries were measured."""
    points = entries[0]["operating_points"]
    groups = max(entry["positives"] for entry in entries if entry["arity"] > 1) if any(entry["arity"] > 1 for entry in entries) else 1000
    arities = tuple(sorted({entry["arity"] for entry in entries}))
    return calibration.Settings(arities, groups, tuple(point["sensitivity"] for point in points), len(entries[0]["positive_scores"]), seed)


def ordered(table: dict[str, Any]) -> dict[str, Any]:
    """Returns the manifest with its long fields last."""
    late = [key for key in ("stages", "screen", "joint", "calibration", "confirm") if key in table]
    return {key: table[key] for key in [*(key for key in table if key not in late), *late]}
