"""What a fault is, and the registry of its kinds."""

from abc import ABC, abstractmethod
from typing import ClassVar

from .options import Options
from .system import System

PATIENCE = 90.0


class Fault(ABC):
    """A fault of one kind at one target. It lasts from `begin` to `end`.

    `repeats`: whether items may be judged again because of it. Without it, repeats need an explanation in
    a worker's log.
    """

    kind: ClassVar[str]
    repeats: ClassVar[bool]
    # How long it lasts, in seconds, chosen by seed.
    holds: ClassVar[tuple[float, float]]
    # About how many seconds `begin`, `end` and the recovery take beside that, for the pace.
    overhead: ClassVar[float]
    # Faults of the part `worker` also happen inside faults of other parts.
    part: ClassVar[str]

    def __init__(self, system: System, target: str) -> None:
        self.system, self.target = system, target

    @classmethod
    @abstractmethod
    def targets(cls, options: Options) -> list[str]:
        """What the fault can hit. The seed chooses."""

    @classmethod
    def unavailable(cls, system: System) -> str:
        """Why this machine cannot have this fault. Empty if it can."""
        return ""

    @abstractmethod
    def begin(self) -> None: ...

    @abstractmethod
    def end(self) -> None: ...

    def over(self) -> None:  # noqa: B027 (most kinds have nothing to do here)
        """Called when the lag is back after `end`."""


KINDS: dict[str, type[Fault]] = {}


def register(kind: type[Fault]) -> type[Fault]:
    KINDS[kind.kind] = kind
    return kind
