#!/usr/bin/env python3
"""Compares the worker with what an engineer would use instead, over the same topic of a real Kafka broker.

    scripts/bench_peers.py [--set SET] [--share P] [--only CONTENDER] [--seconds S]

Contenders:

    individual        this worker, which tests every image alone
    pooled            this worker without early exits and without a screen
    planned           this worker as it is by default
    python            a worker in Python: confluent-kafka, Pillow in a pool, ONNX Runtime in batches of 64
    python + screen   the same with a network in front: the screen of the bundle, or stage 0 and its exit
    bytewax           a data flow of Bytewax: its Kafka source and sink, batch inference between them

Sets of images:

    small    grey pictures of 28 x 28 pixels, PNG, models/fashion-bag
    photos   photos of garments, short side 256 px, JPEG, models/shoes
    hd       the same photos enlarged to 1920 x 1080, with grain, about 500 kB, models/shoes

All use the same weights and the same thresholds for an image tested alone (sensitivity 0.99). None uses
the confirm network. `planning.prevalence` is the share of positives. The broker, the contender and this
script share the cores of the machine.

The rate counts from the first 5 % of the images, and ends with the last image or after --seconds. All
references are in the topic before. The latency is measured in a second run: references arrive at half
the rate of the slowest contender, 5 % positive, and each flag is compared with the timestamp of its
reference. Needs target/release/dorfman and `scripts/setup.sh onnxruntime kafka dataset peers`, and runs
with .dorfman/peers/bin/python.
"""

import argparse
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from machine import ROOT, Machine, find_onnxruntime, processors, start_kafka
from measuring import PLANS, SAMPLE_EVERY, START_SHARE, show
from peers.contenders import PLAIN, SCREENED, Task, contenders
from peers.images import enlarge
from peers.networks import write as write_networks
from photos import SHOES, Photos, unpack
from small_images import garments
from steady import Stream, create_topics, fill, percentile, read_all, wait_for
from use import Use

WARM_UP = 5.0
STEADY_SHARE = 0.05
STEADY_LOAD = 0.5
LARGE = 100  # enlarged photos, a fifth of them positive


@dataclass(frozen=True)
class Set:
    """Images, the network for them, the number of references, and the goals."""

    bundle: Path
    images: int
    plain_goal: float


SETS = {
    "small": Set(ROOT / "models/fashion-bag", 200_000, 10.0),
    "photos": Set(SHOES, 20_000, 8.0),
    "hd": Set(SHOES, 6_000, 4.0),
}
SCREENED_GOAL = 2.5


@dataclass
class Result:
    """What a contender reached. Rate in images per second, CPU in seconds per image, memory in MiB, latencies in seconds."""

    rate: float
    cpu: float
    peak: float
    flagged: float
    latencies: list[float]

    def percentile(self, share: float) -> str:
        return f"{percentile(self.latencies, share) * 1e3:,.0f}" if self.latencies else "-"


class Bench:
    """The broker and the images of one set."""

    def __init__(self, machine: Machine, name: str, arguments: argparse.Namespace) -> None:
        self.machine, self.name, self.set, self.arguments = machine, name, SETS[name], arguments
        self.brokers = f"127.0.0.1:{machine.ports['kafka']}"
        self.contenders = {key: begin for key, begin in contenders(arguments.worker).items() if key in arguments.only}
        self.peer = write_networks(self.set.bundle, machine.folder / f"{name}-networks")
        self.photos = images(machine, name)

    def run(self) -> None:
        for share in self.arguments.share:
            results = self._rates(share)
            if share == self.arguments.share[-1] and self.arguments.steady:
                self._latencies(results)
            report(self.name, share, results)

    def _rates(self, share: float) -> dict[str, Result]:
        topic, count = f"{self.name}-{share:g}", self.arguments.images or self.set.images
        chosen = self.photos.drawn(count, share, random.Random(self.arguments.seed))
        create_topics(self.brokers, [topic])
        fill(self.brokers, topic, [str(path) for path in chosen])
        return {name: self._rate(name, self._task(name, topic, count, share)) for name in self.contenders}

    def _task(self, contender: str, topic: str, count: int, share: float) -> Task:
        name = f"{topic}-{contender.replace(' + ', '-')}"
        return Task(name, topic, f"{name}-flags", count, share, self.set.bundle, self.peer)

    def _rate(self, name: str, task: Task) -> Result:
        print(f"bench-peers: {task.topic}: {name}", flush=True)
        create_topics(self.brokers, [task.flagged])
        started = self.contenders[name](self.machine, task)
        wait_for(self.machine, started, task.items * START_SHARE)
        first, before, begun = started.judged(), Use.of(started.pid), time.monotonic()
        judged, now = first, begun
        while judged < task.items and now - begun < self.arguments.seconds:
            time.sleep(SAMPLE_EVERY)
            self.machine.check()
            judged, now = started.judged(), time.monotonic()
        if judged == first:
            sys.exit(f"bench-peers: {task.items:,} images are too few to measure {name}; ask for more with --images")
        used = Use.of(started.pid)
        flagged = len(read_all(self.brokers, task.flagged)) / judged
        self.machine.end(task.name)
        return Result((judged - first) / (now - begun), (used.cpu - before.cpu) / (judged - first), used.peak, flagged, [])

    def _latencies(self, results: dict[str, Result]) -> None:
        rate = STEADY_LOAD * min(result.rate for result in results.values())
        for name, result in results.items():
            print(f"bench-peers: {self.name}: {name}, {rate:,.0f} images/s for {self.arguments.steady:.0f} s", flush=True)
            result.latencies = self._latency(name, rate)

    def _latency(self, name: str, rate: float) -> list[float]:
        topic = f"{self.name}-steady-{list(self.contenders).index(name)}"
        task = self._task(name, topic, 0, STEADY_SHARE)
        create_topics(self.brokers, [topic, task.flagged])
        stream = Stream(self.brokers, topic, rate, self.arguments.steady + WARM_UP)
        draw = random.Random(self.arguments.seed)
        started = self.contenders[name](self.machine, task)
        stream.offer([str(path) for path in self.photos.drawn(10_000, STEADY_SHARE, draw)], draw)
        wait_for(self.machine, started, len(stream.sent))
        self.machine.end(task.name)
        return stream.latencies(task.flagged, WARM_UP)


