"""Faults of brokers: a kill, an end, a stop, a full disk, a recreated topic."""

import signal

from .cluster import BROKERS, ON_SMALL_DISK, Broker
from .fault import PATIENCE, Fault, register
from .options import Options
from .system import System
from .topics import DEAD, FLAGGED, OUTPUTS, VERDICTS


class BrokerFault(Fault):
    """A fault of one broker. It ends when all replicas are in sync again."""

    part, repeats, overhead = "broker", True, 14.0

    @classmethod
    def targets(cls, options: Options) -> list[str]:
        return [f"broker-{node}" for node in range(1, BROKERS + 1)]

    @property
    def broker(self) -> Broker:
        return self.system.cluster.broker(self.target)

    def end(self) -> None:
        self.system.in_sync()


@register
class Kill(BrokerFault):
    """SIGKILL, then a start."""

    kind, holds = "broker-kill", (1.0, 8.0)

    def begin(self) -> None:
        self.broker.kill()


@register
class Terminate(BrokerFault):
    """SIGTERM: the broker gives its partitions away. Then a start."""

    kind, holds = "broker-term", (1.0, 8.0)

    def begin(self) -> None:
        self.broker.signal(signal.SIGTERM)
        if not self.system.until(lambda: not self.broker.running(), 30):
            self.broker.kill()


@register
class Pause(BrokerFault):
    """SIGSTOP: connections stay open and nothing answers."""

    kind, holds, overhead = "broker-stop", (3.0, 12.0), 8.0

    def begin(self) -> None:
        self.broker.signal(signal.SIGSTOP)

    def end(self) -> None:
        self.broker.signal(signal.SIGCONT)
        super().end()


@register
class KillAll(BrokerFault):
    """SIGKILL of all brokers at once."""

    kind, holds, overhead = "cluster-kill", (2.0, 6.0), 30.0

    @classmethod
    def targets(cls, options: Options) -> list[str]:
        return ["all brokers"]

    def begin(self) -> None:
        for broker in self.system.cluster.brokers:
            broker.kill()


@register
class FullDisk(BrokerFault):
    """The disk of a broker is full. Apache Kafka then ends the broker."""

    kind, holds, overhead = "disk-full", (6.0, 10.0), 20.0

    @classmethod
    def targets(cls, options: Options) -> list[str]:
        return [f"broker-{ON_SMALL_DISK}"]

    @classmethod
    def unavailable(cls, system: System) -> str:
        return system.cluster.no_disk

    def begin(self) -> None:
        assert self.broker.disk is not None
        self.broker.disk.fill()

    def end(self) -> None:
        assert self.broker.disk is not None
        self.broker.disk.empty()
        # A broker that has noticed the full disk may end now, or run without its disk.
        self.broker.signal(signal.SIGTERM)
        if not self.system.until(lambda: not self.broker.running(), 30):
            self.broker.kill()
        super().end()


@register
class TopicAnew(Fault):
    """An output topic is deleted and recreated while items are in flight.

    The workers are stopped meanwhile (SIGSTOP). The collector reads the topic to its end before the
    deletion. Every record that was acknowledged was therefore read, and the oracle makes no exception: an
    item without its record is lost. A worker may end with 1, because the topic of its records is gone.
    """

    kind, repeats, holds, overhead, part = "topic-anew", True, (0.0, 2.0), 12.0, "topic"

    @classmethod
    def targets(cls, options: Options) -> list[str]:
        return [FLAGGED, VERDICTS, DEAD]

    def begin(self) -> None:
        system, partitions = self.system, OUTPUTS[self.target]
        for worker in system.all_workers():
            worker.allow_exits(self.kind, {1})
            worker.signal(signal.SIGSTOP)
        # Requests that are on their way arrive.
        system.wait(1.0)

        def read_all() -> bool:
            ends = system.cluster.ends(self.target, partitions)
            return ends is not None and system.collector.has_read(self.target, ends)

        system.must(f"the collector has read {self.target} to its end", read_all, PATIENCE)
        system.collector.detach(self.target)
        system.must(f"{self.target} is deleted", self._gone, PATIENCE)

    def end(self) -> None:
        system = self.system
        system.create_topics()
        system.collector.attach(self.target)
        for worker in system.all_workers():
            worker.signal(signal.SIGCONT)

    def over(self) -> None:
        for worker in self.system.all_workers():
            worker.forbid_exits()

    def _gone(self) -> bool:
        """Deletes the topic if it still exists. Returns whether it does not."""
        exists = self.system.cluster.exists(self.target)
        if exists:
            self.system.cluster.delete(self.target)
        return exists is False
