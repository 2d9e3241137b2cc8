"""What a table's model says of single cells given the rest of their rows, held against held-out rows: whether its
probabilities are right, and whether they find wrong cells.

    found = cell_scores(model, rows, seed=0)     # cell_interval_50 …, cell_log_score …, wrong_cells …
    found.metrics(); found.levels(); found.places

* A number's place is the probability below it (probability integral transform; inside its bin linear, in an atom drawn): of
  a calibrated model places are uniform, and a central interval of level q holds a share q of them.
* log score: mean of −log p of the cell's bin or category, nats, beside that of the column's own shares (the marginal).
* A category's most probable word is right as often as its probability says.
* Wrong cells: 2 % of the cells get the value of another row; average precision of `surprise(against="column")` over all
  known cells, beside the share of wrong cells, which chance reaches.

Shapes: N rows, C columns, n known cells of a column, W choices of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from pipeline.asking.passes import UNSEEN, choices_of
from pipeline.asking.surprise import cell_probabilities_of_all, surprise
from pipeline.rows.schema import Schema

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.8, 0.9, 0.95)
SHOWN_LEVELS = (0.5, 0.8, 0.95)
SWAPPED_SHARE = 0.02
MOST_ROWS, LEAST_ROWS, MOST_CELLS = 2000, 64, 60_000


@dataclass
class CellScores:
    """places: (P,) of numbers, 0…1. own, marginal: (M,) −log p of cells. sure, right: (Q,) of categories. precision, by_chance:
    of wrong cells; NaN where none was made."""

    places: np.ndarray = field(default_factory=lambda: np.empty(0))
    own: np.ndarray = field(default_factory=lambda: np.empty(0))
    marginal: np.ndarray = field(default_factory=lambda: np.empty(0))
    sure: np.ndarray = field(default_factory=lambda: np.empty(0))
    right: np.ndarray = field(default_factory=lambda: np.empty(0))
    precision: float = np.nan
    by_chance: float = np.nan

    def covered(self, level: float) -> float:
        """Share of the numbers inside their central interval of that level."""
        return float((np.abs(self.places - 0.5) <= level / 2).mean())

    def levels(self) -> list[dict[str, float]]:
        """Lines of nominal level and share covered; [] without numbers."""
        return [{"level": q, "covered": self.covered(q)} for q in LEVELS] if len(self.places) else []

    def metrics(self) -> dict[str, float]:
        """Name → value, of those scores that the table allows."""
        out = {}
        if len(self.places):
            out |= {f"cell_interval_{100 * q:.0f}": self.covered(q) for q in SHOWN_LEVELS}
            steps = np.arange(1, len(self.places) + 1) / len(self.places)
            out["cell_place_distance"] = float(np.abs(np.sort(self.places) - steps).max())
        if len(self.own):
            out |= {"cell_log_score": float(self.own.mean()), "cell_log_score_marginal": float(self.marginal.mean())}
        if len(self.sure):
            out |= {"cell_confidence": float(self.sure.mean()), "cell_confidence_right": float(self.right.mean())}
        if np.isfinite(self.precision):
            out |= {"wrong_cells": self.precision, "wrong_cells_chance": self.by_chance}
        return out


def cell_scores(model: Any, rows: np.ndarray, seed: int) -> CellScores:
    """Scores of a model (its schema, and probabilities of choices) on (N, C) held-out rows, NaN where missing; the first
    MOST_ROWS, fewer of wide tables."""
    rows = rows[: int(np.clip(MOST_CELLS // rows.shape[1], LEAST_ROWS, MOST_ROWS))].astype(np.float32)
    rng, parts = np.random.default_rng([seed, 0xCE11]), []
    for column, p in cell_probabilities_of_all(model, rows):
        known = ~np.isnan(rows[:, column])
        if known.any():
            parts.append(_of_column(model.schema, column, rows[known, column], p[known], rng))
    joined = {}
    for name in ("places", "own", "marginal", "sure", "right"):
        joined[name] = np.concatenate([np.empty(0), *(p[name] for p in parts if name in p)])
    wrong_rows, wrong = swapped(rows, rng)
    known = ~np.isnan(rows)
    if not wrong.any():
        return CellScores(**joined)
    odd = surprise(model, wrong_rows, against="column")
    precision = float(average_precision_score(wrong[known], odd[known]))
    return CellScores(**joined, precision=precision, by_chance=float(wrong[known].mean()))


def swapped(rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """((N, C) rows in which SWAPPED_SHARE of the known cells of each column have another row's value, (N, C) bool: those
    that differ from before)."""
    out, wrong = rows.copy(), np.zeros(rows.shape, bool)
    for column in range(rows.shape[1]):
        known = np.flatnonzero(~np.isnan(rows[:, column]))
        chosen = known[rng.random(len(known)) < SWAPPED_SHARE]
        if len(chosen):
            out[chosen, column] = rows[rng.choice(known, len(chosen)), column]
            wrong[chosen, column] = out[chosen, column] != rows[chosen, column]
    return out, wrong


def _of_column(
    schema: Schema, column: int, codes: np.ndarray, p: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The parts of CellScores of one column's known codes (n,) with probabilities p (n, W)."""
    token = schema.tokens[schema.token_of_column[column]]
    choice = choices_of(schema, column, codes)
    own = np.take_along_axis(p, choice[:, None], 1)[:, 0]
    mass = np.asarray(token.mass or np.ones(token.width), float)
    share = (mass / mass.sum())[choice]
    out = {"own": -np.log(np.maximum(own, UNSEEN)), "marginal": -np.log(np.maximum(share, UNSEEN))}
    if not token.binned:
        return out | {"sure": p.max(1), "right": (p.argmax(1) == choice).astype(float)}
    edges = np.asarray(token.edges, float)
    low, high = edges[choice], edges[choice + 1]
    inside = np.where(high > low, (codes - low) / np.where(high > low, high - low, 1.0), rng.random(len(codes)))
    below = np.take_along_axis(np.cumsum(p, 1), choice[:, None], 1)[:, 0] - own
    return out | {"places": (below + inside.clip(0, 1) * own).clip(0, 1)}
