"""Checks of the arguments of `attention`; each error is one line that names the argument, the rule and what came."""

from __future__ import annotations

import torch
from torch import Tensor


def check_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    rank: Tensor | None,
    key_rank: Tensor | None,
    cu_seqlens: Tensor | None,
    max_length: int | None,
    enable_gqa: bool,
) -> None:
    """None if the arguments of `attention` fit each other. Raises TypeError, ValueError."""
    packed = cu_seqlens is not None
    layout = "(M, H, D) with 'cu_seqlens'" if packed else "(B, H, L, D)"
    if q.ndim != (3 if packed else 4):
        raise ValueError(f"'q' must be {layout}. Got shape {tuple(q.shape)}.")
    if not q.is_floating_point():
        raise TypeError(f"'q' must be floating point. Got {q.dtype}.")
    _check_keys(q, k, v, packed, enable_gqa)
    if packed:
        _check_packed(q, mask, cu_seqlens)
    elif max_length is not None:
        raise ValueError(f"'max_length' must be None without 'cu_seqlens'. Got {max_length}.")
    elif mask is not None:
        _check_mask(mask, k.shape[0], k.shape[2])
    if key_rank is not None and rank is None:
        raise ValueError("'rank' must be given where 'key_rank' is. Got None.")
    if rank is not None:
        _check_rank("rank", rank, (q.shape[0],) if packed else (q.shape[0], q.shape[2]))
        if key_rank is None and not packed and q.shape[2] != k.shape[2]:
            raise ValueError(f"'key_rank' must be given where k has {k.shape[2]} tokens and q {q.shape[2]}. Got None.")
    if key_rank is not None:
        _check_rank("key_rank", key_rank, (k.shape[0],) if packed else (k.shape[0], k.shape[2]))


def check_tangents(primals: tuple[Tensor, ...], tangents: tuple[Tensor, ...]) -> None:
    """None if there is a tangent for each of q, k, v. Raises ValueError."""
    if len(tangents) != 3:
        raise ValueError(f"'tangents' must be those of q, k, v. Got {len(tangents)} tensors.")
    for name, x, t in zip("qkv", primals, tangents, strict=True):
        if t.shape != x.shape or t.dtype != x.dtype:
            raise ValueError(
                f"The tangent of '{name}' must be {x.dtype} {tuple(x.shape)}. Got {t.dtype} {tuple(t.shape)}."
            )


def _check_keys(q: Tensor, k: Tensor, v: Tensor, packed: bool, enable_gqa: bool) -> None:
    """k and v like q but for their length, and their heads if enable_gqa."""
    heads, tokens = (1, 0) if packed else (1, 2)
    wanted = list(q.shape)
    if not packed and k.ndim == 4:
        wanted[tokens] = k.shape[tokens]
    if enable_gqa and k.ndim == q.ndim:
        wanted[heads] = k.shape[heads]
        if k.shape[heads] < 1 or q.shape[heads] % k.shape[heads]:
            raise ValueError(
                f"'k' must have a number of heads that divides the {q.shape[heads]} of 'q'. Got {k.shape[heads]}."
            )
    for name, x in (("k", k), ("v", v)):
        if list(x.shape) != wanted:
            free = (
                "" if packed else "; their tokens may be more or fewer than those of 'q', their heads with 'enable_gqa'"
            )
            raise ValueError(f"'{name}' must have shape {tuple(wanted)}{free}. Got {tuple(x.shape)}.")
        if x.dtype != q.dtype or x.device != q.device:
            raise TypeError(f"'{name}' must be {q.dtype} on {q.device}, like 'q'. Got {x.dtype} on {x.device}.")


def _check_packed(q: Tensor, mask: Tensor | None, cu_seqlens: Tensor) -> None:
    if mask is not None:
        raise ValueError(
            "'mask' must be None with 'cu_seqlens': leave hidden tokens out of the packed rows. Got a tensor."
        )
    if cu_seqlens.ndim != 1 or cu_seqlens.is_floating_point() or cu_seqlens.dtype == torch.bool or len(cu_seqlens) < 1:
        raise ValueError(
            f"'cu_seqlens' must be (B + 1,) integers from 0 to the number of tokens. Got {cu_seqlens.dtype} "
            f"{tuple(cu_seqlens.shape)}."
        )
    if cu_seqlens.device != q.device:
        raise ValueError(f"'cu_seqlens' must be on {q.device}, like 'q'. Got {cu_seqlens.device}.")


def _check_mask(mask: Tensor, batch: int, keys: int) -> None:
    shape = tuple(mask.shape)
    if mask.dtype != torch.bool:
        raise TypeError(f"'mask' must be bool, True for keys that may be seen. Got {mask.dtype}.")
    if shape not in ((batch, keys), (batch, 1, 1, keys)):
        raise ValueError(
            f"'mask' must be (B, S) = {(batch, keys)}: the same keys for every query of a row; what depends on the query is "
            f"said by 'is_causal' or 'rank'. Got shape {shape}."
        )


def _check_rank(name: str, rank: Tensor, shape: tuple[int, ...]) -> None:
    if rank.is_floating_point() or rank.dtype == torch.bool:
        raise TypeError(f"'{name}' must be an integer tensor. Got {rank.dtype}.")
    if tuple(rank.shape) != shape:
        raise ValueError(f"'{name}' must have shape {shape}. Got {tuple(rank.shape)}.")
