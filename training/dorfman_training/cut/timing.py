"""Measures the share of a network's time before each cut point.

The share of multiply-adds does not determine the share of time.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Sequence

import numpy as np
from onnx import TensorProto

from .chain import session
from .network import Network
from .points import Point
from .stages import part


def seconds(runner: Any, images: np.ndarray) -> float:
    started = time.perf_counter()
    runner.run(None, {"images": images})
    return time.perf_counter() - started


def fastest(runners: Sequence[Any], images: np.ndarray, repeats: int) -> list[float]:
    """Returns the seconds of the fastest run of each session.

    The sessions take turns, so that other work on the machine slows all of them equally.
    """
    rounds = [[seconds(runner, images) for runner in runners] for _ in range(repeats + 1)]
    return [min(times) for times in zip(*rounds[1:])]  # the first round is a warm-up


def shares(
    network: Network, points: Sequence[Point], batch: int, repeats: int, threads: int, say: Callable[[str], None]
) -> tuple[list[float], float]:
    """Returns the share of time before each point, and the whole network's seconds per image."""
    images = np.random.default_rng(0).integers(0, 256, (batch, *network.shapes[network.image][1:]), dtype=np.uint8)
    images = images if network.kind == TensorProto.UINT8 else images.astype(np.float32) / 128 - 1
    whole = session(part(network, network.image, None), threads)
    found, best = [], float("inf")
    for number, point in enumerate(points, start=1):
        before = session(part(network, network.image, point.name), threads)
        taken, all_of_it = fastest([before, whole], images, repeats)
        found.append(min(1.0, taken / all_of_it))
        best = min(best, all_of_it)
        say(f"timed {number} of {len(points)}: {point.name}")
    return found, best / batch
