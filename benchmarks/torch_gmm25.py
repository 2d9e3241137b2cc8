"""The 25-GMM step of kernels/gmm/descent.py by torch autograd: the baseline that benchmarks/gmm25.py measures.

Two versions of the same step. The usual way: `distributions`, densities from torch.distributions with their
defaults, and torch.optim.SGD. The leanest: `written_out`, densities in as few tensor operations as possible,
and the update by hand. float32 where timed, one process.

Legend: K components, N samples, M modes of q.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

from pipeline.simulation.gmm25 import COMPONENTS, MODES, SCALE_CEILING, VARIANCE, Schedule


@cache
def _modes(dtype: torch.dtype) -> torch.Tensor:
    """(M, 2) means of q."""
    return torch.tensor(MODES, dtype=dtype)


class Model(torch.nn.Module):
    """The mixture p: parameters mean (K, 2), log_diagonal (K, 2), off_diagonal (K,) from parameters (5, K)."""

    def __init__(self, parameters: torch.Tensor):
        super().__init__()
        self.mean = torch.nn.Parameter(parameters[:2].T.contiguous())
        self.log_diagonal = torch.nn.Parameter(parameters[2:4].T.contiguous())
        self.off_diagonal = torch.nn.Parameter(parameters[4].clone())

    def sample(self, noise: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """(N, 2) x = μ_z + L_z ε of noise (N, 2) and components z (N,)."""
        scaled = self.log_diagonal.exp()[z] * noise
        return (
            self.mean[z]
            + scaled
            + torch.stack([torch.zeros_like(noise[:, 0]), self.off_diagonal[z] * noise[:, 0]], dim=1)
        )

    def gradient(self) -> torch.Tensor:
        """(5, K) gradient in the kernel's order of rows."""
        return torch.cat([self.mean.grad.T, self.log_diagonal.grad.T, self.off_diagonal.grad[None]])


def written_out(model: Model, x: torch.Tensor, direction: torch.Tensor | None) -> torch.Tensor:
    """(N,) log p(x) − log q(x), the densities written out; p's parameters are constants in log p."""
    modes = _modes(x.dtype)
    mean, scale, off = model.mean.detach(), model.log_diagonal.detach().exp(), model.off_diagonal.detach()
    if direction is None:
        gap = x[:, None] - mean
        y0 = gap[..., 0] / scale[:, 0]
        y1 = (gap[..., 1] - off * y0) / scale[:, 1]
        log_p = torch.logsumexp(-0.5 * (y0**2 + y1**2) - scale.log().sum(1), dim=1)
        log_q = torch.logsumexp((x[:, None] - modes).square().sum(-1) * (-0.5 / VARIANCE), dim=1)
        return log_p - log_q + math.log(VARIANCE)
    t = (x @ direction)[:, None]
    variance = (direction[0] * scale[:, 0] + direction[1] * off) ** 2 + (direction[1] * scale[:, 1]) ** 2
    log_p = torch.logsumexp(-0.5 * (t - mean @ direction) ** 2 / variance - 0.5 * variance.log(), dim=1)
    log_q = torch.logsumexp((t - modes @ direction) ** 2 * (-0.5 / VARIANCE), dim=1)
    return log_p - log_q + 0.5 * math.log(VARIANCE)


def distributions(model: Model, x: torch.Tensor, direction: torch.Tensor | None) -> torch.Tensor:
    """(N,) log p(x) − log q(x) by torch.distributions; p's parameters are constants in log p."""
    modes = _modes(x.dtype)
    mean, scale, off = model.mean.detach(), model.log_diagonal.detach().exp(), model.off_diagonal.detach()
    lower = torch.diag_embed(scale)
    lower[:, 1, 0] = off
    weights = Categorical(torch.full((COMPONENTS,), 1 / COMPONENTS, dtype=x.dtype))
    if direction is None:
        p = MultivariateNormal(mean, scale_tril=lower)
        q = MultivariateNormal(
            modes, scale_tril=math.sqrt(VARIANCE) * torch.eye(2, dtype=x.dtype).expand(COMPONENTS, 2, 2)
        )
        value = x
    else:
        p = Normal(mean @ direction, torch.linalg.vector_norm(lower.mT @ direction, dim=1))
        q = Normal(modes @ direction, math.sqrt(VARIANCE))
        value = x @ direction
    log_p, log_q = (MixtureSameFamily(weights, part).log_prob(value) for part in (p, q))
    return log_p - log_q


LogRatio = Callable[[Model, torch.Tensor, torch.Tensor | None], torch.Tensor]


def backward(model: Model, log_ratio: LogRatio, noise, z, direction: torch.Tensor | None) -> None:
    """Leaves in model the gradient of Σ_k mean_{z_n=k}[log p(x_n) − log q(x_n)] / K."""
    model.zero_grad(set_to_none=True)
    share = 1 / (COMPONENTS * torch.bincount(z, minlength=COMPONENTS)[z]).to(noise.dtype)
    (share * log_ratio(model, model.sample(noise, z), direction)).sum().backward()


def step(model: Model, log_ratio: LogRatio, direction, schedule: Schedule, optimiser, generator) -> None:
    """One SGD step: draws, gradient, limits and update, as the kernel takes it. optimiser None: update by hand."""
    noise = torch.randn(schedule.samples, 2, generator=generator)
    z = torch.randint(COMPONENTS, (schedule.samples,), generator=generator)
    backward(model, log_ratio, noise, z, direction)
    if optimiser is not None:
        torch.nn.utils.clip_grad_value_(model.parameters(), schedule.gradient_limit)
        optimiser.step()
    with torch.no_grad():
        if optimiser is None:
            for parameter in model.parameters():
                parameter.grad.clamp_(-schedule.gradient_limit, schedule.gradient_limit)
                parameter.sub_(parameter.grad, alpha=schedule.lr)
        model.log_diagonal.clamp_(math.log(schedule.scale_floor), math.log(SCALE_CEILING))


def descend(model: Model, log_ratio: LogRatio, schedule: Schedule, outer: int, joint: bool, seed: int) -> None:
    """`outer` tasks of `schedule.inner` steps each; joint, or the marginal of a random direction a task."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=schedule.lr) if log_ratio is distributions else None
    for _ in range(outer):
        turn = 2 * math.pi * torch.rand((), generator=generator).item()
        direction = None if joint else torch.tensor([math.cos(turn), math.sin(turn)])
        for _ in range(schedule.inner):
            step(model, log_ratio, direction, schedule, optimiser, generator)
