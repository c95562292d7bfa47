#!/usr/bin/env python3
"""Measures the throughput of the worker under a CPU quota, as Kubernetes sets it for a container.

    scripts/bench_quota.py [--quota CPUS] [--cores N] [--images N] [--only RUN] [--set KEY=VALUE]

Each run judges the same photos of models/shoes from a real Kafka broker, with the default plan:

    no quota       the worker may use all cores of this machine
    quota          the worker may use CPUS CPU seconds per second, and chooses its threads
    node's threads the same quota, with as many threads as on a node with N cores: what a program does
                   that counts the cores of the node

The quota counts for the worker only, not for Kafka. A worker that has used its quota is stopped until
the next period of 100 ms (throttled). The last column is the share of such periods. A quota of half
the cores should give about half the throughput.

Needs control groups (cgroup v1 or v2) that this user may make, target/release/dorfman, and
`scripts/setup.sh onnxruntime kafka`.
"""

import argparse
import os
import random
import sys
import tempfile

from control_group import ControlGroup, Limits, control_group
from machine import Machine, find_onnxruntime, start_kafka
from measuring import Run, Sample, Worker, add_worker_options, follow, produce, set_keys, show, start
from photos import add_photo_options, unpack

RUNS = ("no quota", "quota", "node's threads")


class CpuTime:
    """The CPU seconds of a process between the first and the last sample of a run."""

    def __init__(self, pid: int) -> None:
        self._pid, self._first, self._last = pid, (0.0, 0.0), (0.0, 0.0)

    def look(self, sample: Sample) -> None:
        with open(f"/proc/{self._pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        self._last = (sample.judged, seconds)
        if not self._first[0]:
            self._first = self._last

    def per_image(self) -> float:
        """Returns CPU seconds per image."""
        return (self._last[1] - self._first[1]) / max(1.0, self._last[0] - self._first[0])


def measured(machine: Machine, name: str, arguments: argparse.Namespace) -> tuple[float, list[str]]:
    """Runs one worker over the whole topic. Returns its rate, and the cells of the table."""
    group = None if name == "no quota" else quota(machine, arguments)
    threads = arguments.cores if name == "node's threads" else arguments.threads
    settings = f'fetch: {{ roots: ["{machine.folder}"] }}\ndecode: {{ threads: {threads} }}\n'
    run = Run(name.replace(" ", "-").replace("'", ""), "images", arguments.images, settings)
    try:
        worker = Worker(arguments.worker, arguments.bundle, threads, group.prefix() if group else [])
        time = CpuTime(start(machine, worker, run))
        rate = follow(machine, run, look=time.look).rate
        throttled = f"{group.throttled():.0%}" if group else "-"
    finally:
        if group is not None:
            machine.end(run.name)
            group.remove()
    return rate, [f"{threads or 'chosen'}", f"{rate:,.0f}", f"{time.per_image() * 1e3:.2f}", throttled]


def quota(machine: Machine, arguments: argparse.Namespace) -> ControlGroup:
    made = control_group(f"dorfman-{machine.folder.name}", Limits(cpus=arguments.quota))
    if made is None:
        sys.exit("bench-quota: this machine allows no control group with a CPU quota; run as root, or with a delegated cgroup")
    return made


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_photo_options(parser)
    half = (os.cpu_count() or 2) / 2
    parser.add_argument("--quota", type=float, default=half, metavar="CPUS", help="the CPU quota (default: half of the cores, here %(default)s)")
    parser.add_argument("--cores", type=int, default=32, metavar="N", help="cores of the imagined node (default: %(default)s)")
    parser.add_argument("--images", type=int, default=6_000, help="references to photos; photos are drawn several times (default: %(default)s)")
    parser.add_argument("--share", type=float, default=0.01, help="share of positives (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=RUNS, help="only this run; may be repeated")
    add_worker_options(parser)
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    set_keys("bench-quota", arguments.set)
    find_onnxruntime()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine("bench-quota", folder, ["kafka", "controller", "worker"])
        try:
            start_kafka(machine)
            photos = unpack("bench-quota", arguments.photos, arguments.positive, machine.folder / "photos")
            chosen = photos.drawn(arguments.images, arguments.share, random.Random(arguments.seed))
            produce(machine, arguments.worker, "images", [str(path) for path in chosen])
            for name in arguments.only or RUNS:
                print(f"bench-quota: {name}", flush=True)
                rows.append((name, *measured(machine, name, arguments)))
        finally:
            machine.stop()
    print(f"\nThe quota is {arguments.quota:g} CPUs; the machine has {os.cpu_count()}. CPU milliseconds per image are those of the worker.\n")
    first = rows[0][1]
    show([["run", "threads", "images/s", "CPU ms", "throttled", "rate"], *([name, *cells, f"{rate / first:.0%}"] for name, rate, cells in rows)])


if __name__ == "__main__":
    main()
