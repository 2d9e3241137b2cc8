"""Cumulative sums whose order is fixed where it must be.

On a GPU torch's cumsum adds in an order that is not fixed, and raises when deterministic algorithms are asked for.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cumulative(x: Tensor) -> Tensor:
    """(…, K) cumulative sums along the last axis, differentiable.

    torch's own, except on a GPU under `torch.use_deterministic_algorithms`: there `doubled_sums`.
    """
    if x.is_cuda and torch.are_deterministic_algorithms_enabled():
        return doubled_sums(x)
    return x.cumsum(-1)


def doubled_sums(x: Tensor) -> Tensor:
    """(…, K) cumulative sums along the last axis in ⌈log2 K⌉ elementwise steps, the same bits in every run.

    Source: Hillis & Steele 1986, Data parallel algorithms.
    """
    reach, count = 1, x.shape[-1]
    while reach < count:
        x = torch.cat([x[..., :reach], x[..., reach:] + x[..., :-reach]], -1)
        reach *= 2
    return x
