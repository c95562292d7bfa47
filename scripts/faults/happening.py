"""What happened: the faults of a run with their times and their effects on the stream (pure)."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass

from .evidence import Window

# The time before a fault over which its rate is taken.
BEFORE = 5.0


@dataclass
class Happening:
    """A fault that happened. Times are in seconds since 1970."""

    number: int
    kind: str
    target: str
    repeats: bool
    inside: str = ""
    lag_before: int = 0
    begin: float = 0.0
    end: float = 0.0
    # When the lag was back. `None`: not while it was waited for.
    recovered: float | None = None
    highest_lag: int = 0

    def name(self) -> str:
        return f"{self.number} {self.kind} of {self.target}"

    def window(self) -> Window:
        return Window(self.begin, self.end, self.name())


class Rates:
    """Verdicts per second, by the time when the broker appended them."""

    def __init__(self, times: list[float]) -> None:
        self._times = sorted(times)

    def between(self, begin: float, end: float) -> float | None:
        """`None` if the time is too short for a rate."""
        if end - begin < 1.0:
            return None
        return (bisect_left(self._times, end) - bisect_left(self._times, begin)) / (end - begin)


def attribute(happenings: list[Happening], repeats: list[float]) -> dict[int, int]:
    """Counts repeats by the number of the last fault that began before them."""
    return Counter(max((h.number for h in happenings if h.begin <= time), default=0) for time in repeats)
