"""Fills one block of a table with a fitted imputer, alike wherever it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def block_seed(seed: int, draw: int, block: int) -> int:
    """Seed of one draw of one block."""
    import numpy as np

    return int(np.random.SeedSequence([seed, draw, block]).generate_state(1)[0])


def fill_frame(imputer: Any, frame: pd.DataFrame, seed: int | None) -> pd.DataFrame:
    """The model's columns of `frame` with their missing cells filled: the best values, or a draw from `seed`.

    Raises ValueError for a column that the model has and the frame lacks, or the other way round with values in it.
    """
    names = [str(n) for n in imputer.get_feature_names_out()]
    extra = [n for n in frame.columns if n not in names and not frame[n].isna().all()]
    absent = [n for n in names if n not in frame.columns]
    if extra or absent:
        raise ValueError(
            f"The table must have the columns of the model. Missing: {absent[:20]}; in addition: {extra[:20]}."
        )
    frame = frame[names]
    gaps = frame.isna()
    rows = gaps.to_numpy().any(axis=1)
    if not rows.any():
        return frame
    part = frame[rows].reset_index(drop=True)  # rows without a gap are not computed
    filled = imputer.transform(part) if seed is None else imputer.sample(part, draws=1, random_state=seed)[0]
    out = frame.copy()
    for name in names:
        if gaps[name].any():
            out.loc[rows, name] = (
                filled[name].to_numpy(copy=False) if out[name].dtype.kind == "f" else filled[name].array
            )
    return out
