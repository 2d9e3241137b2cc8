"""Random draws of a training step, row by row of the whole batch.

A process that holds some rows of the batch draws for all of them and keeps its own: row i gets the same
numbers whatever the number of processes. Drawing is cheap beside a step: see docs/scaling.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RowNoise:
    """generator: seeded by (seed, step). rows: (B,) int64 places of this process's rows in the batch of batch_size rows."""

    generator: torch.Generator
    batch_size: int
    rows: Tensor

    def twice(self) -> RowNoise:
        """For 2B rows: two draws of each of these rows, the second ones behind the first."""
        return RowNoise(self.generator, 2 * self.batch_size, torch.cat([self.rows, self.rows + self.batch_size]))


def draw(
    function: Callable[..., Tensor], shape: tuple[int, ...], noise: torch.Generator | RowNoise | None, device: object
) -> Tensor:
    """A tensor of `shape` on `device` from `function`, torch.randn or torch.rand; its first axis is the rows."""
    if not isinstance(noise, RowNoise):
        return function(shape, generator=noise, device=device)
    whole = function((noise.batch_size, *shape[1:]), generator=noise.generator, device=device)
    return whole if noise.batch_size == len(noise.rows) else whole[noise.rows]
