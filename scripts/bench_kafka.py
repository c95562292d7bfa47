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
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from pathlib import Path

from machine import ROOT, Machine, answers, find_onnxruntime, start_kafka

WORKER = """
kafka: {{ brokers: "127.0.0.1:{kafka}", group_id: {run}, properties: {{ auto.offset.reset: earliest }} }}
source: {{ topic: images }}
fetch: {{ roots: ["{folder}"] }}
model: {{ bundle: "{bundle}", threads: {threads} }}
{settings}
ops: {{ listen: "127.0.0.1:{worker}" }}
"""
RUNS = {
    "individual": "exits: { mode: none }\ngroup: { size: 1 }",
    "pooled": "exits: { mode: none }",
    "planned": "",
}
PARTS = {  # the table's name of a part of the work: the metric with its CPU seconds or network seconds
    "read": ("dorfman_ingest_cpu_seconds_total", 'part="fetch"'),
    "screen decode": ("dorfman_ingest_cpu_seconds_total", 'part="screen"'),
    "decode": ("dorfman_ingest_cpu_seconds_total", 'part="decode"'),
    "network": ("dorfman_network_seconds_total", ""),
}
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LONGEST = 900


def metric(text: str, name: str, label: str = "") -> float:
    """Returns the sum of the samples of a metric that have a label."""
    samples = (SAMPLE.match(line) for line in text.splitlines())
    return sum(float(s[3]) for s in samples if s and s[1] == name and label in (s[2] or ""))


def unpack(photos: Path, positive: str, folder: Path) -> tuple[list[Path], list[Path]]:
    """Unpacks the photos. Returns the positive ones and the negative ones."""
    with zipfile.ZipFile(photos) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        archive.extractall(folder, names)
    of = {True: [], False: []}  # type: dict[bool, list[Path]]
    for name in names:
        of[Path(name).parent.name == positive].append(folder / name)
    if not of[True] or not of[False]:
        sys.exit(f"bench-kafka: {photos} needs photos in a folder {positive}/, and photos in others")
    return of[True], of[False]


def produce(machine: Machine, arguments: argparse.Namespace) -> None:
    positives, negatives = unpack(arguments.photos, arguments.positive, machine.folder)
    draw = random.Random(arguments.seed)
    hot = round(arguments.images * arguments.share)
    chosen = draw.choices(positives, k=hot) + draw.choices(negatives, k=arguments.images - hot)
    draw.shuffle(chosen)
    listed = machine.write("references.txt", "".join(f"{path}\n" for path in chosen))
    command = [arguments.worker, "produce", "--brokers", f"127.0.0.1:{machine.ports['kafka']}", "--topic", "images", listed]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def scraped(machine: Machine) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{machine.ports['worker']}/metrics", timeout=5) as answer:
        return answer.read().decode()


def measured(machine: Machine, run: str, arguments: argparse.Namespace) -> list[str]:
    """Runs one worker over the whole topic. Returns a row of the table."""
    values = {"run": run, "folder": machine.folder, "bundle": arguments.bundle, "threads": arguments.threads, "settings": RUNS[run]}
    config = machine.write(f"{run}.yaml", WORKER.format(**machine.ports, **values))
    machine.start(run, arguments.worker, "run", "--config", config)
    machine.wait_for("the worker is ready", lambda: answers(f"http://127.0.0.1:{machine.ports['worker']}/readyz"))
    begin, done, text = time.monotonic(), 0.0, ""
    first: tuple[float, float] | None = None
    while done < arguments.images:
        machine.check()
        if time.monotonic() - begin > LONGEST:
            sys.exit(f"bench-kafka: {run} has judged {done:.0f} of {arguments.images} images in {LONGEST} s")
        time.sleep(0.05)
        now, text = time.monotonic(), scraped(machine)
        done = metric(text, "dorfman_items_total")
        # The start is left out: loading the bundle, joining the consumer group.
        if first is None and done >= arguments.images / 20:
            first = (now, done)
    begun, before = first or (begin, 0.0)
    rate = (done - before) / (now - begun)
    flagged = metric(text, "dorfman_items_total", 'verdict="flagged"')
    micros = [f"{metric(text, *part) / done * 1e6:.0f}" for part in PARTS.values()]
    machine.end(run)
    return [run, f"{rate:,.0f}", f"{flagged:.0f}", *micros]


def show(rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *rest = zip(row, widths, strict=True)
        print("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]))


def main() -> None:
    shoes = ROOT / "models/shoes"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=shoes, help="the bundle (default: models/shoes)")
    parser.add_argument("--photos", type=Path, default=shoes / "photos.zip", help="zip of CLASS/NAME.jpg (default: models/shoes/photos.zip)")
    parser.add_argument("--positive", default="shoes", help="the class of the positive photos (default: %(default)s)")
    parser.add_argument("--images", type=int, default=20_000, help="references to photos; photos are drawn several times (default: %(default)s)")
    parser.add_argument("--share", type=float, default=0.01, help="share of positives (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="model.threads of the worker; 0: one per core (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed for drawing photos (default: %(default)s)")
    parser.add_argument("--worker", type=Path, default=ROOT / "target/release/dorfman", help="the binary")
    parser.add_argument("--only", action="append", choices=list(RUNS), help="only this run; may be repeated")
    arguments = parser.parse_args()
    find_onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine("bench-kafka", folder, ["kafka", "controller", "worker"])
        try:
            start_kafka(machine)
            print(f"bench-kafka: producing {arguments.images:,} references, {arguments.share:.2%} positive", flush=True)
            produce(machine, arguments)
            rows = [["run", "images/s", "flagged", *PARTS]]
            for run in arguments.only or RUNS:
                print(f"bench-kafka: {run}", flush=True)
                rows.append(measured(machine, run, arguments))
        finally:
            machine.stop()
    print("\nPer image, in microseconds: CPU time to read and decode; wall-clock time of the network and of the screen.\n")
    show(rows)


main()
