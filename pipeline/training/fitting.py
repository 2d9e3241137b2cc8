"""Trains a generator on rows in memory, for estimators: the same step, batches and tasks as stage train.

    sampler = fit_generator(rows, schema, params, seed=0)

A share of the rows is held out; the averaged weights with the least held-out score are kept, so that a small table is
not learnt by heart. The score is the ranked probability score: cross-entropy punishes rare confident misses so much that
it would keep blunt weights.

Shapes: N rows, C columns, P parameters.
"""

from __future__ import annotations

import tempfile
import time
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from kernels.task_sampling import write_bank
from pipeline.base.params import Params
from pipeline.base.streams import progress as bar_of
from pipeline.model.sampler import Sampler
from pipeline.rows.schema import Schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.training.batches import Batch, BatchReader
from pipeline.training.build import build_step
from pipeline.training.clock import Clock
from pipeline.training.schedule import noise_seed
from pipeline.training.step import TrainingStep
from pipeline.training.trust import Judge

VALIDATION_STREAM = 2
VALIDATION_TASKS, TASKS_A_ROW = 1024, 20  # on held-out rows: so many in all, and of one row at most


@dataclass
class History:
    """held_out: (step, ranked probability score a target) pairs. best_step: whose weights were kept."""

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
    patience: int = 6,
    progress: bool = True,
    held_out: np.ndarray | None = None,
    time_limit_s: float = 0.0,
) -> tuple[Sampler, History]:
    """(sampler, history) of a generator trained on (N, C) rows, NaN where missing; rows without a known cell are left out.

    validation_share: of the rows, held out to choose the weights and the trust of each token; 0 keeps the last weights.
    validations: how often. patience: so many in a row without a better score end the training. held_out: (N,) bool, the
    rows held out, in place of a share of them. time_limit_s: seconds after which training ends, its schedule following
    the clock; 0: none. Equal arguments give equal weights, a time limit aside. Raises ValueError for fewer than two rows with a known cell, and for a validation of any order but
    one_by_one, whose outputs alone are distributions.
    """
    if validation_share > 0 and params.network.order != "one_by_one":
        raise ValueError(f"'validation_share' must be 0 unless network.order is one_by_one. Got {validation_share}.")
    known = ~np.isnan(rows).all(1)
    if known.sum() < 2:
        raise ValueError(f"training needs at least 2 rows with a known cell. Got n_samples={int(known.sum())}.")
    if held_out is None:
        order = np.random.default_rng([seed, 0xF17]).permutation(np.flatnonzero(known))
        judged, trained = np.split(order, [round(validation_share * len(order))])
    else:
        judged, trained = np.flatnonzero(known & held_out), np.flatnonzero(known & ~held_out)
    gaps = schema.missing(rows[trained])
    with tempfile.TemporaryDirectory(prefix="biglearn-") as folder, torch.random.fork_rng(devices=[]):
        reader = _reader(Path(folder) / "train", rows[trained], gaps, schema, params, seed, 0)
        judge = _reader(Path(folder) / "validation", rows[judged], gaps, schema, params, seed, VALIDATION_STREAM)
        batches = []
        if judge is not None:
            batches = [judge(i) for i in range(-(-_validation_tasks(len(judged)) // params.train.batch_size))]
        state = build_step(params, schema, torch.device("cpu"), seed)
        clock = Clock(params.train.steps, time_limit_s, time.perf_counter())
        history = _train(state, reader, batches, params, seed, validations, patience, progress, clock)
    generator = deepcopy(state.average).eval()
    return Sampler(generator, schema, batch_size=params.sample.batch_size), history


def _train(
    state: TrainingStep,
    reader: BatchReader,
    held_out: list[Batch],
    params: Params,
    seed: int,
    validations: int,
    patience: int,
    progress: bool,
    clock: Clock,
) -> History:
    history, best, kept, kept_trust = History(), float("inf"), state.flat_average.values.clone(), None
    judge = Judge(state.average, held_out) if held_out else None
    steps, interval = params.train.steps, max(1, params.train.steps // validations)
    with bar_of(range(steps), "fit", unit="step", disable=not progress, mininterval=0.5) as bar:
        for step in bar:
            state(reader(step), step, noise_seed(seed, step), clock.share(step))
            over = clock.is_over(step + 1)
            if (step + 1) % interval and not over:
                continue
            trust, loss = judge(state.average) if judge else (None, -float(step))
            history.held_out.append((step + 1, loss))
            bar.set_postfix(held_out=f"{loss:.3f}", refresh=False)
            if loss < best:
                best, history.best_step = loss, step + 1
                kept.copy_(state.flat_average.values)
                kept_trust = trust
            elif step + 1 - history.best_step >= patience * interval:
                break
            if over:
                break
    state.flat_average.values.copy_(kept)
    if kept_trust is not None:
        state.average.trust.copy_(kept_trust)
    return history


def _validation_tasks(rows: int) -> int:
    return min(VALIDATION_TASKS, TASKS_A_ROW * rows)


def _reader(
    folder: Path, rows: np.ndarray, gaps: np.ndarray, schema: Schema, params: Params, seed: int, stream: int
) -> BatchReader | None:
    if not len(rows):
        return None
    spec = spec_from_schema(params.tasks, schema, gaps)
    bank = write_bank(folder, spec, params.tasks.train_rows, seed, stream, threads=torch.get_num_threads())
    group = params.train.minibatch_group
    pairs = params.train.communication_weight > 0
    return BatchReader(rows, schema, bank, params.train.batch_size, seed + stream, minibatch_group=group, pairs=pairs)
