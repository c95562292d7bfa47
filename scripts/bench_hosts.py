#!/usr/bin/env python3
"""Measures what one host that never answers costs the images of other hosts and local files.

    scripts/bench_hosts.py [--images N] [--share P] [--rounds N] [--only KIND] [--set KEY=VALUE]

A real Kafka broker has two topics of each kind of references:

    local    the photos are files
    host     an HTTP server on this machine has the photos
    mixed    half of the photos are files, the other half comes from the server

Both topics have the same N references in the same order. In the second topic, references to another
server stand between them. This server accepts connections and never answers. They are a share P of
all references in the topic. In each round, a worker with a new consumer group reads each topic. The
rate counts only the N images. The table has the medians of all rounds. *Kept* is the rate of the
second topic divided by the rate of the first topic, from runs that follow each other.

The configuration is the default one, apart from what is needed to reach 127.0.0.1. A run should
take longer than `fetch.deadline`, the time for which an image of the silent server waits. The exit
code is 1 if less is kept than the goal. The broker and the servers run on the same machine, on the
same cores. With --small, the photos are small pictures of Fashion-MNIST, which a worker with
models/fashion-bag judges ten times as fast. Needs target/release/dorfman and `scripts/setup.sh
onnxruntime kafka`; with --small also `dataset python`, and it then runs with
.dorfman/python/bin/python.
"""

import argparse
import random
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from faults.store import Store
from machine import ROOT, Machine, find_onnxruntime, start_kafka
from measuring import Run, Sample, Worker, add_worker_options, by_label, follow, metric, produce, scored_items, set_keys, show, start
from photos import Photos, add_photo_options, unpack

# Private addresses are refused by default. The images of the silent server need not be finished at
# the end of a run.
SETTINGS = """
fetch: {{ roots: ["{folder}"], allow_private: true }}
shutdown: {{ deadline: 1s }}
"""
LOCAL_SHARE = {"local": 1.0, "host": 0.0, "mixed": 0.5}
SMALL = 2_000  # small pictures, half of them positive
GOALS = {"local": 0.9, "host": 0.8, "mixed": 0.8}


@dataclass
class Hosts:
    """The server of the photos, and the server that never answers."""

    answers: Store
    silent: Store


@dataclass
class Waits:
    """What a worker waited for, from the samples of a run. `standstill` is the longest time without a verdict."""

    standstill: float = 0.0
    most_waiting: float = 0.0
    outage: bool = False
    last: Sample | None = None

    def look(self, sample: Sample) -> None:
        if self.last is None or sample.judged > self.last.judged:
            self.last = sample
        elif sample.judged:
            self.standstill = max(self.standstill, sample.time - self.last.time)
        self.most_waiting = max(self.most_waiting, metric(sample.text, "dorfman_fetch_waiting"))
        self.outage |= metric(sample.text, "dorfman_fetch_outage") > 0


@dataclass
class Kind:
    """The rates of a kind of references, one per round: without and with the silent server."""

    name: str
    plain: list[float] = field(default_factory=list)
    hanging: list[float] = field(default_factory=list)
    waits: list[Waits] = field(default_factory=list)
    dead: dict[str, float] = field(default_factory=dict)

    def kept(self) -> list[float]:
        return [hanging / plain for plain, hanging in zip(self.plain, self.hanging, strict=True)]

    def reached(self) -> bool:
        return statistics.median(self.kept()) >= GOALS[self.name]


def references(kind: str, photos: list[Path], hosts: Hosts, draw: random.Random) -> list[str]:
    local = LOCAL_SHARE[kind]
    return [str(path) if draw.random() < local else hosts.answers.url(path.name) for path in photos]


def with_hanging(listed: list[str], share: float, hosts: Hosts, draw: random.Random) -> list[str]:
    """Returns the references with those to the silent server between them."""
    count = round(len(listed) * share / (1 - share))
    # Different names, so that the broker spreads them over the partitions.
    silent = [hosts.silent.url(f"{n}.jpg") for n in range(count)]
    at = set(draw.sample(range(len(listed) + count), count))
    others, hanging = iter(listed), iter(silent)
    return [next(hanging if n in at else others) for n in range(len(listed) + count)]


def unpacked(arguments: argparse.Namespace, machine: Machine) -> Photos:
    return unpack(machine.program, arguments.photos, arguments.positive, machine.folder / "photos")


