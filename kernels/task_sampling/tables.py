"""A TaskSpec compiled to the flat arrays that the Numba kernel reads.

Terms. *Body*: the patches, or, where there is no grid, the tokens that are not labels laid out on a
grid of one row (and if every token is a label, all tokens). *Companions*: the tokens outside the body.
*Outcome*: a family and a template, that is, a row of roles to start from; every choice among finitely
many rows (which half, which modality, companions shown or not) is an outcome, so one draw from one
alias table settles it. *Action*: what is left to draw after the template is copied.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from kernels.task_sampling.beta import beta_quantiles
from kernels.task_sampling.spec import FAMILIES, GAP_FAMILIES, HIDDEN, SOURCE, TARGET, TaskSpec

COPY, PREFIX, BLOCK, BETA, TARGET_BETA, COUNT, BODY_COUNT, MISSING = range(8)  # actions
MOST_GAPS, PROPORTIONAL_ROWS = 4096, 4096  # rows whose gaps become templates
PAD = 64  # templates are padded to whole blocks of 64 tokens


class Tables(NamedTuple):
    """Flat view of a TaskSpec: K outcomes, B body tokens, L tokens in W words of 64, P = 64 W.

    A mask is W uint64; bit i of word k is token 64 k + i.
    """

    n_tokens: int
    outcome_limit: np.ndarray  # (K,) uint64, alias table: keep the column below this, out of 2**32
    outcome_alias: np.ndarray  # (K,) int64
    outcome_family: np.ndarray  # (K,) uint8
    outcome_action: np.ndarray  # (K,) uint8
    template: np.ndarray  # (K · P,) uint8
    body: np.ndarray  # (B,) int64 token indices
    body_is_prefix: bool  # body == 0 … B−1
    above: np.ndarray  # (rows + 1, W) masks: the body tokens in the rows before each row of the grid
    left_of: np.ndarray  # (columns + 1, W) masks: … in the columns before each column
    source_quantile: np.ndarray  # (CELLS + 1,) float64
    target_quantile: np.ndarray  # (CELLS + 1,) float64
    missing_limit: np.ndarray  # (L + 1,) uint64 distribution function of Binomial(L, p) × 2**32
    block_low: float
    block_high: float
    bert_targets: int
    mae_targets: int


def body_tokens(spec: TaskSpec) -> np.ndarray:
    """(B,) int64 indices of the body, never empty."""
    patches = np.flatnonzero((spec.grid >= 0).all(1))
    if len(patches):
        return patches
    rest = np.flatnonzero(~spec.is_label)
    return rest if len(rest) else np.arange(spec.n_tokens)


def companion_tokens(spec: TaskSpec) -> np.ndarray:
    """(C,) int64 indices of the tokens outside the body."""
    return np.setdiff1d(np.arange(spec.n_tokens), body_tokens(spec))


def body_positions(spec: TaskSpec) -> np.ndarray:
    """(B, 2) int64 (row, column) of the body, counted from 0; one row where there is no grid."""
    body = body_tokens(spec)
    if (spec.grid[body] >= 0).all():
        return spec.grid[body] - spec.grid[body].min(0)
    return np.stack([np.zeros(len(body), np.int64), np.arange(len(body))], 1)


def half_templates(spec: TaskSpec) -> np.ndarray:
    """(H, L) uint8: upper, lower, left, right half as target, the other half source, companions hidden.

    A direction in which the body cannot be split is left out; a body that cannot be split is all target.
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


