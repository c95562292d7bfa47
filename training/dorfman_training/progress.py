"""Reports progress: bars and lines on a terminal, only lines in a log."""

from __future__ import annotations

import sys
from typing import Iterable, Optional, Sequence, TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")


def say(text: str, file: Optional[TextIO] = None) -> None:
    """Prints a line above the progress bars, to `file` or by default to standard output."""
    tqdm.write(text, file=file or sys.stdout)
    (file or sys.stdout).flush()


def over(parts: Sequence[T], what: str) -> Iterable[T]:
    """Iterates over the parts and shows a progress bar."""
    return tqdm(parts, desc=what, disable=None, leave=False)


def counter(what: str, total: int, done: int = 0) -> "tqdm[None]":
    """Returns a bar from `done` to `total`. The caller advances it."""
    return tqdm(desc=what, total=total, initial=done, disable=None, leave=False)
