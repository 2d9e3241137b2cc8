"""Which rows and which tasks a training step sees: a pure function of (seed, step, process).

Nothing is carried from step to step, so a resumed run reads what an uninterrupted one would have.
Rows come from a memory-mapped array; only the batch is ever in memory.

Shapes: B rows of this process, L tokens, F features.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from kernels.task_sampling import SOURCE, TaskBank, Tasks, apply_missing
from pipeline.schema import Schema


@dataclass(frozen=True)
class Batch:
    """What one step of one process reads.

    features: (B, F) float32; role, other_role: (B, L) uint8; rank, other_rank: (B, L) int16, None when every rank is
    0; family: (B,) int64; donor: (B, F) rows for mismatched sources; mismatch_index: (k,) int64 rows with a
    source, k a multiple of the minibatch group. The `other_` task has the same union S ∪ T.
    """

    features: Tensor
    role: Tensor
    rank: Tensor | None
    family: Tensor
    donor: Tensor
    mismatch_index: Tensor
    other_role: Tensor | None = None
    other_rank: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        if device.type == "cpu":
            return self
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return Batch(**{k: None if v is None else v.to(device, non_blocking=True) for k, v in moved.items()})


@dataclass(frozen=True)
class BatchReader:
    """Reads batches. batch_size counts the rows of all `processes`; `process` reads its own slice."""

    rows: np.ndarray
    schema: Schema
    bank: TaskBank
    batch_size: int
    seed: int
    process: int = 0
    processes: int = 1
    minibatch_group: int = 1
    pairs: bool = False

    def row_indices(self, step: int) -> np.ndarray:
        """(B,) int64 rows of `step`: consecutive places in a stream of seeded permutations, one an epoch."""
        own = self.batch_size // self.processes
        place = step * self.batch_size + self.process * own + np.arange(own)
        epoch, offset = np.divmod(place, len(self.rows))
        out = np.empty(own, np.int64)
        for e in np.unique(epoch):
            chosen = epoch == e
            out[chosen] = _permutation(self.seed, int(e), len(self.rows))[offset[chosen]]
        return out

    def __call__(self, step: int) -> Batch:
        """The batch of `step`, on the CPU."""
        index = self.row_indices(step)
        rows = np.asarray(self.rows[index])
        missing = self.schema.missing(rows)
        place = (step * self.batch_size + self.process * len(index) + np.arange(len(index))) % len(self.bank)
        tasks, other = self.bank.pairs(place) if self.pairs else (self.bank.tasks(place), None)
        # Rows of one family lie together, so that a minibatch group compares like with like.
        order = np.argsort(tasks.family, kind="stable")
        tasks = _take(tasks, order)
        other = None if other is None else _take(other, order)
        if missing.any():
            tasks = apply_missing(tasks, missing)
            other = apply_missing(other, missing) if other is not None else None
        features = self.schema.encode(rows)
        donor = _donors(features, missing, self.schema.token_of_feature)
        return Batch(
            features=torch.from_numpy(features),
            role=torch.from_numpy(tasks.role),
            rank=_rank(tasks),
            family=torch.from_numpy(tasks.family.astype(np.int64)),
            donor=torch.from_numpy(donor),
            mismatch_index=torch.from_numpy(_mismatch_rows(tasks.role, self.minibatch_group)),
            other_role=None if other is None else torch.from_numpy(other.role),
            other_rank=None if other is None else _rank(other),
        )


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, rows: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(rows)


def _take(tasks: Tasks, order: np.ndarray) -> Tasks:
    return Tasks(role=tasks.role[order], rank=tasks.rank[order], family=tasks.family[order])


def _rank(tasks: Tasks) -> Tensor | None:
    return torch.from_numpy(tasks.rank) if tasks.rank.any() else None


def _donors(features: np.ndarray, missing: np.ndarray, token_of_feature: np.ndarray) -> np.ndarray:
    """The next row's features; where that row misses a token, the row's own."""
    donor = np.roll(features, 1, axis=0)
    if missing.any():
        donor = np.where(np.roll(missing, 1, axis=0)[:, token_of_feature], features, donor)
    return donor


def _mismatch_rows(role: np.ndarray, group: int) -> np.ndarray:
    """Rows that have a source, repeated from the start up to a multiple of `group`."""
    index = np.flatnonzero((role == SOURCE).any(1))
    return np.resize(index, -(-len(index) // group) * group) if len(index) else index
