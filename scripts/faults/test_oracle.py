"""Tests of the oracle: it finds each kind of violation, and nothing in a good run."""

from dataclasses import replace
from typing import Any

from .evidence import Evidence, Exit, Offsets, Record, Window
from .happening import Happening, Rates, attribute
from .items import Item
from .ledger import ABORTED, ACKNOWLEDGED, UNKNOWN, Entry, Ledger, Position
from .oracle import check, explained_by_logs, history, repeats
from .topics import DEAD, FLAGGED, VERDICTS
from .worker_log import explanation

CLEARED, POSITIVE, BROKEN, GONE = (0, 0), (0, 1), (0, 2), (0, 3)


def entry(name: str, verdict: str, state: str = ACKNOWLEDGED, reasons: tuple[str, ...] = ()) -> Entry:
    return Entry(Item(name, "file", verdict, frozenset(reasons), b"", 0, False), state, 100.0)


def record(topic: str, source: Position, time: float, **content: Any) -> Record:
    return Record(topic, 0, 0, round(time), time, source, content)


def good() -> Evidence:
    """Three items and their records, an aborted item, a worker that was killed and one that ended."""
    entries = {
        CLEARED: entry("clear", "cleared"),
        POSITIVE: entry("bag", "flagged"),
        BROKEN: entry("broken", "failed", reasons=("undecodable",)),
        GONE: entry("aborted", "cleared", ABORTED),
    }
    records = [
        record(VERDICTS, CLEARED, 101, id="clear", verdict="cleared"),
        record(VERDICTS, POSITIVE, 102, id="bag", verdict="flagged"),
        record(FLAGGED, POSITIVE, 102, id="bag", flag_id="1"),
        record(VERDICTS, BROKEN, 103, id="broken", verdict="failed"),
        record(DEAD, BROKEN, 103, id="broken", reason="undecodable"),
    ]
    exits = [Exit("worker-1", 110, -9, "worker-kill", True, []), Exit("worker-1", 200, 0, "the end", True, [])]
    windows = [Window(110, 112, "1 worker-kill of worker-1")]
    return Evidence(entries, records, windows, exits, Offsets({0: 5}, {0: 5}, {0: 2}), [])


def found(evidence: Evidence) -> list[str]:
    return [violation.check for violation in check(evidence)]


def without(topic: str, position: Position) -> Evidence:
    evidence = good()
    return replace(evidence, records=[r for r in evidence.records if (r.topic, r.source) != (topic, position)])


def also(*records: Record) -> Evidence:
    evidence = good()
    return replace(evidence, records=[*evidence.records, *records])


def test_a_good_run_has_no_violation() -> None:
    assert found(good()) == []


def test_a_lost_verdict_is_found() -> None:
    assert found(without(VERDICTS, CLEARED)) == ["a: no verdict"]


def test_a_lost_flag_and_a_lost_dead_letter_are_found() -> None:
    assert found(without(FLAGGED, POSITIVE)) == ["a: no record"]
    assert found(without(DEAD, BROKEN)) == ["a: no record"]


def test_a_wrong_verdict_is_found_also_if_the_right_one_follows() -> None:
    assert found(also(record(VERDICTS, CLEARED, 111, id="clear", verdict="flagged"))) == ["b: wrong verdict"]


def test_a_dead_letter_of_an_item_that_had_to_wait_is_found() -> None:
    assert found(also(record(DEAD, CLEARED, 101, id="clear", reason="unavailable"))) == ["b: wrong dead letter"]


def test_a_dead_letter_with_another_reason_is_found() -> None:
    evidence = without(DEAD, BROKEN)
    wrong = record(DEAD, BROKEN, 103, id="broken", reason="timeout")
    assert found(replace(evidence, records=[*evidence.records, wrong])) == ["b: wrong dead letter"]


def test_a_flag_of_a_negative_is_found() -> None:
    assert found(also(record(FLAGGED, CLEARED, 101, id="clear", flag_id="2"))) == ["b: wrong flag"]


def test_another_id_is_found() -> None:
    assert found(also(record(VERDICTS, CLEARED, 111, id="other", verdict="cleared"))) == ["b: wrong id"]


def test_records_of_aborted_and_unknown_items_are_found() -> None:
    assert found(also(record(VERDICTS, GONE, 101, id="aborted", verdict="cleared"))) == ["b: aborted item"]
    assert found(also(record(VERDICTS, (1, 7), 101, id="x", verdict="cleared"))) == ["b: unknown item"]


def test_a_repeat_needs_an_interruption_between_the_copies() -> None:
    across = also(record(VERDICTS, CLEARED, 120, id="clear", verdict="cleared"))
    assert found(across) == []
    assert [r.time for r in repeats(across)] == [120]
    assert found(also(record(VERDICTS, CLEARED, 104, id="clear", verdict="cleared"))) == ["c: repeated"]


