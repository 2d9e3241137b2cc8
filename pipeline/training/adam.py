"""Adam over one flat tensor: the update of torch.optim.Adam(fused=True), bit for bit, without its class.

`torch.optim.Optimizer` loads PyTorch's compiler when it is made, two seconds of every start, for marks that only the
compiler reads. The update itself is PyTorch's fused operator. Kingma and Ba, arXiv 1412.6980; decoupled weight decay:
Loshchilov and Hutter, arXiv 1711.05101.
"""

from __future__ import annotations

import torch
from torch import Tensor


class FlatAdam:
    """Updates `leaf` (P,) by its gradient. param_groups and state have torch.optim.Adam's names.

    found_inf: () tensor; where it is 1, the next steps leave everything as it was, as GradScaler tells Adam.
    """

    EPS = 1e-8

    def __init__(self, leaf: Tensor, lr: float, betas: tuple[float, float], weight_decay: float = 0.0) -> None:
        self.leaf = leaf
        self.param_groups = [{"lr": lr, "betas": betas, "weight_decay": weight_decay}]
        zeros = torch.zeros_like(leaf, requires_grad=False)
        step = torch.zeros((), dtype=torch.float32, device=leaf.device)
        self.state = {leaf: {"step": step, "exp_avg": zeros, "exp_avg_sq": zeros.clone()}}
        self.found_inf: Tensor | None = None

    def is_fresh(self) -> bool:
        """Whether there has been no update. Waits for the device."""
        return float(self.state[self.leaf]["step"]) == 0.0

    @torch.no_grad()
    def step(self) -> None:
        """One update; lr may be a number, or a tensor on the device."""
        group, moments = self.param_groups[0], self.state[self.leaf]
        moments["step"] += 1
        update = torch._fused_adamw_ if group["weight_decay"] > 0 else torch._fused_adam_
        update(
            [self.leaf],
            [self.leaf.grad],
            [moments["exp_avg"]],
            [moments["exp_avg_sq"]],
            [],
            [moments["step"]],
            amsgrad=False,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=self.EPS,
            maximize=False,
            grad_scale=None,
            found_inf=self.found_inf,
        )
        if self.found_inf is not None:
            moments["step"] -= self.found_inf
