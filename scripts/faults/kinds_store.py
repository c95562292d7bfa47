"""Faults of the image server. Its items wait for it: none becomes a dead letter, none is judged twice."""

from typing import ClassVar

from .fault import Fault, register
from .options import Options


class StoreFault(Fault):
    """The image server misbehaves in one mode (`images`)."""

    part, repeats, holds, overhead = "store", False, (5.0, 12.0), 6.0
    mode: ClassVar[str]

    @classmethod
    def targets(cls, options: Options) -> list[str]:
        return ["image server"]

    def begin(self) -> None:
        self.system.store.tell(self.mode)

    def end(self) -> None:
        self.system.store.tell("ok")


@register
class Closed(StoreFault):
    """The port is closed."""

    kind = "store-closed"
    mode = "closed"


@register
class Hang(StoreFault):
    """Requests get no answer."""

    kind = "store-hang"
    mode = "hang"


@register
class Slow(StoreFault):
    """Answers take 1.5 s, half of the workers' timeout."""

    kind = "store-slow"
    mode = "slow 1.5"


@register
class Errors(StoreFault):
    """HTTP 500, or 503 with Retry-After."""

    kind = "store-errors"
    mode = "error"


@register
class Cut(StoreFault):
    """Half of the body arrives."""

    kind = "store-cut"
    mode = "cut"
