"""The settings of `exits`, and the images that it uses."""

from __future__ import annotations

from dataclasses import dataclass

from ..cut.calibration import Settings
from .pictures import Pictures


@dataclass(frozen=True)
class Options:
    most: int = 4  # largest number of exits, without the screen
    loss: float = 0.002  # largest share of the positives that all exits together may lose
    deeper: bool = False  # whether exits may lie behind the merge
    rows: str = "auto"  # images that set thresholds: auto, calibration or all
    mirror: bool = True  # whether heads are also fitted on mirror images, if there are few images
    sensitivity: float = 0.99  # of the individual test
    verdicts: bool = False  # whether the targets are the verdicts of the individual test
    verdict_threshold: float | None = None  # of the individual test; None: the calibrated one at `sensitivity`
    groups: int = 500  # groups per arity of the calibration after exits
    pooled: Settings | None = None  # how pooled tests are calibrated anew; None: as before, and only if the merge moves
    command: str = ""  # recorded in the manifest behind the command that made the bundle
    seed: int = 40
    threads: int = 2


@dataclass(frozen=True)
class Images:
    """`judge` has the images that set thresholds, `test` those of the report.

    `learn` has training images, on which heads are fitted. Without it, heads are fitted on the folds of
    `judge`.
    """

    judge: Pictures
    learn: Pictures | None = None
    test: Pictures | None = None
