"""table: a file of the user's own (CSV, Parquet, Excel, JSON lines, SQLite), mixed columns and missing cells; dataset.path names it.

The codec (bins, categories) is fitted on the training split alone. Rows without a single known cell are left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.base.data_groups import TableParams
from pipeline.base.params import Params
from pipeline.datasets.source import RawData, Source
from pipeline.sources.opening import read_frame
from pipeline.tables.codec import fit_codec
from pipeline.tables.errors import TableError
from pipeline.textfiles.encodings import TableFileError
from pipeline.textfiles.reading import Reading

RECOMMENDED = (
    "tasks.weights={column_missing: 0.5, beta_random: 0.5}",
    "tasks.source_beta=[1.0, 1.0]",
    "tasks.target_beta=[1000.0, 0.001]",  # every known cell that is not a source is a target
    "tasks.train_rows=65536",
    "network.width=64",
    "network.depth=2",
    "network.heads=4",
    "network.mlp_ratio=2.0",
    "network.order=one_by_one",
    "network.noise_width=1",
    "train.steps=1200",
    "train.adversarial_weight=0.0",
    "train.ranked_weight=5.0",
    "train.minibatch_group=1",
    "train.batch_size=256",
    "train.generator_lr=0.003",
    "train.beta1=0.9",
    "train.weight_decay=0.01",
    "train.clip_norm=1.0",
    "train.warmup_steps=50",
    "train.decay_start=0.3",
    "train.ema_decay=0.99",
    "sample.batch_size=1024",
)
"""Parameters of a table where they differ from the defaults, the same for every table; BigLearnImputer's too."""

MAX_EPOCHS = 200
FEWEST_STEPS = 300


def read_table(path: Path, params: TableParams) -> pd.DataFrame:
    """The DataFrame in a table file of any kind (pipeline.sources), cells that mean "missing" as missing.

    Raises TableError naming the file and what is wrong with it.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(f"There must be a file at 'dataset.path'. Got {str(path)!r}.")
    missing = None if params.missing == TableParams().missing else tuple(params.missing)
    reading = Reading(separator=params.separator, encoding=params.encoding, decimal=params.decimal, missing=missing)
    try:
        return read_frame(path, reading)
    except TableFileError as error:
        raise TableError(str(error)) from error


def most_steps(rows: int, steps: int, batch_size: int, max_epochs: int = MAX_EPOCHS) -> int:
    """Training steps of a table of so many rows: at most `steps`, and fewer where those would pass over the rows more
    than `max_epochs` times, but FEWEST_STEPS at least."""
    return min(steps, max(FEWEST_STEPS, max_epochs * rows // batch_size))


def recommended_for(path: Path, params: Params) -> tuple[str, ...]:
    """Parameters that depend on the table itself. Raises TableError for a file that is no table."""
    rows = round(len(read_table(path, params.prepare.table)) * (1 - params.prepare.test_share))
    return (f"train.steps={most_steps(rows, params.train.steps, params.train.batch_size)}",)


def load(raw: Path, params: Params) -> RawData:
    """Rows of the user's file, split by seed before anything is fitted."""
    frame = read_table(SOURCE.user_file(raw, params), params.prepare.table)
    rng = np.random.Generator(np.random.Philox(key=[params.seed, 0x7AB1E]))
    order = rng.permutation(len(frame))
    held_out = round(params.prepare.test_share * len(frame))
    test, train = frame.iloc[order[:held_out]], frame.iloc[order[held_out:]]
    if len(train) == 0 or len(test) == 0:
        raise TableError(f"A table must have at least 2 rows, to be split. Got {len(frame)}.")
    codec = fit_codec(train, params.prepare.table)
    splits = [codec.rows(part) for part in (train, test)]
    return RawData(codec.schema, *(rows[~np.isnan(rows).all(1)] for rows in splits))


SOURCE = Source("table", load, reads_path=True, recommended=RECOMMENDED, recommended_for=recommended_for)
