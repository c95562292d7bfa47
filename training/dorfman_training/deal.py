"""Chooses the images of a training step: most in turn, some in proportion to their recent error."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MEMORY = 0.7  # weight of an image's previous error when a new error is averaged in
FLOOR = 0.02  # added to every error, so that images without error are drawn too


class Deal:
    """Draws row numbers of a split.

    The share `hard_share` is drawn with probabilities proportional to the rows' recent errors. The
    rest is dealt in shuffled order: every row is dealt once before a row is dealt again.
    """

    def __init__(self, rows: Tensor, hard_share: float, generator: torch.Generator) -> None:
        self.rows, self.hard_share, self.generator = rows, hard_share, generator
        self.left = rows[:0]
        self.place = torch.full((int(rows.max()) + 1,), -1)
        self.place[rows] = torch.arange(len(rows))
        self.error = torch.full((len(rows),), 0.5)

    def next(self, count: int) -> Tensor:
        hard = min(int(count * self.hard_share), len(self.rows) // 2)
        chosen = self.rows[torch.multinomial(self.error + FLOOR, hard, generator=self.generator)] if hard else self.rows[:0]
        return torch.cat([chosen, self.in_turn(count - hard)])

    def in_turn(self, count: int) -> Tensor:
        while len(self.left) < count:
            self.left = torch.cat([self.left, self.rows[torch.randperm(len(self.rows), generator=self.generator)]])
        dealt, self.left = self.left[:count], self.left[count:]
        return dealt

    def learn(self, rows: Tensor, errors: Tensor) -> None:
        """Records the errors (0..1) of the tests that contained these rows.

        If a row was in several tests, one of their errors is used.
        """
        at = self.place[rows]
        self.error[at] = MEMORY * self.error[at] + (1 - MEMORY) * errors

    def state(self) -> dict[str, Any]:
        return {"left": self.left, "error": self.error}

    def restore(self, state: dict[str, Any]) -> None:
        self.left, self.error = state["left"].cpu(), state["error"].cpu()
