"""Batches: a pure function of (seed, step), dealt out to processes; every epoch sees each row once; missing cells are neither S nor T."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels.task_sampling import HIDDEN, SOURCE, TARGET, TaskBank, write_bank
from pipeline.base.data_groups import TasksParams
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.training.batches import BatchReader, Counts

SCHEMA = image_label_schema(4, 4, 1, 2, 0.0, 16.0, ["a", "b", "c"])


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> TaskBank:
    folder = tmp_path_factory.mktemp("bank") / "train"
    write_bank(folder, spec_from_schema(TasksParams(), SCHEMA), 1024, 3, 0)
    return TaskBank.open(folder)


def table(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.integers(0, 17, (n, 16)), rng.integers(0, 3, (n, 1))], 1).astype(np.float32)


def reader(bank: TaskBank, rows: np.ndarray, **options) -> BatchReader:
    return BatchReader(rows, SCHEMA, bank, 8, seed=5, minibatch_group=4, **options)


def test_every_epoch_sees_each_row_once(bank):
    read = reader(bank, table(40))
    for epoch in range(3):
        seen = np.concatenate([read.row_indices(5 * epoch + i) for i in range(5)])
        assert sorted(seen) == list(range(40))


@pytest.mark.parametrize("missing_share", [0.0, 0.05])
def test_processes_share_out_the_batch_of_one(bank, missing_share):
    """Rows, tasks, donors and mismatch groups of two processes are those of a single one, whatever is missing."""
    rows = table(30)
    rows[np.random.default_rng(1).random(rows.shape) < missing_share] = np.nan
    for step in (0, 3, 7):
        whole = reader(bank, rows, pairs=True)(step)
        parts = [reader(bank, rows, pairs=True, process=p, processes=2)(step) for p in range(2)]
        places = torch.cat([p.places for p in parts])
        assert sorted(places.tolist()) == list(range(8)) and whole.places.tolist() == list(range(8))
        for name in ("features", "role", "family", "donor", "other_role"):
            assert torch.equal(torch.cat([getattr(p, name) for p in parts]), getattr(whole, name)[places]), name
        mismatched = [m for p in parts for m in p.places[p.mismatch_index].tolist()]
        assert sorted(mismatched) == sorted(whole.mismatch_index.tolist())


def test_counts_of_processes_add_up(bank):
    rows = table(30)
    parts = [reader(bank, rows, process=p, processes=2, least_source_share=0.2)(1) for p in range(2)]
    whole = reader(bank, rows)(1)
    counted = ((whole.role == SOURCE).sum(1) >= 0.2 * whole.role.shape[1])[:, None] & (whole.role == TARGET)
    assert sum(p.counts.sources for p in parts) == (whole.role == SOURCE).any(1).sum()
    assert sum(p.counts.discrete for p in parts) == counted[:, -1].sum()
    assert sum(p.counts.continuous for p in parts) == counted[:, :-1].sum()
    assert whole.counts == whole.relative == Counts()


def test_reading_a_step_depends_on_nothing_before_it(bank):
    rows = table(30)
    first, second = reader(bank, rows), reader(bank, rows)
    for step in range(4):
        first(step)
    for name in ("features", "role", "family", "donor", "mismatch_index"):
        assert torch.equal(getattr(first(9), name), getattr(second(9), name)), name


def test_families_lie_together_and_mismatch_rows_have_a_source(bank):
    batch = reader(bank, table(30))(2)
    assert (batch.family.diff() >= 0).all()
    assert len(batch.mismatch_index) % 4 == 0
    assert (batch.role[batch.mismatch_index] == SOURCE).any(1).all()
    groups = batch.mismatch_index.view(-1, 4) // 4
    assert (groups == groups[:, :1]).all(), "a group of mismatched rows must come from one minibatch group"
    has_source = (batch.role == SOURCE).any(1)
    assert torch.equal(batch.mismatch_index[batch.mismatch_place[has_source]], torch.nonzero(has_source).flatten())
    assert set(batch.mismatch_index.tolist()) == set(torch.nonzero((batch.role == SOURCE).any(1)).flatten().tolist())


@pytest.mark.parametrize("pairs", [False, True])
def test_missing_cells_are_hidden_and_donors_never_bring_them_in(bank, pairs):
    rows = table(30)
    rows[np.random.default_rng(1).random(rows.shape) < 0.05] = np.nan
    read = reader(bank, rows, pairs=pairs)
    for step in range(6):
        batch = read(step)
        missing = torch.from_numpy(SCHEMA.missing(rows[read.row_indices(step)]))
        order_free = {tuple(r) for r in missing.tolist()}
        hidden = {tuple(r) for r in (batch.role == HIDDEN).tolist()}
        assert all(any(all(h or not m for m, h in zip(one, two, strict=True)) for two in hidden) for one in order_free)
        assert torch.isfinite(batch.features).all() and torch.isfinite(batch.donor).all()
        if pairs:
            assert torch.equal(batch.role != HIDDEN, batch.other_role != HIDDEN)
            assert (batch.other_role == TARGET).any(1).all()
