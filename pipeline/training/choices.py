"""Scores of discrete targets, all tokens in one pass: the fast side of likelihood_terms and ranked_scores.

A table has a token a column, each with a number of bins of its own; a loop over them is dozens of small operations a
column. Here the logits of the targets alone are gathered into one padded matrix for binned numbers and one for
categories. pipeline.training.losses is the definition, and the tests compare.

Shapes: B rows, L tokens, F features, n targets of one kind, K choices of its widest token.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.rows.tokens import Group

NEVER = -1e9  # logit of a padded choice


@dataclass(frozen=True)
class Kind:
    """Tokens that are scored alike. tokens: (T,) int64. columns: (T, K) int64 features of each, F where padded.
    spacing: (T, K) between the middle of a bin and of the next. binned: bins of numbers, else categories."""

    tokens: Tensor
    columns: Tensor
    spacing: Tensor
    binned: bool


@dataclass(frozen=True)
class Targets:
    """The n targets of one kind. token: (n,) int64. place: (n, K) int64 features in (B, F + 1) flattened.
    chosen: (n,) int64 true bin or category. spacing: (n, K)."""

    token: Tensor
    place: Tensor
    chosen: Tensor
    spacing: Tensor
    binned: bool

    def logits(self, raw: Tensor, padding: float = NEVER) -> Tensor:
        """(n, K) of the (B, F) `raw`."""
        flat = functional.pad(raw, (0, 1), value=padding).reshape(-1)
        return flat.gather(0, self.place.reshape(-1)).view(self.place.shape)

    def scores(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """((n,) nats, (n,) ranked probability scores) of (n, K) logits."""
        nats = -logits.log_softmax(-1).gather(-1, self.chosen[:, None])[:, 0]
        return nats, self.ranked(logits)

    def ranked(self, logits: Tensor) -> Tensor:
        """(n,) ranked probability scores of (n, K) logits; see pipeline.training.losses.ranked_scores."""
        probability = logits.softmax(-1)
        if not self.binned:
            true = functional.one_hot(self.chosen, logits.shape[-1])
            return (probability - true).square().sum(-1) / 2
        reached = torch.arange(logits.shape[-1], device=logits.device) >= self.chosen[:, None]
        return ((probability.cumsum(-1) - reached.to(logits.dtype)).square() * self.spacing).sum(-1)


def kinds_of(groups: tuple[Group, ...], spacing: Tensor) -> tuple[Kind, ...]:
    """The kinds of the discrete tokens of `groups`, at most two; spacing: (F,)."""
    out = []
    for binned in (True, False):
        own = [g for g in groups if g.discrete and g.binned == binned]
        if not own:
            continue
        widest, n_features = max(g.width for g in own), len(spacing)
        tokens, columns = [], []
        for g in own:
            for i, token in enumerate(g.tokens):
                features = torch.arange(g.width) + g.features.start + i * g.width
                tokens.append(token)
                columns.append(functional.pad(features, (0, widest - g.width), value=n_features))
        stacked = torch.stack(columns).to(spacing.device)
        known = functional.pad(spacing, (0, 1))[stacked]
        out.append(Kind(torch.tensor(tokens, device=spacing.device), stacked, known, binned))
    return tuple(out)


def targets_of(kinds: tuple[Kind, ...], features: Tensor, counted: Tensor) -> Iterator[Targets]:
    """The targets of each kind that (B, L) bool `counted` names; features: (B, F) data, read at these alone."""
    width = features.shape[1] + 1
    for kind in kinds:
        row, own = counted[:, kind.tokens].nonzero(as_tuple=True)
        place = row[:, None] * width + kind.columns[own]
        known = functional.pad(features, (0, 1)).reshape(-1).gather(0, place.reshape(-1)).view(place.shape)
        last = (kind.columns[own] < width - 1).sum(1) - 1
        chosen = known.sum(-1).long().clamp(max=last) if kind.binned else known.argmax(-1)
        yield Targets(kind.tokens[own], place, chosen, kind.spacing[own], kind.binned)


def choice_terms(raw: Tensor, features: Tensor, counted: Tensor, kinds: tuple[Kind, ...]) -> tuple[Tensor, Tensor]:
    """(mean cross-entropy in nats, mean ranked probability score) of the targets `counted` (B, L) bool; 0 without any.

    raw: (B, F) logits; features: (B, F) data.
    """
    nats, ranked, count = raw.new_zeros(()), raw.new_zeros(()), 0
    for targets in targets_of(kinds, features, counted):
        own_nats, own_ranked = targets.scores(targets.logits(raw))
        nats, ranked, count = nats + own_nats.sum(), ranked + own_ranked.sum(), count + len(targets.token)
    return nats / max(count, 1), ranked / max(count, 1)
