"""What long work says of itself: a bar on a terminal; in a log, where a bar would be noise, the lines alone."""

from __future__ import annotations

import sys
from typing import Iterable, Optional, Sequence, TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")


def say(text: str, file: Optional[TextIO] = None) -> None:
    """A line, above whatever bars there are; on standard output if no file is given."""
    tqdm.write(text, file=file or sys.stdout)
    (file or sys.stdout).flush()


def over(parts: Sequence[T], what: str) -> Iterable[T]:
    """The parts one by one, with a bar."""
    return tqdm(parts, desc=what, disable=None, leave=False)


def counter(what: str, total: int, done: int = 0) -> "tqdm[None]":
    """A bar that its user moves, from `done` to `total`."""
    return tqdm(desc=what, total=total, initial=done, disable=None, leave=False)
