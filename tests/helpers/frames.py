"""A table of every kind of column."""

from __future__ import annotations

import numpy as np
import pandas as pd


def mixed_frame(n: int = 60, seed: int = 0) -> pd.DataFrame:
    """A table with a column of every kind and missing cells in each that can hold one."""
    rng = np.random.default_rng(seed)
    gap = rng.random((n, 8)) < 0.2
    frame = pd.DataFrame(
        {
            "height": np.where(gap[:, 0], np.nan, rng.normal(170, 10, n)),
            "age": rng.integers(0, 90, n),
            "smoker": rng.random(n) < 0.3,
            "city": np.where(gap[:, 3], "?", rng.choice(["Bern", "Lima", "Oslo"], n)),
            "born": pd.Timestamp("1970-03-01") + pd.to_timedelta(rng.integers(0, 20000, n), unit="D"),
            "visits": pd.array(np.where(gap[:, 5], pd.NA, rng.integers(0, 4, n)), dtype="Int64"),
            "grade": pd.Categorical(rng.choice(list("abc"), n), categories=list("abcd"), ordered=True),
            "paid": pd.array(np.where(gap[:, 7], pd.NA, rng.random(n) < 0.5), dtype="boolean"),
        }
    )
    frame.loc[gap[:, 4], "born"] = pd.NaT
    return frame
