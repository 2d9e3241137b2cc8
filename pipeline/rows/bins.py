"""How a binned number is read: how far it has come through its bins; and wide gaps between them."""

from __future__ import annotations

import numpy as np

WIDE = 10.0  # times the way from the middle to the near end of a gap, from which the gap is wide


def encode_bins(values: np.ndarray, edges: np.ndarray, margin: float = 1e-3) -> np.ndarray:
    """(N, K) float32 of (N,) values among (K + 1,) bin edges: 1 below the value's bin, its place inside, 0 above.

    The place is kept `margin` away from 0 and 1, so that the sum of the row tells the bin; an atom sits at 0.5.
    Values beyond the edges count as the nearest edge; NaN gives a row of NaN.
    """
    values = np.asarray(values, np.float64)
    bins = bin_of(values, edges)
    low, high = edges[bins], edges[bins + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        inside = np.where(high > low, (values - low) / (high - low), np.where(np.isnan(values), np.nan, 0.5))
    place = bins + inside.clip(margin, 1 - margin)
    return (place[:, None] - np.arange(len(edges) - 1)).clip(0, 1).astype(np.float32)


def is_gap(values: np.ndarray) -> np.ndarray:
    """(D − 1,) bool: which neighbours among (D,) sorted distinct values are wide apart.

    The gap is more than WIDE times as far as its near end lies from the middle of the densest half of the values, so
    neither a long tail nor two clusters of like size have one, but an outlier or a mark such as −999 has.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 3:
        return np.zeros(max(0, len(values) - 1), bool)
    size = len(values) // 2 + 1
    lengths = values[size - 1 :] - values[: len(values) - size + 1]
    first = int(lengths.argmin())
    reach = max(float(lengths[first]) / 2, np.finfo(np.float64).tiny)
    middle = float(values[first]) + reach
    near = np.minimum(np.abs(values[:-1] - middle), np.abs(values[1:] - middle))
    return np.diff(values) > WIDE * np.maximum(near, reach)


def stretches(edges: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """(K,) int64: which stretch between wide gaps each bin of (K + 1,) edges belongs to, a gap to the one below it."""
    edges, mass = np.asarray(edges, np.float64), np.asarray(mass, np.float64)
    values = np.unique(edges)
    starts = values[:-1][is_gap(values)]
    cut = np.isin(edges[:-1], starts) & (np.diff(edges) > 0) & (mass == 0)
    return np.concatenate([[0], np.cumsum(cut)[:-1]]).astype(np.int64)


def bin_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(N,) int64 bin of each value (N,) among (K + 1,) edges; on an edge the one above, or the atom that is there."""
    first, after = np.searchsorted(edges, values, "left"), np.searchsorted(edges, values, "right")
    return np.where(after > first, first, first - 1).clip(0, len(edges) - 2)