def images(machine: Machine, name: str) -> Photos:
    """Writes the images of a set."""
    folder = machine.folder / name
    if name == "small":
        return garments(folder)
    found = unpack(machine.program, SHOES / "photos.zip", "shoes", folder)
    if name == "photos":
        return found
    return Photos(enlarged(found.positives[: LARGE // 5]), enlarged(random.Random(1).sample(found.negatives, LARGE * 4 // 5)))


def enlarged(photos: list[Path]) -> list[Path]:
    paths = [photo.with_name(f"hd-{photo.name}") for photo in photos]
    for seed, (photo, path) in enumerate(zip(photos, paths, strict=True)):
        enlarge(photo, path, seed)
    return paths


def report(name: str, share: float, results: dict[str, Result]) -> None:
    print(f"\n{name}, {share:.1%} positive. CPU in milliseconds per image, memory in MiB, latency of flags in milliseconds.\n")
    rows = [["contender", "images/s", "CPU", "peak", "flagged", "p50", "p99", "flags"]]
    for contender, result in results.items():
        latency = [result.percentile(0.5), result.percentile(0.99), str(len(result.latencies))]
        rows.append([contender, f"{result.rate:,.0f}", f"{result.cpu * 1e3:.3f}", f"{result.peak:,.0f}", f"{result.flagged:.2%}", *latency])
    show(rows)
    compare(results, [peer for peer in PLAIN if peer in results], SETS[name].plain_goal)
    compare(results, [SCREENED] if SCREENED in results else [], SCREENED_GOAL)
    print(flush=True)


def compare(results: dict[str, Result], peers: list[str], goal: float) -> None:
    if "planned" not in results or not peers:
        return
    best = max(peers, key=lambda peer: results[peer].rate)
    ratio, cpu = results["planned"].rate / results[best].rate, results[best].cpu / results["planned"].cpu
    reached = "reached" if ratio >= goal else "missed"
    print(f"planned / {best}: {ratio:.1f} times the images/s, 1/{cpu:.1f} of the CPU time (goal for images/s {goal:g}: {reached})")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*PLANS, "python", SCREENED, "bytewax"]
    parser.add_argument("--set", action="append", choices=list(SETS), help="only this set; may be repeated")
    parser.add_argument("--share", action="append", type=float, metavar="P", help="share of positives; may be repeated (default: 0.001 and 0.01)")
    parser.add_argument("--only", action="append", choices=names, help="only this contender; may be repeated")
    parser.add_argument("--images", type=int, metavar="N", help="references (default: 200,000, 20,000, 6,000)")
    parser.add_argument("--seconds", type=float, default=15, metavar="S", help="the longest time of a rate (default: %(default)s)")
    parser.add_argument("--steady", type=float, default=25, metavar="S", help="seconds of the run for the latency; 0: none (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed for drawing images (default: %(default)s)")
    parser.add_argument("--worker", type=Path, default=ROOT / "target/release/dorfman", help="the binary")
    arguments = parser.parse_args()
    arguments.set = arguments.set or list(SETS)
    arguments.share = arguments.share or [0.001, 0.01]
    arguments.only = arguments.only or names
    return arguments


def main() -> None:
    arguments = parsed()
    find_onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine("bench-peers", folder, ["kafka", "controller", "worker"])
        try:
            start_kafka(machine)
            print(f"bench-peers: {processors()}", flush=True)
            for name in arguments.set:
                Bench(machine, name, arguments).run()
        finally:
            machine.stop()


main()
