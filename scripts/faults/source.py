"""Reads the source topic at the end of a run: which messages are committed, and where."""

from confluent_kafka import Consumer, KafkaError, TopicPartition

from .cluster import QUIET
from .ledger import Position
from .topics import SOURCE, SOURCE_PARTITIONS
from .watched import Watched


class SourceReader(Watched):
    """Reads the topic once, from the start of each partition to its end."""

    def __init__(self, brokers: str) -> None:
        super().__init__("source reader")
        self._brokers = brokers
        # The key of a message is the id of its item.
        self.ids: dict[Position, str] = {}

    def work(self) -> None:
        settings = {"bootstrap.servers": self._brokers, "group.id": "faults-source", "enable.auto.commit": False}
        consumer = Consumer({**settings, "isolation.level": "read_committed", "enable.partition.eof": True, **QUIET})
        consumer.assign([TopicPartition(SOURCE, partition, 0) for partition in range(SOURCE_PARTITIONS)])
        ended: set[int] = set()
        while len(ended) < SOURCE_PARTITIONS and not self.stopping.is_set():
            for message in consumer.consume(1000, 0.2):
                error = message.error()
                if error is None:
                    self.ids[message.partition(), message.offset()] = message.key().decode()
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
        consumer.close()
