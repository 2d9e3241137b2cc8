"""What network and forest say of held-out rows, and the choice of how to join them by a proper score.

The ranked probability score (CRPS of a number in standard deviations, half the Brier score of a category) of held-out
cells decides, column by column; each column's scores are pulled towards those of the whole table, the more the fewer
rows it has.

Shapes: Q questions (a held-out row under a task), L tokens, F features, n cells, K choices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernels.task_sampling import SOURCE, TARGET, TaskSpec, sample_tasks
from pipeline.estimators.pool import RULES, Pool, joined
from pipeline.forest.forest import Forest, smoothed
from pipeline.forest.inputs import choices
from pipeline.model.sampler import Sampler
from pipeline.rows.gap_tokens import shown, with_missing
from pipeline.rows.schema import Schema

QUESTION_STREAM = 5
MOST_QUESTIONS, QUESTIONS_A_ROW = 2048, 12
TABLE_ROWS = 100.0  # rows for which the whole table counts in the choice of a column
KIND_SETS = (
    ("raw", "guided", "residual"), ("raw",), ("guided",), ("residual",), ("raw", "guided"), ("guided", "residual")
)  # fmt: skip
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
POWERS = (0.7, 0.85, 1.0, 1.15, 1.3, 1.5, 1.75)
LEAVES = (2, 5, 10, 25)  # sizes of leaves that are compared; the second is where questions stop at first


TreeChoice = tuple[tuple[str, ...], int]  # kinds of trees, size of leaf


@dataclass(frozen=True)
class Answers:
    """One column's held-out cells. row: (n,) of the table. choice: (n,) true ones. network: (n, K) or None; forest: (kind,
    leaf) → (n, K), empty without one. spacing: (K − 1,) between the middles of bins, empty for a category. mass: (K,)."""

    row: np.ndarray
    choice: np.ndarray
    network: np.ndarray | None
    forest: dict[tuple[str, int], np.ndarray]
    spacing: np.ndarray
    mass: np.ndarray

    def told(self, kinds: tuple[str, ...], leaf: int) -> np.ndarray | None:
        """(n, K) what trees of those kinds say at that leaf, of those there are; raw ones where none is. None without a
        forest."""
        if not self.forest:
            return None
        used = [k for k in kinds if (k, leaf) in self.forest] or ["raw"]
        return smoothed(np.mean([self.forest[k, leaf] for k in used], axis=0), self.mass)

    def ranked(self, p: np.ndarray) -> float:
        """Mean ranked probability score of p (n, K)."""
        if not len(self.spacing):
            true = self.choice[:, None] == np.arange(p.shape[1])
            return float(((p - true) ** 2).sum(1).mean() / 2)
        reached = np.arange(p.shape[1] - 1) >= self.choice[:, None]
        return float((((p.cumsum(1)[:, :-1] - reached) ** 2) * self.spacing).sum(1).mean())


def ask(
    rows: np.ndarray, index: np.ndarray, schema: Schema, spec: TaskSpec, network: Sampler | None, forest: Forest | None,
    seed: int,
) -> list[Answers]:  # fmt: skip
    """What the models say of the rows `index` (n,) of (N, C) `rows`, each under several tasks: one Answers a token."""
    per_row = max(1, min(QUESTIONS_A_ROW, MOST_QUESTIONS // max(1, len(index))))
    row = np.repeat(index[:MOST_QUESTIONS], per_row)
    asked = rows[row]
    tasks = sample_tasks(spec, len(row), seed=seed, stream=QUESTION_STREAM)
    role = with_missing(tasks, schema.missing(asked), schema, seed=seed).role
    observed = (role == SOURCE)[:, schema.token_of_column]
    targets = (role == TARGET)[:, schema.token_of_column] if (schema.gap_tokens >= 0).any() else None
    words = None if network is None else network.probabilities(np.where(observed, asked, np.nan), observed, targets)
    seen = shown(role, schema)
    known = np.where(seen[:, schema.token_of_column], asked, np.nan).astype(np.float32)
    view = None if forest is None else forest.view(known, seen)
    truth, out = choices(asked, schema), []
    for i, token in enumerate(schema.tokens):
        cell = np.flatnonzero(role[:, i] == TARGET)
        own = slice(schema.offsets[i], schema.offsets[i + 1])
        told = {} if view is None else forest.by_kind(view, cell, i, list(forest.columns[i].trees), LEAVES)
        middle = np.empty(0)
        if token.binned:
            middle = (np.asarray(token.edges[:-1]) + np.asarray(token.edges[1:])) / 2 / token.scale
        mass = np.asarray(token.mass or np.ones(token.width))
        said = None if words is None else words[cell, own]
        out.append(Answers(row[cell], truth[cell, i], said, told, np.diff(middle), mass))
    return out


def merged(folds: list[list[Answers]]) -> list[Answers]:
    """The answers of several folds together, token by token."""
    out = []
    for parts in zip(*folds, strict=True):
        first = parts[0]
        network = None if first.network is None else np.concatenate([p.network for p in parts])
        forest = {k: np.concatenate([p.forest[k] for p in parts]) for k in first.forest}
        row, choice = (np.concatenate([getattr(p, n) for p in parts]) for n in ("row", "choice"))
        out.append(replace(first, row=row, choice=choice, network=network, forest=forest))
    return out


def pulled_choice(scores: np.ndarray, rows: np.ndarray, reference: int) -> np.ndarray:
    """(L,) the candidate of each column with the least score, from (L, k) mean scores, NaN in columns without cells.

    Scores count relative to those of candidate `reference`; the table's mean of them weighs as TABLE_ROWS rows do, a
    column's own as its number of distinct rows (L,)."""
    known = np.isfinite(scores).all(1)
    relative = np.ones_like(scores)
    relative[known] = scores[known] / scores[known][:, [reference]].clip(1e-9)
    relative = relative.clip(0.0, 10.0)
    weight = np.sqrt(np.where(known, rows, 0))
    table = (relative * weight[:, None]).sum(0) / max(weight.sum(), 1e-9) if known.any() else np.ones(scores.shape[1])
    own = np.where(known, rows, 0)[:, None]
    return (own * relative + TABLE_ROWS * table).argmin(1)


