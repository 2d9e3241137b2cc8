"""Roles packed two bits a token: token 4k + j is bits 2j, 2j+1 of byte k; unused bits are zero."""

from __future__ import annotations

import numpy as np
from numba import njit


def pack_roles(role: np.ndarray) -> np.ndarray:
    """(N, ⌈L/4⌉) uint8 of (N, L) uint8 roles in 0 … 3. Raises ValueError for another shape or dtype."""
    role = np.asarray(role)
    if role.ndim != 2 or role.dtype != np.uint8:
        raise ValueError(f"'role' must be a (N, L) uint8 array. Got shape {role.shape}, dtype {role.dtype}.")
    packed = np.empty((len(role), (role.shape[1] + 3) // 4), np.uint8)
    pack_rows(np.ascontiguousarray(role), packed)
    return packed


def unpack_roles(packed: np.ndarray, n_tokens: int) -> np.ndarray:
    """(N, n_tokens) uint8 roles of `pack_roles`' output. Raises ValueError when the width does not fit n_tokens."""
    packed = np.asarray(packed)
    width = (n_tokens + 3) // 4
    if packed.ndim != 2 or packed.dtype != np.uint8 or packed.shape[1] != width:
        raise ValueError(
            f"'packed' must be a (N, {width}) uint8 array for {n_tokens} tokens. "
            f"Got shape {packed.shape}, dtype {packed.dtype}."
        )
    role = np.empty((len(packed), n_tokens), np.uint8)
    unpack_rows(np.ascontiguousarray(packed), role)
    return role


@njit(cache=True)
def pack_rows(role, packed):
    """Fills packed (N, ⌈L/4⌉) from role (N, L), both uint8."""
    n_rows, n_tokens = role.shape
    whole = n_tokens // 4
    for n in range(n_rows):
        for k in range(whole):
            low = role[n, 4 * k] | (role[n, 4 * k + 1] << 2)
            high = role[n, 4 * k + 2] | (role[n, 4 * k + 3] << 2)
            packed[n, k] = low | (high << 4)
        if 4 * whole < n_tokens:
            last = 0
            for i in range(4 * whole, n_tokens):
                last |= role[n, i] << (2 * (i - 4 * whole))
            packed[n, whole] = last


@njit(cache=True)
def unpack_rows(packed, role):
    """Fills role (N, L) from packed (N, ⌈L/4⌉), both uint8."""
    n_rows, n_tokens = role.shape
    whole = n_tokens // 4
    for n in range(n_rows):
        for k in range(whole):
            byte = packed[n, k]
            role[n, 4 * k] = byte & 3
            role[n, 4 * k + 1] = (byte >> 2) & 3
            role[n, 4 * k + 2] = (byte >> 4) & 3
            role[n, 4 * k + 3] = byte >> 6
        for i in range(4 * whole, n_tokens):
            role[n, i] = (packed[n, whole] >> (2 * (i - 4 * whole))) & 3
