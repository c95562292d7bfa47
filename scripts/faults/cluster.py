"""Three Apache Kafka brokers, each also a controller, with three replicas of every partition."""

import shutil
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from machine import ROOT

from .disk import SmallDisk
from .processes import HarnessError, Process, free_ports

BROKERS = 3
SESSION_TIMEOUT_MS = 6000
CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAQ"

# Broker 3 has the small disk.
ON_SMALL_DISK = 3
QUIET = {"log_level": 0, "log.connection.close": False}

PROPERTIES = """
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{client}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
group.consumer.session.timeout.ms={session}
group.consumer.min.session.timeout.ms={session}
group.consumer.heartbeat.interval.ms=500
group.consumer.min.heartbeat.interval.ms=500
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
replica.lag.time.max.ms=8000
controller.quorum.fetch.timeout.ms=4000
log.cleaner.dedupe.buffer.size=4194304
log.index.size.max.bytes=1048576
log.segment.bytes=67108864
num.network.threads=2
num.io.threads=4
"""


class Broker:
    """One broker. `start` may be called again after the process has ended."""

    def __init__(self, node: int, port: int, folder: Path, disk: SmallDisk | None) -> None:
        self.name = f"broker-{node}"
        self.address = f"127.0.0.1:{port}"
        self.disk = disk
        self._folder = folder
        self._process: Process | None = None

    def start(self) -> None:
        self._process = self._java("kafka.Kafka", str(self._folder / f"{self.name}.properties"))

    def format(self) -> Process:
        properties = str(self._folder / f"{self.name}.properties")
        return self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", properties)

    def running(self) -> bool:
        return self._process is not None and self._process.code() is None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _java(self, *arguments: str) -> Process:
        # The simple collector and compiler save memory and time: a run starts brokers often.
        java = ["java", "-Xms96m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
        command = [*java, "-cp", f"{ROOT}/.dorfman/kafka/libs/*", *arguments]
        inside = self.disk.inside(command) if self.disk else command
        return Process(inside, self._folder / f"{self.name}.log", self._folder)


class Cluster:
    """The brokers and a client for administration."""

    def __init__(self, folder: Path, disk_megabytes: int) -> None:
        if not (ROOT / ".dorfman/kafka/libs").is_dir():
            raise HarnessError("Apache Kafka is missing below .dorfman; run scripts/setup.sh kafka")
        if shutil.which("java") is None:
            raise HarnessError("java is missing; run scripts/setup.sh kafka")
        folder.mkdir(parents=True)
        ports = free_ports(2 * BROKERS)
        clients, controllers = ports[:BROKERS], ports[BROKERS:]
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in clients)
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(controllers, start=1))
        self.no_disk = ""
        self.brokers = []
        for node, (client, controller) in enumerate(zip(clients, controllers), start=1):
            data = folder / f"data-{node}"
            disk = self._small_disk(data, disk_megabytes) if node == ON_SMALL_DISK else None
            values = {"node": node, "voters": voters, "client": client, "controller": controller, "data": data / "log"}
            text = PROPERTIES.format(session=SESSION_TIMEOUT_MS, **values)
            (folder / f"broker-{node}.properties").write_text(text)
            self.brokers.append(Broker(node, client, folder, disk))

    def _small_disk(self, folder: Path, megabytes: int) -> SmallDisk | None:
        try:
            return SmallDisk(folder, megabytes)
        except OSError as error:
            self.no_disk = f"no tmpfs could be mounted in a namespace ({error}); run as root"
            return None

    def start(self) -> list[Process]:
        """Formats the disks. Returns the processes to wait for before `start_brokers`."""
        return [broker.format() for broker in self.brokers]

    def start_brokers(self) -> None:
        for broker in self.brokers:
            broker.start()

    def broker(self, name: str) -> Broker:
        return next(broker for broker in self.brokers if broker.name == name)

    def answers(self) -> bool:
        """Whether all brokers are registered."""
        metadata = self._metadata()
        return metadata is not None and len(metadata.brokers) == BROKERS

    def in_sync(self) -> bool:
        """Whether every broker answers, and says that all replicas of all partitions are in sync."""
        # A broker that was interrupted, or the others for a while, have an old view.
        return all(_all_in_sync(self._metadata(broker.address)) for broker in self.brokers)

    def exists(self, topic: str) -> bool | None:
        """Whether a topic exists. `None` if the brokers do not answer."""
        metadata = self._metadata()
        return None if metadata is None else topic in metadata.topics

    def create(self, topics: dict[str, int], config: dict[str, str]) -> None:
        """Creates topics, as far as the brokers answer."""
        new = [NewTopic(name, count, replication_factor=BROKERS, config=config) for name, count in topics.items()]
        self._ask(lambda admin: admin.create_topics(new, request_timeout=10).values())

    def delete(self, topic: str) -> None:
        """Deletes a topic, if the brokers answer."""
        self._ask(lambda admin: admin.delete_topics([topic], request_timeout=10).values())

    def ends(self, topic: str, partitions: int) -> dict[int, int] | None:
        """Returns the end offset of every partition of a topic. `None` if the brokers do not answer."""
        asked = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(partitions)}
        answers = self._ask(lambda admin: [admin.list_offsets(asked, request_timeout=5)[TopicPartition(topic, p)] for p in range(partitions)])
        return None if None in answers else {p: answer.offset for p, answer in enumerate(answers)}

    def committed(self, group: str, topic: str, partitions: int) -> dict[int, int] | None:
        """Returns the committed offset of every partition, 0 if there is none. `None` if the brokers do not answer."""
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, p) for p in range(partitions)])
        (answer,) = self._ask(lambda admin: admin.list_consumer_group_offsets([asked], request_timeout=5).values())
        return None if answer is None else {p.partition: max(0, p.offset) for p in answer.topic_partitions}

    def group_is_empty(self, group: str) -> bool:
        """Whether a consumer group has no members."""
        (answer,) = self._ask(lambda admin: [admin.list_consumer_groups(request_timeout=5)])
        if answer is None or answer.errors:
            return False
        states = [listing.state.name for listing in answer.valid if listing.group_id == group]
        return all(state in ("EMPTY", "DEAD") for state in states)

    def _metadata(self, broker: str = "") -> Any:
        """Returns the metadata of brokers and topics, from one broker or from any. `None` if no broker answers."""
        try:
            return self._admin(broker).list_topics(timeout=3)
        except KafkaException:
            return None

    def _admin(self, broker: str = "") -> AdminClient:
        """Returns a new client. An old client can have old metadata of a topic that was recreated."""
        return AdminClient({"bootstrap.servers": broker or self.bootstrap, **QUIET})

    def _ask(self, request: Callable[[AdminClient], Iterable[Any]]) -> list[Any]:
        """Returns the result of each request, `None` for each that failed."""
        # The client must live until the last request has ended.
        admin = self._admin()
        return [_result(future) for future in request(admin)]

    def stop(self) -> None:
        for broker in self.brokers:
            broker.kill()
        for broker in self.brokers:
            if broker.disk:
                broker.disk.close()


def _all_in_sync(metadata: Any) -> bool:
    if metadata is None or len(metadata.brokers) < BROKERS:
        return False
    partitions = [p for topic in metadata.topics.values() for p in topic.partitions.values()]
    return all(p.leader >= 0 and len(p.isrs) == BROKERS for p in partitions)


def _result(future: Any) -> Any:
    try:
        return future.result(15)
    except (KafkaException, TimeoutError):
        return None
