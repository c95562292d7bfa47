#!/usr/bin/env python3
"""Measures how long a flag takes, from the timestamp of its reference, at rising rates of references.

    scripts/bench_latency.py [--bundle fashion-bag|shoes] [--rate R] [--setting NAME] [--seconds S]

A producer sends references at a fixed rate through a real Kafka broker. Each flag is compared with
the timestamp of its reference. The settings of the worker:

    individual       every image is tested alone
    4 at 200 ms      groups of 4 without early exits, group.max_wait 200 ms (its default)
    16 at 50 ms      groups of 16, with a shorter group.max_wait
    16 at 200 ms     groups of 16
    16 at 1 s        groups of 16, with a longer group.max_wait
    planned          the default: exits, and groups if they pay

2 % of the images are positive. The table has the median and the 99th percentile in milliseconds. At
low rates, a measurement takes longer than --seconds, up to 40 s, so that there are enough flags. A
dash means that the worker does not keep up with the rate: after the last reference it needs more than
5 s. The broker and this script share the cores of the machine with the worker. Needs
target/release/dorfman and `scripts/setup.sh onnxruntime kafka dataset peers`, and runs with
.dorfman/peers/bin/python.
"""

import argparse
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

from machine import ROOT, Machine, find_onnxruntime, processors, start_kafka
from measuring import PLANS, show
from peers.contenders import Task, starts_worker
from photos import SHOES, Photos, unpack
from small_images import garments
from steady import Stream, create_topics, judges, percentile

SHARE = 0.02
WARM_UP = 3.0
ENOUGH = 60  # flags
LONGEST = 40.0
# A longer time to finish the last images means that the queue has grown.
KEEPS_UP = 5.0
RATES = {"fashion-bag": [30, 300, 1000, 3000], "shoes": [10, 30, 100, 300]}


def pooled(size: int, max_wait: str) -> str:
    return f"{PLANS['pooled']}\ngroup: {{ size: {size}, max_wait: {max_wait} }}"


SETTINGS = {
    "individual": PLANS["individual"],
    "4 at 200 ms": pooled(4, "200ms"),
    "16 at 50 ms": pooled(16, "50ms"),
    "16 at 200 ms": pooled(16, "200ms"),
    "16 at 1 s": pooled(16, "1s"),
    "planned": PLANS["planned"],
}


@dataclass(frozen=True)
class Bench:
    """The broker, the images and the bundle."""

    machine: Machine
    bundle: Path
    photos: Photos
    arguments: argparse.Namespace

    def cell(self, setting: str, rate: float) -> str:
        """Returns the latencies of a setting at a rate."""
        topic = f"{setting.replace(' ', '-')}-{rate:g}"
        brokers = f"127.0.0.1:{self.machine.ports['kafka']}"
        create_topics(brokers, [topic, f"{topic}-flags"])
        task = Task(topic, topic, f"{topic}-flags", 0, SHARE, self.bundle, self.bundle)
        enough = min(ENOUGH / (rate * SHARE), LONGEST)
        stream = Stream(brokers, topic, rate, WARM_UP + max(self.arguments.seconds, enough))
        draw = random.Random(self.arguments.seed)
        uris = [str(path) for path in self.photos.drawn(10_000, SHARE, draw)]
        started = starts_worker(self.arguments.worker, SETTINGS[setting])(self.machine, task)
        stream.offer(uris, draw)
        kept_up = judges(self.machine, started, len(stream.sent), KEEPS_UP)
        self.machine.end(topic)
        found = stream.latencies(task.flagged, WARM_UP) if kept_up else []
        shown = f"{percentile(found, 0.5) * 1e3:,.0f} / {percentile(found, 0.99) * 1e3:,.0f}" if found else "-"
        print(f"bench-latency: {setting}, {rate:g} images/s: {shown} ms, {len(found)} flags", flush=True)
        return shown


def images(machine: Machine, bundle: str) -> Photos:
    folder = machine.folder / "images"
    if bundle == "shoes":
        return unpack(machine.program, SHOES / "photos.zip", "shoes", folder)
    return garments(folder)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", choices=list(RATES), default="fashion-bag", help="the bundle, with its images (default: %(default)s)")
    parser.add_argument("--rate", action="append", type=float, metavar="R", help="references per second; may be repeated")
    parser.add_argument("--setting", action="append", choices=list(SETTINGS), help="only this setting; may be repeated")
    parser.add_argument("--seconds", type=float, default=12, metavar="S", help="seconds per rate, without the first 3 (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed for drawing images (default: %(default)s)")
    parser.add_argument("--worker", type=Path, default=ROOT / "target/release/dorfman", help="the binary")
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    find_onnxruntime()
    rates = arguments.rate or RATES[arguments.bundle]
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine("bench-latency", folder, ["kafka", "controller", "worker"])
        bench = Bench(machine, ROOT / "models" / arguments.bundle, images(machine, arguments.bundle), arguments)
        try:
            start_kafka(machine)
            print(f"bench-latency: {arguments.bundle}, {processors()}", flush=True)
            rows = [["p50 / p99 in ms", *(f"{rate:g}/s" for rate in rates)]]
            for setting in arguments.setting or SETTINGS:
                rows.append([setting, *(bench.cell(setting, rate) for rate in rates)])
        finally:
            machine.stop()
    print()
    show(rows)


main()
