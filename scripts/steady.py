"""A steady stream of references, and the latency of its flags."""

import json
import math
import random
import sys
import time
from dataclasses import dataclass, field

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic
from machine import Machine
from measuring import SAMPLE_EVERY
from peers.contenders import Started

TICK = 0.005
READING = 10.0
LONGEST = 300.0


@dataclass
class Stream:
    """References at a rate, in images per second. `sent` has the timestamp of each, in milliseconds since 1970."""

    brokers: str
    topic: str
    rate: float
    seconds: float
    sent: dict[str, int] = field(default_factory=dict)

    def offer(self, uris: list[str], draw: random.Random) -> None:
        """Sends references to images that are drawn from `uris`, until the time is over."""
        producer = confluent_kafka.Producer({"bootstrap.servers": self.brokers, "linger.ms": 1})
        begun, start = time.monotonic(), time.time()
        while (passed := time.monotonic() - begun) < self.seconds:
            while len(self.sent) < passed * self.rate:
                # The time at which the reference was due. A late producer does not hide latency.
                self._send(producer, draw.choice(uris), start + len(self.sent) / self.rate)
            producer.poll(0)
            time.sleep(TICK)
        producer.flush()

    def _send(self, producer: confluent_kafka.Producer, uri: str, due: float) -> None:
        identifier, now = f"image-{len(self.sent)}", round(due * 1e3)
        self.sent[identifier] = now
        _send(producer, self.topic, identifier, uri, timestamp=now)

    def latencies(self, flagged: str, start: float) -> list[float]:
        """Returns the sorted seconds from references to flags, without the references of the first `start` seconds."""
        first = min(self.sent.values()) + start * 1e3
        flags = ((self.sent[json.loads(value)["id"]], timestamp) for value, timestamp in read_all(self.brokers, flagged))
        return sorted((timestamp - sent) / 1e3 for sent, timestamp in flags if sent >= first)


def fill(brokers: str, topic: str, uris: list[str]) -> None:
    """Sends a reference to each image, spread over the partitions at random."""
    producer = confluent_kafka.Producer({"bootstrap.servers": brokers, "queue.buffering.max.messages": len(uris) + 1})
    for number, uri in enumerate(uris):
        _send(producer, topic, f"image-{number}", uri)
    producer.flush()


def _send(producer: confluent_kafka.Producer, topic: str, identifier: str, uri: str, **options: int) -> None:
    producer.produce(topic, json.dumps({"id": identifier, "uri": uri}).encode(), key=identifier, **options)


def percentile(ordered: list[float], share: float) -> float:
    """Returns the value that a share of the sorted values does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def wait_for(machine: Machine, started: Started, judged: float) -> None:
    """Waits until a contender has judged a number of images."""
    if not judges(machine, started, judged, LONGEST):
        sys.exit(f"{machine.program}: {started.name} has judged {started.judged():,.0f} of {judged:,.0f} images in {LONGEST:.0f} s")


def judges(machine: Machine, started: Started, judged: float, longest: float) -> bool:
    """Returns whether a contender judges a number of images within `longest` seconds."""
    begun = time.monotonic()
    while started.judged() < judged:
        machine.check()
        if time.monotonic() - begun > longest:
            return False
        time.sleep(SAMPLE_EVERY)
    return True


def create_topics(brokers: str, names: list[str]) -> None:
    """Creates topics with the broker's number of partitions."""
    admin = AdminClient({"bootstrap.servers": brokers})
    for future in admin.create_topics([NewTopic(name, -1, -1) for name in names]).values():
        future.result()


def read_all(brokers: str, topic: str) -> list[tuple[bytes, int]]:
    """Returns the value and the timestamp of each record that a topic has now."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": brokers, "group.id": "reader", "enable.auto.commit": False})
    partitions = consumer.list_topics(topic).topics[topic].partitions
    found = []
    for partition in partitions:
        at = confluent_kafka.TopicPartition(topic, partition, 0)
        _, end = consumer.get_watermark_offsets(at)
        consumer.assign([at])
        while at.offset < end:
            message = consumer.poll(READING)
            if message is None or message.error():
                raise OSError(f"no record of {topic} was received: {message and message.error()}")
            at.offset = message.offset() + 1
            found.append((message.value(), message.timestamp()[1]))
    consumer.close()
    return found
