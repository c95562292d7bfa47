"""One run: start the system, play the schedule, wait for the last item, ask the oracle."""

import shutil
import time
from functools import partial
from pathlib import Path
from statistics import median

from machine import find_onnxruntime

from . import oracle, report
from .clock import Clock
from .cluster import Cluster
from .collector import Collector
from .evidence import Evidence, Offsets
from .happening import Happening
from .items import Item, Sources, break_image, clear_images, make_items
from .kinds import KINDS
from .kinds_worker import clock_worker, worker_names
from .ledger import Ledger
from .options import Options
from .pace import Pace
from .processes import HarnessError
from .producer import SingleSender, TransactionSender
from .schedule import PROTOCOL, Planned, Schedule, make_schedule
from .source import SourceReader
from .store import Store
from .system import System
from .topics import DEAD, FLAGGED, GROUP, OUTPUTS, SOURCE, SOURCE_PARTITIONS, VERDICTS
from .workers import Places, Worker, fetch_roots

# How long to wait for a sign of progress at the end, and for the lag to be back after a fault.
LAST_PATIENCE = 180.0
RECOVERY_PATIENCE = 90.0
# The items that are left after the last fault follow in this time.
TAIL = 4.0
# The lag before a fault is the median over this time.
LEVEL_OVER = 2.5
STOPS_AT_THE_END = "the end"