def test_the_first_copy_may_have_waited_for_its_brokers() -> None:
    late = [r for r in good().records if r.source != CLEARED]
    late += [record(VERDICTS, CLEARED, time, id="clear", verdict="cleared") for time in (120, 121)]
    assert found(replace(good(), records=late)) == []
    entries = good().entries | {CLEARED: replace(entry("clear", "cleared"), time=118)}
    assert found(replace(good(), records=late, entries=entries)) == ["c: repeated"]


def test_a_workers_log_explains_a_repeat() -> None:
    copy = record(VERDICTS, CLEARED, 104, id="clear", verdict="cleared")
    evidence = replace(also(copy), windows=[Window(103, 103, "worker-1 logs: left=3", logged=True)])
    assert found(evidence) == []
    assert explained_by_logs(evidence) == 1


def test_flag_ids_are_checked() -> None:
    assert found(also(record(FLAGGED, POSITIVE, 115, id="bag", flag_id="1"))) == []
    assert found(also(record(FLAGGED, POSITIVE, 115, id="bag", flag_id="2"))) == ["d: flag_id"]
    other = (0, 4)
    evidence = also(record(FLAGGED, other, 115, id="bag 2", flag_id="1"), record(VERDICTS, other, 115, id="bag 2", verdict="flagged"))
    evidence.entries[other] = entry("bag 2", "flagged")
    assert found(evidence) == ["d: flag_id"]


def test_exits_are_checked() -> None:
    by_itself = Exit("worker-2", 130, 1, "", False, ["a stage failed"])
    assert found(replace(good(), exits=[by_itself])) == ["e: exit"]


def test_committed_offsets_are_checked() -> None:
    def at(committed: int) -> Evidence:
        return replace(good(), offsets=Offsets({0: 5}, {0: committed}, {0: 2}))

    assert found(at(2)) == ["f: committed"]
    assert found(at(3)) == ["f: marker lag"]
    assert found(at(6)) == ["f: committed"]


def test_the_history_is_in_the_order_of_time() -> None:
    lines = history(good(), POSITIVE)
    assert [line.split()[1] for line in lines] == ["acknowledged:", "published", "published"]


def test_repeats_belong_to_the_last_fault_before_them() -> None:
    happenings = [Happening(1, "worker-kill", "worker-1", True, begin=10), Happening(2, "worker-term", "worker-1", False, begin=20)]
    assert attribute(happenings, [5, 12, 13, 25]) == {0: 1, 1: 2, 2: 1}


def test_a_rate_needs_a_second() -> None:
    rates = Rates([1.0, 2.0, 2.5, 4.0])
    assert rates.between(1.0, 3.0) == 1.5
    assert rates.between(1.0, 1.5) is None


def test_the_ledger_is_completed_from_the_source_topic() -> None:
    items = [Item(name, "file", "cleared", frozenset(), b"", 0, False) for name in ("a", "b", "c", "d", "e")]
    a, b, c, d, _ = items
    ledger = Ledger()
    ledger.add(a, 0, 0, ACKNOWLEDGED)
    ledger.add(b, 0, None, ACKNOWLEDGED)
    ledger.add(c, 0, 2, UNKNOWN)
    ledger.add(d, 0, 3, UNKNOWN)
    ledger.add(d, 0, 4, ABORTED)
    problems = ledger.complete({(0, 0): "a", (0, 1): "b", (0, 2): "c", (0, 5): "d"}, items)
    assert problems == ["e was produced and is not in the source topic"]
    assert {p: e.state for p, e in ledger.entries.items()} == {
        (0, 0): ACKNOWLEDGED,
        (0, 1): ACKNOWLEDGED,
        (0, 2): ACKNOWLEDGED,
        (0, 3): ABORTED,
        (0, 4): ABORTED,
        (0, 5): ACKNOWLEDGED,
    }


def test_a_message_that_the_source_topic_lost_is_a_problem() -> None:
    item = Item("a", "file", "cleared", frozenset(), b"", 0, False)
    ledger = Ledger()
    ledger.add(item, 0, 0, ACKNOWLEDGED)
    assert len(ledger.complete({(0, 1): "a"}, [item])) == 1


def test_a_worker_that_lost_its_session_explains_repeats_since_then() -> None:
    line = "WARN librdkafka: Consumer group session timed out (in join-state steady) after 9069 ms without a response"
    window = explanation("worker-3", line, 200.0)
    assert window is not None and window.logged
    assert (round(window.begin, 3), window.end) == (190.931, 200.0)


def test_a_drain_without_items_left_explains_nothing() -> None:
    assert explanation("worker-1", "INFO drained revoked partitions partitions=3 left=0 seconds=0.1", 200.0) is None
    assert explanation("worker-1", "INFO drained revoked partitions partitions=3 left=2 seconds=5.0", 200.0) is not None
