"""The command line of the harness."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from machine import ROOT

HELP = """Runs real workers against real Kafka with real faults, and proves that nothing was lost.

    scripts/faults.py [--short] [--seed N] [--items N] [--faults N] [--workers N] [--out DIR]

Three Kafka brokers, an image server and several worker processes run on this machine, on 127.0.0.1.
A producer sends items at a steady pace and notes each acknowledged item in a ledger. Meanwhile
faults happen one after another, some inside others. A collector reads all output topics. At the
end, an oracle compares the records with the ledger:

  (a) every item has its verdict, its flag, or its dead letter with the right reason
  (b) every verdict is the expected one, also when it is repeated; no item of an aborted transaction
      has one
  (c) a verdict is repeated only if, since its item was produced, a fault has interrupted a worker or a
      broker, or a worker has logged that items will be read again
  (d) a flag that is repeated has the same flag_id, and one flag_id belongs to one item
  (e) workers ended only when a fault asked for it, with the expected exit code
  (f) the consumer group has committed everything

The kinds, the targets and the lengths of the faults follow from the seed. Their times do not,
because the next fault begins when the system has recovered. Every run uses all group protocols:
eager, cooperative, static membership, and KIP-848.

Exit code 0: no violation. 1: violations, each printed with the history of its item. 2: the harness
could not finish. The results are report.md and report.json below --out.

Needs the worker, `scripts/setup.sh onnxruntime kafka faults`, and root for the fault `disk-full`. The
fault `onnx-failure` needs a worker that was built with `--features failpoints`, as by `make faults`.
"""


@dataclass(frozen=True)
class Options:
    """The options of a run. The fields have the names of the command line's options."""

    items: int
    faults: int
    seed: int
    workers: int
    worker: Path
    out: Path
    short: bool
    keep: bool
    only: list[str]
    without: list[str]


def parse(arguments: list[str] | None, kinds: list[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="faults", description=HELP, epilog=f"kinds of faults: {', '.join(kinds)}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--items", type=int, help="items to produce (default: 100000; with --short: 3000)")
    add("--faults", type=int, help="faults, with three changes of the group protocol (default: 50; with --short: 8)")
    add("--seed", type=int, default=1, help="seed of items and faults (default: %(default)s)")
    add("--workers", type=int, help="worker processes (default: 3; with --short: 2)")
    add("--short", action="store_true", help="a run of about 100 s with the main kinds of faults")
    add(
        "--only",
        action="append",
        default=[],
        choices=kinds,
        metavar="KIND",
        help="only faults of this kind, beside changes of the protocol; may be repeated",
    )
    add("--without", action="append", default=[], choices=kinds, metavar="KIND", help="no faults of this kind; may be repeated")
    add("--worker", type=Path, default=ROOT / "target/release/dorfman", help="the worker (default: target/release/dorfman)")
    add("--out", type=Path, default=ROOT / "target/faults", help="folder of the report (default: target/faults)")
    add("--keep", action="store_true", help="keep the logs of brokers and workers, in OUT/logs; they are kept anyway after violations")
    given = parser.parse_args(arguments)
    items, faults, workers = (3000, 8, 2) if given.short else (100_000, 50, 3)
    return Options(
        items=given.items or items,
        faults=given.faults or faults,
        seed=given.seed,
        workers=given.workers or workers,
        worker=given.worker.resolve(),
        out=given.out.resolve(),
        short=given.short,
        keep=given.keep,
        only=given.only,
        without=given.without,
    )
