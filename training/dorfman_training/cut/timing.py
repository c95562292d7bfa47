"""Measures what share of a network's time lies before each cut, as multiply-adds do not tell."""

from __future__ import annotations

import time
from typing import Any, Callable, Sequence

import numpy as np

from .chain import session
from .network import Network
from .points import Point
from .stages import part


def fastest(runner: Any, images: np.ndarray, repeats: int) -> float:
    """Seconds of the fastest run; the first is a warm-up."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        runner.run(None, {"images": images})
        times.append(time.perf_counter() - started)
    return min(times[1:])


def shares(
    network: Network, points: Sequence[Point], batch: int, repeats: int, threads: int, say: Callable[[str], None]
) -> tuple[list[float], float]:
    """A share for each point, and the whole network's seconds an image."""
    images = np.random.default_rng(0).standard_normal((batch, *network.shapes[network.image][1:]), dtype=np.float32)
    whole = session(part(network, network.image, None), threads)
    best = fastest(whole, images, repeats)
    found = []
    for number, point in enumerate(points, start=1):
        found.append(fastest(session(part(network, network.image, point.name), threads), images, repeats))
        # Other work comes and goes: the whole is measured in between again and again, so that both saw quiet moments.
        best = min(best, fastest(whole, images, 1))
        say(f"timed {number} of {len(points)}: {point.name}")
    return [min(1.0, seconds / best) for seconds in found], best / batch
