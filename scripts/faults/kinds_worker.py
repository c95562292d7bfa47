"""Faults of workers: they are killed, ended, stopped, added, or get another time."""

import signal
import subprocess
from typing import ClassVar

from .cluster import SESSION_TIMEOUT_MS
from .fault import PATIENCE, Fault, register
from .options import Options
from .system import System, ready
from .workers import Worker

HOUR = 3600
# The share of a network's runs that fail, in percent. The warm-up makes some 50 runs.
FAILING_RUNS = 1


class WorkerFault(Fault):
    """A fault of one of the workers that run all the time."""

    part = "worker"
    overhead = 4.0

    @classmethod
    def targets(cls, options: Options) -> list[str]:
        return worker_names(options)

    @property
    def worker(self) -> Worker:
        return self.system.worker(self.target)

    def ended(self) -> None:
        """Waits for the end of a process that was asked to end."""
        self.system.must(f"{self.worker.name} ends after SIGTERM", lambda: not self.worker.running(), PATIENCE)


@register
class Kill(WorkerFault):
    """SIGKILL: the records of the last second are published and not committed."""

    kind, repeats, holds = "worker-kill", True, (1.0, 9.0)

    def begin(self) -> None:
        self.worker.kill(self.kind)

    def end(self) -> None:
        self.worker.start(self.system.protocol)


@register
class Terminate(WorkerFault):
    """SIGTERM: the worker drains, commits, and ends with 0. Without its brokers it cannot commit, and ends with 1."""

    kind, repeats, holds = "worker-term", False, (1.0, 9.0)

    def begin(self) -> None:
        self.worker.terminate(self.kind, {0, 1} if self.system.brokers_away() else {0})
        self.ended()

    def end(self) -> None:
        self.worker.start(self.system.protocol)


@register
class Pause(WorkerFault):
    """SIGSTOP for longer than the session timeout: the group removes the worker, which then goes on."""

    kind, repeats = "worker-stop", True
    holds: ClassVar[tuple[float, float]] = (SESSION_TIMEOUT_MS / 1000 + 2, SESSION_TIMEOUT_MS / 1000 + 6)

    def begin(self) -> None:
        self.worker.signal(signal.SIGSTOP)

    def end(self) -> None:
        self.worker.signal(signal.SIGCONT)


@register
class Scale(WorkerFault):
    """Another worker joins the group, and leaves it again."""

    kind, repeats, holds, overhead = "worker-scale", False, (4.0, 10.0), 6.0

    @classmethod
    def targets(cls, options: Options) -> list[str]:
        return ["worker-extra"]

    def begin(self) -> None:
        self.worker.start(self.system.protocol)

    def end(self) -> None:
        self.worker.terminate(self.kind, {0, 1} if self.system.brokers_away() else {0})
        self.ended()


@register
class ClockJump(WorkerFault):
    """The wall clock of a worker jumps by an hour, and back at the end."""

    kind, repeats, holds = "worker-clock", False, (5.0, 10.0)

    @classmethod
    def targets(cls, options: Options) -> list[str]:
        return [f"{clock_worker(options)} +1h", f"{clock_worker(options)} -1h"]

    @classmethod
    def unavailable(cls, system: System) -> str:
        return system.clock.missing

    def begin(self) -> None:
        self.system.clock.set(HOUR if self.target.endswith("+1h") else -HOUR)

    def end(self) -> None:
        self.system.clock.set(0)


@register
class NetworkFailure(WorkerFault):
    """A fail point makes some runs of a worker's network fail. The worker may end with 1 as often as it likes."""

    kind, repeats, holds, overhead = "onnx-failure", True, (5.0, 10.0), 10.0

    @classmethod
    def unavailable(cls, system: System) -> str:
        asked = subprocess.run([system.options.worker, "--version"], check=True, capture_output=True, text=True)
        return "" if "+failpoints" in asked.stdout else "the worker was built without --features failpoints"

    def begin(self) -> None:
        self._again({"FAILPOINTS": f"onnx-run={FAILING_RUNS}%return(fail point)"})
        self.worker.allow_exits(self.kind, {1})

    def end(self) -> None:
        self._again({})
        self.worker.forbid_exits()

    def _again(self, environment: dict[str, str]) -> None:
        if self.worker.running():
            # A worker that has just started ends at once.
            self.worker.terminate(self.kind, {0, 1, -signal.SIGTERM})
            self.ended()
        self.worker.start(self.system.protocol, environment)


@register
class ProtocolChange(Fault):
    """All workers stop and start again with the next group protocol."""

    kind, repeats, holds, overhead, part = "protocol", False, (0.0, 0.0), 10.0, "protocol"

    @classmethod
    def targets(cls, options: Options) -> list[str]:
        return []

    def begin(self) -> None:
        workers = self.system.workers
        for worker in workers:
            worker.terminate(self.kind)
        self.system.must("all workers end after SIGTERM", lambda: not any(worker.running() for worker in workers), PATIENCE)
        # A static member does not leave: it remains until its session ends.
        self.system.must("the consumer group is empty", self.system.group_is_empty, PATIENCE)

    def end(self) -> None:
        self.system.protocol = self.target
        self.system.start_workers()
        self.system.must("all workers are ready", lambda: all(ready(worker) for worker in self.system.workers), PATIENCE)


def worker_names(options: Options) -> list[str]:
    return [f"worker-{n}" for n in range(1, options.workers + 1)]


def clock_worker(options: Options) -> str:
    """The worker whose clock can be set."""
    return worker_names(options)[-1]
