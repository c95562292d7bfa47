#!/usr/bin/env python3
"""Prints the capacity table of docs/operations.md: what a stream needs, by what was measured and what is assumed.

    scripts/capacity.py [--rate IMAGES_A_SECOND] [--partitions N] [--markdown]

Put your own figures into SCENARIOS: `dorfman profile` prints the milliseconds, `dorfman plan --profile` the cost, and a worker's metrics the CPU
of decoding (dorfman_ingest_cpu_seconds_total over dorfman_messages_received_total).
"""

import argparse
import math
from dataclasses import dataclass

# Of all, assumed: half as much again as the mean must be bearable, and a backlog must be worked off.
BUSY = 0.6
REFERENCE_BYTES = 250
REPLICAS = 3
PREVALENCE = 0.001
OUTAGE_MINUTES = 10
COMMITS_A_WORKER = 1.0
SCRAPE_SECONDS = 15


@dataclass
class Scenario:
    name: str
    #: Network milliseconds of an image tested alone, on one worker's device.
    alone_ms: float
    #: Network seconds of the plan over individual testing's.
    cost: float
    #: CPU milliseconds to fetch and decode an image.
    decode_ms: float
    image_bytes: int
    #: CPU cores that the network itself takes.
    network_cores: int
    #: Bytes of features and pixels that an item in flight holds.
    slot_bytes: int
    slots: int


SCENARIOS = [
    # docs/results.md, fashion-bag, 16 > 4 > 1 at 0.1 %: 0.53 ms alone on 2 cores, 20.1 % of the seconds in groups. Fetching and decoding by the
    # metrics of the worker in `make test-alerts`.
    Scenario("fashion-bag, 2 cores", 0.53, 0.201, 0.07, 700, 2, (64 * 7 * 7 + 28 * 28) * 4, 512),
    # docs/results.md, shoes, 4 > 2 > 1 at 0.1 %: 3.35 ms alone on 2 cores, 52.0 %. All about the photos is assumed.
    Scenario("shoes, 2 cores", 3.35, 0.520, 2.0, 100_000, 2, 144 * 20 * 20 * 4, 512),
    # Nothing of this is measured: a GPU that tests an image of the same network in 0.2 ms, transfers included.
    Scenario("shoes, a GPU", 0.2, 0.520, 2.0, 100_000, 1, 144 * 20 * 20 * 4, 2048),
]


def rows(s: Scenario, rate: float, partitions: int) -> list[tuple[str, str]]:
    a_worker = BUSY * 1000 / (s.alone_ms * s.cost)
    workers = math.ceil(rate / a_worker)
    decode = rate * s.decode_ms / 1000
    cores = workers * s.network_cores + decode / BUSY
    return [
        ("images/s a worker's network may take", f"{a_worker:,.0f}"),
        ("workers", f"{workers:,}"),
        (f"enough with {partitions:,} partitions", "yes" if workers <= partitions else f"no: {workers:,} partitions"),
        ("images/s a partition", f"{rate / max(workers, partitions):,.0f}"),
        ("cores for fetch and decode, a worker", f"{decode / BUSY / workers:,.1f}"),
        ("cores in all", f"{cores:,.0f}"),
        ("images in, a worker", f"{rate * s.image_bytes * 8 / workers / 1e9:,.2f} Gbit/s"),
        ("images in, all", f"{rate * s.image_bytes / 1e9:,.1f} GB/s"),
        ("slots' memory, a worker", f"{s.slots * s.slot_bytes / 2**20:,.0f} MiB"),
        ("references in, Kafka", f"{rate * REFERENCE_BYTES / 1e6:,.0f} MB/s, {REPLICAS * rate * REFERENCE_BYTES / 1e6:,.0f} MB/s to disk"),
        ("flags out", f"{rate * PREVALENCE:,.0f} a second"),
        ("offset commits", f"{workers * COMMITS_A_WORKER:,.0f} requests a second"),
        (f"after {OUTAGE_MINUTES} minutes' outage", f"caught up in {OUTAGE_MINUTES * BUSY / (1 - BUSY):.0f} minutes"),
        ("samples to Prometheus", f"{workers * series(max(1, math.ceil(partitions / workers))) / SCRAPE_SECONDS:,.0f} a second"),
    ]


def series(partitions: int) -> int:
    """Of a worker: some 200 and one a partition (`curl -s :9464/metrics | grep -vc '^#'`)."""
    return 200 + partitions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1e6)
    parser.add_argument("--partitions", type=int, default=1000)
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    columns = [rows(s, args.rate, args.partitions) for s in SCENARIOS]
    table = [("", *(s.name for s in SCENARIOS))]
    table += [(name, *(c[i][1] for c in columns)) for i, (name, _) in enumerate(columns[0])]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for i, line in enumerate(table):
        if args.markdown:
            print("| " + " | ".join(line) + " |")
            if i == 0:
                print("|---" * len(line) + "|")
        else:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


main()
