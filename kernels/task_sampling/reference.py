"""The task distribution, one row at a time in plain NumPy: slow, clear, and the definition of correct.

    tasks = sample_tasks_reference(spec, 1000, np.random.default_rng(0))

The kernel draws other random numbers; the tests compare the two distributions.
"""

from __future__ import annotations

import numpy as np

from kernels.task_sampling.spec import FAMILIES, HIDDEN, SOURCE, TARGET, Tasks, TaskSpec


def sample_tasks_reference(spec: TaskSpec, rows: int, rng: np.random.Generator) -> Tasks:
    """`rows` independent tasks of q(S, T)."""
    family = rng.choice(len(FAMILIES), size=rows, p=spec.probabilities)
    role = np.empty((rows, spec.n_tokens), np.uint8)
    rank = np.zeros((rows, spec.n_tokens), np.int16)
    for n, code in enumerate(family):
        role[n], rank[n] = DRAWS[FAMILIES[code]](spec, rng)
    return Tasks(role, rank, family.astype(np.uint8))


def joint(spec: TaskSpec, rng: np.random.Generator):
    """S = ∅, T = all."""
    return np.full(spec.n_tokens, TARGET), 0


def marginal(spec: TaskSpec, rng: np.random.Generator):
    """S = ∅, T a uniform subset, |T|/L ~ Beta(target_beta), at least one token."""
    n_target = max(1, rounded(rng.beta(*spec.target_beta) * spec.n_tokens))
    return subset(spec.n_tokens, 0, n_target, rng), 0


def beta_random(spec: TaskSpec, rng: np.random.Generator):
    """Uniform subsets, |S|/L ~ Beta(source_beta), |T|/(L−|S|) ~ Beta(target_beta), |T| >= 1."""
    n_source = min(spec.n_tokens - 1, rounded(rng.beta(*spec.source_beta) * spec.n_tokens))
    n_target = max(1, rounded(rng.beta(*spec.target_beta) * (spec.n_tokens - n_source)))
    return subset(spec.n_tokens, n_source, n_target, rng), 0


def block(spec: TaskSpec, rng: np.random.Generator):
    """A rectangle of the body is T and the rest of the body S, or the reverse; no target: all the body is T."""
    body, position = body_layout(spec)
    size = position.max(0) + 1
    low, high = spec.block_share
    edge = [min(s, max(1, rounded(rng.uniform(low, high) * s))) for s in size]
    start = [rng.integers(0, s - e + 1) for s, e in zip(size, edge, strict=True)]
    target = ((position >= start) & (position < np.add(start, edge))).all(1)
    if rng.random() < 0.5:
        target = ~target
    return with_companions(spec, body, target if target.any() else ~target, rng), 0


