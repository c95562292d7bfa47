"""Which images a step sees: some in turn, some by how much they still teach."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MEMORY = 0.7  # how much of an image's old error is kept when a new one is seen
FLOOR = 0.02  # even an image that is always right comes up now and then


class Deal:
    """Deals rows so that each is seen once before any is seen again, but for a share that is drawn by its last errors."""

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
        """How wrong (0..1) the tests were that these rows were in. A row in several gets one of them."""
        at = self.place[rows]
        self.error[at] = MEMORY * self.error[at] + (1 - MEMORY) * errors

    def state(self) -> dict[str, Any]:
        return {"left": self.left, "error": self.error}

    def restore(self, state: dict[str, Any]) -> None:
        self.left, self.error = state["left"].cpu(), state["error"].cpu()
