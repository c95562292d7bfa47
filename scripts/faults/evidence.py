"""What the oracle looks at: published records, exits of workers, times of interruptions, offsets (pure)."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .ledger import Entry, Position
from .topics import DEAD, FLAGGED, VERDICTS


@dataclass(frozen=True)
class Record:
    """A record that a worker published. `time` is when the broker appended it, in seconds since 1970.

    `generation` is the number of times that the topic was recreated before.
    """

    topic: str
    generation: int
    partition: int
    offset: int
    time: float
    source: Position
    content: dict[str, Any]

    def text(self) -> str:
        known = ("verdict", "exit", "flag_id", "label", "reason", "detail", "score")
        shown = ", ".join(f"{key} {self.content[key]}" for key in known if key in self.content)
        made = f", generation {self.generation}" if self.generation else ""
        return f"{self.topic}[{self.partition}]@{self.offset}{made}: {shown}"


@dataclass(frozen=True)
class Exit:
    """The end of a worker's process. `asked` names the fault that allowed an exit, with this code or another."""

    worker: str
    time: float
    code: int
    asked: str
    allowed: bool
    log: list[str]


@dataclass(frozen=True)
class Window:
    """A time in which something happened that may cause repeats: a fault, or what a worker has logged."""

    begin: float
    end: float
    what: str
    logged: bool = False


@dataclass(frozen=True)
class Offsets:
    """The source topic by partition: its end, the committed offset, the last item's offset."""

    ends: dict[int, int]
    committed: dict[int, int]
    last: dict[int, int]


@dataclass(frozen=True)
class Evidence:
    """All of it. `problems` are contradictions in what the harness itself has read."""

    entries: dict[Position, Entry]
    records: list[Record]
    windows: list[Window]
    exits: list[Exit]
    offsets: Offsets
    problems: list[str]

    @cached_property
    def of(self) -> dict[str, dict[Position, list[Record]]]:
        """The records by topic and position, in the order of their times."""
        found: dict[str, dict[Position, list[Record]]] = {topic: defaultdict(list) for topic in (FLAGGED, VERDICTS, DEAD)}
        for record in sorted(self.records, key=lambda r: r.time):
            found[record.topic][record.source].append(record)
        return found

    def get(self, topic: str, position: Position) -> list[Record]:
        return self.of[topic].get(position, [])
