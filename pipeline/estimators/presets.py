"""How much work a fit may do: presets by name, and what a table of so many rows gets of them.

Rows decide: small tables get few steps, several networks on different folds and a forest that is checked across folds;
large ones get one network, more steps and more samples a column.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from pipeline.base.data_groups import TasksParams
from pipeline.forest.growing import SAMPLES_A_ROW
from pipeline.forest.trees import MOST_TRIED

MODELS = ("auto", "network", "forest")
SHARPNESS = {"honest": 0.0, "sharp": 0.3}  # spread → share of the calibrated distribution that draws leave out
TASKS = {
    "weights": {"copied": 0.4, "beta_random": 0.45, "column_missing": 0.1, "joint": 0.05},
    "source_beta": [2.0, 1.0],
}  # of an imputer: gaps as other rows have them, and any part from any other
FOREST_WEIGHTS = {"bert": 0.7, "beta_random": 0.15, "copied": 0.1, "column_missing": 0.03, "joint": 0.02}
FOREST_TARGET_SHARE = 0.15  # of the cells, targets in bert: the rest is given
USUAL_GAPS = 0.02  # share of missing cells from which on FOREST_WEIGHTS count in full
SMALL_ROWS, LARGE_ROWS = 400, 2000
FEWEST_TREES = 24  # of a column, three kinds together
FEWEST_SAMPLES = 1500  # of a column, where rows give as many
MEMBER_INPUTS = 1000  # bounds the work of wide tables: samples · trees · columns · inputs, over least_members
MEMBERS_A_ROW = 600  # samples times trees of a column that a row adds: a large table deserves a large forest
SMALL_SHARE = 0.2  # of a small table that each network leaves out


@dataclass(frozen=True)
class Preset:
    """networks: of a small table. steps: of a network, at most. width, depth: of it. trees: of a column, in the end.
    pilot_trees: of a column while kinds of trees are compared on held-out rows. most_samples: of a column. least_members,
    most_members: samples times trees of a column, MEMBERS_A_ROW in between: a large table gets fewer trees on more samples."""

    networks: int
    steps: int
    width: int
    depth: int
    trees: int
    pilot_trees: int
    most_samples: int
    least_members: int
    most_members: int


PRESETS = {
    "fast": Preset(
        networks=1, steps=500, width=48, depth=2, trees=45, pilot_trees=18, most_samples=8000,
        least_members=200_000, most_members=200_000,
    ),
    "balanced": Preset(
        networks=2, steps=1200, width=64, depth=2, trees=90, pilot_trees=24, most_samples=50000,
        least_members=600_000, most_members=1_800_000,
    ),
    "best": Preset(
        networks=4, steps=3000, width=96, depth=3, trees=240, pilot_trees=60, most_samples=100000,
        least_members=4_000_000, most_members=8_000_000,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What one table gets: networks, steps, batch_size, learning_rate and held_out_share of a network, width, depth;
    trees, pilot_trees and most_samples of a column."""

    networks: int
    steps: int
    batch_size: int
    learning_rate: float
    held_out_share: float
    width: int
    depth: int
    trees: int
    pilot_trees: int
    most_samples: int


def work_for(rows: int, columns: int, preset: str, validation_share: float, asked: dict[str, float | None]) -> Work:
    """The work of a table of so many rows and columns. asked: what the user set of steps, batch_size, learning_rate, width, depth,
    max_epochs; None: as the preset says."""
    chosen, small = PRESETS[preset], rows <= SMALL_ROWS
    batch = _given(asked["batch_size"], 64 if rows < LARGE_ROWS else 256)
    steps = _given(asked["steps"], min(chosen.steps, max(150, chosen.steps * rows // 960)))
    if asked["max_epochs"] is not None:
        steps = min(steps, max(1, asked["max_epochs"] * rows // max(1, batch)))
    share = max(validation_share, SMALL_SHARE) if validation_share > 0 and small else validation_share
    columns = max(1, columns)
    room = chosen.least_members * MEMBER_INPUTS / (FEWEST_TREES * columns * min(columns, MOST_TRIED))
    most = int(min(chosen.most_samples, max(FEWEST_SAMPLES, room)))
    samples = max(1, min(SAMPLES_A_ROW * rows, most))
    members = np.clip(MEMBERS_A_ROW * rows, chosen.least_members, chosen.most_members)
    return Work(
        networks=chosen.networks if small and share > 0 else 1,
        steps=steps,
        batch_size=batch,
        learning_rate=_given(asked["learning_rate"], 2e-3 if batch < 256 else 3e-3),
        held_out_share=share,
        width=_given(asked["width"], chosen.width),
        depth=_given(asked["depth"], chosen.depth),
        trees=int(np.clip(members // samples, FEWEST_TREES, chosen.trees)),
        pilot_trees=chosen.pilot_trees,
        most_samples=most,
    )


def forest_tasks(tasks: TasksParams, missing: np.ndarray) -> TasksParams:
    """The tasks of a forest beside a network that has `tasks`, for a table whose missing (N, L) tokens are given.

    Rows with gaps of their own have been thinned once, and rows to fill show at least as much: most of the forest's tasks
    hide few further cells. A table without a gap does not say what it will be asked, so its tasks stay broad."""
    part = min(1.0, float(missing.mean()) / USUAL_GAPS)
    weights = {
        name: (1 - part) * tasks.weights.get(name, 0.0) + part * FOREST_WEIGHTS.get(name, 0.0)
        for name in tasks.weights | FOREST_WEIGHTS
    }
    return replace(tasks, weights={k: w for k, w in weights.items() if w > 0}, bert_target_share=FOREST_TARGET_SHARE)


def _given(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def check_choices(model: str, preset: str, spread: str, time_limit_s: float | None) -> None:
    """Raises ValueError naming the argument, before any work."""
    for name, value, known in (
        ("model", model, MODELS),
        ("preset", preset, tuple(PRESETS)),
        ("spread", spread, tuple(SHARPNESS)),
    ):
        if value not in known:
            raise ValueError(f"'{name}' must be one of {', '.join(known)}. Got {value!r}.")
    if time_limit_s is not None and not (isinstance(time_limit_s, Real) and time_limit_s > 0):
        raise ValueError(f"'time_limit_s' must be None or a number of seconds above 0. Got {time_limit_s!r}.")