def with_companions(spec: TaskSpec, templates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each (k, L) template with its companions hidden, all source and all target: (3k, L), (3k,) shares."""
    companion = companion_tokens(spec)
    if not len(companion):
        return templates, np.full(len(templates), 1.0 / len(templates))
    out = np.repeat(templates, 3, axis=0)
    for i, role in enumerate((HIDDEN, SOURCE, TARGET)):
        out[i::3, companion] = role
    shown = spec.label_visible_share
    return out, np.tile([1.0 - shown, shown / 2, shown / 2], len(templates)) / len(templates)


def gap_templates(spec: TaskSpec, family: str) -> tuple[np.ndarray, np.ndarray]:
    """(k, L) uint8 distinct roles and (k,) float64 shares: the tokens that a row of the data misses are the target.

    copied: the gaps of MOST_GAPS rows at most (copy masking, as in CACTI, ICML 2025). proportional: PROPORTIONAL_ROWS rows whose tokens
    are missing as often as in the data, but independently of one another (after PMAE, AAAI 2025). Rows without a gap are left out.
    """
    gaps = spec.gaps[spec.gaps.any(1)]
    if family == "copied":
        gaps = gaps[np.linspace(0, len(gaps) - 1, min(len(gaps), MOST_GAPS)).astype(np.int64)]
    else:
        rate = spec.gaps.mean(0)
        drawn = np.random.default_rng(PROPORTIONAL_ROWS).random((PROPORTIONAL_ROWS, spec.n_tokens)) < rate
        gaps = np.concatenate([drawn[drawn.any(1)], gaps[:1]])  # one at least
    distinct, count = np.unique(gaps, axis=0, return_counts=True)
    return np.where(distinct, TARGET, SOURCE).astype(np.uint8), count / count.sum()


def outcomes_of(spec: TaskSpec, family: str) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """(k, L) uint8 templates, (k,) float64 shares and k actions of one family."""
    source, target = (np.full((1, spec.n_tokens), role, np.uint8) for role in (SOURCE, TARGET))
    one = np.ones(1)
    if family == "half":
        templates, share = with_companions(spec, half_templates(spec))
        return templates, share, [COPY] * len(share)
    if family == "modality":
        templates, share = modality_templates(spec)
        return templates, share, [COPY] * len(share)
    if family == "block":
        templates, share = with_companions(spec, target)
        return templates, share, [BLOCK] * len(share)
    if family == "causal":
        prefix = spec.causal_prefix_share if spec.n_tokens > 1 else 0.0
        return np.concatenate([target, target]), np.array([1.0 - prefix, prefix]), [COPY, PREFIX]
    if family in ("joint", "permutation"):
        return target, one, [COPY]
    if family in ("marginal", "beta_random"):
        return np.full_like(target, HIDDEN), one, [TARGET_BETA if family == "marginal" else BETA]
    if family in GAP_FAMILIES:
        templates, share = gap_templates(spec, family)
        return templates, share, [COPY] * len(share)
    return source, one, [{"bert": COUNT, "mae": BODY_COUNT, "column_missing": MISSING}[family]]


def alias_table(probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(K,) uint64 limits and (K,) int64 aliases of Walker's method (Vose 1991).

    A uniform column c and a uniform 32-bit u draw c when u < limit[c], else alias[c]; the
    probabilities are met to 2**−32.
    """
    p = np.asarray(probability, np.float64)
    scaled = p / p.sum() * len(p)
    limit, alias = np.ones(len(p)), np.arange(len(p))
    small = [i for i in range(len(p)) if scaled[i] < 1.0]
    large = [i for i in range(len(p)) if scaled[i] >= 1.0]
    while small and large:
        s, g = small.pop(), large.pop()
        limit[s], alias[s] = scaled[s], g
        scaled[g] -= 1.0 - scaled[s]
        (small if scaled[g] < 1.0 else large).append(g)
    return np.round(limit * 2.0**32).astype(np.uint64), alias


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


def masks_before(position: np.ndarray, tokens: np.ndarray, n_tokens: int) -> np.ndarray:
    """(max + 2, W) uint64 masks: entry p holds the tokens (B,) whose position (B,) is less than p."""
    member = np.zeros((position.max() + 2, -(-n_tokens // 64) * 64), bool)
    member[position + 1, tokens] = True
    member = np.logical_or.accumulate(member, axis=0)
    return np.packbits(member, axis=1, bitorder="little").view(np.uint64)


@lru_cache(maxsize=64)
def _quantiles(a: float, b: float) -> np.ndarray:
    """`beta_quantiles`, kept: several specs of a fit have the same shape, and a table takes 8 ms."""
    return beta_quantiles(a, b)


@lru_cache(maxsize=16)
def compile_spec(spec: TaskSpec) -> Tables:
    """The tables of `spec`; computed once per TaskSpec object."""
    parts = [
        (np.full(len(share), code), spec.probabilities[code] * share, templates, actions)
        for code, name in enumerate(FAMILIES)
        if spec.probabilities[code] > 0
        for templates, share, actions in [outcomes_of(spec, name)]
    ]
    family, probability, templates = (np.concatenate([p[i] for p in parts]) for i in range(3))
    action = np.concatenate([p[3] for p in parts])
    possible = probability > 0
    limit, alias = alias_table(probability[possible])
    body = body_tokens(spec)
    # Only blocks need positions; without them a long sequence would pay L² / 8 bytes for its masks.
    position = body_positions(spec) if BLOCK in action[possible] else np.zeros((len(body), 2), np.int64)
    missing = np.round(binomial_cdf(spec.n_tokens, spec.column_missing_share) * 2.0**32).astype(np.uint64)
    missing[-1] = 2**32
    return Tables(
        n_tokens=spec.n_tokens,
        outcome_limit=limit,
        outcome_alias=alias,
        outcome_family=family[possible].astype(np.uint8),
        outcome_action=action[possible].astype(np.uint8),
        template=np.pad(templates[possible], ((0, 0), (0, -spec.n_tokens % PAD))).ravel(),
        body=body,
        body_is_prefix=bool((body == np.arange(len(body))).all()),
        above=masks_before(position[:, 0], body, spec.n_tokens),
        left_of=masks_before(position[:, 1], body, spec.n_tokens),
        source_quantile=_quantiles(float(spec.source_beta[0]), float(spec.source_beta[1])),
        target_quantile=_quantiles(float(spec.target_beta[0]), float(spec.target_beta[1])),
        missing_limit=missing,
        block_low=float(spec.block_share[0]),
        block_high=float(spec.block_share[1]),
        bert_targets=share_count(spec.bert_target_share, spec.n_tokens),
        mae_targets=share_count(spec.mae_target_share, len(body)),
    )
