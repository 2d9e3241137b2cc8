"""Losses on discriminator logits on a GPU: one launch for the loss, every gradient and the statistics of families.

The formulas are those of reference.py. A batch of logits is a few kilobytes, so the work is bound by launches: one
program sweeps over the rows twice (sums, then gradients), without atomics, so runs repeat bit for bit. The second
derivative is elementwise and has its own launch; a third raises.

Shapes: B rows, N families; the logits, in this order: real, fake, mismatched, cross[0..3], K = 7 of them.
Memory: each logit (B,) float32; d, cotangent, d_logits (K, B) float32; sums (NP, 5) float32 with NP ≥ N padded.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function

from kernels.discriminator_losses.reference import FamilyStatistics

LOGITS = 7
BLOCK = 256
KINDS = {"relativistic": 0, "non_saturating": 1, "hinge": 2}


@triton.jit
def _softplus(x):
    """max(0, x) + log(1 + e^−|x|), exact to the last bits for small terms too; NaN stays NaN."""
    e = tl.exp(-tl.abs(x))
    u = 1.0 + e
    tail = tl.where(u == 1.0, e, tl.log(u) * (e / tl.where(u == 1.0, 1.0, u - 1.0)))
    return tl.where(x <= 0, 0.0, x) + tail


@triton.jit
def _sigmoid(x):
    e = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, e) / (1.0 + e)


@triton.jit
def _adversarial(r, f, KIND: tl.constexpr, GENERATOR: tl.constexpr):
    """Loss of each row."""
    if KIND == 0:
        return _softplus(r - f) if GENERATOR else _softplus(f - r)
    if KIND == 1:
        return _softplus(-f) if GENERATOR else _softplus(f) + _softplus(-r)
    return -f if GENERATOR else tl.where(1 + f <= 0, 0.0, 1 + f) + tl.where(1 - r <= 0, 0.0, 1 - r)


@triton.jit
def _adversarial_slopes(r, f, KIND: tl.constexpr, GENERATOR: tl.constexpr):
    """(∂/∂r, ∂/∂f) of the loss of each row."""
    if KIND == 0:
        s = _sigmoid(r - f) if GENERATOR else -_sigmoid(f - r)
        return s, -s
    if KIND == 1:
        if GENERATOR:
            return r * 0.0, -_sigmoid(-f)
        return -_sigmoid(-r), _sigmoid(f)
    if GENERATOR:
        return r * 0.0, f * 0.0 - 1.0
    return tl.where(1 - r <= 0, 0.0, r * 0.0 - 1.0), tl.where(1 + f <= 0, 0.0, f * 0.0 + 1.0)


@triton.jit
def losses_forward(
    real, fake, mismatched, own_1, other_1, other_2, own_2, family, has_source, loss, sums, d,
    rows, adversarial_weight, mismatch_weight, communication_weight,
    KIND: tl.constexpr, GENERATOR: tl.constexpr, HAS_MISMATCHED: tl.constexpr, HAS_SOURCE: tl.constexpr,
    HAS_CROSS: tl.constexpr, FAMILIES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """loss (), sums (FAMILIES, 5) and d (K, B), the gradient of the loss by each logit."""
    n = tl.arange(0, FAMILIES)
    counts = tl.zeros([FAMILIES], tl.float32)
    row_sums, real_sums = tl.zeros([FAMILIES], tl.float32), tl.zeros([FAMILIES], tl.float32)
    fake_sums, right_sums = tl.zeros([FAMILIES], tl.float32), tl.zeros([FAMILIES], tl.float32)
    adversarial, mismatch, communication = 0.0, 0.0, 0.0
    sources = 0.0
    for first in range(0, rows, BLOCK):
        i = first + tl.arange(0, BLOCK)
        inside = i < rows
        r = tl.load(real + i, mask=inside, other=0.0)
        f = tl.load(fake + i, mask=inside, other=0.0)
        row = tl.where(inside, _adversarial(r, f, KIND, GENERATOR), 0.0)
        adversarial += tl.sum(row, 0)
        if KIND == 0:
            right = tl.where(r > f, 1.0, 0.0)
        else:
            right = 0.5 * (tl.where(r > 0, 1.0, 0.0) + tl.where(f < 0, 1.0, 0.0))
        right = tl.where(r + f == r + f, right, r + f)
        member = inside[:, None] & (tl.load(family + i, mask=inside, other=-1)[:, None] == n[None, :])
        counts += tl.sum(tl.where(member, 1.0, 0.0), 0)
        row_sums += tl.sum(tl.where(member, row[:, None], 0.0), 0)
        real_sums += tl.sum(tl.where(member, r[:, None], 0.0), 0)
        fake_sums += tl.sum(tl.where(member, f[:, None], 0.0), 0)
        right_sums += tl.sum(tl.where(member, right[:, None], 0.0), 0)
        if HAS_MISMATCHED:
            counted = inside
            if HAS_SOURCE:
                counted = counted & (tl.load(has_source + i, mask=inside, other=0) != 0)
            m = tl.load(mismatched + i, mask=inside, other=0.0)
            mismatch += tl.sum(tl.where(counted, _softplus(m - r), 0.0), 0)
            sources += tl.sum(tl.where(counted, 1.0, 0.0), 0)
        if HAS_CROSS:
            u_1 = tl.load(other_1 + i, mask=inside, other=0.0) - tl.load(own_1 + i, mask=inside, other=0.0)
            u_2 = tl.load(other_2 + i, mask=inside, other=0.0) - tl.load(own_2 + i, mask=inside, other=0.0)
            both = _softplus(u_1) + _softplus(u_2) if GENERATOR else _softplus(-u_1) + _softplus(-u_2)
            communication += tl.sum(tl.where(inside, both, 0.0), 0)
    sources = tl.maximum(sources, 1.0)
    total = adversarial_weight * (adversarial / rows)
    if HAS_MISMATCHED:
        total += mismatch_weight * (mismatch / sources)
    if HAS_CROSS:
        total += communication_weight * (communication / rows)
    tl.store(loss, total)
    tl.store(sums + n * 5, counts)
    least = tl.maximum(counts, 1.0)
    tl.store(sums + n * 5 + 1, row_sums / least)
    tl.store(sums + n * 5 + 2, real_sums / least)
    tl.store(sums + n * 5 + 3, fake_sums / least)
    tl.store(sums + n * 5 + 4, right_sums / least)
    for first in range(0, rows, BLOCK):
        i = first + tl.arange(0, BLOCK)
        inside = i < rows
        r = tl.load(real + i, mask=inside, other=0.0)
        f = tl.load(fake + i, mask=inside, other=0.0)
        d_r, d_f = _adversarial_slopes(r, f, KIND, GENERATOR)
        d_r *= adversarial_weight / rows
        if HAS_MISMATCHED:
            counted = inside
            if HAS_SOURCE:
                counted = counted & (tl.load(has_source + i, mask=inside, other=0) != 0)
            m = tl.load(mismatched + i, mask=inside, other=0.0)
            d_m = tl.where(counted, _sigmoid(m - r), 0.0) * (mismatch_weight / sources)
            d_r -= d_m
            tl.store(d + 2 * rows + i, d_m, mask=inside)
        tl.store(d + i, d_r, mask=inside)
        tl.store(d + rows + i, d_f * (adversarial_weight / rows), mask=inside)
        if HAS_CROSS:
            u_1 = tl.load(other_1 + i, mask=inside, other=0.0) - tl.load(own_1 + i, mask=inside, other=0.0)
            u_2 = tl.load(other_2 + i, mask=inside, other=0.0) - tl.load(own_2 + i, mask=inside, other=0.0)
            s_1 = _sigmoid(u_1) if GENERATOR else -_sigmoid(-u_1)
            s_2 = _sigmoid(u_2) if GENERATOR else -_sigmoid(-u_2)
            tl.store(d + 3 * rows + i, -s_1 * (communication_weight / rows), mask=inside)
            tl.store(d + 4 * rows + i, s_1 * (communication_weight / rows), mask=inside)
            tl.store(d + 5 * rows + i, s_2 * (communication_weight / rows), mask=inside)
            tl.store(d + 6 * rows + i, -s_2 * (communication_weight / rows), mask=inside)


@triton.jit
def losses_double_backward(
    real, fake, mismatched, own_1, other_1, other_2, own_2, has_source, gradient, d, cotangent, d_gradient, d_logits,
    rows, adversarial_weight, mismatch_weight, communication_weight,
    KIND: tl.constexpr, GENERATOR: tl.constexpr, HAS_MISMATCHED: tl.constexpr, HAS_SOURCE: tl.constexpr,
    HAS_CROSS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """d_gradient () = ⟨cotangent, d⟩ and d_logits (K, B) = gradient · Hessian · cotangent."""
    g = tl.load(gradient)
    sources = 0.0
    if HAS_MISMATCHED and HAS_SOURCE:
        for first in range(0, rows, BLOCK):
            i = first + tl.arange(0, BLOCK)
            sources += tl.sum(tl.where(tl.load(has_source + i, mask=i < rows, other=0) != 0, 1.0, 0.0), 0)
    else:
        sources += rows
    sources = tl.maximum(sources, 1.0)
    inner = 0.0
    for first in range(0, rows, BLOCK):
        i = first + tl.arange(0, BLOCK)
        inside = i < rows
        r = tl.load(real + i, mask=inside, other=0.0)
        f = tl.load(fake + i, mask=inside, other=0.0)
        c_r = tl.load(cotangent + i, mask=inside, other=0.0)
        c_f = tl.load(cotangent + rows + i, mask=inside, other=0.0)
        inner += tl.sum(c_r * tl.load(d + i, mask=inside, other=0.0), 0)
        inner += tl.sum(c_f * tl.load(d + rows + i, mask=inside, other=0.0), 0)
        h_r, h_f = c_r * 0.0, c_f * 0.0
        weight = g * (adversarial_weight / rows)
        if KIND == 0:
            h_r = weight * _sigmoid(r - f) * _sigmoid(f - r) * (c_r - c_f)
            h_f = -h_r
        if KIND == 1:
            h_f = weight * _sigmoid(f) * _sigmoid(-f) * c_f
            if not GENERATOR:
                h_r = weight * _sigmoid(r) * _sigmoid(-r) * c_r
        if HAS_MISMATCHED:
            counted = inside
            if HAS_SOURCE:
                counted = counted & (tl.load(has_source + i, mask=inside, other=0) != 0)
            m = tl.load(mismatched + i, mask=inside, other=0.0)
            c_m = tl.load(cotangent + 2 * rows + i, mask=inside, other=0.0)
            inner += tl.sum(c_m * tl.load(d + 2 * rows + i, mask=inside, other=0.0), 0)
            h_m = g * (mismatch_weight / sources) * _sigmoid(m - r) * _sigmoid(r - m) * (c_m - c_r)
            h_m = tl.where(counted, h_m, 0.0)
            h_r -= h_m
            tl.store(d_logits + 2 * rows + i, h_m, mask=inside)
        tl.store(d_logits + i, h_r, mask=inside)
        tl.store(d_logits + rows + i, h_f, mask=inside)
        if HAS_CROSS:
            u_1 = tl.load(other_1 + i, mask=inside, other=0.0) - tl.load(own_1 + i, mask=inside, other=0.0)
            u_2 = tl.load(other_2 + i, mask=inside, other=0.0) - tl.load(own_2 + i, mask=inside, other=0.0)
            c_1 = tl.load(cotangent + 4 * rows + i, mask=inside, other=0.0)
            c_1 -= tl.load(cotangent + 3 * rows + i, mask=inside, other=0.0)
            c_2 = tl.load(cotangent + 5 * rows + i, mask=inside, other=0.0)
            c_2 -= tl.load(cotangent + 6 * rows + i, mask=inside, other=0.0)
            inner += tl.sum(c_1 * tl.load(d + 4 * rows + i, mask=inside, other=0.0), 0)
            inner += tl.sum(c_2 * tl.load(d + 5 * rows + i, mask=inside, other=0.0), 0)
            h_1 = g * (communication_weight / rows) * _sigmoid(u_1) * _sigmoid(-u_1) * c_1
            h_2 = g * (communication_weight / rows) * _sigmoid(u_2) * _sigmoid(-u_2) * c_2
            tl.store(d_logits + 3 * rows + i, -h_1, mask=inside)
            tl.store(d_logits + 4 * rows + i, h_1, mask=inside)
            tl.store(d_logits + 5 * rows + i, h_2, mask=inside)
            tl.store(d_logits + 6 * rows + i, -h_2, mask=inside)
    tl.store(d_gradient, inner)


def losses_triton(
    real: Tensor,
    fake: Tensor,
    family: Tensor,
    mismatched: Tensor | None,
    has_source: Tensor | None,
    cross: tuple[Tensor, Tensor, Tensor, Tensor] | None,
    *,
    kind: str,
    generator: bool,
    weights: tuple[float, float, float],
    n_families: int,
) -> tuple[Tensor, FamilyStatistics]:
    """(weighted loss, statistics) like `losses_reference`. Raises TypeError for logits that are not float32."""
    if real.dtype != torch.float32:
        raise TypeError(f"'real' must be float32 or a half precision for backend 'triton'. Got {real.dtype}.")
    mismatched = mismatched if weights[1] != 0 else None
    cross = cross if cross is not None and weights[2] != 0 else (None,) * 4
    logits = [x if x is None else x.contiguous() for x in (real, fake, mismatched, *cross)]
    if has_source is not None:
        has_source = has_source.contiguous().view(torch.uint8)
    fixed = (kind, generator, weights, n_families)
    loss, statistics = _Losses.apply(*logits, family.contiguous(), has_source, fixed)
    return loss, FamilyStatistics(*statistics.unbind(1))


def _arguments(logits: list[Tensor | None], has_source: Tensor | None, fixed: tuple) -> tuple[tuple, tuple, dict]:
    """(pointers to the logits, run-time numbers, compile-time arguments): an absent tensor is read nowhere."""
    kind, generator, weights, _ = fixed
    real, mismatched, own = logits[0], logits[2], logits[3]
    pointers = tuple(real if x is None else x for x in logits)
    flags = {
        "KIND": KINDS[kind],
        "GENERATOR": generator,
        "HAS_MISMATCHED": mismatched is not None,
        "HAS_SOURCE": has_source is not None,
        "HAS_CROSS": own is not None,
        "BLOCK": BLOCK,
        "num_warps": 8,
    }
    return pointers, (real.shape[0], *weights), flags


class _Losses(Function):
    @staticmethod
    def forward(ctx, real, fake, mismatched, own_1, other_1, other_2, own_2, family, has_source, fixed):
        logits = [real, fake, mismatched, own_1, other_1, other_2, own_2]
        pointers, numbers, flags = _arguments(logits, has_source, fixed)
        padded = max(2, 1 << (fixed[3] - 1).bit_length())
        loss = real.new_empty(())
        statistics, d = real.new_empty(padded, 5), real.new_empty(LOGITS, real.shape[0])
        losses_forward[(1,)](
            *pointers, family, real if has_source is None else has_source, loss, statistics, d, *numbers,
            **flags, FAMILIES=padded,
        )  # fmt: skip
        ctx.fixed = fixed
        ctx.save_for_backward(*logits, has_source, d)
        statistics = statistics[: fixed[3]]
        ctx.mark_non_differentiable(statistics)
        return loss, statistics

    @staticmethod
    def backward(ctx, gradient: Tensor, _):
        *logits, has_source, d = ctx.saved_tensors
        return *_LossesBackward.apply(gradient, *logits, has_source, d, ctx.fixed), None, None, None


class _LossesBackward(Function):
    """Gradients of the logits as a function of the loss's gradient and the logits; d is a value computed from them."""

    @staticmethod
    def forward(ctx, gradient, real, fake, mismatched, own_1, other_1, other_2, own_2, has_source, d, fixed):
        logits = [real, fake, mismatched, own_1, other_1, other_2, own_2]
        ctx.fixed = fixed
        ctx.save_for_backward(gradient, *logits, has_source, d)
        return tuple(None if x is None else row for x, row in zip(logits, gradient * d, strict=True))

    @staticmethod
    def backward(ctx, *cotangents: Tensor | None):
        if torch.is_grad_enabled():
            raise RuntimeError(
                "discriminator_losses has no third derivative: a backward of its second derivative ran with "
                "'create_graph=True'. Only the first and the second derivative exist."
            )
        gradient, *logits, has_source, d = ctx.saved_tensors
        zero = d.new_zeros(d.shape[1])
        cotangent = torch.stack([zero if c is None else c for c in cotangents])
        d_gradient, d_logits = torch.empty_like(gradient), torch.empty_like(d)
        pointers, numbers, flags = _arguments(logits, has_source, ctx.fixed)
        losses_double_backward[(1,)](
            *pointers, logits[0] if has_source is None else has_source, gradient.contiguous(), d, cotangent,
            d_gradient, d_logits, *numbers, **flags,
        )  # fmt: skip
        rows = (None if x is None else row for x, row in zip(logits, d_logits, strict=True))
        return d_gradient, *rows, None, None, None
