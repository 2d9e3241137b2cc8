"""Draws from the task distribution: `sample_tasks`, `sample_pairs`, `apply_missing`.

    tasks = sample_tasks(spec, 1024, seed=0)
    first, second = sample_pairs(spec, 1024, seed=0)

Row n of stream s is a function of (spec, seed, s, n) alone: `sample_tasks(spec, 10, seed=0, start=5)`
is rows 5 … 14 of `sample_tasks(spec, 15, seed=0)`, whatever the number of threads.
"""

from __future__ import annotations

import numpy as np

from kernels.task_sampling.numba_kernel import (
    CAUSAL,
    PERMUTATION,
    mask_rows,
    rank_rows,
    rank_span,
    role_rows,
    second_rows,
)
from kernels.task_sampling.spec import FAMILIES, Tasks, TaskSpec
from kernels.task_sampling.tables import compile_spec
from kernels.task_sampling.threads import in_parallel


def sample_tasks(
    spec: TaskSpec, rows: int, *, seed: int, stream: int = 0, start: int = 0, threads: int | None = None
) -> Tasks:
    """Rows start … start + rows of stream `stream`: N = rows tasks.

    When no family of the mixture has ranks, `rank` is a read-only view of a single zero.
    seed, stream, start: whole numbers in [0, 2**63). threads: at most; None: as many as this process may use.
    Raises ValueError when one of them, or rows, is negative or too large.
    """
    role, family = sample_roles(spec, rows, seed=seed, stream=stream, start=start, threads=threads)
    if not spec.probabilities[[CAUSAL, PERMUTATION]].any():
        return Tasks(role, np.broadcast_to(np.int16(0), role.shape), family)
    rank = np.zeros(role.shape, np.int16)
    key = np.uint64(seed), np.uint64(stream)

    def draw(first: int, end: int) -> None:
        rank_span(*key, start + first, role[first:end], rank[first:end], family[first:end])

    in_parallel(draw, rows, rank.itemsize * spec.n_tokens, threads)
    return Tasks(role, rank, family)


def sample_roles(
    spec: TaskSpec, rows: int, *, seed: int, stream: int = 0, start: int = 0, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """role (N, L) uint8 and family (N,) uint8 of `sample_tasks`, without the ranks, which `ranks_of` restores."""
    check_rows(rows, seed, stream, start)
    role, family = np.empty((rows, spec.n_tokens), np.uint8), np.empty(rows, np.uint8)
    tables, key = compile_spec(spec), (np.uint64(seed), np.uint64(stream))

    def draw(first: int, end: int) -> None:
        role_rows(tables, *key, start + first, role[first:end].reshape(-1), family[first:end])

    in_parallel(draw, rows, spec.n_tokens, threads)
    return role, family


def ranks_of(role: np.ndarray, family: np.ndarray, rows: np.ndarray, *, seed: int, stream: int = 0) -> np.ndarray:
    """(N, L) int16 ranks of the rows with numbers `rows` (N,), given their roles and families."""
    rank = np.zeros(role.shape, np.int16)
    rank_rows(np.uint64(seed), np.uint64(stream), np.asarray(rows, np.int64), role, rank, family)
    return rank


def second_of(spec: TaskSpec, first: np.ndarray, rows: np.ndarray, *, seed: int, stream: int = 0) -> Tasks:
    """The second tasks of the pairs whose first roles are `first` (N, L), for rows with numbers `rows` (N,).

    They are bidirectional (rank 0) and carry the family beta_random, of which they are draws given S ∪ T.
    """
    second = np.empty_like(first)
    rows = np.asarray(rows, np.int64)
    second_rows(compile_spec(spec), np.uint64(seed), np.uint64(stream), rows, np.ascontiguousarray(first), second)
    family = np.full(len(first), FAMILIES.index("beta_random"), np.uint8)
    return Tasks(second, np.zeros(first.shape, np.int16), family)


def sample_pairs(spec: TaskSpec, rows: int, *, seed: int, stream: int = 0, start: int = 0) -> tuple[Tasks, Tasks]:
    """Communication pairs (method: eq. 6): (S₁, T₁), (S₂, T₂) with S₁ ∪ T₁ = S₂ ∪ T₂ row by row.

    The first equals `sample_tasks` of the same rows. The second exchanges source and target (a
    quarter), has no source (a quarter) or splits S ∪ T anew; see numba_kernel.draw_second.
    """
    first = sample_tasks(spec, rows, seed=seed, stream=stream, start=start)
    numbers = np.arange(start, start + rows)
    return first, second_of(spec, first.role, numbers, seed=seed, stream=stream)


def apply_missing(tasks: Tasks, missing: np.ndarray, *, seed: int = 0, numbers: np.ndarray | None = None) -> Tasks:
    """The tasks with missing tokens (N, L bool) hidden: neither source nor target.

    A row whose targets are all missing gets new ones among its observed tokens: half of its sources,
    drawn from (seed, number of the row), at least one; without sources, every observed token.
    numbers: (N,) numbers of the rows ≥ 0; None: 0 … N − 1.
    Raises ValueError when the shape differs or a row has no observed token.
    """
    missing = np.ascontiguousarray(missing)
    if missing.shape != tasks.role.shape or missing.dtype != bool:
        raise ValueError(
            f"'missing' must be a {tasks.role.shape} bool array, like 'role'. "
            f"Got shape {missing.shape}, dtype {missing.dtype}."
        )
    if not missing.any():
        return tasks
    role = np.empty_like(tasks.role)
    numbers = np.arange(len(role)) if numbers is None else np.asarray(numbers, np.int64)
    if numbers.shape != role.shape[:1]:
        raise ValueError(f"'numbers' must have shape {role.shape[:1]}. Got {numbers.shape}.")
    empty = mask_rows(np.uint64(seed), numbers, np.ascontiguousarray(tasks.role), missing, role)
    if empty >= 0:
        raise ValueError(f"'missing' must leave an observed token in every row. Got none in row {empty}.")
    return Tasks(role, tasks.rank, tasks.family)


def check_rows(rows: int, seed: int, stream: int, start: int) -> None:
    """Raises ValueError for a number outside [0, 2**63)."""
    for name, value in (("rows", rows), ("seed", seed), ("stream", stream), ("start", start)):
        if not 0 <= value < 2**63:
            raise ValueError(f"{name!r} must lie in [0, 2**63). Got {value}.")
