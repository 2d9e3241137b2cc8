"""How a binned number is read: how far it has come through its bins."""

from __future__ import annotations

import numpy as np


def encode_bins(values: np.ndarray, edges: np.ndarray, margin: float = 1e-3) -> np.ndarray:
    """(N, K) float32 of (N,) values among (K + 1,) bin edges: 1 below the value's bin, its place inside, 0 above.

    The place is kept `margin` away from 0 and 1, so that the sum of the row tells the bin; an atom sits at 0.5.
    Values beyond the edges count as the nearest edge; NaN gives a row of NaN.
    """
    values = np.asarray(values, np.float64)
    first, after = np.searchsorted(edges, values, "left"), np.searchsorted(edges, values, "right")
    bins = np.where(after > first, first, first - 1).clip(0, len(edges) - 2)
    low, high = edges[bins], edges[bins + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        inside = np.where(high > low, (values - low) / (high - low), np.where(np.isnan(values), np.nan, 0.5))
    place = bins + inside.clip(margin, 1 - margin)
    return (place[:, None] - np.arange(len(edges) - 1)).clip(0, 1).astype(np.float32)
