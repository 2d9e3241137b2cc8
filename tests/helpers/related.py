"""A small made table whose columns tell one another."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.base.data_groups import TableParams
from pipeline.rows.schema import Schema
from pipeline.tables.codec import fit_codec


def related_frame(n: int, seed: int = 0) -> pd.DataFrame:
    """(n, 4): sign tells the sign of x, double is 2x, noise tells nothing."""
    rng = np.random.default_rng(seed)
    x = rng.choice([-1.0, 1.0], n) * rng.uniform(1, 2, n)
    return pd.DataFrame(
        {"x": x, "double": 2 * x, "sign": np.where(x > 0, "plus", "minus"), "noise": rng.normal(size=n)}
    )


def related_rows(n: int, missing: float = 0.0, seed: int = 0) -> tuple[np.ndarray, Schema]:
    """((n, 4) rows with a share of the cells missing, none of them empty, their schema of 300 rows)."""
    schema = fit_codec(related_frame(300), TableParams()).schema
    from pipeline.tables.codec import TableCodec

    rows = TableCodec(schema).rows(related_frame(n, seed))
    gap = np.random.default_rng(seed + 1).random(rows.shape) < missing
    gap[:, 0] &= ~gap[:, 1:].all(1)
    return np.where(gap, np.float32(np.nan), rows), schema
