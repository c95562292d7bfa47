#!/usr/bin/env python3
"""Prints the capacity table of docs/operations.md: the machines and traffic that a stream needs,
calculated from measured and assumed figures.

    scripts/capacity.py [--rate IMAGES_PER_SECOND] [--partitions N] [--markdown]

Replace the figures in SCENARIOS with your own. `dorfman profile` prints the milliseconds and
`dorfman plan --profile` the cost. The CPU time of decoding is dorfman_ingest_cpu_seconds_total
divided by dorfman_messages_received_total, two metrics of the worker.
"""

import argparse
import math
from dataclasses import dataclass

# The share of its time that a worker's network is busy at the mean rate. Assumed: the rest must
# absorb peaks of half as much again as the mean, and work off a backlog.
BUSY = 0.6
REFERENCE_BYTES = 250
REPLICAS = 3
PREVALENCE = 0.001
OUTAGE_MINUTES = 10
COMMITS_PER_WORKER = 1.0  # offset commits per second
SCRAPE_SECONDS = 15


@dataclass
class Scenario:
    name: str
    #: Network milliseconds of an individual test, on the device of one worker.
    individual_ms: float
    #: Network seconds of the plan, divided by those of individual testing.
    cost: float
    #: CPU milliseconds to fetch and decode one image.
    decode_ms: float
    image_bytes: int
    #: CPU cores that the network uses, per worker.
    network_cores: int
    #: Bytes of features and pixels in one slot.
    slot_bytes: int
    #: `engine.slots` of a worker.
    slots: int


SCENARIOS = [
    # docs/results/fashion-bag.md: 0.53 ms per individual test on 2 cores. docs/results/exits-bags.md:
    # the planner's plan takes 2.5 % of the network seconds at 0.1 % prevalence. The CPU time of
    # fetching and decoding is that of `make demo` (README.md).
    Scenario("fashion-bag, 2 cores", 0.53, 0.025, 0.027, 700, 2, (64 * 7 * 7 + 28 * 28) * 4, 512),
    # docs/results/shoes-coarse.md, bundle shoes: 3.35 ms per individual test on 2 cores.
    # docs/results/exits-shoes.md: the planner's plan takes 9.6 % at 0.1 % prevalence. The size of
    # the photos and the time to decode them for the screen are assumed.
    Scenario("shoes, 2 cores", 3.35, 0.096, 1.0, 100_000, 2, 144 * 20 * 20 * 4, 512),
    # Not measured, except the cost: a GPU that takes 0.2 ms per individual test of the same network,
    # including transfers.
    Scenario("shoes, a GPU", 0.2, 0.096, 1.0, 100_000, 1, 144 * 20 * 20 * 4, 2048),
]


def rows(s: Scenario, rate: float, partitions: int) -> list[tuple[str, str]]:
    """The lines of one scenario's column: label and value. `rate` is in images per second."""
    per_worker = BUSY * 1000 / (s.individual_ms * s.cost)
    workers = math.ceil(rate / per_worker)
    decode = rate * s.decode_ms / 1000
    cores = workers * s.network_cores + decode / BUSY
    return [
        ("images/s per worker", f"{per_worker:,.0f}"),
        ("workers", f"{workers:,}"),
        (f"enough with {partitions:,} partitions", "yes" if workers <= partitions else f"no: {workers:,} partitions"),
        ("images/s per partition", f"{rate / max(workers, partitions):,.0f}"),
        ("cores per worker for fetching and decoding", f"{decode / BUSY / workers:,.1f}"),
        ("cores per worker in all", f"{s.network_cores + decode / BUSY / workers:,.1f}"),
        ("cores in total", f"{cores:,.0f}"),
        ("image traffic per worker", f"{rate * s.image_bytes * 8 / workers / 1e9:,.2f} Gbit/s"),
        ("image traffic in total", f"{rate * s.image_bytes / 1e9:,.1f} GB/s"),
        ("memory of the slots per worker", f"{s.slots * s.slot_bytes / 2**20:,.0f} MiB"),
        ("image references from Kafka", f"{rate * REFERENCE_BYTES / 1e6:,.0f} MB/s, {REPLICAS * rate * REFERENCE_BYTES / 1e6:,.0f} MB/s to disk"),
        ("flags published", f"{rate * PREVALENCE:,.0f} per second"),
        ("offset commits", f"{workers * COMMITS_PER_WORKER:,.0f} requests per second"),
        (f"after an outage of {OUTAGE_MINUTES} minutes", f"caught up in {OUTAGE_MINUTES * BUSY / (1 - BUSY):.0f} minutes"),
        ("samples to Prometheus", f"{workers * series(max(1, math.ceil(partitions / workers))) / SCRAPE_SECONDS:,.0f} per second"),
    ]


def series(partitions: int) -> int:
    """The metric series of one worker: about 200, and one per partition
    (`curl -s :9464/metrics | grep -vc '^#'`)."""
    return 200 + partitions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1e6, metavar="IMAGES_PER_SECOND", help="images per second (default: %(default).0f)")
    parser.add_argument("--partitions", type=int, default=1000, metavar="N", help="partitions of the topic (default: %(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
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
