"""Which rows and which tasks a training step sees: a pure function of (seed, step), dealt out to the processes.

Nothing is carried from step to step, so a resumed run reads what an uninterrupted one would have. All processes
agree on one batch, sorted by family, and take its minibatch groups in turn: together they see the rows, the tasks,
the groups and the donors that a single process would, and every process gets its share of the long tasks.
Rows are read from the file by number; only this process's part of the batch is ever in memory.

Shapes: B rows of this process, L tokens, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from kernels.task_sampling import HIDDEN, SOURCE, TARGET, TaskBank, Tasks
from pipeline.rows.gap_tokens import with_missing
from pipeline.rows.permutation import permuted
from pipeline.rows.row_file import RowFile
from pipeline.rows.schema import Schema


@dataclass(frozen=True)
class Counts:
    """What the means of the losses divide by: rows with a source, discrete and continuous target tokens, rows with a
    continuous target."""

    sources: float = 1.0
    discrete: float = 1.0
    continuous: float = 1.0
    rows: float = 1.0


@dataclass(frozen=True)
class Room:
    """Packed tokens that the passes over a batch must hold, CLS tokens included.

    whole: B rows as their tasks have them. first, second: the generator's pass that draws categories and the one that
    draws the rest (see `pipeline.model.generator.Generator`). critic: real, generated and mismatched rows, as `Batch.padded`
    leaves them. longest_row: of one row.
    """

    whole: int
    first: int
    second: int
    critic: int
    longest_row: int


@dataclass(frozen=True)
class Batch:
    """What one step of one process reads.

    features: (B, F) float32; role, other_role: (B, L) uint8; rank, other_rank: (B, L) int16, None when every rank is
    0; family: (B,) int64; donor: (B, F) rows for mismatched sources; mismatch_index: (k,) int64 rows with a
    source, k a multiple of the minibatch group; mismatch_place: (B,) int64 where each of them stands in it first, any
    place for a row without a source. The `other_` task has the same union S ∪ T.
    places: (B,) int64 places of these rows in the batch of all processes, of batch_size rows. room: what fixed shapes
    must hold. counts: of these rows; relative: the same divided by their means over processes, so that averaged
    gradients are those of one process.
    """

    features: Tensor
    role: Tensor
    rank: Tensor | None
    family: Tensor
    donor: Tensor
    mismatch_index: Tensor
    mismatch_place: Tensor
    places: Tensor
    batch_size: int
    room: Room
    counts: Counts
    other_role: Tensor | None = None
    other_rank: Tensor | None = None
    relative: Counts = Counts()

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        if device.type == "cpu":
            return self
        return self.mapped(lambda x: x.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """The same batch in page-locked memory, from which a copy to a GPU runs beside other work."""
        return self.mapped(Tensor.pin_memory)

    def padded(self) -> Batch:
        """The same batch with mismatch_index filled up to B entries by B, which names no row: one shape for all. Such
        rows hide all their tokens."""
        rows = len(self.role)
        index = self.mismatch_index.new_full((rows,), rows)
        index[: len(self.mismatch_index)] = self.mismatch_index
        return replace(self, mismatch_index=index)

    def tensors(self) -> dict[str, Tensor]:
        """Name → tensor of every field that is one."""
        return {f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with each of its tensors replaced by `function` of it."""
        return replace(self, **{k: function(v) for k, v in self.tensors().items()})


