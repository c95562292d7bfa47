"""The oracle: compares what the workers published with the ledger (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from .evidence import Evidence, Record, Window
from .ledger import ABORTED, ACKNOWLEDGED, Position
from .topics import ALSO_IN, DEAD, FLAGGED, VERDICTS

# A worker or a broker that was interrupted may finish its work this many seconds after it has recovered.
SLACK = 5.0


@dataclass(frozen=True)
class Violation:
    """What is wrong, and the history of the item."""

    check: str
    text: str
    history: list[str] = field(default_factory=list)


def check(evidence: Evidence) -> list[Violation]:
    checks = (_problems, _complete, _unknown_positions, _right, _repeats, _flag_ids, _exits, _offsets)
    return [violation for part in checks for violation in part(evidence)]


def repeats(evidence: Evidence) -> list[Record]:
    """The records that are further copies of a verdict."""
    return [record for copies in evidence.of[VERDICTS].values() for record in copies[1:]]


def explained_by_logs(evidence: Evidence) -> int:
    """How many repeated verdicts no fault explains, but a worker's log."""
    pairs = [pair for copies in evidence.of[VERDICTS].values() for pair in zip(copies, copies[1:])]
    faults = [w for w in evidence.windows if not w.logged]
    apart = [pair for pair in pairs if not _explained(faults, pair[0].time, pair[1].time)]
    return sum(_explained(evidence.windows, before.time, after.time) for before, after in apart)


def history(evidence: Evidence, position: Position) -> list[str]:
    """Returns all that happened to an item, in the order of time."""
    entry = evidence.entries.get(position)
    events = [(entry.time, f"{entry.state}: {entry.item.id} ({entry.item.kind}) must be {entry.item.verdict}")] if entry else []
    events += [(r.time, f"published {r.text()}") for topic in evidence.of.values() for r in topic.get(position, [])]
    if events:
        first, last = min(events)[0], max(events)[0]
        near = [w for w in evidence.windows if w.begin <= last + SLACK and w.end >= first - SLACK]
        events += [(w.begin, f"{w.what}, for {w.end - w.begin:.1f} s") for w in near]
    return [f"{time:.3f} {text}" for time, text in sorted(events)]


def _found(evidence: Evidence, name: str, position: Position, text: str) -> Violation:
    partition, offset = position
    return Violation(name, f"partition {partition}, offset {offset}: {text}", history(evidence, position))


def _problems(evidence: Evidence) -> Iterator[Violation]:
    for problem in evidence.problems:
        yield Violation("harness", problem)


def _complete(evidence: Evidence) -> Iterator[Violation]:
    """(a) Nothing is lost."""
    for position, entry in evidence.entries.items():
        if entry.state != ACKNOWLEDGED:
            continue
        if not evidence.get(VERDICTS, position):
            yield _found(evidence, "a: no verdict", position, f"{entry.item.id} has no verdict")
        topic = ALSO_IN.get(entry.item.verdict)
        if topic and not evidence.get(topic, position):
            yield _found(evidence, "a: no record", position, f"{entry.item.id} has no record in {topic}")


def _unknown_positions(evidence: Evidence) -> Iterator[Violation]:
    """(b) Only items that were produced and committed have records."""
    positions = {position for topic in evidence.of.values() for position in topic}
    for position in sorted(positions):
        entry = evidence.entries.get(position)
        if entry is None:
            yield _found(evidence, "b: unknown item", position, "records of an item that is not in the ledger")
        elif entry.state == ABORTED:
            yield _found(evidence, "b: aborted item", position, f"records of {entry.item.id}, whose transaction was aborted")


def _right(evidence: Evidence) -> Iterator[Violation]:
    """(b) Every record is the expected one."""
    for position, entry in evidence.entries.items():
        item = entry.item
        if entry.state != ACKNOWLEDGED:
            continue
        for record in evidence.get(VERDICTS, position):
            if record.content["verdict"] != item.verdict:
                yield _found(evidence, "b: wrong verdict", position, f"{item.id} is {record.content['verdict']}, expected {item.verdict}")
        for record in evidence.get(DEAD, position):
            reason = record.content["reason"]
            if reason not in item.reasons:
                allowed = ", ".join(item.reasons) or "no dead letter"
                yield _found(evidence, "b: wrong dead letter", position, f"{item.id} has a dead letter `{reason}`, expected {allowed}")
        if item.verdict != "flagged" and evidence.get(FLAGGED, position):
            yield _found(evidence, "b: wrong flag", position, f"{item.id} has a flag, expected {item.verdict}")
        for topic in (FLAGGED, VERDICTS, DEAD):
            for record in evidence.get(topic, position):
                if record.content.get("id") != item.id and item.kind != "malformed":
                    yield _found(evidence, "b: wrong id", position, f"a record in {topic} has the id {record.content.get('id')}, expected {item.id}")


def _repeats(evidence: Evidence) -> Iterator[Violation]:
    """(c) Records are repeated only around an interruption."""
    for topic, positions in evidence.of.items():
        for position, copies in positions.items():
            for before, after in zip(copies, copies[1:]):
                if not _explained(evidence.windows, _read_after(evidence, before), after.time):
                    between = f"{after.time - before.time:.1f} s apart"
                    yield _found(evidence, "c: repeated", position, f"two records in {topic}, {between}, without an interruption")


def _read_after(evidence: Evidence, record: Record) -> float:
    """A time before the item of a record was read. The brokers may take a record long after its worker has lost the item's partition."""
    entry = evidence.entries.get(record.source)
    return min(record.time, entry.time) if entry else record.time


def _explained(windows: list[Window], first: float, last: float) -> bool:
    return any(w.begin <= last and w.end + SLACK >= first for w in windows)


def _flag_ids(evidence: Evidence) -> Iterator[Violation]:
    """(d) A flag_id belongs to one item, and an item has one flag_id."""
    owner: dict[str, Position] = {}
    for position, copies in evidence.of[FLAGGED].items():
        ids = {copy.content["flag_id"] for copy in copies}
        if len(ids) > 1:
            yield _found(evidence, "d: flag_id", position, f"{len(ids)} different flag_ids of one item")
        for flag_id in ids:
            other = owner.setdefault(flag_id, position)
            if other != position:
                yield _found(evidence, "d: flag_id", position, f"the flag_id {flag_id} also belongs to partition {other[0]}, offset {other[1]}")


def _exits(evidence: Evidence) -> Iterator[Violation]:
    """(e) Workers end only when they are asked to."""
    for end in evidence.exits:
        if not end.allowed:
            asked = f"during {end.asked}" if end.asked else "by itself"
            yield Violation("e: exit", f"{end.worker} ended with {end.code} {asked} at {end.time:.3f}", end.log)


def _offsets(evidence: Evidence) -> Iterator[Violation]:
    """(f) Everything is committed."""
    offsets = evidence.offsets
    for partition, end in sorted(offsets.ends.items()):
        committed, needed = offsets.committed.get(partition, 0), offsets.last.get(partition, -1) + 1
        if committed > end:
            yield Violation("f: committed", f"partition {partition}: {committed} is committed, beyond the end {end}")
        elif committed < needed:
            yield Violation("f: committed", f"partition {partition}: {committed} is committed, the last item needs {needed}")
        elif committed < end:
            behind = f"the {end - committed} offsets up to the end {end} have only markers and aborted items"
            yield Violation("f: marker lag", f"partition {partition}: {committed} is committed; {behind}")
