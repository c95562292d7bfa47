"""The items of a run, by seed: what is produced, and the result that each item must have."""

import base64
import json
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from machine import ROOT

from .processes import HarnessError

SAMPLES = ROOT / "tests/data/agreement"
BUNDLE = ROOT / "models/fashion-bag"
POSITIVE_SHARE = 0.01
DEAD_SHARE = 0.02
TRANSACTION_SHARE = 0.15
# Ways to name a clear image, with their weights. The HTTP images are a large share of the stream,
# so that the image server is a store (fetch.store_share): its items must wait for it.
WAYS = {"file": 4, "http": 5, "inline": 2}
# An image whose verdict alone is less clear than this is not used.
CLEAR = 0.01


@dataclass(frozen=True)
class Item:
    """One message. `reasons` has the reasons that its dead letter may have, if it must become one."""

    id: str
    kind: str
    verdict: str
    reasons: frozenset[str]
    payload: bytes
    partition: int
    in_transaction: bool


@dataclass(frozen=True)
class Sources:
    """Where the images of the items are: clear positives, clear negatives, a broken image, the store's URLs."""

    positives: list[Path]
    negatives: list[Path]
    broken: Path
    url: Callable[[str], str]


def clear_images(worker: Path) -> tuple[list[Path], list[Path]]:
    """Scores the sample images, each alone. Returns the clear positives and the clear negatives."""
    command = [str(worker), "scan", str(SAMPLES), "--bundle", str(BUNDLE), "--json", "--group-size", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HarnessError(f"{worker} scan ended with {done.returncode}:\n{done.stderr[-1000:]}")
    positives, negatives = [], []
    for line in done.stdout.splitlines():
        scored = json.loads(line)
        path = Path(scored["id"])
        if path.name.startswith("bag-") and scored["verdict"] == "flagged" and scored["score"] >= 1 - CLEAR:
            positives.append(path)
        if path.name.startswith("other-") and scored["verdict"] == "cleared" and scored["score"] <= CLEAR:
            negatives.append(path)
    if not positives or not negatives:
        raise HarnessError(f"{SAMPLES} has no clear positive (bag-*) or no clear negative (other-*); add such images")
    return sorted(positives), sorted(negatives)


def break_image(image: Path, folder: Path) -> Path:
    """Writes an image that is broken in the middle, and returns its path."""
    folder.mkdir(parents=True)
    broken = folder / "broken.png"
    content = image.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    return broken


def make_items(count: int, seed: int, partitions: int, sources: Sources) -> list[Item]:
    draw = random.Random(f"items {seed}")
    positive = set(draw.sample(range(count), max(1, round(count * POSITIVE_SHARE))))
    return [_item(n, n in positive, partitions, sources, draw) for n in range(count)]


def _item(number: int, positive: bool, partitions: int, sources: Sources, draw: random.Random) -> Item:
    name = f"item-{number:06d}"
    place = (draw.randrange(partitions), draw.random() < TRANSACTION_SHARE)
    if not positive and draw.random() < DEAD_SHARE:
        kind = draw.choice(list(DEAD))
        payload, reason = DEAD[kind](name, sources)
        return Item(name, kind, "failed", frozenset([reason]), payload, *place)
    image = draw.choice(sources.positives if positive else sources.negatives)
    (way,) = draw.choices(list(WAYS), list(WAYS.values()))
    payload = _reference(name, way, image, sources)
    return Item(name, way, "flagged" if positive else "cleared", frozenset(), payload, *place)


def _reference(name: str, way: str, image: Path, sources: Sources) -> bytes:
    if way == "inline":
        return _message(id=name, data=base64.b64encode(image.read_bytes()).decode())
    return _message(id=name, uri=sources.url(image.name) if way == "http" else image.as_uri())


def _message(**fields: str) -> bytes:
    return json.dumps(fields).encode()


# Items that must become dead letters: their message, and the reason of the dead letter.
DEAD: dict[str, Callable[[str, Sources], tuple[bytes, str]]] = {
    "missing file": lambda name, s: (_message(id=name, uri=str(s.broken.with_name(f"{name}.png"))), "not_found"),
    "missing at the store": lambda name, s: (_message(id=name, uri=s.url(f"{name}.png")), "not_found"),
    "broken image": lambda name, s: (_message(id=name, uri=str(s.broken)), "undecodable"),
    "no image": lambda name, s: (_message(id=name, data=base64.b64encode(name.encode()).decode()), "unsupported_format"),
    "unknown scheme": lambda name, s: (_message(id=name, uri=f"ftp://127.0.0.1/{name}.png"), "unsupported_scheme"),
    "malformed": lambda name, s: (b'{"id": "' + name.encode(), "malformed"),
}