@dataclass(frozen=True)
class BatchReader:
    """Reads batches. batch_size counts the rows of all `processes`; `process` reads its own part.

    least_source_share: of a row that counts in the likelihood terms.
    """

    rows: np.ndarray | RowFile
    schema: Schema
    bank: TaskBank
    batch_size: int
    seed: int
    process: int = 0
    processes: int = 1
    minibatch_group: int = 1
    pairs: bool = False
    least_source_share: float = 0.0

    def row_indices(self, step: int) -> np.ndarray:
        """(batch_size,) int64 rows of `step`: consecutive places in a stream of seeded permutations, one an epoch."""
        epoch, offset = np.divmod(step * self.batch_size + np.arange(self.batch_size), len(self.rows))
        out = np.empty(self.batch_size, np.int64)
        for e in np.unique(epoch):
            chosen = epoch == e
            out[chosen] = permuted(offset[chosen], len(self.rows), self.seed, int(e))
        return out

    def task_indices(self, step: int) -> np.ndarray:
        """(batch_size,) int64 rows of the bank of `step`, those of one family together, so that a minibatch group
        compares like with like."""
        place = (step * self.batch_size + np.arange(self.batch_size)) % len(self.bank)
        return place[np.argsort(self.bank.families[place], kind="stable")]

    def own_places(self) -> np.ndarray:
        """(B,) int64 places of this process's rows in the batch: minibatch groups dealt out in turn."""
        groups = np.arange(self.batch_size).reshape(-1, self.minibatch_group)
        return groups[self.process :: self.processes].ravel()

    def __call__(self, step: int) -> Batch:
        """The batch of `step`, on the CPU."""
        own = self.own_places()
        before = (own - 1) % self.batch_size  # the donors
        read = np.union1d(own, before)
        rows = np.asarray(self.rows[self.row_indices(step)[read]])
        features, missing = self.schema.encode(rows), self.schema.missing(rows)
        is_own, is_donor = np.searchsorted(read, own), np.searchsorted(read, before)
        tasks, other = self._tasks(self.task_indices(step)[own], missing[is_own], own)
        donor = _donors(features, missing, is_own, is_donor, self.schema.token_of_feature)
        mismatch_index, mismatch_place = _mismatch_rows(tasks.role, self.minibatch_group)
        return Batch(
            features=torch.from_numpy(features[is_own]),
            role=torch.from_numpy(tasks.role),
            rank=_rank(tasks),
            family=torch.from_numpy(tasks.family.astype(np.int64)),
            donor=torch.from_numpy(donor),
            mismatch_index=torch.from_numpy(mismatch_index),
            mismatch_place=torch.from_numpy(mismatch_place),
            places=torch.from_numpy(own),
            batch_size=self.batch_size,
            room=_room([tasks.role] if other is None else [tasks.role, other.role], mismatch_index, self.discrete),
            counts=self._counts(tasks.role),
            other_role=None if other is None else torch.from_numpy(other.role),
            other_rank=None if other is None else _rank(other),
        )

    @property
    def discrete(self) -> np.ndarray:
        """(L,) bool: tokens that are categories or bins."""
        return np.array([t.discrete for t in self.schema.tokens])

    def _tasks(self, index: np.ndarray, missing: np.ndarray, numbers: np.ndarray) -> tuple[Tasks, Tasks | None]:
        """The tasks, and those of their communication pairs, of the bank's rows `index`; missing: (B, L) bool."""
        tasks, other = self.bank.pairs(index) if self.pairs else (self.bank.tasks(index), None)
        tasks = with_missing(tasks, missing, self.schema, numbers=numbers)
        other = with_missing(other, missing, self.schema, numbers=numbers) if other is not None else None
        return tasks, other

    def _counts(self, role: np.ndarray) -> Counts:
        if self.processes == 1:
            return Counts()
        source, target = role == SOURCE, role == TARGET
        counted = target & (source.sum(1, keepdims=True) >= self.least_source_share * role.shape[1])
        discrete = counted[:, self.discrete].sum()
        rows = target[:, ~self.discrete].any(1).sum()
        return Counts(*(float(n) for n in (source.any(1).sum(), discrete, counted.sum() - discrete, rows)))


def read_ahead(reader: BatchReader, start: int, stop: int, device: torch.device) -> Iterator[Batch]:
    """The batches of the steps [start, stop), on the CPU; for a GPU the next is read while one is in use."""
    if device.type == "cpu":
        yield from map(reader, range(start, stop))
        return

    def read(step: int) -> Batch:
        return reader(step).pinned()

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(read, start)
        for step in range(start + 1, stop + 1):
            batch = coming.result()
            if step < stop:
                coming = pool.submit(read, step)
            yield batch


def _rank(tasks: Tasks) -> Tensor | None:
    return torch.from_numpy(tasks.rank) if tasks.rank.any() else None


def _donors(
    features: np.ndarray, missing: np.ndarray, own: np.ndarray, donor: np.ndarray, token_of_feature: np.ndarray
) -> np.ndarray:
    """(B, F) features of the rows `donor`; where such a row misses a token, those of the row in `own`."""
    if not missing.any():
        return features[donor]
    return np.where(missing[donor][:, token_of_feature], features[own], features[donor])


def _room(roles: list[np.ndarray], mismatch_index: np.ndarray, discrete: np.ndarray) -> Room:
    """roles: (B, L) of the task and of its communication pair, which has the same visible tokens; discrete: (L,)."""
    length = (roles[0] != HIDDEN).sum(1)
    rows, whole, first, second = len(length), length.sum(), [], []
    for role in roles:
        choices, rest = ((role == TARGET) & discrete).sum(1), ((role == TARGET) & ~discrete).sum(1)
        first.append((choices + (role == SOURCE).sum(1))[choices > 0].sum())
        second.append(length[rest > 0].sum())
    critic = 2 * whole + length[mismatch_index].sum() + 3 * rows
    return Room(*(int(n) for n in (whole + rows, max(first) + rows, max(second) + rows, critic, length.max() + 1)))


def _mismatch_rows(role: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
    """((k,) rows that have a source, in each minibatch group repeated until it is full, so that none is mixed;
    (B,) place of each row in them, the first of several, 0 for a row without a source)."""
    has_source = (role == SOURCE).any(1).reshape(-1, group)
    count = has_source.sum(1)[:, None]
    sources_first = np.argsort(~has_source, axis=1, kind="stable") + np.arange(len(role)).reshape(-1, group)[:, :1]
    repeated = np.take_along_axis(sources_first, np.arange(group) % count.clip(min=1), axis=1)
    index, place = repeated[count[:, 0] > 0].ravel(), np.zeros(len(role), np.int64)
    place[index[::-1]] = np.arange(len(index))[::-1]  # of several the last written stays: the first
    return index, place
