"""When a training ends, by steps or by the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """The end comes after `steps`, or `limit_s` seconds after `started` (0: never), whichever is first."""

    steps: int
    limit_s: float
    started: float

    def share(self, step: int) -> float | None:
        """Share of the training that lies behind, for the schedule; None where the steps alone decide."""
        if not self.limit_s:
            return None
        return min(1.0, max(step / self.steps, (time.perf_counter() - self.started) / self.limit_s))

    def is_over(self, done: int) -> bool:
        """Whether `done` steps were the last."""
        return done >= self.steps or bool(self.limit_s) and time.perf_counter() - self.started >= self.limit_s
