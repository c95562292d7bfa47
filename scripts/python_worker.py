#!/usr/bin/env python3
"""The worker that an engineer would write in Python: confluent-kafka, Pillow in a pool, ONNX Runtime in batches.

    scripts/python_worker.py --brokers B --topic T --flagged F --group G --peer peer.json [--screen]

Reads references from a topic, decodes batches of 64 images, and publishes a flag for each positive
image. While the network scores a batch, the next batch is decoded. Offsets are committed after the
flags of their batch are delivered. After each batch, the number of judged images is printed.
"""

import argparse
import signal
from pathlib import Path

import confluent_kafka
from peers.judge import BATCH, Judge, Reference

POLL = 0.05
SOON = 0.002  # while images of the batch before are being decoded


class Batch:
    """Messages whose images are being decoded."""

    def __init__(self, judge: Judge, messages: list[confluent_kafka.Message]) -> None:
        self.messages = messages
        self.images = [Reference.parsed(message.value()) for message in messages]
        self.decoding = judge.decoding(self.images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("brokers", "topic", "flagged", "group"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--screen", action="store_true")
    arguments = parser.parse_args()
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    judge = Judge(arguments.peer, arguments.screen)
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": arguments.brokers,
            "group.id": arguments.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    producer = confluent_kafka.Producer({"bootstrap.servers": arguments.brokers})
    consumer.subscribe([arguments.topic])
    run(judge, consumer, producer, arguments.flagged, stopped)
    consumer.close()


def run(judge: Judge, consumer: confluent_kafka.Consumer, producer: confluent_kafka.Producer, topic: str, stopped: list[bool]) -> None:
    judged, waiting = 0, None
    while not stopped:
        messages = fetched(consumer, SOON if waiting else POLL)
        batch = Batch(judge, messages) if messages else None
        if waiting:
            judged += publish(judge, waiting, producer, topic)
            consumer.commit(offsets=ends(waiting), asynchronous=True)
            print(f"judged {judged}", flush=True)
        waiting = batch


def fetched(consumer: confluent_kafka.Consumer, wait: float) -> list[confluent_kafka.Message]:
    """Waits for one message, and returns it with those that are there, at most a batch."""
    first = consumer.poll(wait)
    messages = [first, *consumer.consume(BATCH - 1, SOON)] if first else []
    return [message for message in messages if not message.error()]


def publish(judge: Judge, batch: Batch, producer: confluent_kafka.Producer, topic: str) -> int:
    """Publishes the flags of a batch. Returns the number of images of the batch."""
    for flag in judge.flags(batch.images, batch.decoding):
        producer.produce(topic, flag)
    producer.flush()
    return len(batch.messages)


def ends(batch: Batch) -> list[confluent_kafka.TopicPartition]:
    latest = {(message.topic(), message.partition()): message.offset() + 1 for message in batch.messages}
    return [confluent_kafka.TopicPartition(topic, partition, offset) for (topic, partition), offset in latest.items()]


main()