def choose_trees(answers: list[Answers]) -> list[TreeChoice]:
    """Per token the kinds of trees and the size of leaf whose mean has the best held-out score."""
    candidates = [(kinds, leaf) for leaf in LEAVES for kinds in KIND_SETS]
    scores = np.full((len(answers), len(candidates)), np.nan)
    for i, a in enumerate(answers):
        if len(a.row):
            scores[i] = [a.ranked(a.told(*c)) for c in candidates]
    best = pulled_choice(scores, distinct_rows(answers), candidates.index((KIND_SETS[0], LEAVES[1])))
    out = []
    for a, (kinds, leaf) in zip(answers, (candidates[b] for b in best), strict=True):
        out.append((tuple(k for k in kinds if (k, leaf) in a.forest) or ("raw",), leaf))
    return out


def choose_pool(answers: list[Answers], trees: list[TreeChoice]) -> tuple[Pool, dict[str, float]]:
    """(pool with weight and power of every token, mean held-out scores of network, forest, and what was chosen)."""
    both = answers[0].network is not None and bool(answers[0].forest)
    weights = WEIGHTS if both else (1.0,) if answers[0].network is not None else (0.0,)
    candidates = [(w, power) for w in weights for power in POWERS]
    reference = candidates.index((0.5 if both else weights[0], 1.0))
    rows, best = distinct_rows(answers), None
    for rule in RULES if both else RULES[:1]:
        scores = np.full((len(answers), len(candidates)), np.nan)
        for i, a in enumerate(answers):
            if len(a.row):
                told = a.told(*trees[i]) if a.forest else None
                scores[i] = [a.ranked(joined(a.network, told, w, power, rule)) for w, power in candidates]
        chosen = pulled_choice(scores, rows, reference)
        total = np.nanmean(scores[np.arange(len(answers)), chosen])
        if best is None or total < best[0] * 0.995:  # the later rule must gain
            best = total, rule, chosen, scores
    total, rule, chosen, scores = best
    weight, power = (np.array([candidates[c][k] for c in chosen]) for k in (0, 1))
    said = {"chosen": float(total)}
    if both:
        ends = {"network": (1.0, 1.0), "forest": (0.0, 1.0), "half": (0.5, 1.0)}
        said |= {name: float(np.nanmean(scores[:, candidates.index(c)])) for name, c in ends.items()}
    return Pool(weight, power, np.ones(len(answers)), rule), said


def distinct_rows(answers: list[Answers]) -> np.ndarray:
    """(L,) how many rows of the table each column's cells come from."""
    return np.array([len(np.unique(a.row)) for a in answers])
