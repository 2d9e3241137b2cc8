"""Fits network, forest and their mixture to rows in memory, for BigLearnImputer.

    sampler, history, report = fit_model(rows, schema, params, work, model="auto", seed=0)

Held-out rows judge both models at the same cells. A small table is cut into folds: each network leaves another fold out,
and so does the forest that is compared with it; the forest that is kept sees every row. A large table has one held-out
part, and its forest is grown once, on the rest.

Shapes: N rows, C columns, L tokens.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from kernels.task_sampling import TaskSpec
from pipeline.base.beside import Beside
from pipeline.base.params import Params, to_dict
from pipeline.estimators.gap_mixture import mixture_of
from pipeline.estimators.held_out import LEAVES, Answers, TreeChoice, ask, choose_pool, choose_trees, merged
from pipeline.estimators.mixture import MixtureSampler
from pipeline.estimators.pool import Pool
from pipeline.estimators.presets import LARGE_ROWS, Work, forest_tasks
from pipeline.estimators.spread import Spread, calibrated_share
from pipeline.forest.forest import KINDS, Forest
from pipeline.forest.growing import Growth, grow_forest
from pipeline.model.sampler import Sampler
from pipeline.rows.schema import Schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.training.fitting import History, fit_generator

JUDGED = {"copied": 0.7, "beta_random": 0.3}  # tasks by which models are judged: mostly gaps as the table has them
FOREST_TIME = 0.4  # share of a time limit that the final forest may take
FEWEST_TREES, TIMED_TREES = 9, 3
SHARED_SIZE = 2**17  # numbers in a layer of a step from which threads gain more than they wait
FEWEST_HELD_OUT = 8  # rows; with fewer nothing is chosen


@dataclass(frozen=True)
class Fold:
    """held_out: (N,) bool rows that `network` and `pilot` have not seen."""

    held_out: np.ndarray
    network: Sampler | None
    pilot: Forest | None


@dataclass(frozen=True)
class Trees:
    """What a forest brings without a network. told: answers of its pilots, None where nothing is chosen."""

    pilots: list[Forest]
    told: list[Answers] | None
    choice: list[TreeChoice]
    forest: Forest


class Fit:
    """One fit in its parts; `fit_model` is the way in."""

    def __init__(
        self, rows: np.ndarray, schema: Schema, params: Params, work: Work, *, model: str, seed: int, n_jobs: int,
        time_limit_s: float, progress: bool,
    ) -> None:  # fmt: skip
        self.rows, self.schema, self.params, self.work = rows, schema, params, work
        self.model, self.seed, self.n_jobs, self.progress = model, seed, n_jobs, progress
        self.limit_s, self.started = time_limit_s, time.perf_counter()
        missing = schema.missing(rows)
        self.spec: TaskSpec = spec_from_schema(forest_tasks(params.tasks, missing), schema, missing)
        asked = replace(params.tasks, weights=dict(JUDGED), source_beta=list(params.tasks.source_beta))
        self.judged: TaskSpec = spec_from_schema(asked, schema, missing)
        self.large = len(rows) >= LARGE_ROWS
        self.histories: list[History] = []
        self.seconds: dict[str, float] = {}

    def run(self) -> tuple[MixtureSampler, History, dict]:
        """(sampler, history of the first network, report)."""
        folds, answers, beside = self._models()
        weight = {"network": 1.0, "forest": 0.0}.get(self.model, 0.5)
        pool, scores, spread = Pool.plain(self.schema.n_tokens, weight), {}, {}
        trees: list[TreeChoice] = [(KINDS, LEAVES[1])] * self.schema.n_tokens
        if answers is not None:
            trees = choose_trees(answers) if answers[0].forest else trees
            pool, scores = choose_pool(answers, trees)
            says_gap = [bool(t.gap_of) for t in self.schema.tokens]  # shares are wanted as they are, not sharpened
            pool = replace(pool, power=np.where(says_gap, 1.0, pool.power))
            pool, spread = self._spread(folds, trees, pool)
        forest = None  # where no column asks it
        if self.model != "network" and (pool.weight < 1).any():
            forest = self._forest(folds, trees) if beside is None else beside.forest
        used = tuple(f.network for f in folds if f.network is not None) if (pool.weight > 0).any() else ()
        size, network = self.params.sample.batch_size, to_dict(self.params.network)
        sampler = mixture_of(self.schema, used, forest, pool, network=network, batch_size=size)
        history = self.histories[0] if self.histories else History()
        return sampler, history, self._report(answers, trees, pool, scores, spread)

    def _models(self) -> tuple[list[Fold], list[Answers] | None, Trees | None]:
        """(folds, what their models say of held-out rows, the trees where they grew beside the networks)."""
        parts = self._parts()
        if not self._side_by_side(parts):
            folds = [self._fold(i, held_out) for i, held_out in enumerate(parts)]
            return folds, self._answers(folds), None
        with Beside(lambda: self._trees_alone(parts)) as trees_of:
            networks = [self._network(i, held_out, beside=True) for i, held_out in enumerate(parts)]
            trees = trees_of()
        folds = [Fold(*f) for f in zip(parts, networks, trees.pilots, strict=True)]
        words = self._answers([replace(f, pilot=None) for f in folds])
        return folds, [replace(w, forest=t.forest) for w, t in zip(words, trees.told, strict=True)], trees

    def _side_by_side(self, parts: list[np.ndarray]) -> bool:
        """Whether the forest of a small table grows in a thread beside the networks, whose steps are too small for two."""
        both = self.model == "auto" and self.n_jobs > 1 and not self.limit_s
        return both and not self.large and parts[0].sum() >= FEWEST_HELD_OUT

    def _trees_alone(self, parts: list[np.ndarray]) -> Trees:
        """Pilots, choice and forest as they are without a network: what run does one after the other."""
        pilots = [self._pilot(held_out, beside=True) for held_out in parts]
        told = self._answers([Fold(h, None, p) for h, p in zip(parts, pilots, strict=True)])
        choice = choose_trees(told)
        forest = self._forest([Fold(parts[0], None, pilots[0])], choice, beside=True)
        return Trees(pilots, told, choice, forest)

    # -- parts ---------------------------------------------------------------------------------------
    def _parts(self) -> list[np.ndarray]:
        """(N,) bool held-out rows of each fold; none where the share is 0."""
        n, work = len(self.rows), self.work
        order = np.random.default_rng([self.seed, 0xF17]).permutation(n)
        size = min(round(work.held_out_share * n), n // 2)
        out = []
        for i in range(work.networks if self.model != "forest" or size else 1):
            held_out = np.zeros(n, bool)
            held_out[order[i * size : (i + 1) * size]] = True
            out.append(held_out)
        return out

    def _fold(self, i: int, held_out: np.ndarray) -> Fold:
        judged = self.model != "network" and held_out.sum() >= FEWEST_HELD_OUT
        pilot = self._pilot(held_out) if judged else None
        return Fold(held_out, self._network(i, held_out) if self.model != "forest" else None, pilot)

    def _pilot(self, held_out: np.ndarray, beside: bool = False) -> Forest:
        """A forest that has not seen the held-out rows: of a large table the one that is kept."""
        started, rows = time.perf_counter(), self.rows[~held_out]
        trees = self._trees_in_time(rows) if self.large else self.work.pilot_trees
        pilot = self._grow(rows, Growth(trees, most_samples=self.work.most_samples), None, beside)
        self.seconds["pilot"] = self.seconds.get("pilot", 0.0) + time.perf_counter() - started
        return pilot

    def _trees_in_time(self, rows: np.ndarray) -> int:
        """Trees a column of a large table's forest; under a time limit as many as a few trees say that it allows."""
        if not self.limit_s:
            return self.work.trees
        started = time.perf_counter()
        self._grow(rows, Growth(TIMED_TREES, most_samples=self.work.most_samples), None)
        a_tree = (time.perf_counter() - started) / TIMED_TREES
        return int(np.clip(FOREST_TIME * self.limit_s / a_tree, FEWEST_TREES, self.work.trees))

    def _network(self, i: int, held_out: np.ndarray, beside: bool = False) -> Sampler:
        """Network number i, trained on the rows that are not held out; beside: a forest grows at the same time."""
        started, work, before = time.perf_counter(), self.work, torch.get_num_threads()
        size = work.batch_size * self.schema.n_tokens * work.width
        torch.set_num_threads(max(1, before - beside) if size >= SHARED_SIZE else 1)
        try:
            network, history = fit_generator(
                self.rows,
                self.schema,
                self.params,
                seed=self.seed + i,
                held_out=held_out,
                validation_share=work.held_out_share,
                validations=int(np.clip(work.steps // 15, 8, 25)),
                patience=6 if work.steps >= 300 else 4,
                time_limit_s=self._share_of_limit(i),
                progress=self.progress,
            )
        finally:
            torch.set_num_threads(before)
        self.histories.append(history)
        self.seconds["network"] = self.seconds.get("network", 0.0) + time.perf_counter() - started
        return network

    def _grow(
        self, rows: np.ndarray, growth: Growth, shares: list[dict[str, float]] | None, beside: bool = False
    ) -> Forest:
        """beside: a network is trained at the same time, has a core of its own and shows its progress."""
        jobs, shown = max(1, self.n_jobs - beside), self.progress and not beside
        return grow_forest(
            rows, self.schema, self.spec, seed=self.seed, growth=growth, shares=shares, n_jobs=jobs, progress=shown
        )

    def _share_of_limit(self, i: int) -> float:
        """Seconds for network i under the time limit; 0: no limit."""
        if not self.limit_s:
            return 0.0
        kept = 0.0 if self.model == "network" or self.large else FOREST_TIME * self.limit_s
        left = self.limit_s - kept - (time.perf_counter() - self.started)
        return max(0.05 * self.limit_s, left / (self.work.networks - i))

    def _answers(self, folds: list[Fold]) -> list[Answers] | None:
        if folds[0].held_out.sum() < FEWEST_HELD_OUT:
            return None
        started = time.perf_counter()
        asked = [
            ask(self.rows, np.flatnonzero(f.held_out), self.schema, self.judged, f.network, f.pilot, self.seed + i)
            for i, f in enumerate(folds)
        ]
        self.seconds["judge"] = time.perf_counter() - started
        return merged(asked)

    def _spread(self, folds: list[Fold], trees: list[TreeChoice], pool: Pool) -> tuple[Pool, dict[str, float]]:
        """(pool with the central share from which numbers are drawn, what was found on the held-out rows)."""
        started, parts = time.perf_counter(), []
        for fold in folds:
            forest = None if fold.pilot is None else fold.pilot.limited_to(trees)
            networks = () if fold.network is None else (fold.network,)
            parts.append((mixture_of(self.schema, networks, forest, pool), self.rows[fold.held_out]))
        asked = replace(self.params.tasks, weights={"copied": 1.0, "column_missing": 1e-6})
        spec = spec_from_schema(asked, self.schema, self.schema.missing(self.rows))
        share, found = calibrated_share(Spread(parts, spec, self.seed))
        self.seconds["spread"] = time.perf_counter() - started
        return replace(pool, share=np.array([share if t.binned else 1.0 for t in self.schema.tokens])), found

    def _forest(self, folds: list[Fold], trees: list[TreeChoice], beside: bool = False) -> Forest:
        """The forest that is kept."""
        started = time.perf_counter()
        if self.large and folds[0].pilot is not None:
            return folds[0].pilot.limited_to(trees)
        shares = None if folds[0].pilot is None else [dict.fromkeys(k, 1.0 / len(k)) for k, _ in trees]
        count = self.work.trees
        if self.limit_s and folds[0].pilot is not None:
            a_tree = self.seconds["pilot"] / len(folds) / self.work.pilot_trees * 2
            left = max(self.limit_s - (time.perf_counter() - self.started), 0.1 * self.limit_s)
            count = int(np.clip(left / a_tree, FEWEST_TREES, count))
        forest = self._grow(self.rows, Growth(count, most_samples=self.work.most_samples), shares, beside)
        forest = forest if shares is None else forest.limited_to(trees)
        self.seconds["forest"] = time.perf_counter() - started
        return forest

    def _report(
        self, answers: list[Answers] | None, trees: list[TreeChoice], pool: Pool, scores: dict, spread: dict
    ) -> dict:
        why = "no held-out rows: both models count alike" if self.model == "auto" else f"asked for: {self.model}"
        if answers is not None and self.model == "auto":
            told = ", ".join(f"{k} {v:.4f}" for k, v in scores.items())
            why = f"held-out ranked probability score of {max(len(np.unique(a.row)) for a in answers)} rows: {told}"
        columns = {
            t.name: {"network_weight": float(w), "power": float(p)}
            | ({} if self.model == "network" else {"trees": list(kinds), "leaf": leaf})
            for t, w, p, (kinds, leaf) in zip(self.schema.tokens, pool.weight, pool.power, trees, strict=True)
        }
        return {
            "model": self.model, "why": why, "rule": pool.rule, "scores": scores, "spread": spread, "columns": columns,
            "networks": len(self.histories), "steps": [h.held_out[-1][0] for h in self.histories if h.held_out],
            "seconds": {k: round(v, 2) for k, v in self.seconds.items()},
        }  # fmt: skip


def fit_model(
    rows: np.ndarray,
    schema: Schema,
    params: Params,
    work: Work,
    *,
    model: str = "auto",
    seed: int = 0,
    n_jobs: int = 1,
    time_limit_s: float = 0.0,
    progress: bool = True,
) -> tuple[MixtureSampler, History, dict]:
    """(sampler, history, report) of (N, C) rows, NaN where missing; rows without a known cell are left out.

    model: auto, network or forest. Equal arguments give equal models, whatever n_jobs, a time limit aside. report: what was chosen and
    why: model, scores, per column network_weight, power and kinds of trees, spread, seconds.
    Raises ValueError for fewer than two rows with a known cell.
    """
    rows = rows[~np.isnan(rows).all(1)]
    if len(rows) < 2:
        raise ValueError(f"training needs at least 2 rows with a known cell. Got n_samples={len(rows)}.")
    fit = Fit(
        rows, schema, params, work, model=model, seed=seed, n_jobs=n_jobs, time_limit_s=time_limit_s, progress=progress
    )
    return fit.run()
