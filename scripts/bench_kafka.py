#!/usr/bin/env python3
"""Measures the worker on photos, from a real Kafka broker to committed offsets, and prints images per second.

    scripts/bench_kafka.py [--bundle DIR] [--photos ZIP] [--positive CLASS] [--images N] [--share P] [--threads N]

The photos are files in a folder. A share P of the references names positive photos, the others name
negative ones, in random order. All references are in the topic before the worker starts. The broker
runs on the same machine, on the same cores. Needs target/release/dorfman and
`scripts/setup.sh onnxruntime kafka`.
"""

import argparse
import random
import tempfile

from machine import Machine, find_onnxruntime, start_kafka
from measuring import PLANS, Run, Worker, add_worker_options, follow, metric, produce, set_keys, show, start
from photos import add_photo_options, unpack

PARTS = {  # the table's name of a part of the work: the metric with its CPU seconds or network seconds
    "read": ("dorfman_ingest_cpu_seconds_total", 'part="fetch"'),
    "screen decode": ("dorfman_ingest_cpu_seconds_total", 'part="screen"'),
    "decode": ("dorfman_ingest_cpu_seconds_total", 'part="decode"'),
    "network": ("dorfman_network_seconds_total", ""),
}


def fill(machine: Machine, arguments: argparse.Namespace) -> None:
    photos = unpack(machine.program, arguments.photos, arguments.positive, machine.folder / "photos")
    chosen = photos.drawn(arguments.images, arguments.share, random.Random(arguments.seed))
    produce(machine, arguments.worker, "images", [str(path) for path in chosen])


def measured(machine: Machine, name: str, arguments: argparse.Namespace) -> list[str]:
    """Runs one worker over the whole topic. Returns a row of the table."""
    settings = f'fetch: {{ roots: ["{machine.folder}"] }}\n{PLANS[name]}'
    run = Run(name, "images", arguments.images, settings)
    start(machine, Worker(arguments.worker, arguments.bundle, arguments.threads), run)
    found = follow(machine, run)
    flagged = metric(found.text, "dorfman_items_total", 'verdict="flagged"')
    micros = [f"{metric(found.text, *part) / arguments.images * 1e6:.0f}" for part in PARTS.values()]
    return [name, f"{found.rate:,.0f}", f"{flagged:.0f}", *micros]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_photo_options(parser)
    parser.add_argument("--images", type=int, default=20_000, help="references to photos; photos are drawn several times (default: %(default)s)")
    parser.add_argument("--share", type=float, default=0.01, help="share of positives (default: %(default)s)")
    add_worker_options(parser)
    parser.add_argument("--only", action="append", choices=list(PLANS), help="only this run; may be repeated")
    arguments = parser.parse_args()
    set_keys("bench-kafka", arguments.set)
    find_onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine("bench-kafka", folder, ["kafka", "controller", "worker"])
        try:
            start_kafka(machine)
            print(f"bench-kafka: producing {arguments.images:,} references, {arguments.share:.2%} positive", flush=True)
            fill(machine, arguments)
            rows = [["run", "images/s", "flagged", *PARTS]]
            for run in arguments.only or PLANS:
                print(f"bench-kafka: {run}", flush=True)
                rows.append(measured(machine, run, arguments))
        finally:
            machine.stop()
    print("\nPer image, in microseconds: CPU time to read and decode; wall-clock time of the network and of the screen.\n")
    show(rows)


main()
