#!/usr/bin/env python3
"""Measures the memory of the worker over a long backlog and over the largest allowed images.

    scripts/bench_memory.py [--backlog N] [--large N] [--only RUN] [--limit MIB] [--set KEY=VALUE]

The runs, each with its own topic of a real Kafka broker:

    backlog  N references to 2,000 small pictures (Fashion-MNIST) in files, with models/fashion-bag
    files    large images in files, as many bytes as `fetch.max_bytes` allows, with models/shoes
    inline   the same images in messages of the largest size that the broker accepts

The large images have as many pixels as `decode.max_pixels` allows, in the formats that take most
memory. Zeros at their end bring them to their number of bytes. The configuration is the default
one. With --set, also give the new limits with --pixels and --bytes. The kernel enforces the limit
of memory with a control group (cgroup), if this machine allows it.

The exit code is 1 if the worker ends, if an image has neither verdict nor dead letter, if the
resident memory exceeds the limit, or if it grows by more than --growth between 10 % and 100 % of
the backlog. Needs target/release/dorfman and `scripts/setup.sh onnxruntime kafka dataset python`,
and runs with .dorfman/python/bin/python.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from control_group import ControlGroup, Limits, control_group
from large_images import pad, write_all
from machine import ROOT, Machine, find_onnxruntime, start_kafka
from measuring import LONGEST, Run, Sample, Worker, add_worker_options, all_items, by_label, follow, produce, set_keys, show, start
from photos import SHOES, unpack
from small_images import write_garments
from use import memory

MIB = 1 << 20
FASHION = ROOT / "models/fashion-bag"
SMALL = 2_000
# What a reference has besides the image: the id, the names of the fields, Kafka's own header.
ENVELOPE = 1024
# The sides of the photo in a large image, before it is enlarged. A message has less room than a file.
DETAIL = {"files": 64, "inline": 16}
SHARES = (0.1, 0.5, 1.0)


@dataclass
class Memory:
    """The resident memory of a process, from the samples of a run."""

    pid: int
    items: int
    peak: int = 0
    at: dict[float, int] = field(default_factory=dict)

    def look(self, sample: Sample) -> None:
        values = memory(self.pid)
        self.peak = max(self.peak, values.get("VmHWM", 0))
        for share in SHARES:
            if sample.judged >= share * self.items:
                self.at.setdefault(share, values.get("VmRSS", 0))


def fill_backlog(machine: Machine, arguments: argparse.Namespace) -> int:
    draw = random.Random(arguments.seed)
    (folder := machine.folder / "small").mkdir()
    paths = write_garments(SMALL, arguments.share, folder)
    draw.shuffle(paths)
    repeats = max(1, arguments.backlog // len(paths))
    produce(machine, arguments.worker, "backlog", [str(path) for path in paths], "--repeat", str(repeats))
    return repeats * len(paths)


def large_images(machine: Machine, topic: str, length: int, arguments: argparse.Namespace) -> list[Path]:
    """Writes the large images of a topic, of `length` bytes each. Images that are larger are left out."""
    photos = unpack(machine.program, SHOES / "photos.zip", "shoes", machine.folder / f"{topic}-photos")
    raw, padded = machine.folder / f"{topic}-raw", machine.folder / topic
    raw.mkdir()
    padded.mkdir()
    print(f"bench-memory: {topic}: writing images of {arguments.pixels:,} pixels", flush=True)
    fitting = []
    for image in write_all(photos.positives[0], arguments.pixels, DETAIL[topic], raw):
        if pad(image, length, padded / image.name):
            fitting.append(padded / image.name)
        else:
            print(f"bench-memory: {topic}: without {image.name}, which has more than {length:,} bytes", flush=True)
    return fitting


def fill_large(machine: Machine, topic: str, length: int, arguments: argparse.Namespace, *options: str) -> int:
    paths = large_images(machine, topic, length, arguments)
    if not paths:
        sys.exit(f"bench-memory: {topic}: no image fits; raise --bytes or --message-bytes")
    repeats = max(1, arguments.large // len(paths))
    produce(machine, arguments.worker, topic, [str(path) for path in paths], "--repeat", str(repeats), *options)
    return repeats * len(paths)


def fill_files(machine: Machine, arguments: argparse.Namespace) -> int:
    return fill_large(machine, "files", arguments.bytes, arguments)


def fill_inline(machine: Machine, arguments: argparse.Namespace) -> int:
    length = min((arguments.message_bytes - ENVELOPE) // 4 * 3, arguments.bytes)
    largest = f"message.max.bytes={arguments.message_bytes}"
    return fill_large(machine, "inline", length, arguments, "--inline", "--property", largest)


RUNS: dict[str, tuple[Callable[[Machine, argparse.Namespace], int], Path]] = {
    "backlog": (fill_backlog, FASHION),
    "files": (fill_files, SHOES),
    "inline": (fill_inline, SHOES),
}


@dataclass
class Result:
    """What a run has shown."""

    run: Run
    rate: float
    memory: Memory
    verdicts: dict[str, float]
    dead: dict[str, float]

    def problems(self, limit: int, growth: int) -> list[str]:
        found = []
        name, memory = self.run.name, self.memory
        if memory.peak > limit:
            found.append(f"{name}: the worker had {memory.peak // MIB} MiB, more than the limit")
        grown = memory.at[1.0] - memory.at[0.1]
        if name == "backlog" and grown > growth:
            found.append(f"{name}: the memory grew by {grown // MIB} MiB between 10 % and 100 % of the backlog")
        return found

    def row(self) -> list[str]:
        verdicts = [f"{self.verdicts.get(verdict, 0):.0f}" for verdict in ("cleared", "flagged")]
        dead = ", ".join(f"{reason} {count:.0f}" for reason, count in self.dead.items() if count) or "none"
        shares = [str(self.memory.at[share] // MIB) for share in SHARES]
        return [self.run.name, f"{self.run.items:,}", f"{self.rate:,.1f}", *shares, str(self.memory.peak // MIB), *verdicts, dead]


def measured(machine: Machine, name: str, arguments: argparse.Namespace, limit: ControlGroup | None) -> Result:
    fill, bundle = RUNS[name]
    items = fill(machine, arguments)
    print(f"bench-memory: {name}: {items:,} images", flush=True)
    run = Run(name, name, items, f'fetch: {{ roots: ["{machine.folder}"] }}')
    worker = Worker(arguments.worker, bundle, arguments.threads, limit.prefix() if limit else [])
    memory = Memory(start(machine, worker, run), items)
    found = follow(machine, run, all_items, memory.look, arguments.longest)
    verdicts = by_label(found.text, "dorfman_items_total")
    return Result(run, found.rate, memory, verdicts, by_label(found.text, "dorfman_dead_letters_total"))


def report(results: list[Result], arguments: argparse.Namespace, enforced: bool) -> None:
    how = "enforced by the kernel" if enforced else "compared, not enforced: this machine allows no control group"
    print(f"\nResident memory in MiB, at shares of the images and at its peak. The limit is {arguments.limit} MiB, {how}.\n")
    shares = [f"at {share:.0%}" for share in SHARES]
    show([["run", "images", "images/s", *shares, "peak", "cleared", "flagged", "dead letters"], *(result.row() for result in results)])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backlog", type=int, default=1_000_000, metavar="N", help="small pictures, a multiple of 2,000 (default: %(default)s)")
    parser.add_argument("--large", type=int, default=140, metavar="N", help="large images per run, at most (default: %(default)s)")
    parser.add_argument("--pixels", type=int, default=50_000_000, metavar="N", help="pixels of a large image, at most (default: %(default)s)")
    parser.add_argument("--bytes", type=int, default=32 * MIB, metavar="N", help="bytes of a large image in a file (default: %(default)s)")
    # The default of Apache Kafka's `message.max.bytes`.
    parser.add_argument("--message-bytes", type=int, default=1_048_588, metavar="N", help="bytes of a message, at most (default: %(default)s)")
    # The limit of memory in charts/dorfman/values.yaml.
    parser.add_argument("--limit", type=int, default=4096, metavar="MIB", help="limit of the memory (default: %(default)s)")
    parser.add_argument("--growth", type=int, default=64, metavar="MIB", help="growth over the backlog, at most (default: %(default)s)")
    parser.add_argument("--share", type=float, default=0.01, metavar="P", help="share of bags in the backlog (default: %(default)s)")
    parser.add_argument("--longest", type=float, default=LONGEST, metavar="S", help="seconds per run, at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed for the order of the small pictures (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=list(RUNS), help="only this run; may be repeated")
    add_worker_options(parser)
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    set_keys("bench-memory", arguments.set)
    find_onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine("bench-memory", folder, ["kafka", "controller", "worker"])
        limit = control_group(f"dorfman-{machine.folder.name}", Limits(memory=arguments.limit * MIB))
        try:
            start_kafka(machine, f"message.max.bytes={arguments.message_bytes}")
            results = [measured(machine, name, arguments, limit) for name in arguments.only or RUNS]
        finally:
            machine.stop()
            if limit is not None:
                if limit.kills():
                    print(f"bench-memory: the kernel ended a worker at the limit of {arguments.limit} MiB", file=sys.stderr)
                limit.remove()
    report(results, arguments, limit is not None)
    problems = [problem for result in results for problem in result.problems(arguments.limit * MIB, arguments.growth * MIB)]
    if problems:
        sys.exit("\n".join(f"bench-memory: {problem}" for problem in problems))


main()