def half(spec: TaskSpec, rng: np.random.Generator):
    """The upper, lower, left or right half of the body given the other; a body of one token is all target."""
    body, position = body_layout(spec)
    first = [position[:, axis] < (position[:, axis].max() + 1) // 2 for axis in (0, 1)]
    sides = [side for f in first for side in (f, ~f) if f.any() and not f.all()]
    target = sides[rng.integers(len(sides))] if sides else np.ones(len(body), bool)
    return with_companions(spec, body, target, rng), 0


def modality(spec: TaskSpec, rng: np.random.Generator):
    """One modality group given the others. With a label: image from label, or label from image."""
    others = np.unique(spec.group[~spec.is_label])
    label_is_target = spec.is_label.any() and (not len(others) or rng.random() >= spec.label_to_image_share)
    target = spec.is_label if label_is_target else (spec.group == rng.choice(others)) & ~spec.is_label
    return np.where(target, TARGET, SOURCE), 0


def causal(spec: TaskSpec, rng: np.random.Generator):
    """Every token a target in its order (GPT), or after a source prefix of 1 … L−1 tokens (prefix-LM)."""
    position = np.arange(spec.n_tokens)
    prefix = 0
    if spec.n_tokens > 1 and rng.random() < spec.causal_prefix_share:
        prefix = rng.integers(1, spec.n_tokens)
    return np.where(position < prefix, SOURCE, TARGET), np.where(position < prefix, 0, position)


def permutation(spec: TaskSpec, rng: np.random.Generator):
    """Every token a target, in a uniformly random order (XLNet)."""
    return np.full(spec.n_tokens, TARGET), rng.permutation(spec.n_tokens)


def bert(spec: TaskSpec, rng: np.random.Generator):
    """A uniform subset of fixed size is T, the rest S."""
    n_target = min(spec.n_tokens, max(1, rounded(spec.bert_target_share * spec.n_tokens)))
    return subset(spec.n_tokens, spec.n_tokens - n_target, n_target, rng), 0


def mae(spec: TaskSpec, rng: np.random.Generator):
    """A uniform subset of the body, of fixed size, is T; every other token is S."""
    body, _ = body_layout(spec)
    n_target = min(len(body), max(1, rounded(spec.mae_target_share * len(body))))
    role = np.full(spec.n_tokens, SOURCE)
    role[body] = subset(len(body), len(body) - n_target, n_target, rng)
    return role, 0


def column_missing(spec: TaskSpec, rng: np.random.Generator):
    """Each token is missing with probability p: T the missing, S the others; one uniform token when none is."""
    target = rng.random(spec.n_tokens) < spec.column_missing_share
    if not target.any():
        target[rng.integers(spec.n_tokens)] = True
    return np.where(target, TARGET, SOURCE), 0


def copied(spec: TaskSpec, rng: np.random.Generator):
    """T is what a random row of those with a gap misses, S the others."""
    gaps = spec.gaps[spec.gaps.any(1)]
    return np.where(gaps[rng.integers(len(gaps))], TARGET, SOURCE), 0


def proportional(spec: TaskSpec, rng: np.random.Generator):
    """Each token is missing as often as in the data, independently of the others; anew where none is."""
    rate = spec.gaps.mean(0)
    while True:
        target = rng.random(spec.n_tokens) < rate
        if target.any():
            return np.where(target, TARGET, SOURCE), 0


def rounded(x: float) -> int:
    """Nearest whole number, halves up."""
    return int(np.floor(x + 0.5))


def subset(n: int, n_source: int, n_target: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) a uniformly random arrangement of n_source SOURCE, n_target TARGET, the rest HIDDEN."""
    role = np.full(n, HIDDEN)
    role[:n_source] = SOURCE
    role[n_source : n_source + n_target] = TARGET
    return rng.permutation(role)


def body_layout(spec: TaskSpec) -> tuple[np.ndarray, np.ndarray]:
    """(B,) tokens and (B, 2) positions of the body: the patches; else the tokens that are no label, in a row."""
    patch = (spec.grid >= 0).all(1)
    if patch.any():
        return np.flatnonzero(patch), spec.grid[patch] - spec.grid[patch].min(0)
    body = np.flatnonzero(~spec.is_label) if not spec.is_label.all() else np.arange(spec.n_tokens)
    return body, np.stack([np.zeros(len(body), int), np.arange(len(body))], 1)


def with_companions(spec: TaskSpec, body: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(L,) roles: the body split by `target` (B,); the other tokens hidden, or, with label_visible_share, all S or all T."""
    role = np.full(spec.n_tokens, HIDDEN)
    if rng.random() < spec.label_visible_share:
        role[:] = rng.choice([SOURCE, TARGET])
    role[body] = np.where(target, TARGET, SOURCE)
    return role


DRAWS = {
    "joint": joint,
    "marginal": marginal,
    "beta_random": beta_random,
    "block": block,
    "half": half,
    "modality": modality,
    "causal": causal,
    "permutation": permutation,
    "bert": bert,
    "mae": mae,
    "column_missing": column_missing,
    "copied": copied,
    "proportional": proportional,
}
