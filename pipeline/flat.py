"""A network's parameters in one flat buffer: one optimiser call, one norm, one all-reduce, one average.

At small widths a step is bound by the number of operations, not by arithmetic; forty small tensors in
one buffer save hundreds of calls a step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FlatParameters:
    """Views every parameter of a module into one buffer `values` and its gradient into `gradients`.

    values, gradients: (P,) tensors, P parameters. The module goes on working; its parameters are views.
    """

    def __init__(self, module: nn.Module) -> None:
        self.parameters = list(module.parameters())
        count = sum(p.numel() for p in self.parameters)
        first = self.parameters[0]
        self.values = torch.empty(count, dtype=first.dtype, device=first.device)
        self.gradients = torch.zeros_like(self.values)
        offset = 0
        for p in self.parameters:
            piece = slice(offset, offset + p.numel())
            self.values[piece].copy_(p.data.reshape(-1))
            p.data = self.values[piece].view_as(p)
            p.grad = self.gradients[piece].view_as(p)
            offset += p.numel()
        self.leaf = nn.Parameter(self.values)
        self.leaf.grad = self.gradients

    def adam(self, lr: float, beta2: float, beta1: float = 0.0, weight_decay: float = 0.0) -> torch.optim.Adam:
        """Adam over the buffer, decoupled weight decay. lr is set before each step by the schedule."""
        kind = torch.optim.AdamW if weight_decay > 0 else torch.optim.Adam
        return kind([self.leaf], lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, fused=True)

    def require_gradients(self, required: bool) -> None:
        """Switches gradients of all parameters on or off; off saves the backward pass their share."""
        for p in self.parameters:
            p.requires_grad_(required)

    def clip(self, limit: float) -> Tensor:
        """() gradient norm before clipping; scales the gradients down to `limit` unless limit is 0."""
        norm = self.gradients.norm()
        if limit > 0:
            self.gradients.mul_((limit / (norm + 1e-12)).clamp(max=1.0))
        return norm
