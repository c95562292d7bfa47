"""The collector: reads the three output topics continuously and keeps every record."""

import json
import threading
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from .cluster import QUIET
from .evidence import Record
from .ledger import Position
from .topics import ALSO_IN, VERDICTS
from .watched import Watched


class Collector(Watched):
    """Reads from the start of each topic. `detach` and `attach` surround the deletion of a topic."""

    def __init__(self, brokers: str, topics: dict[str, int]) -> None:
        super().__init__("collector")
        self._brokers, self._topics = brokers, topics
        # Per topic: how often it was recreated, and the next offset of each partition.
        self._generations = dict.fromkeys(topics, 0)
        self._next = {topic: dict.fromkeys(range(count), 0) for topic, count in topics.items()}
        self._detached: set[str] = set()
        self._lock = threading.Lock()
        self._consumer: Any = None
        self._verdict: dict[Position, str] = {}
        self._others: set[tuple[str, Position]] = set()
        self.records: list[Record] = []
        # Items with all their records: the verdict, and the flag or the dead letter if there must be one.
        self.judged: set[Position] = set()
        self.counts = dict.fromkeys(topics, 0)
        self.problems: list[str] = []

    def work(self) -> None:
        while not self.stopping.is_set():
            with self._lock:
                for message in self._reader().consume(500, 0.1):
                    self._take(message)
            # Gives `detach` and `attach` the lock.
            self.stopping.wait(0.02)

    def has_read(self, topic: str, ends: dict[int, int]) -> bool:
        """Whether every record before the given offsets was read."""
        with self._lock:
            return all(self._next[topic][partition] >= end for partition, end in ends.items())

    def detach(self, topic: str) -> None:
        """Stops reading a topic."""
        with self._lock:
            self._detached.add(topic)
            self._close()

    def attach(self, topic: str) -> None:
        """Reads a topic from its start, after it was recreated."""
        with self._lock:
            self._detached.discard(topic)
            self._generations[topic] += 1
            self._next[topic] = dict.fromkeys(range(self._topics[topic]), 0)
            self._close()

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _reader(self) -> Any:
        """Returns the consumer. A new one knows nothing of a topic that was deleted."""
        if self._consumer is None:
            settings = {"bootstrap.servers": self._brokers, "group.id": "faults-collector", "enable.auto.commit": False}
            self._consumer = Consumer({**settings, "isolation.level": "read_committed", "auto.offset.reset": "error", **QUIET})
            attached = {topic: offsets for topic, offsets in self._next.items() if topic not in self._detached}
            self._consumer.assign([TopicPartition(topic, p, offset) for topic, offsets in attached.items() for p, offset in offsets.items()])
        return self._consumer

    def _take(self, message: Any) -> None:
        error = message.error()
        if error is not None:
            return self._note(error)
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        expected = self._next[topic][partition]
        if offset < expected:
            self.problems.append(f"{topic}[{partition}]: offset {offset} was read after offset {expected - 1}")
            return
        self._next[topic][partition] = offset + 1
        content = json.loads(message.value())
        source = (content["source"]["partition"], content["source"]["offset"])
        time = message.timestamp()[1] / 1000
        self.records.append(Record(topic, self._generations[topic], partition, offset, time, source, content))
        self.counts[topic] += 1
        self._judge(topic, source, content)

    def _judge(self, topic: str, source: Position, content: dict[str, Any]) -> None:
        if topic == VERDICTS:
            self._verdict[source] = content["verdict"]
        else:
            self._others.add((topic, source))
        verdict = self._verdict.get(source)
        if verdict == "cleared" or verdict is not None and (ALSO_IN[verdict], source) in self._others:
            self.judged.add(source)

    def _note(self, error: KafkaError) -> None:
        """The client repeats what failed for a while. A lost position is another matter."""
        if error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
            raise KafkaException(error)
