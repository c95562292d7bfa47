"""The ledger: which item is at which position of the source topic, and what must become of it."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from .items import Item

Position = tuple[int, int]  # partition and offset in the source topic

ACKNOWLEDGED = "acknowledged"  # Must have its verdict.
ABORTED = "aborted"  # Of an aborted transaction: must have no verdict.
UNKNOWN = "unknown"  # The end of its transaction is not known to the producer.


@dataclass(frozen=True)
class Entry:
    """An item at a position. An item has several positions if its transaction was aborted."""

    item: Item
    state: str
    time: float


@dataclass
class Ledger:
    """Filled by the producers, completed from the source topic, read by the oracle."""

    entries: dict[Position, Entry] = field(default_factory=dict)
    acknowledged: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, item: Item, partition: int, offset: int | None, state: str) -> None:
        """Enters an item. The brokers do not name the offset of a message that they already had."""
        with self._lock:
            self.acknowledged += state == ACKNOWLEDGED
            if offset is not None:
                self.entries[partition, offset] = Entry(item, state, time.time())

    def complete(self, ids: dict[Position, str], items: Iterable[Item]) -> list[str]:
        """Completes the ledger from the ids of all committed messages. Returns what contradicts it."""
        by_id = {item.id: item for item in items}
        problems = []
        for position, entry in self.entries.items():
            there = ids.get(position) == entry.item.id
            if entry.state == UNKNOWN:
                self.entries[position] = replace(entry, state=ACKNOWLEDGED if there else ABORTED)
            elif there != (entry.state == ACKNOWLEDGED):
                problems.append(f"{entry.item.id} is {entry.state} at {position}, where the source topic has {ids.get(position)}")
        for position in ids.keys() - self.entries.keys():
            self.entries[position] = Entry(by_id[ids[position]], ACKNOWLEDGED, time.time())
        missing = by_id.keys() - set(ids.values())
        return problems + [f"{name} was produced and is not in the source topic" for name in sorted(missing)]

    def must_have_verdicts(self) -> set[Position]:
        return {position for position, entry in self.entries.items() if entry.state == ACKNOWLEDGED}

    def last_offsets(self) -> dict[int, int]:
        """The highest acknowledged offset of each partition."""
        last: dict[int, int] = {}
        for partition, offset in self.must_have_verdicts():
            last[partition] = max(offset, last.get(partition, -1))
        return last
