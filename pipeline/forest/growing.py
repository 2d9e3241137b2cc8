"""Grows a forest on masked copies of the rows, its tasks drawn from the same families as the network's.

Every row meets several tasks (S, T). Each token of T gives its column's trees one sample: inputs from S alone, what
is hidden marked. The trees of all columns are those of a seed, whatever the number of threads.

Shapes: N rows, C columns, n samples, L tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from kernels.task_sampling import TARGET, TaskSpec, sample_tasks
from pipeline.forest.forest import KINDS, Column, Forest
from pipeline.forest.gaussian import Gaussian, fit_gaussian
from pipeline.forest.inputs import choices, inputs_of, level_order, places, without_own
from pipeline.forest.trees import grow
from pipeline.rows.gap_tokens import shown, with_missing
from pipeline.rows.schema import Schema

TASK_STREAM = 3
SAMPLES_A_ROW = 10.0  # of a column; a table of many rows has fewer, at most MOST_SAMPLES in all
CLIP = 4.0  # standard deviations beyond which splits do not look


@dataclass(frozen=True)
class Growth:
    """How a forest grows. trees: of a column, over its kinds. grown_leaf: least samples of a leaf; a question may stop
    above it, see Trees. leaf: where questions stop at first. most_samples: of a column."""

    trees: int = 90
    grown_leaf: int = 2
    leaf: int = 5
    most_samples: int = 16000


@dataclass(frozen=True)
class Samples:
    """Every row under every task. row: (n,) of the table; role: (n, L); seen: (n, L) tokens that are shown; place: (N, L); choice: (N, L) int64;
    values, means: (n, D) of the Gaussian, or None."""

    row: np.ndarray
    role: np.ndarray
    seen: np.ndarray
    place: np.ndarray
    choice: np.ndarray
    means: np.ndarray | None


def grow_forest(
    rows: np.ndarray,
    schema: Schema,
    spec: TaskSpec,
    *,
    seed: int,
    growth: Growth = Growth(),  # noqa: B008  (frozen)
    shares: list[dict[str, float]] | None = None,
    n_jobs: int = 1,
    progress: bool = False,
) -> Forest:
    """The forest of (N, C) rows, NaN where missing, each with a known cell. shares: per token, kind → weight; None: all
    kinds that apply, alike. Raises ValueError when a token is no choice, or for fewer than two rows.
    """
    if any(not t.discrete for t in schema.tokens):
        raise ValueError("a forest needs tokens that are categories or binned numbers. Got another.")
    if len(rows) < 2:
        raise ValueError(f"a forest needs at least 2 rows with a known cell. Got n_samples={len(rows)}.")
    order = np.random.default_rng([seed, 0xF0E5]).permutation(len(rows))
    rows = rows[order]
    gaussian = fit_gaussian(rows, schema)
    samples = _samples(rows, schema, spec, seed, growth, gaussian, n_jobs)
    columns = []
    bar = tqdm(range(schema.n_tokens), "forest", unit="column", disable=not progress, mininterval=0.5)
    for token in bar:
        kinds = _kinds(gaussian, schema, token) if shares is None else shares[token]
        columns.append(_column(samples, rows, schema, token, kinds, growth, gaussian, seed, n_jobs))
    return Forest(schema, tuple(columns), gaussian, threads=n_jobs)


def _kinds(gaussian: Gaussian | None, schema: Schema, token: int) -> dict[str, float]:
    """Every kind that applies to a token, with equal weights."""
    has_guess = gaussian is not None and gaussian.start[token + 1] > gaussian.start[token]
    applies = [k for k in KINDS if k == "raw" or (has_guess and (k == "guided" or schema.tokens[token].binned))]
    return dict.fromkeys(applies, 1.0 / len(applies))


def _samples(
    rows: np.ndarray, schema: Schema, spec: TaskSpec, seed: int, growth: Growth, gaussian: Gaussian | None, n_jobs: int
) -> Samples:
    share = max(0.05, (sample_tasks(spec, 1024, seed=seed, stream=TASK_STREAM + 1).role == TARGET).mean())
    wanted = min(SAMPLES_A_ROW * len(rows), growth.most_samples) / share
    total = max(len(rows), int(np.ceil(wanted)))
    row = np.arange(total) % len(rows)
    missing = schema.missing(rows)
    tasks = sample_tasks(spec, total, seed=seed, stream=TASK_STREAM)
    role = with_missing(tasks, missing[row], schema, seed=seed).role
    seen = shown(role, schema)
    means = None
    if gaussian is not None:
        means = gaussian.means(gaussian.read(rows, schema)[row], seen, n_jobs)
    return Samples(row, role, seen, places(rows, schema), choices(rows, schema), means)


def _column(
    samples: Samples,
    rows: np.ndarray,
    schema: Schema,
    token: int,
    shares: dict[str, float],
    growth: Growth,
    gaussian: Gaussian | None,
    seed: int,
    n_jobs: int,
) -> Column:
    t = schema.tokens[token]
    own = np.flatnonzero(samples.role[:, token] == TARGET)[: growth.most_samples]
    if len(own) < 2:  # hardly known at all: the marginal, by way of samples without sources
        own = np.flatnonzero(samples.choice[samples.row, token] >= 0)[:2]
    row, choice = samples.row[own], samples.choice[samples.row[own], token]
    orders = [
        None if other.binned else _order(samples, row, choice, schema, i, token)
        for i, other in enumerate(schema.tokens)
    ]
    visible = without_own(samples.seen[own], schema, token)
    plain = inputs_of(samples.place[row], visible, orders, None)
    value = np.zeros(len(own)) if not t.binned else (rows[row, t.columns[0]] - t.center) / t.scale
    grown = {}
    for number, (kind, share) in enumerate(shares.items()):
        inputs, aims, members = plain, choice, choice.astype(np.uint8 if t.width <= 256 else np.uint16)
        if t.binned:
            aims = np.stack([value.clip(-CLIP, CLIP), 2.0 * samples.place[row, token]], 1)
        if kind != "raw":
            guess = samples.means[own, gaussian.start[token] : gaussian.start[token + 1]]
            inputs = np.concatenate([plain, guess.astype(np.float32)], 1)
            if kind == "residual":
                rest = value - guess[:, 0]
                aims, members = rest.clip(-CLIP, CLIP)[:, None], rest.astype(np.float32)
        trees = max(1, round(share * growth.trees))
        own_seed = int(np.random.SeedSequence([seed, token, number]).generate_state(1)[0] >> 1)
        grown[kind] = grow(inputs, aims, members, trees=trees, leaf=growth.grown_leaf, seed=own_seed, n_jobs=n_jobs)
    return Column(orders, grown, dict(shares), growth.leaf)


def _order(samples: Samples, row: np.ndarray, choice: np.ndarray, schema: Schema, other: int, token: int) -> np.ndarray:
    """The order of the category `other` among the inputs of `token`; each row counts once."""
    _, first = np.unique(row, return_index=True)
    levels, told = samples.choice[row[first], other], choice[first]
    known = levels >= 0
    width = 0 if schema.tokens[token].binned else schema.tokens[token].width
    return level_order(levels[known], schema.tokens[other].width, told[known], width)
