"""A TaskSpec compiled to the flat arrays that the Numba kernel reads.

Terms. *Body*: the patches, or, where there is no grid, the tokens that are not labels laid out on a
grid of one row (and if every token is a label, all tokens). *Companions*: the tokens outside the body.
Probabilities become integers out of 2**32, so that a family or a template is chosen by comparing a
32-bit draw.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from kernels.task_sampling.beta import beta_quantiles
from kernels.task_sampling.spec import HIDDEN, SOURCE, TARGET, TaskSpec


class Tables(NamedTuple):
    """Flat view of a TaskSpec: F active families, B body tokens, C companions, L tokens."""

    n_tokens: int
    family: np.ndarray  # (F,) uint8 codes of the families with positive weight
    family_limit: np.ndarray  # (F,) uint64 cumulative probability × 2**32; the last is 2**32
    body: np.ndarray  # (B,) int64 token indices
    body_is_prefix: bool  # body == 0 … B−1: roles are written in place
    body_row: np.ndarray  # (B,) int16
    body_column: np.ndarray  # (B,) int16
    n_rows: int  # of the body's grid
    n_columns: int
    companion: np.ndarray  # (C,) int64 token indices
    half: np.ndarray  # (H, L) uint8 roles, companions hidden
    modality: np.ndarray  # (G, L) uint8 roles
    modality_limit: np.ndarray  # (G,) uint64
    source_quantile: np.ndarray  # (CELLS + 1,) float64
    target_quantile: np.ndarray  # (CELLS + 1,) float64
    missing_limit: np.ndarray  # (L + 1,) uint64 distribution function of Binomial(L, p) × 2**32
    block_low: float
    block_high: float
    bert_targets: int
    mae_targets: int
    visible_limit: int  # of the companions in block and half
    prefix_limit: int


def limits(probabilities: np.ndarray) -> np.ndarray:
    """(K,) uint64 cumulative sums × 2**32; from the last positive one on exactly 2**32."""
    p = np.asarray(probabilities, np.float64)
    out = np.round(np.cumsum(p / p.sum()) * 2.0**32).astype(np.uint64)
    out[np.flatnonzero(p)[-1] :] = 2**32
    return out


def body_tokens(spec: TaskSpec) -> np.ndarray:
    """(B,) int64 indices of the body, never empty."""
    patches = np.flatnonzero((spec.grid >= 0).all(1))
    if len(patches):
        return patches
    rest = np.flatnonzero(~spec.is_label)
    return rest if len(rest) else np.arange(spec.n_tokens)


def body_positions(spec: TaskSpec) -> np.ndarray:
    """(B, 2) int64 (row, column) of the body, counted from 0; one row where there is no grid."""
    body = body_tokens(spec)
    if (spec.grid[body] >= 0).all():
        return spec.grid[body] - spec.grid[body].min(0)
    return np.stack([np.zeros(len(body), np.int64), np.arange(len(body))], 1)


def half_templates(spec: TaskSpec) -> np.ndarray:
    """(H, L) uint8: upper, lower, left, right half as target, the other half source, companions hidden.

    A direction in which the body cannot be split is left out; a body of one token is all target.
    """
    body, position = body_tokens(spec), body_positions(spec)
    templates = []
    for axis in (0, 1):
        first = position[:, axis] < (position[:, axis].max() + 1) // 2
        for chosen in (first, ~first):
            if first.any() and not first.all():
                role = np.full(spec.n_tokens, HIDDEN, np.uint8)
                role[body] = np.where(chosen, TARGET, SOURCE)
                templates.append(role)
    if not templates:
        role = np.full(spec.n_tokens, HIDDEN, np.uint8)
        role[body] = TARGET
        templates.append(role)
    return np.array(templates, np.uint8)


def modality_templates(spec: TaskSpec) -> tuple[np.ndarray, np.ndarray]:
    """(G, L) uint8 roles and (G,) float64 probabilities: one group is the target, the rest source.

    With labels: the labels are the target with probability 1 − label_to_image_share, else one of the
    other groups, each as likely. Without: every group as likely. A single group is the joint task.
    """
    others = [np.flatnonzero((spec.group == g) & ~spec.is_label) for g in np.unique(spec.group[~spec.is_label])]
    label = np.flatnonzero(spec.is_label)
    targets, share = list(others), [1.0 / max(1, len(others))] * len(others)
    if len(label) and others:
        share = [s * spec.label_to_image_share for s in share] + [1.0 - spec.label_to_image_share]
        targets.append(label)
    elif len(label):
        targets, share = [label], [1.0]
    templates = np.full((len(targets), spec.n_tokens), SOURCE, np.uint8)
    for row, tokens in zip(templates, targets, strict=True):
        row[tokens] = TARGET
    return templates, np.array(share)


def binomial_cdf(n: int, p: float) -> np.ndarray:
    """(n + 1,) float64 P(X <= k), X ~ Binomial(n, p)."""
    if p in (0.0, 1.0):
        return np.ones(n + 1) if p == 0.0 else np.r_[np.zeros(n), 1.0]
    log_choose = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(n + 1)]
    k = np.arange(n + 1)
    return np.minimum(np.cumsum(np.exp(log_choose + k * math.log(p) + (n - k) * math.log1p(-p))), 1.0)


def share_count(share: float, n: int) -> int:
    """Nearest whole number to share × n, at least 1 and at most n."""
    return min(n, max(1, math.floor(share * n + 0.5)))


@lru_cache(maxsize=16)
def compile_spec(spec: TaskSpec) -> Tables:
    """The tables of `spec`; computed once per TaskSpec object."""
    active = np.flatnonzero(spec.probabilities)
    body, position = body_tokens(spec), body_positions(spec)
    modality, modality_share = modality_templates(spec)
    missing = np.round(binomial_cdf(spec.n_tokens, spec.column_missing_share) * 2.0**32).astype(np.uint64)
    missing[-1] = 2**32
    return Tables(
        n_tokens=spec.n_tokens,
        family=active.astype(np.uint8),
        family_limit=limits(spec.probabilities[active]),
        body=body,
        body_is_prefix=bool((body == np.arange(len(body))).all()),
        body_row=position[:, 0].astype(np.int16),
        body_column=position[:, 1].astype(np.int16),
        n_rows=int(position[:, 0].max()) + 1,
        n_columns=int(position[:, 1].max()) + 1,
        companion=np.setdiff1d(np.arange(spec.n_tokens), body),
        half=half_templates(spec),
        modality=modality,
        modality_limit=limits(modality_share),
        source_quantile=beta_quantiles(float(spec.source_beta[0]), float(spec.source_beta[1])),
        target_quantile=beta_quantiles(float(spec.target_beta[0]), float(spec.target_beta[1])),
        missing_limit=missing,
        block_low=float(spec.block_share[0]),
        block_high=float(spec.block_share[1]),
        bert_targets=share_count(spec.bert_target_share, spec.n_tokens),
        mae_targets=share_count(spec.mae_target_share, len(body)),
        visible_limit=round(spec.label_visible_share * 2**32),
        prefix_limit=round(spec.causal_prefix_share * 2**32),
    )
