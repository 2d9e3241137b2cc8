"""How far each token is to be trusted beyond its marginal, by the held-out score: the reference and its fast side.

Shapes: B rows, L tokens, F features, n targets of one kind, K choices of its widest token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.task_sampling import TARGET
from pipeline.model.generator import Generator
from pipeline.training.batches import Batch
from pipeline.training.choices import Targets, kinds_of, targets_of

TRUST_GRID = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)


@torch.inference_mode()
def calibrate(generator: Generator, batches: list[Batch]) -> tuple[Tensor, float]:
    """((L,) trust of each token with the least ranked probability score on the batches' targets, its mean over them).

    A column that the others do not tell is soon learnt by heart: its trust falls towards 0, the marginal, while the
    others go on learning.
    """
    generator.eval()
    n_tokens, kinds = generator.body.n_tokens, kinds_of(generator.body.groups, generator.spacing)
    grid = torch.tensor(TRUST_GRID)
    total = torch.zeros(len(grid), n_tokens)
    count = torch.zeros(n_tokens)
    for batch in batches:
        raw = generator.logits(batch.features, batch.role) - generator.log_mass
        for targets in targets_of(kinds, batch.features, batch.role == TARGET):
            count += targets.token.bincount(minlength=n_tokens)
            word = targets.logits(raw, padding=0.0)
            marginal = targets.logits(generator.log_mass.expand_as(raw))
            for i, trust in enumerate(TRUST_GRID):
                total[i].index_add_(0, targets.token, targets.ranked(torch.add(marginal, word, alpha=trust)))
    best = total.argmin(0)
    loss = total.gather(0, best[None]).sum() / count.sum().clamp(min=1.0)
    return grid[best], float(loss)


@dataclass(frozen=True)
class Known:
    """What a batch's targets of one kind bring to every validation. marginal: (n, K) log-masses. reached: (n, K) of a number, 1 from
    the true bin on."""

    targets: Targets
    marginal: Tensor
    reached: Tensor | None


class Judge:
    """`calibrate` on the same batches again and again: targets and marginals are looked up once, and scores reuse their memory.

    generator: one of the network that will be judged; its marginals do not change.
    """

    @torch.inference_mode()
    def __init__(self, generator: Generator, batches: list[Batch]) -> None:
        kinds = kinds_of(generator.body.groups, generator.spacing)
        self.batches, self.known, self.n_tokens = batches, [], generator.body.n_tokens
        self.count = torch.zeros(self.n_tokens)
        for batch in batches:
            mass = generator.log_mass.expand(len(batch.features), -1)
            found = list(targets_of(kinds, batch.features, batch.role == TARGET))
            for targets in found:
                self.count += targets.token.bincount(minlength=self.n_tokens)
            self.known.append([Known(t, t.logits(mass), _reached(t)) for t in found])

    @torch.inference_mode()
    def __call__(self, generator: Generator) -> tuple[Tensor, float]:
        """What `calibrate(generator, batches)` gives."""
        generator.eval()
        total = torch.zeros(len(TRUST_GRID), self.n_tokens)
        for batch, found in zip(self.batches, self.known, strict=True):
            raw = generator.logits(batch.features, batch.role) - generator.log_mass
            for known in found:
                word = known.targets.logits(raw, padding=0.0)
                for i, trust in enumerate(TRUST_GRID):
                    scores = _ranked(known, torch.add(known.marginal, word, alpha=trust))
                    total[i].index_add_(0, known.targets.token, scores)
        best = total.argmin(0)
        loss = total.gather(0, best[None]).sum() / self.count.sum().clamp(min=1.0)
        return torch.tensor(TRUST_GRID)[best], float(loss)


def _reached(targets: Targets) -> Tensor | None:
    if not targets.binned:
        return None
    return (torch.arange(targets.place.shape[1]) >= targets.chosen[:, None]).float()


def _ranked(known: Known, logits: Tensor) -> Tensor:
    """(n,) ranked probability scores: those of `Targets.ranked`, in place."""
    if known.reached is None:
        return known.targets.ranked(logits)
    return logits.softmax(-1).cumsum(-1).sub_(known.reached).square_().mul_(known.targets.spacing).sum(-1)