class Run:
    """The state of a run."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.logs = options.out / "logs"
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True)
        self.happenings: list[Happening] = []
        self.left_out: dict[str, str] = {}
        find_onnxruntime()
        self.system, self.items = _build(options, self.logs)
        try:
            self.schedule = self._plan()
        except BaseException:
            self.system.stop()
            raise

    def _plan(self) -> Schedule:
        system = self.system
        self.left_out = {name: why for name, kind in KINDS.items() if (why := kind.unavailable(system))}
        available = [name for name in KINDS if name not in self.left_out and name != PROTOCOL]
        return make_schedule(self.options, available)

    def play(self) -> report.Result:
        """Runs everything. The caller stops the system."""
        self._announce()
        self._start()
        self._play_schedule()
        self._finish()
        return self._judge()

    def _announce(self) -> None:
        options, say = self.options, self.system.say
        say(f"seed {options.seed}: {options.items:,} items, {options.faults} faults, {options.workers} workers; logs in {self.logs}")
        for kind, why in self.left_out.items():
            say(f"left out: {kind}: {why}")
        say(f"the schedule begins with the protocol {self.schedule.protocol}, and takes about {self.schedule.estimate() / 60:.0f} minutes:")
        for number, planned in enumerate(self.schedule.faults, start=1):
            print(f"  {number:3} {planned.text()}")

    def _start(self) -> None:
        system = self.system
        formats = system.cluster.start()
        system.must("the brokers' disks are formatted", lambda: all(p.code() is not None for p in formats), 120)
        if any(p.code() != 0 for p in formats):
            raise HarnessError(f"a disk could not be formatted:\n{formats[0].tail()}")
        system.cluster.start_brokers()
        system.must("the brokers answer", system.cluster.answers, 180)
        system.create_topics()
        system.protocol = self.schedule.protocol
        system.start_workers()
        system.must("all workers are ready", system.ready, 120)
        system.collector.start()
        for sender in system.senders:
            sender.start()
        system.say("all parts are ready")

    def _play_schedule(self) -> None:
        begun, planned_before = time.monotonic(), 0.0
        for at, planned in enumerate(self.schedule.faults):
            left = sum(fault.estimate() for fault in self.schedule.faults[at:])
            # The estimates are corrected by how long the faults so far have taken.
            factor = (time.monotonic() - begun) / planned_before if planned_before else 1.0
            self.system.pace.finish_in(left * min(3.0, max(0.5, factor)) * 1.05 + TAIL)
            self._play(planned)
            planned_before += planned.estimate()
        self.system.pace.finish_in(TAIL)

    def _play(self, planned: Planned, outer: Happening | None = None) -> None:
        system = self.system
        if outer is None:
            system.wait(planned.gap)
        fault = KINDS[planned.kind](system, planned.target)
        happening = Happening(len(self.happenings) + 1, planned.kind, planned.target, fault.repeats, outer.name() if outer else "")
        self.happenings.append(happening)
        happening.begin = time.time()
        happening.lag_before = round(median([s.lag for s in system.samples if s.time >= happening.begin - LEVEL_OVER] or [0]))
        system.faults.append(happening.name())
        system.parts.append(fault.part)
        system.say(f"begin {happening.name()}")
        fault.begin()
        system.wait(planned.hold / 2 if planned.inside else planned.hold)
        if planned.inside:
            self._play(planned.inside, happening)
            system.wait(planned.hold / 2)
        fault.end()
        happening.end = time.time()
        if outer is None:
            self._recover(happening)
        fault.over()
        system.faults.pop()
        system.parts.pop()
        happening.highest_lag = max((s.lag for s in system.samples if s.time >= happening.begin), default=0)

    def _recover(self, happening: Happening) -> None:
        system = self.system
        # The lag varies a little, by the items of about half a second.
        level = happening.lag_before + 10 + self.options.items // 5000
        if system.until(lambda: system.now().lag <= level and all(w.running() for w in system.workers), RECOVERY_PATIENCE):
            happening.recovered = time.time()
        else:
            system.say(f"the lag is not back {RECOVERY_PATIENCE:.0f} s after {happening.name()}")

    def _finish(self) -> None:
        """Waits for the last verdict, and for the commits."""
        system = self.system
        system.say("the schedule is over; the last items follow")
        system.must("all items are produced", lambda: not any(sender.is_alive() for sender in system.senders), LAST_PATIENCE)
        self._complete_ledger()
        waiting = time.monotonic()
        judged = system.now().judged
        while not system.ledger.must_have_verdicts() <= system.collector.judged:
            system.wait(0.5)
            if system.now().judged > judged:
                judged, waiting = system.now().judged, time.monotonic()
            if time.monotonic() - waiting > LAST_PATIENCE:
                system.say(f"no further verdict for {LAST_PATIENCE:.0f} s; the oracle shows what is missing")
                break
        self.offsets = self._wait_for_commits()
        for worker in system.workers:
            worker.terminate(STOPS_AT_THE_END)
        system.must("all workers end after SIGTERM", lambda: not any(w.running() for w in system.all_workers()), 90)
        for topic, partitions in OUTPUTS.items():
            system.must(f"the collector has read {topic} to its end", partial(self._read_all, topic, partitions), 90)
        system.show(system.now())

    def _complete_ledger(self) -> None:
        """Reads the source topic, which also has the items whose acknowledgement was lost."""
        reader = SourceReader(self.system.cluster.bootstrap)
        reader.start()
        self.system.must("the source topic is read", lambda: not reader.is_alive(), LAST_PATIENCE)
        if reader.failed:
            raise HarnessError(f"the source topic could not be read: {reader.failed!r}; this is a bug of the harness")
        self.problems = self.system.ledger.complete(reader.ids, self.items)

    def _read_all(self, topic: str, partitions: int) -> bool:
        ends = self.system.cluster.ends(topic, partitions)
        return ends is not None and self.system.collector.has_read(topic, ends)

    def _wait_for_commits(self) -> Offsets:
        """Returns the offsets when all is committed, or when the commits no longer advance."""
        system, last = self.system, self.system.ledger.last_offsets()
        found: list[Offsets] = []

        def look() -> bool:
            ends = system.cluster.ends(SOURCE, SOURCE_PARTITIONS)
            committed = system.cluster.committed(GROUP, SOURCE, SOURCE_PARTITIONS)
            if ends is None or committed is None:
                return False
            found.append(Offsets(ends, committed, last))
            return committed == ends

        def items_committed() -> bool:
            return look() or bool(found) and all(found[-1].committed.get(p, 0) > offset for p, offset in last.items())

        system.until(items_committed, 60)
        # The worker passes markers after two statistics of librdkafka, which come every 5 s.
        system.until(look, 60)
        if not found:
            raise HarnessError(f"the committed offsets could not be read within 60 s; see the brokers' logs in {self.logs}")
        return found[-1]

    def _judge(self) -> report.Result:
        system = self.system
        workers = system.all_workers()
        exits = sorted((e for w in workers for e in w.exits), key=lambda e: e.time)
        windows = [h.window() for h in self.happenings if h.repeats]
        windows += [window for worker in workers for window in worker.windows]
        evidence = Evidence(
            system.ledger.entries,
            system.collector.records,
            windows,
            exits,
            self.offsets,
            system.collector.problems + self.problems,
        )
        violations = oracle.check(evidence)
        repeats = oracle.repeats(evidence)
        firsts = [copies[0].time for copies in evidence.of[VERDICTS].values()]
        return report.Result(
            title=f"Fault run with seed {self.options.seed}",
            begun=system.begun,
            happenings=self.happenings,
            verdicts=firsts,
            repeats=[record.time for record in repeats],
            exits=exits,
            totals=self._totals(evidence, len(repeats), len(violations)),
            left_out=self.left_out,
            schedule=[planned.text() for planned in self.schedule.faults],
            violations=violations,
        )

    def _totals(self, evidence: Evidence, repeats: int, violations: int) -> dict[str, int | str]:
        system, offsets = self.system, self.offsets
        lag = {p: end - offsets.committed.get(p, 0) for p, end in offsets.ends.items()}
        return {
            "items produced": len(system.ledger.must_have_verdicts()),
            "items in aborted transactions": sum(e.state == "aborted" for e in evidence.entries.values()),
            "transactions committed": system.transactions.committed,
            "transactions aborted": system.transactions.aborted,
            "items judged": len(evidence.of[VERDICTS]),
            "items flagged": len(evidence.of[FLAGGED]),
            "items with a dead letter": len(evidence.of[DEAD]),
            "repeated verdicts": repeats,
            "repeated verdicts that only a worker's log explains": oracle.explained_by_logs(evidence),
            "faults": len(self.happenings),
            "exits of workers": len([e for w in system.all_workers() for e in w.exits]),
            "lag of the committed offsets": sum(lag.values()),
            "duration": f"{time.time() - system.begun:.0f} s",
            "violations": violations,
        }


def _build(options: Options, logs: Path) -> tuple[System, list[Item]]:
    """Makes the parts. Only the image server runs then."""
    if not options.worker.is_file():
        raise HarnessError(f"the worker {options.worker} does not exist; run make build, or give --worker")
    positives, negatives = clear_images(options.worker)
    broken = break_image(negatives[0], logs / "images")
    store = Store(negatives[0].parent)
    items = make_items(options.items, options.seed, SOURCE_PARTITIONS, Sources(positives, negatives, broken, store.url))
    # The disk has room for three times the records of a run.
    cluster = Cluster(logs / "kafka", 128 + options.items // 200)
    clock = Clock(logs)
    places = Places(cluster.bootstrap, fetch_roots(broken), logs)
    workers = [Worker(n, options.worker, places, clock.environment if n == clock_worker(options) else {}) for n in worker_names(options)]
    ledger, pace = Ledger(), Pace()
    singles = SingleSender(cluster.bootstrap, SOURCE, [i for i in items if not i.in_transaction], pace, ledger)
    together = [i for i in items if i.in_transaction]
    transactions = TransactionSender(cluster.bootstrap, SOURCE, together, pace, ledger, options.seed)
    system = System(
        options=options,
        folder=logs,
        cluster=cluster,
        store=store,
        clock=clock,
        workers=workers,
        extra=Worker("worker-extra", options.worker, places, {}),
        collector=Collector(cluster.bootstrap, OUTPUTS),
        singles=singles,
        transactions=transactions,
        ledger=ledger,
        pace=pace,
    )
    return system, items
