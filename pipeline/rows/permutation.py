"""A seeded order of the numbers 0 … rows − 1 that is never written down when it is long.

Up to IN_MEMORY_ROWS the order is an array. Beyond, place i goes through a Feistel network of four rounds over the
least even number of bits that holds `rows`, again and again until it falls below `rows`: a bijection in constant
memory (cycle walking; Black & Rogaway 2002). At most four passes are needed on average.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

IN_MEMORY_ROWS = 1 << 24  # 128 MiB of int64
_ROUNDS = 4


def permuted(places: np.ndarray, rows: int, seed: int, epoch: int) -> np.ndarray:
    """(n,) int64: which of 0 … rows − 1 stands at each of the places (n,) in the order of (seed, epoch)."""
    if rows <= IN_MEMORY_ROWS:
        return _whole(seed, epoch, rows)[places]
    return walked(places, rows, seed, epoch)


def some_numbers(rows: int, limit: int, seed: int) -> np.ndarray:
    """(min(rows, limit),) int64 rising: a random choice among 0 … rows − 1, all of them where `limit` allows."""
    if rows <= limit:
        return np.arange(rows)
    if rows <= IN_MEMORY_ROWS:
        return np.sort(np.random.default_rng(seed).permutation(rows)[:limit])
    return np.sort(walked(np.arange(limit), rows, seed, 0))


def walked(places: np.ndarray, rows: int, seed: int, epoch: int) -> np.ndarray:
    """`permuted` by the network, whatever `rows`."""
    half = np.uint64(max(1, -(-(rows - 1).bit_length() // 2)))
    keys = np.random.SeedSequence([seed, epoch, 0xFE157E1]).generate_state(_ROUNDS, np.uint64)
    out = _network(np.asarray(places, np.uint64), half, keys)
    while (outside := out >= rows).any():
        out[outside] = _network(out[outside], half, keys)
    return out.astype(np.int64)


@lru_cache(maxsize=2)
def _whole(seed: int, epoch: int, rows: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(rows)


def _network(x: np.ndarray, half: np.uint64, keys: np.ndarray) -> np.ndarray:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = x >> half, x & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right, key) & mask)
    return (left << half) | right


def _mixed(x: np.ndarray, key: np.uint64) -> np.ndarray:
    """uint64 hash of x under a key: the finaliser of SplitMix64 (Steele et al. 2014)."""
    x = x + key  # unsigned arrays wrap around
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
