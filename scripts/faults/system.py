"""Everything that runs during a fault: brokers, image server, workers, producers, collector."""

import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from .clock import Clock
from .cluster import Cluster
from .collector import Collector
from .ledger import Ledger
from .options import Options
from .pace import Pace
from .processes import HarnessError
from .producer import Sender, SingleSender, TransactionSender
from .store import Store
from .topics import DEAD, FLAGGED, GROUP, PARTITIONS
from .watched import Watched
from .workers import Worker

PROGRESS_EVERY = 5.0
SAMPLE_EVERY = 0.5
TICK = 0.1


@dataclass
class Sample:
    """Items at a time. Items that are due and have no verdict are the lag, also while the producers wait."""

    time: float
    due: int
    produced: int
    judged: int

    @property
    def lag(self) -> int:
        return max(0, self.due - self.judged)


@dataclass
class System:
    """The parts, and the loop of the main thread: every wait calls `tick`."""

    options: Options
    folder: Path
    cluster: Cluster
    store: Store
    clock: Clock
    workers: list[Worker]
    # The worker that joins and leaves.
    extra: Worker
    collector: Collector
    singles: SingleSender
    transactions: TransactionSender
    ledger: Ledger
    pace: Pace
    protocol: str = ""
    # The faults that last, and their parts.
    faults: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    begun: float = field(default_factory=time.time)
    shown: float = 0.0

    @property
    def senders(self) -> list[Sender]:
        return [self.singles, self.transactions]

    def brokers_away(self) -> bool:
        """Whether a fault of brokers lasts."""
        return "broker" in self.parts

    def all_workers(self) -> list[Worker]:
        return [*self.workers, self.extra]

    def worker(self, name: str) -> Worker:
        return next(worker for worker in self.all_workers() if worker.name == name)

    def now(self) -> Sample:
        due = round(self.pace.share() * self.options.items)
        return Sample(time.time(), due, self.ledger.acknowledged, len(self.collector.judged))

    def tick(self) -> None:
        for worker in self.all_workers():
            worker.tick()
        threads: list[Watched] = [*self.senders, self.collector]
        for thread in threads:
            if thread.failed is not None:
                raise HarnessError(f"the thread `{thread.name}` of the harness failed: {thread.failed!r}; this is a bug of the harness")
        now = self.now()
        if not self.samples or now.time - self.samples[-1].time >= SAMPLE_EVERY:
            self.samples.append(now)
        if now.time - self.shown >= PROGRESS_EVERY:
            self.show(now)

    def show(self, now: Sample) -> None:
        self.shown = now.time
        fault = " in ".join(reversed(self.faults)) or "-"
        flags, dead = self.collector.counts[FLAGGED], self.collector.counts[DEAD]
        line = f"produced {now.produced:7,}  judged {now.judged:7,}  lag {now.lag:6,}  flags {flags:5,}  dead {dead:5,}  fault {fault}"
        print(f"[{now.time - self.begun:7.1f} s] {line}", flush=True)

    def say(self, text: str) -> None:
        print(f"[{time.time() - self.begun:7.1f} s] {text}", flush=True)

    def wait(self, seconds: float) -> None:
        """Lets time pass, by the schedule."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.tick()
            Event().wait(min(TICK, left))

    def until(self, look: Callable[[], bool], patience: float) -> bool:
        """Waits for a state. Returns whether it was reached in time."""
        end = time.monotonic() + patience
        while not look():
            if time.monotonic() > end:
                return False
            self.wait(TICK)
        return True

    def must(self, what: str, look: Callable[[], bool], patience: float) -> None:
        if not self.until(look, patience):
            raise HarnessError(f"not reached within {patience:.0f} s: {what}; see the logs in {self.folder}")

    def start_workers(self) -> None:
        for worker in self.workers:
            worker.start(self.protocol)

    def ready(self) -> bool:
        return all(ready(worker) for worker in self.workers)

    def in_sync(self) -> None:
        """Waits until the brokers have all replicas. A broker that has ended meanwhile is started again."""

        def look() -> bool:
            for broker in self.cluster.brokers:
                if not broker.running():
                    broker.start()
            return self.cluster.in_sync()

        self.must("all replicas of all partitions are in sync", look, 180)

    def group_is_empty(self) -> bool:
        return self.cluster.group_is_empty(GROUP)

    def create_topics(self) -> None:
        """Makes the topics that do not exist."""

        def look() -> bool:
            missing = [topic for topic in PARTITIONS if self.cluster.exists(topic) is not True]
            for topic in missing:
                # The broker's time orders records also when the clock of a worker jumps.
                self.cluster.create({topic: PARTITIONS[topic]}, {"message.timestamp.type": "LogAppendTime"})
            return not missing

        self.must("all topics exist", look, 90)
        self.in_sync()

    def stop(self) -> None:
        for sender in self.senders:
            sender.stop()
        self.collector.stop()
        for worker in self.all_workers():
            worker.close()
        self.store.stop()
        self.cluster.stop()


def ready(worker: Worker) -> bool:
    if not worker.running():
        return False
    try:
        return bool(urllib.request.urlopen(f"{worker.ops}/readyz", timeout=2).status == 200)
    except OSError:
        return False
