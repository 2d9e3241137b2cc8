"""The default task mixture in vectorised torch: a peer of benchmarks/task_sampling.py.

As benchmarks/numpy_tasks.py: one mask a family, one sort of random keys a row, templates by gather.
Families: joint, modality, beta_random, the default of params.yaml.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kernels.task_sampling import FAMILIES, TARGET, TaskSpec
from kernels.task_sampling.tables import modality_templates

SUPPORTED = ("joint", "modality", "beta_random")


def supports(spec: TaskSpec) -> bool:
    """True when the mixture has no other family."""
    return all(FAMILIES[code] in SUPPORTED for code in np.flatnonzero(spec.probabilities))


def sample_tasks_torch(spec: TaskSpec, rows: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """role (N, L) uint8, rank (N, L) int16, family (N,) uint8 of `rows` tasks."""
    role = torch.empty((rows, spec.n_tokens), dtype=torch.uint8)
    rank = torch.zeros(1, dtype=torch.int16).expand(rows, spec.n_tokens)
    limits = torch.from_numpy(np.cumsum(spec.probabilities))
    family = torch.searchsorted(limits, torch.rand(rows, generator=rng, dtype=torch.float64), right=True)
    for code in np.flatnonzero(spec.probabilities):
        chosen = torch.nonzero(family == int(code)).squeeze(1)
        if FAMILIES[code] == "joint":
            role[chosen] = TARGET
        elif FAMILIES[code] == "modality":
            templates, share = modality_templates(spec)
            edges = torch.from_numpy(np.cumsum(share)[:-1])
            which = torch.searchsorted(edges, torch.rand(len(chosen), generator=rng, dtype=torch.float64), right=True)
            role[chosen] = torch.from_numpy(templates)[which]
        else:
            role[chosen] = beta_random(spec, len(chosen), rng)
    return role, rank, family.to(torch.uint8)


def beta_random(spec: TaskSpec, n: int, rng: torch.Generator) -> Tensor:
    """(n, L) uint8: random subsets with |S|/L and |T|/(L−|S|) drawn from their Betas."""
    length = spec.n_tokens
    n_source = (beta(spec.source_beta, n, rng) * length + 0.5).floor().long().clamp(max=length - 1)
    n_target = (beta(spec.target_beta, n, rng) * (length - n_source) + 0.5).floor().long().clamp(min=1)
    bits = int(length - 1).bit_length()
    keys = torch.randint(0, 2 ** (31 - bits), (n, length), generator=rng, dtype=torch.int32) << bits
    keys |= torch.arange(length, dtype=torch.int32)  # distinct keys: exact counts
    ordered = keys.sort(dim=1).values
    visible = keys <= ordered.gather(1, (n_source + n_target - 1)[:, None])
    source = (keys <= ordered.gather(1, (n_source - 1).clamp(min=0)[:, None])) & (n_source > 0)[:, None]
    return (visible.to(torch.uint8) << 1) - source.to(torch.uint8)


def beta(pair: tuple[float, float], n: int, rng: torch.Generator) -> Tensor:
    """(n,) float64 Beta draws, as a ratio of gammas."""
    gammas = [torch._standard_gamma(torch.full((n,), a, dtype=torch.float64), generator=rng) for a in pair]
    return gammas[0] / (gammas[0] + gammas[1])
