"""Training on incomplete data: a missing cell is never a source and never a true target, whatever stands in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from kernels.task_sampling import HIDDEN, TaskBank, write_bank
from pipeline.base.data_groups import TableParams, TasksParams
from pipeline.base.params import Params, merge_params
from pipeline.rows.schema import Schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.tables.codec import fit_codec
from pipeline.training.batches import Batch, BatchReader
from pipeline.training.build import build_step
from pipeline.training.schedule import noise_seed

FAMILIES = {"joint": 0.2, "beta_random": 0.4, "column_missing": 0.2, "permutation": 0.2}
NETWORK = {"width": 8, "depth": 1, "heads": 2, "noise_width": 4}
TRAIN = {"batch_size": 32, "minibatch_group": 4, "warmup_steps": 0, "penalty_interval": 1}
RECIPES = {
    "likelihood, binned": ("quantile", {"adversarial_weight": 0.0}, "one_by_one"),
    "adversarial, binned": ("quantile", {"straight_through": True}, "categorical_first"),
    "adversarial, standardised": ("standard", {"continuous_likelihood_weight": 1.0}, "categorical_first"),
    "communication, one pass": ("standard", {"communication_weight": 0.5, "penalty": "approximate"}, "one_pass"),
}


def incomplete_table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=200), "b": rng.choice(list("xyz"), 200), "c": rng.normal(size=200)})
    frame["d"] = frame["a"] + frame["c"]
    return frame.mask(rng.random(frame.shape) < 0.3).dropna(how="all")


def poisoned(batch: Batch, missing: np.ndarray, schema: Schema, poison: float) -> Batch:
    """`batch` with `poison` in every feature of a missing cell of its rows, and of the rows that lend a source."""
    of_feature = torch.from_numpy(missing[:, schema.token_of_feature])
    donor = torch.from_numpy((np.roll(missing, 1, 0) & missing)[:, schema.token_of_feature])
    return replace(
        batch,
        features=batch.features.masked_fill(of_feature, poison),
        donor=batch.donor.masked_fill(donor, poison),
    )


def trained(schema: Schema, reader: BatchReader, params: Params, poison: float) -> tuple[Tensor, Tensor]:
    """Flat weights of both networks after five steps on poisoned batches."""
    state = build_step(params, schema, torch.device("cpu"), seed=0)
    for step in range(5):
        missing = schema.missing(np.asarray(reader.rows[reader.row_indices(step)]))
        batch = reader(step)
        assert missing.any() and (batch.role.numpy()[missing] == HIDDEN).all()
        state(poisoned(batch, missing, schema, poison), step, noise_seed(0, step))
    return state.flat_g.values, state.flat_d.values


@pytest.mark.parametrize("recipe", RECIPES)
def test_poison_in_missing_cells_changes_no_weight(tmp_path, recipe):
    scaling, train, order = RECIPES[recipe]
    frame = incomplete_table()
    codec = fit_codec(frame, TableParams(scaling=scaling))
    params = merge_params({"network": NETWORK | {"order": order}, "train": TRAIN | train})
    tasks = TasksParams(weights=FAMILIES)
    write_bank(tmp_path / "bank", spec_from_schema(tasks, codec.schema), 512, 0)
    pairs = params.train.communication_weight > 0
    bank = TaskBank.open(tmp_path / "bank")
    reader = BatchReader(codec.rows(frame), codec.schema, bank, 32, 1, minibatch_group=4, pairs=pairs)
    clean = trained(codec.schema, reader, params, 0.0)
    assert all(torch.isfinite(w).all() for w in clean)
    for poison in (float("nan"), 1e9):
        for ours, theirs in zip(trained(codec.schema, reader, params, poison), clean, strict=True):
            assert torch.equal(ours, theirs), f"{recipe}: {poison} in missing cells reached a weight"
