"""The producers: one sends single items, the other sends transactions. Both fill the ledger."""

import random
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from .cluster import QUIET
from .items import Item
from .ledger import ABORTED, ACKNOWLEDGED, UNKNOWN, Ledger
from .pace import Pace
from .watched import Watched

# A share of the transactions is aborted on purpose; their items follow in another transaction.
ABORT_SHARE = 0.25
LARGEST_TRANSACTION = 20
# Longer than any fault: an item is given up only if the brokers never answer.
DELIVERY_TIMEOUT_MS = 600_000
TICK = 0.05

# An item, its partition, and its offset if the brokers have named it.
Placed = tuple[Item, int, int | None]


class Sender(Watched):
    """Sends its items when they are due."""

    def __init__(self, name: str, items: list[Item], pace: Pace) -> None:
        super().__init__(name)
        self._items, self._pace = items, pace

    def work(self) -> None:
        done = 0
        while done < len(self._items) and not self.stopping.is_set():
            due = round(self._pace.share() * len(self._items))
            done += self.send(self._items[done:due])
            self.idle()
        self.finish()

    def send(self, items: list[Item]) -> int:
        """Sends items that are due. Returns how many; the others are given again."""
        raise NotImplementedError

    def idle(self) -> None:
        """Called between batches; waits for the pace."""
        self.stopping.wait(TICK)

    def finish(self) -> None:
        """Called after the last item."""


class SingleSender(Sender):
    """Sends items one by one, with the idempotent producer."""

    def __init__(self, brokers: str, topic: str, items: list[Item], pace: Pace, ledger: Ledger) -> None:
        super().__init__("single items", items, pace)
        self._topic, self._ledger = topic, ledger
        self._producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "message.timeout.ms": DELIVERY_TIMEOUT_MS, **QUIET})

    def send(self, items: list[Item]) -> int:
        for item in items:
            self._produce(item)
        return len(items)

    def idle(self) -> None:
        self._producer.poll(TICK)

    def finish(self) -> None:
        while len(self._producer) > 0 and not self.stopping.is_set():
            self._producer.flush(1)

    def _produce(self, item: Item) -> None:
        def report(error: KafkaError | None, message: Any) -> None:
            if error is None:
                self._ledger.add(item, message.partition(), message.offset(), ACKNOWLEDGED)
                return
            # The first message may be in the topic too. The ledger is completed at the end.
            self._produce(item)

        self._producer.produce(self._topic, item.payload, item.id, item.partition, on_delivery=report)


class TransactionSender(Sender):
    """Sends items in transactions, some of which it aborts."""

    def __init__(self, brokers: str, topic: str, items: list[Item], pace: Pace, ledger: Ledger, seed: int) -> None:
        super().__init__("transactions", items, pace)
        self._brokers, self._topic, self._ledger = brokers, topic, ledger
        self._draw = random.Random(f"transactions {seed}")
        self._size = self._next_size()
        self._producer: Any = None
        self.committed = self.aborted = 0

    def send(self, items: list[Item]) -> int:
        everything = self._pace.share() >= 1
        if len(items) < self._size and not everything:
            return 0
        batch = items[: self._size]
        if self._draw.random() < ABORT_SHARE:
            self._transaction(batch, commit=False)
        while not self._transaction(batch, commit=True) and not self.stopping.is_set():
            pass
        self._size = self._next_size()
        return len(batch)

    def _next_size(self) -> int:
        return self._draw.randint(1, LARGEST_TRANSACTION)

    def _transaction(self, items: list[Item], commit: bool) -> bool:
        """Sends one transaction. Returns whether it was committed."""
        placed: list[Placed] = []
        try:
            producer = self._ready()
            producer.begin_transaction()
            for item in items:
                producer.produce(self._topic, item.payload, item.id, item.partition, on_delivery=_note(item, placed))
            producer.flush()
            if commit:
                self._insist(producer.commit_transaction)
                self._enter(placed, ACKNOWLEDGED)
                self.committed += 1
                return True
            self._abort(placed)
        except KafkaException as error:
            self._recover(error.args[0], placed)
        return False

    def _ready(self) -> Any:
        if self._producer is None:
            producer = Producer({"bootstrap.servers": self._brokers, "transactional.id": "faults", "transaction.timeout.ms": 60_000, **QUIET})
            self._insist(producer.init_transactions)
            self._producer = producer
        return self._producer

    def _recover(self, error: KafkaError, placed: list[Placed]) -> None:
        if self._producer is not None and error.txn_requires_abort():
            try:
                return self._abort(placed)
            except KafkaException:
                pass  # Then the producer is of no more use.
        # The next producer with this id ends the transaction, in which way is not known here.
        self._producer = None
        self._enter(placed, UNKNOWN)
        self.stopping.wait(1)

    def _abort(self, placed: list[Placed]) -> None:
        self._insist(self._producer.abort_transaction)
        self._enter(placed, ABORTED)
        self.aborted += 1

    def _insist(self, request: Callable[[float], None]) -> None:
        """Repeats a request for as long as the brokers may answer later."""
        while not self.stopping.is_set():
            try:
                return request(30)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise

    def _enter(self, placed: list[Placed], state: str) -> None:
        for item, partition, offset in placed:
            self._ledger.add(item, partition, offset, state)


def _note(item: Item, placed: list[Placed]) -> Callable[[KafkaError | None, Any], None]:
    def report(error: KafkaError | None, message: Any) -> None:
        if error is None:
            placed.append((item, message.partition(), message.offset()))

    return report
