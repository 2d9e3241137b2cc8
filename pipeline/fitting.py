"""Trains a generator on rows in memory, for estimators: the same step, batches and tasks as stage train.

    sampler = fit_generator(rows, schema, params, seed=0)

A share of the rows is held out; the averaged weights with the least held-out cross-entropy are kept, so that a small
table is not learnt by heart.

Shapes: N rows, C columns, P parameters.
"""

from __future__ import annotations

import tempfile
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from kernels.task_sampling import write_bank
from pipeline.batches import Batch, BatchReader
from pipeline.losses import likelihood_terms
from pipeline.params import Params
from pipeline.sampler import Sampler
from pipeline.schema import Schema
from pipeline.step import TrainingStep, build_step, noise_seed
from pipeline.tasks import spec_from_schema

VALIDATION_STREAM = 2
VALIDATION_BATCHES = 4  # tasks per held-out row grow as a table shrinks


@dataclass
class History:
    """held_out: (step, cross-entropy in nats a target) pairs. best_step: whose weights were kept."""

    held_out: list[tuple[int, float]] = field(default_factory=list)
    best_step: int = 0


def fit_generator(
    rows: np.ndarray,
    schema: Schema,
    params: Params,
    *,
    seed: int,
    validation_share: float = 0.1,
    validations: int = 25,
    progress: bool = True,
) -> tuple[Sampler, History]:
    """(sampler, history) of a generator trained on (N, C) rows, NaN where missing; rows without a known cell are left out.

    validation_share: of the rows, held out to choose the weights; 0 keeps the last. validations: how often.
    Equal arguments give equal weights. Raises ValueError for fewer than two rows with a known cell.
    """
    rows = rows[~np.isnan(rows).all(1)]
    if len(rows) < 2:
        raise ValueError(f"training needs at least 2 rows with a known cell. Got {len(rows)}.")
    order = np.random.default_rng([seed, 0xF17]).permutation(len(rows))
    held_out = rows[order[: round(validation_share * len(rows))]]
    train_rows = rows[order[len(held_out) :]]
    with tempfile.TemporaryDirectory(prefix="biglearn-") as folder, torch.random.fork_rng(devices=[]):
        reader = _reader(Path(folder) / "train", train_rows, schema, params, seed, 0)
        judge = _reader(Path(folder) / "validation", held_out, schema, params, seed, VALIDATION_STREAM)
        batches = [judge(i) for i in range(VALIDATION_BATCHES)] if len(held_out) else []
        state = build_step(params, schema, torch.device("cpu"), seed)
        history = _train(state, reader, batches, params, seed, validations, progress)
    generator = deepcopy(state.average).eval()
    return Sampler(generator, schema, batch_size=params.sample.batch_size), history


def _train(
    state: TrainingStep,
    reader: BatchReader,
    held_out: list[Batch],
    params: Params,
    seed: int,
    validations: int,
    progress: bool,
) -> History:
    history, best, kept = History(), float("inf"), state.flat_average.values.clone()
    steps, interval = params.train.steps, max(1, params.train.steps // validations)
    with tqdm(range(steps), "fit", unit="step", disable=not progress, mininterval=0.5, dynamic_ncols=True) as bar:
        for step in bar:
            state(reader(step), step, noise_seed(seed, step))
            if (step + 1) % interval and step + 1 < steps:
                continue
            loss = held_out_loss(state, held_out) if held_out else -float(step)
            history.held_out.append((step + 1, loss))
            bar.set_postfix(held_out=f"{loss:.3f}", refresh=False)
            if loss < best:
                best, history.best_step = loss, step + 1
                kept.copy_(state.flat_average.values)
    state.flat_average.values.copy_(kept)
    return history


@torch.inference_mode()
def held_out_loss(state: TrainingStep, batches: list[Batch]) -> float:
    """Mean cross-entropy (plus absolute error, where continuous) of the averaged generator on the batches' targets."""
    losses: list[Tensor] = []
    average = state.average.eval()
    for batch in batches:
        noise = torch.Generator().manual_seed(0)
        one_by_one = average.order == "one_by_one"
        raw = average.logits(batch.features, batch.role) if one_by_one else None
        raw = average(batch.features, batch.role, noise, batch.rank).raw if raw is None else raw
        losses.append(sum(likelihood_terms(raw, batch.features, batch.role, average.body.groups, 0.0)))
    return float(torch.stack(losses).mean())


def _reader(
    folder: Path, rows: np.ndarray, schema: Schema, params: Params, seed: int, stream: int
) -> BatchReader | None:
    if not len(rows):
        return None
    spec = spec_from_schema(params.tasks, schema)
    bank = write_bank(folder, spec, params.tasks.train_rows, seed, stream)
    group = params.train.minibatch_group
    pairs = params.train.communication_weight > 0
    return BatchReader(rows, schema, bank, params.train.batch_size, seed + stream, minibatch_group=group, pairs=pairs)
