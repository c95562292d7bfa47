#!/usr/bin/env python3
"""The same worker as a data flow of Bytewax: its Kafka source and sink, and batch inference between them.

    scripts/bytewax_worker.py --brokers B --topic T --flagged F --peer peer.json

The images of a batch are decoded in a pool of threads. Bytewax does not commit offsets to Kafka.
"""

import argparse
from pathlib import Path

from bytewax import operators
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main
from peers.judge import BATCH, Judge, Reference


class Step:
    """The inference of the data flow."""

    def __init__(self, peer: Path) -> None:
        self.judge, self.judged = Judge(peer, screen=False), 0

    def flags(self, messages: list[KafkaSourceMessage]) -> list[KafkaSinkMessage]:
        images = [Reference.parsed(message.value) for message in messages]
        flags = self.judge.flags(images, self.judge.decoding(images))
        self.judged += len(images)
        print(f"judged {self.judged}", flush=True)
        return [KafkaSinkMessage(None, flag) for flag in flags]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("brokers", "topic", "flagged"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--peer", type=Path, required=True)
    arguments = parser.parse_args()
    brokers = [arguments.brokers]
    flow = Dataflow("peer")
    messages = operators.input("images", flow, KafkaSource(brokers, [arguments.topic], batch_size=BATCH))
    flags = operators.flat_map_batch("judge", messages, Step(arguments.peer).flags)
    operators.output("flags", flags, KafkaSink(brokers, arguments.flagged))
    cli_main(flow)


main()