def small(arguments: argparse.Namespace, folder: Path) -> Photos:
    """Writes small pictures, and selects the bundle that judges them."""
    from small_images import write_garments  # needs Pillow

    folder.mkdir()
    arguments.bundle = ROOT / "models/fashion-bag"
    paths = write_garments(SMALL, 0.5, folder)
    return Photos(paths[: SMALL // 2], paths[SMALL // 2 :])


def fill(machine: Machine, kinds: list[str], photos: Photos, hosts: Hosts, arguments: argparse.Namespace) -> None:
    """Fills the two topics of each kind."""
    draw = random.Random(arguments.seed)
    chosen = photos.drawn(arguments.images, arguments.positives, draw)
    for kind in kinds:
        listed = references(kind, chosen, hosts, draw)
        produce(machine, arguments.worker, kind, listed)
        produce(machine, arguments.worker, f"{kind}-hanging", with_hanging(listed, arguments.share, hosts, draw))


def measure(machine: Machine, kind: Kind, number: int, arguments: argparse.Namespace) -> None:
    """Runs a worker over each topic of a kind."""
    worker = Worker(arguments.worker, arguments.bundle, arguments.threads)
    settings = SETTINGS.format(folder=machine.folder)
    for topic, rates in ((kind.name, kind.plain), (f"{kind.name}-hanging", kind.hanging)):
        waits = Waits()
        run = Run(f"{topic}-{number}", topic, arguments.images, settings)
        start(machine, worker, run)
        found = follow(machine, run, scored_items, waits.look)
        rates.append(found.rate)
        print(f"bench-hosts: round {number}: {topic}: {found.rate:,.0f} images/s", flush=True)
    kind.waits.append(waits)
    kind.dead = by_label(found.text, "dorfman_dead_letters_total")


def shown(kind: Kind) -> list[str]:
    """Returns the row of a kind in the table."""
    plain, hanging, kept = (statistics.median(values) for values in (kind.plain, kind.hanging, kind.kept()))
    rounds = " ".join(f"{kept:.0%}" for kept in kind.kept())
    goal = f"{GOALS[kind.name]:.0%} {'reached' if kind.reached() else 'missed'}"
    return [kind.name, f"{plain:,.0f}", f"{hanging:,.0f}", f"{kept:.0%}", goal, rounds]


def shown_waits(kind: Kind) -> list[str]:
    """Returns the row of a kind in the table of the runs with the silent server."""
    standstill = max(waits.standstill for waits in kind.waits)
    waiting = max(waits.most_waiting for waits in kind.waits)
    outage = "yes" if any(waits.outage for waits in kind.waits) else "no"
    dead = ", ".join(f"{reason} {count:.0f}" for reason, count in kind.dead.items() if count) or "none"
    return [kind.name, f"{standstill:.1f}", f"{waiting:.0f}", outage, dead]


def report(kinds: list[Kind], share: float) -> None:
    print("\nImages per second, without those of the silent server.\n")
    show([["references", "all answer", f"{share:.1%} hang", "kept", "goal", "kept in each round"], *map(shown, kinds)])
    print("\nThe runs with the silent server: the longest time without a verdict in seconds, the most fetches")
    print("that waited for their turn, whether a store counted as down, and the dead letters at the end of the")
    print("last run.\n")
    show([["references", "standstill", "waiting", "outage", "dead letters"], *map(shown_waits, kinds)])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=150_000, metavar="N", help="images besides those that hang (default: %(default)s)")
    parser.add_argument("--share", type=float, default=0.02, metavar="P", help="share of references to the silent server (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs over each topic (default: %(default)s)")
    parser.add_argument("--partitions", type=int, default=4, metavar="N", help="partitions of a topic (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=list(LOCAL_SHARE), help="only this kind of references; may be repeated")
    parser.add_argument("--small", action="store_true", help="small pictures and models/fashion-bag, instead of photos")
    parser.add_argument("--positives", type=float, default=0.01, metavar="P", help="share of positive photos (default: %(default)s)")
    add_photo_options(parser)
    add_worker_options(parser)
    arguments = parser.parse_args()
    if not 0 < arguments.share < 1:
        parser.error(f"--share is {arguments.share}; it must be above 0 and below 1")
    return arguments


def main() -> None:
    arguments = parsed()
    set_keys("bench-hosts", arguments.set)
    find_onnxruntime()
    kinds = [Kind(name) for name in arguments.only or LOCAL_SHARE]
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine("bench-hosts", folder, ["kafka", "controller", "worker"])
        photos = small(arguments, machine.folder / "photos") if arguments.small else unpacked(arguments, machine)
        hosts = Hosts(Store(machine.folder / "photos"), Store(machine.folder / "photos"))
        try:
            hosts.silent.tell("hang")
            start_kafka(machine, f"num.partitions={arguments.partitions}")
            print(f"bench-hosts: producing {arguments.images:,} references per topic", flush=True)
            fill(machine, [kind.name for kind in kinds], photos, hosts, arguments)
            for number in range(1, arguments.rounds + 1):
                for kind in kinds:
                    measure(machine, kind, number, arguments)
        finally:
            machine.stop()
            hosts.answers.stop()
            hosts.silent.stop()
    report(kinds, arguments.share)
    if not all(kind.reached() for kind in kinds):
        sys.exit("bench-hosts: a goal was missed")


main()
