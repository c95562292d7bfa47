#!/usr/bin/env python3
"""Measures the start of a worker, two and four workers against one, and the rebalances of a large group.

    scripts/bench_scale.py [--members N] [--starts N]

The first table has the seconds from the start of the process until the worker is ready (/readyz), and
its CPU seconds until then: the bundle is loaded and warmed up, and the worker has joined its consumer
group on a real Kafka broker. The times are medians.

For the other figures, workers run in one process, and their network sleeps for 1 ms per image. The
script prints how much faster two and four workers are than one, on a topic of 16 partitions of an
embedded broker. Then a group of N workers and two partitions per worker reads 500 images per second
from the real broker. For each group protocol, the script prints the seconds until the partitions are
spread evenly, and the longest time in which no worker gives a verdict: when all workers start, when
one more joins and when one leaves. Needs target/release/dorfman and `scripts/setup.sh onnxruntime
kafka`.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from machine import ROOT, Machine, answers, find_onnxruntime, processors, start_kafka
from measuring import CONFIG, produce, show
from use import Use

PER_MEMBER = 2
BUNDLES = ["fashion-bag", "shoes"]
LOOK_EVERY = 0.005


def started(machine: Machine, bundle: str, worker: Path, name: str) -> tuple[float, float]:
    """Returns the seconds until a worker is ready, and the CPU seconds that it has used."""
    values = {"bundle": ROOT / "models" / bundle, "threads": 0, "confirm": "true"}
    config = machine.write(f"{name}.yaml", CONFIG.format(**machine.ports, **values, name=name, topic="images", settings=""))
    begun = time.monotonic()
    process = machine.start(name, worker, "run", "--config", config)
    while not answers(f"http://127.0.0.1:{machine.ports['worker']}/readyz"):
        machine.check()
        time.sleep(LOOK_EVERY)
    seconds, cpu = time.monotonic() - begun, Use.of(process.pid).cpu
    machine.end(name)
    return seconds, cpu


def starts(machine: Machine, arguments: argparse.Namespace) -> None:
    # Creates the topic. The worker refuses the file, which lies outside of its folders.
    produce(machine, arguments.worker, "images", [str(Path(__file__))])
    rows = [["bundle", "seconds until ready", "CPU seconds"]]
    for bundle in BUNDLES:
        runs = [started(machine, bundle, arguments.worker, f"{bundle}-{n}") for n in range(arguments.starts)]
        rows.append([bundle, *(f"{statistics.median(values):.2f}" for values in zip(*runs, strict=True))])
    show(rows)
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=50, metavar="N", help="workers of the group (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=5, metavar="N", help="starts of each bundle (default: %(default)s)")
    parser.add_argument("--worker", type=Path, default=ROOT / "target/release/dorfman", help="the binary")
    arguments = parser.parse_args()
    find_onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine("bench-scale", folder, ["kafka", "controller", "worker"])
        try:
            start_kafka(machine, f"num.partitions={arguments.members * PER_MEMBER}")
            print(f"bench-scale: {processors()}", flush=True)
            starts(machine, arguments)
            brokers = f"127.0.0.1:{machine.ports['kafka']}"
            options = ["--brokers", brokers, "--members", str(arguments.members)]
            subprocess.run([arguments.worker, "bench", "scale", "rebalance", *options], check=True)
        finally:
            machine.stop()


main()
