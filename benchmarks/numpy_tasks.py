"""The task distribution of kernels.task_sampling in vectorised NumPy: the peer of benchmarks/task_sampling.py.

Written to be fast: one mask selects a family's rows, every random number is drawn in bulk, subsets
of exact size come from one sort of 32-bit keys a row (the k-th smallest is a threshold; NumPy 2 sorts them
with AVX-512), and templates are copied by one gather. `subsets_by_argsort` is the usual way to
write it, and slower.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kernels.task_sampling import FAMILIES, HIDDEN, SOURCE, TARGET, Tasks, TaskSpec
from kernels.task_sampling.tables import (
    body_positions,
    body_tokens,
    half_templates,
    modality_templates,
    share_count,
)


def subsets_by_sort(
    rng: np.random.Generator, n: int, n_tokens: int, n_source: np.ndarray, n_target: np.ndarray
) -> np.ndarray:
    """(n, n_tokens) uint8 uniformly random roles with exactly n_source and n_target (n,) of each."""
    bits = int(n_tokens - 1).bit_length()
    keys = rng.integers(0, 2**32, (n, n_tokens), np.uint32)
    keys >>= np.uint32(bits)
    keys <<= np.uint32(bits)
    keys |= np.arange(n_tokens, dtype=np.uint32)  # distinct keys: exact counts
    ordered = np.sort(keys, axis=1)
    at = np.arange(n)
    role = (keys <= ordered[at, n_source + n_target - 1][:, None]).view(np.uint8)  # a task has a target
    role <<= 1
    if np.any(n_source):
        source = keys <= ordered[at, np.maximum(n_source, 1) - 1][:, None]
        role -= source & (n_source > 0)[:, None]  # TARGET − 1 = SOURCE
    return role


def subsets_by_argsort(
    rng: np.random.Generator, n: int, n_tokens: int, n_source: np.ndarray, n_target: np.ndarray
) -> np.ndarray:
    """As `subsets_by_sort`, from the argsort of float32 keys: place i of a row's order decides its token's role."""
    order = np.argsort(rng.random((n, n_tokens), np.float32), axis=1)
    place = np.arange(n_tokens)
    ordered = (place < (n_source + n_target)[:, None]).view(np.uint8) << 1
    ordered -= place < n_source[:, None]
    role = np.empty((n, n_tokens), np.uint8)
    np.put_along_axis(role, order, ordered, axis=1)
    return role


def sample_tasks_numpy(
    spec: TaskSpec, rows: int, rng: np.random.Generator, subsets: Callable = subsets_by_sort
) -> Tasks:
    """`rows` tasks with the distribution of kernels.task_sampling.sample_tasks (other random numbers)."""
    role = np.empty((rows, spec.n_tokens), np.uint8)
    ranked = spec.probabilities[[FAMILIES.index("causal"), FAMILIES.index("permutation")]].any()
    rank = np.zeros(role.shape, np.int16) if ranked else np.broadcast_to(np.int16(0), role.shape)
    limits = np.cumsum(spec.probabilities)
    family = np.searchsorted(limits, rng.random(rows) * limits[-1], side="right").astype(np.uint8)
    for code in np.flatnonzero(spec.probabilities):
        chosen = slice(None) if spec.probabilities[code] == 1.0 else np.flatnonzero(family == code)
        n = rows if isinstance(chosen, slice) else len(chosen)
        drawn = DRAWS[FAMILIES[code]](spec, n, rng, subsets)
        if isinstance(drawn, tuple):
            role[chosen], rank[chosen] = drawn
        else:
            role[chosen] = drawn
    return Tasks(role, rank, family)


def beta_counts(rng: np.random.Generator, beta: tuple[float, float], n: int, total: np.ndarray | int) -> np.ndarray:
    return np.floor(rng.beta(beta[0], beta[1], n) * total + 0.5).astype(np.int64)


def joint(spec: TaskSpec, n: int, rng: np.random.Generator, subsets: Callable) -> np.ndarray:
    return np.uint8(TARGET)


def marginal(spec: TaskSpec, n: int, rng: np.random.Generator, subsets: Callable) -> np.ndarray:
    n_target = np.maximum(1, beta_counts(rng, spec.target_beta, n, spec.n_tokens))
    return subsets(rng, n, spec.n_tokens, np.zeros(n, np.int64), n_target)


def beta_random(spec: TaskSpec, n: int, rng: np.random.Generator, subsets: Callable) -> np.ndarray:
    n_source = np.minimum(spec.n_tokens - 1, beta_counts(rng, spec.source_beta, n, spec.n_tokens))
    n_target = np.maximum(1, beta_counts(rng, spec.target_beta, n, spec.n_tokens - n_source))
    return subsets(rng, n, spec.n_tokens, n_source, n_target)


def show_companions(spec: TaskSpec, role: np.ndarray, rng: np.random.Generator) -> None:
    companion = np.setdiff1d(np.arange(spec.n_tokens), body_tokens(spec))
    if len(companion):
        shown = rng.random(len(role)) < spec.label_visible_share
        code = np.where(shown, rng.integers(SOURCE, TARGET + 1, len(role), np.uint8), np.uint8(HIDDEN))
        role[:, companion] = code[:, None]


def block(spec: TaskSpec, n: int, rng: np.random.Generator, subsets: Callable) -> np.ndarray:
    body, position = body_tokens(spec), body_positions(spec)
    size = position.max(0) + 1
    low, high = spec.block_share
    edge = np.clip(np.floor((low + (high - low) * rng.random((n, 2))) * size + 0.5).astype(np.int64), 1, size)
    start = rng.integers(0, size - edge + 1)
    axis = [np.arange(s)[None] for s in size]
    inside_row = (axis[0] >= start[:, :1]) & (axis[0] < start[:, :1] + edge[:, :1])
    inside_column = (axis[1] >= start[:, 1:]) & (axis[1] < start[:, 1:] + edge[:, 1:])
    inside = (inside_row[:, :, None] & inside_column[:, None, :]).reshape(n, -1)
    cells = position[:, 0] * size[1] + position[:, 1]
    if not np.array_equal(cells, np.arange(inside.shape[1])):
        inside = inside[:, cells]
    targets = inside ^ (rng.random(n) < 0.5)[:, None]
    targets |= ~targets.any(1)[:, None]
    role = np.empty((n, spec.n_tokens), np.uint8)
    role[:, slice(0, len(body)) if body[-1] == len(body) - 1 else body] = targets.view(np.uint8) + np.uint8(SOURCE)
    show_companions(spec, role, rng)
    return role


def half(spec: TaskSpec, n: int, rng: np.random.Generator, subsets: Callable) -> np.ndarray:
    templates = half_templates(spec)
    role = templates[rng.integers(0, len(templates), n)]
    show_companions(spec, role, rng)
    return role


def modality(spec: TaskSpec, n: int, rng: np.random.Generator, subsets: Callable) -> np.ndarray:
    templates, share = modality_templates(spec)
    return templates[np.searchsorted(np.cumsum(share)[:-1], rng.random(n), side="right")]


def causal(spec: TaskSpec, n: int, rng: np.random.Generator, subsets: Callable) -> tuple[np.ndarray, np.ndarray]:
    prefix = np.where(rng.random(n) < spec.causal_prefix_share, rng.integers(1, max(2, spec.n_tokens), n), 0) * (
        spec.n_tokens > 1
    )
    position = np.arange(spec.n_tokens, dtype=np.int16)
    target = position >= prefix[:, None].astype(np.int16)
    return target.view(np.uint8) + np.uint8(SOURCE), position * target


def permutation(spec: TaskSpec, n: int, rng: np.random.Generator, subsets: Callable) -> tuple[np.ndarray, np.ndarray]:
    keys = rng.random((n, spec.n_tokens), np.float32)
    return np.uint8(TARGET), np.argsort(keys, axis=1).astype(np.int16)


def bert(spec: TaskSpec, n: int, rng: np.random.Generator, subsets: Callable) -> np.ndarray:
    n_target = np.full(n, share_count(spec.bert_target_share, spec.n_tokens))
    return subsets(rng, n, spec.n_tokens, spec.n_tokens - n_target, n_target)


def mae(spec: TaskSpec, n: int, rng: np.random.Generator, subsets: Callable) -> np.ndarray:
    body = body_tokens(spec)
    n_target = np.full(n, share_count(spec.mae_target_share, len(body)))
    role = np.full((n, spec.n_tokens), SOURCE, np.uint8)
    role[:, slice(0, len(body)) if body[-1] == len(body) - 1 else body] = subsets(
        rng, n, len(body), len(body) - n_target, n_target
    )
    return role


def column_missing(spec: TaskSpec, n: int, rng: np.random.Generator, subsets: Callable) -> np.ndarray:
    target = rng.random((n, spec.n_tokens), np.float32) < np.float32(spec.column_missing_share)
    empty = np.flatnonzero(~target.any(1))
    target[empty, rng.integers(0, spec.n_tokens, len(empty))] = True
    return target.view(np.uint8) + np.uint8(SOURCE)


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
}
