"""Bins of a column of numbers: quantiles, atoms, and wide gaps that nothing is drawn in.

Shapes: n known values, D distinct values, K bins.
"""

from __future__ import annotations

import numpy as np

from pipeline.rows.bins import is_gap

FEW_BINS = 16  # no bin is wider than this part of the range between two wide gaps


def bin_edges(values: np.ndarray, bins: int) -> np.ndarray:
    """(K + 1,) float64 edges that do not decrease, for known values (n,) float32; equal neighbours are an atom.

    A column of at most `bins` distinct values is all atoms. Else values that fill a quantile bin alone are atoms, the
    other edges are quantiles, closer in the tails, and no bin is wider than 1/FEW_BINS of its stretch. One outlier, or
    a value that stands for "missing", is a stretch of its own: the bins of the others stay as narrow as without it.
    """
    values = np.asarray(values, np.float64)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= bins:
        return np.repeat(distinct, 2)
    atoms = distinct[counts > max(1.0, len(values) / bins)]
    cuts = np.flatnonzero(is_gap(distinct))
    stretches = np.split(distinct, cuts + 1)
    rest = values[~np.isin(values, atoms)]
    levels = np.linspace(0, 1, bins + 1)
    tails = [level for level in (0.001, 0.002, 0.005, 0.01) if level * len(rest) >= 4]
    levels = np.unique(np.concatenate([levels, tails, 1 - np.array(tails)]))
    quantiles = np.quantile(rest, levels) if len(rest) else rest
    parts = [_stretch(part, quantiles, atoms) for part in stretches]
    return np.sort(np.concatenate(parts))


def _stretch(distinct: np.ndarray, quantiles: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """The edges between the ends of (D,) neighbouring values."""
    low, high = distinct[0], distinct[-1]
    if low == high:
        return np.array([low, low])
    inside = quantiles[(quantiles > low) & (quantiles < high)]
    own = atoms[(atoms >= low) & (atoms <= high)]
    edges = np.unique(np.concatenate([[low, high], inside, own]))
    widest = (high - low) / FEW_BINS
    fine = [np.linspace(a, b, int(np.ceil((b - a) / widest)) + 1)[:-1] for a, b in zip(edges, edges[1:], strict=False)]
    return np.concatenate([*fine, edges[-1:], own])


def bin_shares(bins: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(K,) share of each bin, of (n,) bins of the known values: half a value is added to each, but not between atoms
    alone nor to a wide gap, which stay empty."""
    counts = np.bincount(bins, minlength=len(edges) - 1).astype(float)
    if len(np.unique(edges)) * 2 > len(edges):
        values = np.unique(edges)
        wide = np.isin(edges[:-1], values[:-1][is_gap(values)]) & (np.diff(edges) > 0)
        counts += np.where(wide & (counts == 0), 0.0, 0.5)
    return counts / counts.sum()
