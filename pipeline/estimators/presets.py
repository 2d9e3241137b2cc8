"""How much work a fit may do: presets by name, and what a table of so many rows gets of them.

Rows decide: small tables get few steps, several networks on different folds and a forest that is checked across folds;
large ones get one network, more steps and more samples a column.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import numpy as np

from pipeline.forest.growing import SAMPLES_A_ROW
from pipeline.forest.trees import MOST_TRIED

MODELS = ("auto", "network", "forest")
SHARPNESS = {"honest": 0.0, "sharp": 0.3}  # spread → share of the calibrated distribution that draws leave out
TASKS = {
    "weights": {"copied": 0.4, "beta_random": 0.45, "column_missing": 0.1, "joint": 0.05},
    "source_beta": [2.0, 1.0],
}  # of an imputer: gaps as other rows have them, and any part from any other
SMALL_ROWS, LARGE_ROWS = 400, 2000
FEWEST_TREES = 24  # of a column, three kinds together
FEWEST_SAMPLES = 1500  # of a column, where rows give as many
MEMBER_INPUTS = 1000  # bounds the work of wide tables: samples · trees · columns · inputs of a split, over most_members
SMALL_SHARE = 0.2  # of a small table that each network leaves out


@dataclass(frozen=True)
class Preset:
    """networks: of a small table. steps: of a network, at most. width, depth: of it. trees: of a column, in the end.
    pilot_trees: of a column while kinds of trees are compared on held-out rows. most_samples: of a column. most_members:
    samples times trees of a column: a large table gets fewer trees, which saves time and room."""

    networks: int
    steps: int
    width: int
    depth: int
    trees: int
    pilot_trees: int
    most_samples: int
    most_members: int


PRESETS = {
    "fast": Preset(
        networks=1, steps=500, width=48, depth=2, trees=45, pilot_trees=18, most_samples=8000, most_members=200_000
    ),
    "balanced": Preset(
        networks=2, steps=1200, width=64, depth=2, trees=90, pilot_trees=24, most_samples=20000, most_members=600_000
    ),
    "best": Preset(
        networks=4, steps=3000, width=96, depth=3, trees=240, pilot_trees=60, most_samples=60000, most_members=4_000_000
    ),
}


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
    room = chosen.most_members * MEMBER_INPUTS / (FEWEST_TREES * columns * min(columns, MOST_TRIED))
    most = int(min(chosen.most_samples, max(FEWEST_SAMPLES, room)))
    samples = max(1, min(SAMPLES_A_ROW * rows, most))
    return Work(
        networks=chosen.networks if small and share > 0 else 1,
        steps=steps,
        batch_size=batch,
        learning_rate=_given(asked["learning_rate"], 2e-3 if batch < 256 else 3e-3),
        held_out_share=share,
        width=_given(asked["width"], chosen.width),
        depth=_given(asked["depth"], chosen.depth),
        trees=int(np.clip(chosen.most_members // samples, FEWEST_TREES, chosen.trees)),
        pilot_trees=chosen.pilot_trees,
        most_samples=most,
    )


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
