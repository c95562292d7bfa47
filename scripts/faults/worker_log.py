"""What a worker's log says about repeats: a worker reads items again, or lost its partitions."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .evidence import Window

# A session ends at the brokers before the worker notices. Another worker then already reads the items again.
UNNOTICED = 12.0

# A line that explains repeats, and since how many seconds before the line.
EXPLANATIONS: list[tuple[re.Pattern[str], Callable[[re.Match[str]], float]]] = [
    (re.compile(r"drained revoked partitions.*left=[1-9]"), lambda _: 0.0),
    (re.compile(r"items will be read again"), lambda _: 0.0),
    (re.compile(r"offsets were not committed"), lambda _: UNNOTICED),
    (re.compile(r"sent again by a new producer"), lambda _: UNNOTICED),
    (re.compile(r"a new one joins the consumer group"), lambda _: UNNOTICED),
    (re.compile(r"session timed out .* after (\d+) ms"), lambda match: int(match[1]) / 1000),
]


def explanation(worker: str, line: str, now: float) -> Window | None:
    """Returns the time in which items may have been read again, if a line explains that."""
    for pattern, since in EXPLANATIONS:
        if match := pattern.search(line):
            return Window(now - since(match), now, f"{worker} logs: {line}", logged=True)
    return None


@dataclass
class WorkerLog:
    """The log of one process, read as it grows. The times are those of the reading, also if the worker's clock jumps."""

    worker: str
    path: Path
    windows: list[Window] = field(default_factory=list)
    _position: int = 0
    _rest: str = ""

    def read(self) -> None:
        with open(self.path, errors="replace") as log:
            log.seek(self._position)
            text = self._rest + log.read()
            self._position = log.tell()
        *lines, self._rest = text.split("\n")
        found = [explanation(self.worker, line, time.time()) for line in lines]
        self.windows += [window for window in found if window]
