"""Who keeps what of a network that several processes train: every process all of it, or each its own part.

What a step needs besides parameters and gradients, Adam's moments and the average, is used element by element, so it
can be cut into as many parts as there are processes: each updates its part of the parameters and the parts are
gathered. As many bytes travel as without: reduce-scatter and gather are the two halves of an all-reduce.
Source: ZeRO stage 1, Rajbhandari et al. 2019 (1910.02054).

Shapes: P parameters of a network, N processes, own: ⌈P / N⌉.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.training.flat import FlatParameters

# torch 2.13 renamed both.
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


class Replicated:
    """Every process keeps everything. average: of a flat gradient over processes, in place; nothing for one process."""

    part, parts = 0, 1

    def __init__(self, average: Callable[[Tensor], None] = lambda gradient: None) -> None:
        self._average = average

    def reduce(self, flat: FlatParameters) -> Tensor:
        """() norm of the gradient, after it was averaged over processes."""
        self._average(flat.gradients)
        return flat.gradients.norm()

    def spread(self, flat: FlatParameters) -> None:
        """Gives every process the parameters that others updated: here none."""

    def collect(self, flat: FlatParameters, own: Tensor) -> Tensor | None:
        """(P,) what all processes keep together; `own` is all of it."""
        return own


class Sharded:
    """Process `part` of `parts` keeps that part alone. Every method but the first must be called by all processes."""

    def __init__(self, part: int, parts: int) -> None:
        if not 0 <= part < parts:
            raise ValueError(f"'part' must lie between 0 and {parts - 1}. Got {part}.")
        self.part, self.parts = part, parts

    def reduce(self, flat: FlatParameters) -> Tensor:
        """() norm of the gradient, the same in every process; its average stands in `flat.own_gradients` alone."""
        _reduce_scatter(flat.own_gradients, flat.gradients)
        flat.own_gradients.div_(self.parts)
        square = flat.own_gradients.square().sum()
        dist.all_reduce(square)
        return square.sqrt()

    def spread(self, flat: FlatParameters) -> None:
        """Gathers the updated parts of `flat.values` in every process."""
        _all_gather(flat.values, flat.own_values)

    def collect(self, flat: FlatParameters, own: Tensor) -> Tensor | None:
        """(P,) on the CPU, put together from the `own` parts: in the first process; None in the others."""
        pieces = [torch.empty_like(own) for _ in range(self.parts)] if self.part == 0 else None
        dist.gather(own, pieces)
        return None if pieces is None else torch.cat([p.cpu() for p in pieces])[: flat.count]


Sharing = Replicated | Sharded
