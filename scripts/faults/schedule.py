"""The schedule: which fault follows which, by seed (pure)."""

import random
from dataclasses import dataclass

from .kinds import KINDS
from .options import Options
from .processes import HarnessError
from .workers import PROTOCOLS

PROTOCOL = "protocol"
# The kinds of a short run.
SHORT = ["worker-kill", "worker-term", "broker-kill", "store-closed", "worker-stop"]
GAPS, SHORT_GAPS = (3.0, 8.0), (2.0, 4.0)
# The share of broker's and store's faults inside which a worker's fault happens.
INSIDE_SHARE = 0.3
INSIDE = ["worker-kill", "worker-term", "worker-stop", "worker-scale"]


@dataclass(frozen=True)
class Planned:
    """A fault of the schedule: it begins after `gap` seconds and is held for `hold` seconds."""

    kind: str
    target: str
    gap: float
    hold: float
    inside: "Planned | None" = None

    def count(self) -> int:
        return 2 if self.inside else 1

    def estimate(self) -> float:
        """About how many seconds it takes, with the gap and the recovery."""
        inside = self.inside.estimate() if self.inside else 0.0
        return self.gap + self.hold + KINDS[self.kind].overhead + inside

    def text(self) -> str:
        inside = f", with {self.inside.kind} of {self.inside.target} for {self.inside.hold:.1f} s" if self.inside else ""
        return f"after {self.gap:.1f} s: {self.kind} of {self.target} for {self.hold:.1f} s{inside}"


@dataclass(frozen=True)
class Schedule:
    """The first protocol, and the faults."""

    protocol: str
    faults: list[Planned]

    def estimate(self) -> float:
        return sum(fault.estimate() for fault in self.faults)


def make_schedule(options: Options, available: list[str]) -> Schedule:
    """Every kind comes once before any comes again. The protocol changes at equal distances."""
    draw = random.Random(f"faults {options.seed}")
    protocols = draw.sample(list(PROTOCOLS), len(PROTOCOLS))
    wanted = options.only or (SHORT if options.short else available)
    kinds = [kind for kind in wanted if kind in available and kind not in options.without]
    if not kinds:
        raise HarnessError(f"none of the faults {', '.join(wanted)} is possible here; give another --only")
    others = _others(options.faults - len(protocols) + 1, kinds, options, draw)
    faults: list[Planned] = []
    for n, protocol in enumerate(protocols):
        first, last = (len(others) * part // len(protocols) for part in (n, n + 1))
        if n > 0:
            faults.append(Planned(PROTOCOL, protocol, _gap(options, draw), 0.0))
        faults += others[first:last]
    return Schedule(protocols[0], faults)


def _others(count: int, kinds: list[str], options: Options, draw: random.Random) -> list[Planned]:
    found: list[Planned] = []
    deck: list[str] = []
    while (left := count - sum(fault.count() for fault in found)) > 0:
        deck = deck or draw.sample(kinds, len(kinds))
        found.append(_fault(deck.pop(), left > 1, options, draw))
    return found


def _fault(kind: str, room: bool, options: Options, draw: random.Random) -> Planned:
    inside = None
    if room and not options.short and KINDS[kind].part in ("broker", "store") and draw.random() < INSIDE_SHARE:
        inside = _simple(draw.choice(INSIDE), options, draw)
    simple = _simple(kind, options, draw)
    return Planned(simple.kind, simple.target, simple.gap, simple.hold, inside)


def _simple(kind: str, options: Options, draw: random.Random) -> Planned:
    target = draw.choice(KINDS[kind].targets(options))
    shortest, longest = KINDS[kind].holds
    if options.short:
        longest = shortest + (longest - shortest) / 3
    return Planned(kind, target, _gap(options, draw), round(draw.uniform(shortest, longest), 1))


def _gap(options: Options, draw: random.Random) -> float:
    return round(draw.uniform(*(SHORT_GAPS if options.short else GAPS)), 1)
