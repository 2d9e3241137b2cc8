"""`attention`: the call of PyTorch's scaled_dot_product_attention, with derivatives of both orders and in both modes.

Two layouts: rows of one length, (B, H, L, D) as PyTorch has them, and packed rows, (M, H, D) with `cu_seqlens`. On a GPU both
become the packed (M, 3, H, D) of the kernels, by a copy that is part of the graph; who has such a tensor already calls
`masked_self_attention`. Whose keys a query may see is said by ranks there, so no mask matrix is ever built.

Shapes: B rows, H heads, L queries and S keys of a row, M packed tokens, D head dimension.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from kernels.backend import HAS_TRITON, check_backend
from kernels.masked_attention.attention_checks import check_attention, check_tangents
from kernels.masked_attention.plain import (
    allowed_pairs,
    attention_plain,
    attention_plain_with_tangent,
    padded_places,
)
from kernels.masked_attention.validation import KERNEL_DTYPES, LARGEST_HEAD_DIM

MOST_RANK = 2**31 - 2  # the next is that of keys that nobody sees


class _Seen(NamedTuple):
    """Who sees whom, as the caller said it."""

    mask: Tensor | None
    is_causal: bool
    rank: Tensor | None
    key_rank: Tensor | None


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    is_causal: bool = False,
    rank: Tensor | None = None,
    key_rank: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    max_length: int | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    backend: str = "auto",
) -> Tensor:
    """softmax(scale · QKᵀ) V over the keys that each query may see; of the shape of q. A query that sees none gives 0.

    q: (B, H, L, D); k, v: (B, H, S, D), of the dtype and on the device of q. What restricts a query may be combined:

    mask: bool (B, S) or (B, 1, 1, S), True for keys that may be seen. is_causal: query i sees keys j ≤ i. rank, key_rank:
    integers (B, L) and (B, S); query i sees key j iff key_rank[j] ≤ rank[i]; key_rank None: rank.
    cu_seqlens: (B + 1,) int32 for packed rows: q, k, v are (M, H, D), row b owns tokens cu_seqlens[b] to cu_seqlens[b + 1],
    ranks are (M,), and there is no mask; max_length: no row is longer, None reads it from the device.
    scale: 1/√D if None. enable_gqa: k and v may have fewer heads, of which H is a multiple; each serves H / Hₖ heads of q.
    backend: "reference" is plain PyTorch, "triton" the kernels (float32, float16, bfloat16; D ≤ 128), "auto" the kernels where
    they can run and the reference elsewhere.

    Derivatives: torch.autograd, torch.func.grad, vjp, jvp and torch.autograd.forward_ad, to second order, reverse over reverse,
    forward over reverse and reverse over forward; the reference has every order and torch.func.vmap, where the kernels raise.
    torch.compile takes both in one graph; a compiled forward derivative on a GPU is `attention_jvp`.

    Raises: TypeError, ValueError for inputs that do not fit; RuntimeError if the backend cannot run here.
    """
    seen = _Seen(mask, is_causal, rank, key_rank)
    check_attention(q, k, v, *seen, cu_seqlens, max_length, enable_gqa)
    kernel = _choose(q, backend)
    scale = q.shape[-1] ** -0.5 if scale is None else float(scale)
    k, v = _all_heads(q, (k, v))
    if cu_seqlens is not None:
        return _packed((q, k, v), None, seen, cu_seqlens, max_length, scale, kernel)[0]
    return _dense((q, k, v), None, seen, scale, kernel)[0]


def attention_jvp(
    primals: tuple[Tensor, Tensor, Tensor],
    tangents: tuple[Tensor, Tensor, Tensor],
    *,
    mask: Tensor | None = None,
    is_causal: bool = False,
    rank: Tensor | None = None,
    key_rank: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    max_length: int | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """(out, its derivative along the tangents) of `attention`, as torch.func.jvp gives them, without its machinery.

    primals: q, k, v; tangents: theirs, of the same shapes and dtypes; all else as in `attention`. For networks that carry
    tangents through their layers themselves, and for torch.compile on a GPU. Both results have a reverse derivative.

    Raises: TypeError, ValueError, RuntimeError like `attention`.
    """
    q, k, v = primals
    seen = _Seen(mask, is_causal, rank, key_rank)
    check_attention(q, k, v, *seen, cu_seqlens, max_length, enable_gqa)
    check_tangents(primals, tangents)
    kernel = _choose(q, backend)
    scale = q.shape[-1] ** -0.5 if scale is None else float(scale)
    primals, tangents = ((x[0], *_all_heads(q, x[1:])) for x in (primals, tangents))
    if cu_seqlens is not None:
        return _packed(primals, tangents, seen, cu_seqlens, max_length, scale, kernel)
    return _dense(primals, tangents, seen, scale, kernel)


def _choose(q: Tensor, backend: str) -> bool:
    """Whether the kernels compute."""
    takes = q.dtype in KERNEL_DTYPES and 1 <= q.shape[-1] <= LARGEST_HEAD_DIM
    if backend == "auto":
        return q.device.type == "cuda" and HAS_TRITON and takes
    if check_backend(backend, q.device) == "reference":
        return False
    if not takes:
        raise ValueError(
            f"'q' must be float32, float16 or bfloat16 with a head dimension of 1 to {LARGEST_HEAD_DIM} for backend 'triton'. "
            f"Got {q.dtype} and {q.shape[-1]}; choose 'reference'."
        )
    return True


def _all_heads(q: Tensor, shared: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """k and v with as many heads as q; the head dimension is the third from behind in one layout, the second in the other."""
    at = q.ndim - 3 if q.ndim == 4 else 1
    repeats = q.shape[at] // shared[0].shape[at]
    return shared if repeats == 1 else tuple(x.repeat_interleave(repeats, at) for x in shared)


def _dense(
    primals: tuple[Tensor, ...], tangents: tuple[Tensor, ...] | None, seen: _Seen, scale: float, kernel: bool
) -> tuple[Tensor, ...]:
    """(out,) or (out, derivative), (B, H, L, D) each."""
    q, k, v = primals
    queries, keys, rank = q.shape[2], k.shape[2], seen.rank
    key_rank = rank if seen.key_rank is None else seen.key_rank
    mask = None if seen.mask is None else seen.mask.reshape(-1, keys)
    if not kernel:
        allowed = allowed_pairs(queries, keys, mask, seen.is_causal, rank, key_rank, q.device)
        if tangents is None:
            return (attention_plain(q, k, v, allowed, scale),)
        return attention_plain_with_tangent(q, k, v, tangents, allowed, scale)
    batch, tokens = q.shape[0], max(queries, keys)
    hidden = None if mask is None else ~mask
    ranks = _dense_ranks(batch, queries, keys, hidden, rank, key_rank, q.device)
    cu_seqlens = torch.arange(batch + 1, dtype=torch.int32, device=q.device) * tokens
    joint = [_joint([_rows_first(x, tokens) for x in three]) for three in (primals, tangents) if three is not None]
    found = _launch(joint, cu_seqlens, ranks, tokens, False, scale, seen.is_causal)
    return tuple(x.view(batch, tokens, *x.shape[1:])[:, :queries].transpose(1, 2) for x in found)


def _packed(
    primals: tuple[Tensor, ...],
    tangents: tuple[Tensor, ...] | None,
    seen: _Seen,
    cu_seqlens: Tensor,
    max_length: int | None,
    scale: float,
    kernel: bool,
) -> tuple[Tensor, ...]:
    """(out,) or (out, derivative), (M, H, D) each; 0 at tokens behind the last row."""
    total, cu_seqlens = primals[0].shape[0], cu_seqlens.to(torch.int32)
    if max_length is None:
        max_length = int(cu_seqlens.diff().max()) if len(cu_seqlens) > 1 else 0
    key_rank = seen.rank if seen.key_rank is None else seen.key_rank
    if kernel:
        ranks = None if seen.rank is None else (_as_rank(seen.rank), _as_rank(key_rank))
        joint = [_joint(list(three)) for three in (primals, tangents) if three is not None]
        return _launch(joint, cu_seqlens.contiguous(), ranks, max_length, True, scale, seen.is_causal)
    if total == 0 or max_length == 0:
        return tuple(0 * x[0] for x in (primals, tangents) if x is not None)
    places, there, row, place, used = padded_places(cu_seqlens, total, max_length)
    ranks = (None, None) if seen.rank is None else (seen.rank[places], key_rank[places])
    grid = [tuple(x[places].transpose(1, 2) for x in three) for three in (primals, tangents) if three is not None]
    found = _dense(grid[0], grid[1] if tangents else None, _Seen(there, seen.is_causal, *ranks), scale, False)
    return tuple(x.transpose(1, 2)[row, place] * used[:, None, None] for x in found)


def _rows_first(x: Tensor, tokens: int) -> Tensor:
    """(B · tokens, H, D) from (B, H, L, D), zeros behind L."""
    x = x.transpose(1, 2)
    if x.shape[1] < tokens:
        x = pad(x, (0, 0, 0, 0, 0, tokens - x.shape[1]))
    return x.flatten(0, 1)


def _joint(three: list[Tensor]) -> Tensor:
    """Contiguous (M, 3, H, D)."""
    return torch.stack(three, 1)


def _dense_ranks(
    batch: int, queries: int, keys: int, hidden: Tensor | None, rank: Tensor | None, key_rank: Tensor | None, device
) -> tuple[Tensor, Tensor] | None:
    """(B · max(L, S),) ranks of queries and of keys, where keys that are hidden or only pad rank behind every query; None
    where nothing needs ranks."""
    tokens = max(queries, keys)
    if rank is None:
        if hidden is None and queries <= keys:
            return None
        of_queries = torch.zeros(batch, tokens, dtype=torch.int16, device=device)
        of_keys = torch.zeros(batch, keys, dtype=torch.int16, device=device)
    else:
        of_queries = pad(_as_rank(rank), (0, tokens - queries))
        of_keys = _as_rank(key_rank)
    behind = torch.iinfo(of_keys.dtype).max
    if hidden is not None:
        of_keys = of_keys.masked_fill(hidden, behind)
    return of_queries.flatten(), pad(of_keys, (0, tokens - keys), value=behind).flatten()


def _as_rank(rank: Tensor) -> Tensor:
    return (
        rank.clamp(max=MOST_RANK).to(torch.int32)
        if rank.dtype == torch.int64
        else rank.to(torch.int32).clamp(max=MOST_RANK)
    )


def _launch(
    joint: list[Tensor],
    cu_seqlens: Tensor,
    ranks: tuple[Tensor, Tensor] | None,
    max_length: int,
    padded: bool,
    scale: float,
    is_causal: bool,
) -> tuple[Tensor, ...]:
    """(out,) or (out, derivative), (M, H, D) each, by the kernels. joint: (M, 3, H, D) primals and, if any, tangents."""
    from kernels.masked_attention.derivatives import Fixed, attend, attend_with_tangent  # the reference needs no triton

    if scale < 0:  # the kernels take the maximum of a row before they scale it
        joint, scale = [torch.cat([-x[:, :1], x[:, 1:]], 1) for x in joint], -scale
    rank, key_rank = (None, None) if ranks is None else (x.contiguous() for x in ranks)
    fixed = Fixed(cu_seqlens, rank, max_length, padded, scale, key_rank, is_causal)
    if len(joint) == 1:
        return (attend(joint[0], fixed),)
    return attend_with_tangent(*joint, fixed)
