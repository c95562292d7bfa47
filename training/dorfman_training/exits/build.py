"""Adds exits and a screen to a bundle: fits heads, chooses depths, writes the stages and measures the result."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from . import bundle, choose, joint, learn, report, screen
from .bundle import Bundle
from .choose import Measured, Plan, Rows
from .learn import Heads, Say
from .options import Images, Options
from .pictures import batches
from .screen import Source
from .write import Writer


def add(folder: Path, out: Path, data: Images, options: Options, source: Source | None, say: Say) -> tuple[Plan, Heads]:
    """Writes the bundle in `folder` to `out` with exits, and with the screen `source` if it is not None."""
    held = bundle.load(folder, options.deeper)
    heads = learn.fit(held, data, options, source, say)
    plan = choose.search(heads.gates(), heads.rows, held.total, options.most, options.loss)
    exits = {picked.gate.name for picked in plan.picked if not picked.gate.forced}
    if not exits:
        say("no exit saves more than it costs")
    # A run that is interrupted must not leave a bundle in `out` that is half old and half new.
    with tempfile.TemporaryDirectory() as scratch:
        writer = Writer(held, heads, exits, options, Path(scratch), say)
        writer.run()
        publish(held, Path(scratch), out)
    tell(held, heads, plan, writer, say)
    return plan, heads


def publish(held: Bundle, made: Path, out: Path) -> None:
    """Moves the new files to `out`, with the other files of the bundle."""
    out.mkdir(parents=True, exist_ok=True)
    old = {stage["file"] for stage in held.table["stages"]} | {screen.FILE, joint.FILE, "bundle.json"}
    for path in held.folder.iterdir():
        if path.is_file() and path.name not in old and out.resolve() != held.folder.resolve():
            shutil.copyfile(path, out / path.name)
    for name in old:
        (out / name).unlink(missing_ok=True)
    for path in made.iterdir():
        shutil.copyfile(path, out / path.name)


def tell(held: Bundle, heads: Heads, plan: Plan, writer: Writer, say: Say) -> None:
    data, rows = heads.seen.data, heads.rows
    say(report.table(plan, rows, held.total))
    kind = "out-of-fold" if data.learn is None else "calibration" + (" and out-of-fold training" if heads.with_training else "")
    say(report.line(f"on the {kind} images", choose.measure(plan.picked, rows, held.total), rows))
    say(f"on new images, expect a loss of about {choose.expected(plan, rows):.1%}, because the thresholds were set on these positives")
    if data.test is not None:
        say(report.line("on the test images", *tested(held, heads, plan, writer)))


def tested(held: Bundle, heads: Heads, plan: Plan, writer: Writer) -> tuple[Measured, Rows]:
    """Runs the written bundle on the test images."""
    test, columns = heads.seen.data.test, list(held.labels.columns)
    assert test is not None
    exits, scores = [], []
    for part in batches(test.pixels(held.input), held.input):
        features, found = writer.chain.exits(part)
        exits.append(list(found.values()))
        scores.append(writer.chain.scores(features, np.arange(len(features))[:, None])[:, columns])
    gates = [np.concatenate(parts)[:, columns] for parts in zip(*exits)]
    if heads.screen:
        gates = [heads.screen.scores(test.pixels(heads.screen.input), writer.options.threads)[:, columns], *gates]
    rows = Rows(test.wanted, np.concatenate(scores) >= heads.seen.thresholds)
    return choose.measure(plan.picked, rows, held.total, gates), rows
