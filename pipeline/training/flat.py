"""A network's parameters in one flat buffer: one optimiser call, one norm, one all-reduce, one average.

At small widths a step is bound by the number of operations, not by arithmetic; forty small tensors in
one buffer save hundreds of calls a step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.training.adam import FlatAdam


class FlatParameters:
    """Views every parameter of a module into one buffer `values` and its gradient into `gradients`.

    values, gradients: (P,) tensors, P parameters, zeros behind them up to a multiple of `parts`. The module goes on
    working; its parameters are views. own_values, own_gradients: views of part number `part`, all of it by default:
    what this process's optimiser updates. count: P.
    """

    def __init__(self, module: nn.Module, part: int = 0, parts: int = 1) -> None:
        self.parameters = list(module.parameters())
        self.count = sum(p.numel() for p in self.parameters)
        first, length = self.parameters[0], -(-self.count // parts)
        self.values = torch.zeros(length * parts, dtype=first.dtype, device=first.device)
        self.gradients = torch.zeros_like(self.values)
        self.own = slice(part * length, (part + 1) * length)
        self.own_values, self.own_gradients = self.values[self.own], self.gradients[self.own]
        offset = 0
        for p in self.parameters:
            piece = slice(offset, offset + p.numel())
            self.values[piece].copy_(p.data.reshape(-1))
            p.data = self.values[piece].view_as(p)
            p.grad = self.gradients[piece].view_as(p)
            offset += p.numel()
        self.leaf = nn.Parameter(self.own_values)
        self.leaf.grad = self.own_gradients

    def adam(self, lr: float, beta2: float, beta1: float = 0.0, weight_decay: float = 0.0) -> FlatAdam:
        """Adam over the own part, decoupled weight decay. lr is set before each step by the schedule."""
        return FlatAdam(self.leaf, lr, (beta1, beta2), weight_decay)

    def require_gradients(self, required: bool) -> None:
        """Switches gradients of all parameters on or off; off saves the backward pass their share."""
        for p in self.parameters:
            p.requires_grad_(required)

    def clip(self, norm: Tensor, limit: float) -> None:
        """Scales the own gradients, of a whole of that norm (), down to `limit` unless limit is 0."""
        if limit > 0:
            self.own_gradients.mul_((limit / (norm + 1e-12)).clamp(max=1.0))

    def cut(self, whole: Tensor) -> Tensor:
        """(own,) the own part of a (P,) tensor, zeros behind its end."""
        piece = whole[self.own]
        return torch.cat([piece, piece.new_zeros(len(self.own_values) - len(piece))])
