"""Packing: the visible tokens of a batch in one list, so that hidden tokens cost nothing.

`make_packing` reads which tokens are visible; `pack` gathers them, `unpack` puts them back with zeros at
hidden tokens. Each is the other's gradient, to any order.

Shapes: B rows, L tokens, M packed tokens of the batch, H heads, D head dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.autograd import Function


@dataclass(frozen=True, eq=False)
class Packing:
    """Where each packed token comes from; made once a batch by `make_packing`, shared by all layers."""

    cu_seqlens: Tensor  # (B + 1,) int32: row b owns packed tokens cu_seqlens[b] to cu_seqlens[b + 1]
    index: Tensor  # (M,) int64: place of each packed token in the flat B·L grid, row-major; B·L where unused
    lengths: Tensor  # (B,) int64: visible tokens of each row
    max_length: int  # no row has more visible tokens
    batch: int  # B
    tokens: int  # L
    full: bool  # every token of every row is visible: packing is a reshape
    padded: bool  # `index` ends in unused places (a fixed capacity was asked for)
    cache: dict = field(default_factory=dict, repr=False)  # derived by the implementations, once for all layers

    @property
    def total(self) -> int:
        """M, unused places of a fixed capacity included."""
        return self.index.shape[0]

    @cached_property
    def gather_index(self) -> Tensor:
        """(M,) int64 like `index`, safe to read with: unused places point at the last token."""
        return self.index.clamp(max=self.batch * self.tokens - 1) if self.padded else self.index

    @cached_property
    def scatter_index(self) -> tuple[Tensor, Tensor]:
        """(B·L,) int64 packed place of each token (any valid place where hidden), and (B·L,) bool, visible."""
        places = self.batch * self.tokens
        place = torch.zeros(places + self.padded, dtype=torch.int64, device=self.index.device)
        visible = torch.zeros_like(place, dtype=torch.bool)
        place[self.index] = torch.arange(self.total, device=place.device)
        visible.index_fill_(0, self.index, True)
        return place[:places], visible[:places]


def make_packing(visible: Tensor, max_length: int | None = None, capacity: int | None = None) -> Packing:
    """Packing of the visible tokens.

    visible: (B, L) bool. max_length: upper bound on a row's visible tokens; None reads it from the device.
    capacity: fixed M, at least the number of visible tokens. With both given nothing waits for the device
    and every shape is static, as CUDA graphs need; tokens beyond the capacity would be lost, so the caller
    takes it from the sampler. None: M is the number of visible tokens.

    Raises: TypeError, ValueError for a wrong dtype, shape or bound.
    """
    if visible.dtype != torch.bool:
        raise TypeError(f"'visible' must be a bool tensor. Got {visible.dtype}.")
    if visible.ndim != 2:
        raise ValueError(f"'visible' must be (B, L). Got shape {tuple(visible.shape)}.")
    batch, tokens = visible.shape
    lengths = visible.sum(1)
    flat = visible.reshape(-1)
    if capacity is not None and capacity < 0:
        raise ValueError(f"'capacity' must be at least 0. Got {capacity}.")
    index = flat.nonzero()[:, 0] if capacity is None else _fixed_index(flat, capacity)
    full = capacity is None and index.shape[0] == batch * tokens
    if max_length is None:
        max_length = tokens if full else (int(lengths.max()) if batch else 0)
    elif not 0 <= max_length <= tokens:
        raise ValueError(f"'max_length' must lie between 0 and L = {tokens}. Got {max_length}.")
    cu_seqlens = torch.zeros(batch + 1, dtype=torch.int32, device=visible.device)
    torch.cumsum(lengths, 0, dtype=torch.int32, out=cu_seqlens[1:])
    return Packing(cu_seqlens, index, lengths, max_length, batch, tokens, full, capacity is not None)


def _fixed_index(flat: Tensor, capacity: int) -> Tensor:
    """(capacity,) int64 places of the true entries of `flat`, then its length; nothing waits for the device."""
    place = torch.where(flat, flat.cumsum(0) - 1, capacity).clamp_(max=capacity)  # the last slot takes the rest
    index = torch.full((capacity + 1,), flat.shape[0], dtype=torch.int64, device=flat.device)
    return index.scatter_(0, place, torch.arange(flat.shape[0], device=flat.device))[:capacity]


def pack(x: Tensor, packing: Packing) -> Tensor:
    """(M, …) visible tokens of x, differentiable to any order. x: (B, L, …), any dtype.

    Unused places of a fixed capacity hold a copy of the last token; no gradient flows back through them.
    """
    _check_grid(x, packing)
    flat = x.reshape(packing.batch * packing.tokens, *x.shape[2:])
    return flat if packing.full else _Pack.apply(flat, packing)


def unpack(x: Tensor, packing: Packing) -> Tensor:
    """(B, L, …) tokens, zeros where hidden; differentiable to any order. x: (M, …), any dtype."""
    if x.ndim < 1 or x.shape[0] != packing.total:
        raise ValueError(f"'x' must be (M, …) with M = {packing.total} packed tokens. Got shape {tuple(x.shape)}.")
    if not packing.full:
        x = _Unpack.apply(x, packing)
    return x.reshape(packing.batch, packing.tokens, *x.shape[1:])


def _check_grid(x: Tensor, packing: Packing) -> None:
    if x.ndim < 2 or x.shape[:2] != (packing.batch, packing.tokens):
        raise ValueError(
            f"'x' must be (B, L, …) with B = {packing.batch}, L = {packing.tokens}. Got shape {tuple(x.shape)}."
        )


class _Pack(Function):
    """(B·L, …) → (M, …)."""

    @staticmethod
    def forward(ctx, x: Tensor, packing: Packing) -> Tensor:
        ctx.packing = packing
        return x.index_select(0, packing.gather_index)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return _Unpack.apply(gradient, ctx.packing), None


class _Unpack(Function):
    """(M, …) → (B·L, …): a gather that reads some place at hidden tokens, then zeroes them; faster than a scatter."""

    @staticmethod
    def forward(ctx, x: Tensor, packing: Packing) -> Tensor:
        ctx.packing = packing
        if packing.total == 0:
            return x.new_zeros(packing.batch * packing.tokens, *x.shape[1:])
        source, visible = packing.scatter_index
        hidden = ~visible.view(-1, *[1] * (x.ndim - 1))
        return x.index_select(0, source).masked_fill_(hidden, 0)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = _Pack.apply(gradient, ctx.packing)
        if ctx.packing.padded:
            used = ctx.packing.index < ctx.packing.batch * ctx.packing.tokens
            gradient = gradient * used.view(-1, *[1] * (gradient.ndim - 1))
        return gradient, None
