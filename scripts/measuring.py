"""The worker of a benchmark: its configuration, its metrics, and a run over a topic that is already filled."""

import argparse
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from machine import PATIENCE, ROOT, Machine, answers

CONFIG = """
kafka: {{ brokers: "127.0.0.1:{kafka}", group_id: {name}, properties: {{ auto.offset.reset: earliest }} }}
source: {{ topic: {topic} }}
model: {{ bundle: "{bundle}", threads: {threads}, confirm: {confirm} }}
ops: {{ listen: "127.0.0.1:{worker}" }}
{settings}
"""
# The worker's plans that benchmarks compare, each as a part of the configuration.
PLANS = {
    "individual": "exits: { mode: none }\ngroup: { size: 1 }",
    "pooled": "exits: { mode: none }",
    "planned": "",
}
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LONGEST = 900
SAMPLE_EVERY = 0.05
# The start is left out of the rate: loading the bundle, joining the consumer group.
START_SHARE = 0.05


@dataclass(frozen=True)
class Worker:
    """The program and its bundle. `prefix` is a command that starts the program, such as one that limits its memory."""

    program: Path
    bundle: Path
    threads: int = 0
    prefix: list[str] = field(default_factory=list)
    confirm: bool = True


@dataclass(frozen=True)
class Run:
    """A run of the worker, with a consumer group of its own. `settings` is a part of its configuration, in YAML."""

    name: str
    topic: str
    items: int
    settings: str = ""


@dataclass(frozen=True)
class Sample:
    """The metrics at a time. `judged` is the number of items that the run counts."""

    time: float
    judged: float
    text: str


@dataclass(frozen=True)
class Measured:
    """The rate of a run, in items per second, and the metrics at its end."""

    rate: float
    text: str


def add_worker_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--worker", type=Path, default=ROOT / "target/release/dorfman", help="the binary")
    parser.add_argument("--threads", type=int, default=0, help="model.threads of the worker; 0: one per core (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of the worker's configuration; may be repeated")


def set_keys(program: str, settings: list[str]) -> None:
    """Sets keys of the configuration of all workers, through the environment."""
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            sys.exit(f"{program}: --set {setting}: must be KEY=VALUE, as in fetch.timeout=5s")
        os.environ["DORFMAN_" + key.replace(".", "__").upper()] = value


def produce(machine: Machine, worker: Path, topic: str, listed: list[str], *options: str) -> None:
    """Sends a reference for each path or URL."""
    path = machine.write(f"{topic}.txt", "".join(f"{location}\n" for location in listed))
    command = [str(worker), "produce", "--brokers", f"127.0.0.1:{machine.ports['kafka']}", "--topic", topic, *options, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{machine.program}: {worker} produce ended with {done.returncode}:\n{done.stderr[-2000:]}")


def metric(text: str, name: str, label: str = "") -> float:
    """Returns the sum of the samples of a metric that have a label."""
    samples = (SAMPLE.match(line) for line in text.splitlines())
    return sum(float(s[3]) for s in samples if s and s[1] == name and label in (s[2] or ""))


def by_label(text: str, name: str) -> dict[str, float]:
    """Returns the samples of a metric that has one label, by the value of the label."""
    samples = (SAMPLE.match(line) for line in text.splitlines())
    return {s[2].split('"')[1]: float(s[3]) for s in samples if s and s[1] == name and s[2]}


def all_items(text: str) -> float:
    """Returns the number of items with a verdict or a dead letter."""
    return metric(text, "dorfman_items_total")


def scored_items(text: str) -> float:
    """Returns the number of items with a verdict."""
    return sum(metric(text, "dorfman_items_total", f'verdict="{verdict}"') for verdict in ("flagged", "cleared"))


def scraped(machine: Machine) -> str:
    """Returns the metrics of the worker. Ends the script if the worker has ended."""
    url = f"http://127.0.0.1:{machine.ports['worker']}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.read().decode()
    except OSError as error:
        time.sleep(1)  # If the worker has just ended, its exit code follows.
        machine.check()
        sys.exit(f"{machine.program}: {url}: {error}")


def start(machine: Machine, worker: Worker, run: Run) -> int:
    """Starts a worker and waits until it is ready. Returns its process id."""
    model = {"bundle": worker.bundle, "threads": worker.threads, "confirm": str(worker.confirm).lower()}
    text = CONFIG.format(**machine.ports, **model, name=run.name, topic=run.topic, settings=run.settings)
    config = machine.write(f"{run.name}.yaml", text)
    process = machine.start(run.name, *worker.prefix, worker.program, "run", "--config", config)
    machine.wait_for("the worker is ready", lambda: answers(f"http://127.0.0.1:{machine.ports['worker']}/readyz"))
    return process.pid


def follow(
    machine: Machine,
    run: Run,
    count: Callable[[str], float] = all_items,
    look: Callable[[Sample], None] = lambda _: None,
    longest: float = LONGEST,
) -> Measured:
    """Waits until the worker has judged all items that `count` counts, then ends it. `look` sees each sample."""
    begin = time.monotonic()
    first: Sample | None = None
    while True:
        machine.check()
        text = scraped(machine)
        now = Sample(time.monotonic(), count(text), text)
        look(now)
        if first is None and now.judged >= run.items * START_SHARE:
            first = now
        if first is not None and now.judged >= run.items:
            break
        if now.time - begin > longest:
            sys.exit(f"{machine.program}: {run.name} has judged {now.judged:,.0f} of {run.items:,} images in {longest:.0f} s")
        time.sleep(SAMPLE_EVERY)
    machine.end(run.name)
    if now.time == first.time:
        sys.exit(f"{machine.program}: {run.items:,} images are too few to measure a rate; ask for more")
    return Measured((now.judged - first.judged) / (now.time - first.time), text)


def show(rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *rest = zip(row, widths, strict=True)
        print("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]))
