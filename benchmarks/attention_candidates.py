"""Ways to split the second derivative of attention into fewer products, judged without a card: exactness, registers, roofline.

    python -m benchmarks.attention_candidates                         resources on sm_90 and predicted times, as a table
    TRITON_INTERPRET=1 python -m benchmarks.attention_candidates      errors of the candidates on a small shape

What runs today (kernels/masked_attention/triton_blocks.py): backward 3 + 4 products, double backward 5 + 7 + 8; with everything
of a row on the chip it would be 5 and 12. The candidates, all bfloat16 or float32, every token visible:

    backward_atomic   one sweep over queries gives dK and dV and adds dQ to memory: 5 products; sums in no fixed order
    double_atomic     the same of the double backward, after today's sweep for the constants: 5 + 10; no fixed order
    double_merged     the constants and dQ in one sweep, 10 + 8: what is linear in the constants m and w is put in after it,
                          dQ = c ((P∘N + M∘dS)K + dS·E − w·(PK)) − m·dQ₁,  dQ₁ the dQ of the first backward

Shapes and memory as in triton_blocks.py.
"""

from __future__ import annotations

import os
import sys

import torch
import triton
import triton.language as tl

from kernels.masked_attention.triton_blocks import _lines, _place, _store, _values

RATES = 790e12, 4.3e12  # FLOP/s of a bf16 product and bytes/s of a copy, as measured on an H200
L2_RATE = 5.5e12  # bytes/s, of additions to memory; a figure of the maker's
SHAPE = 32, 16, 1025, 64  # B, H, L, D of the prediction
ACHIEVED = 0.5  # of the product rate, by today's kernels on a card: 1.23 ms for 7 products, 3.41 ms for 20


@triton.jit
def backward_atomic(
    qkv, gradient, lse, delta, d_qkv, d_q_sum, cu_seqlens, scale, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """dK and dV of BLOCK_N keys; their part of dQ is added to d_q_sum, (M, H, D) float32."""
    head, start, length, first = _place(cu_seqlens, heads, blocks, BLOCK_N)
    if first >= length:
        return
    span = heads * D
    at_k = (start + first) * (3 * span) + span + head * D
    k = _lines(qkv + at_k, 3 * span, length - first, D, BLOCK_N, BLOCK_D, True)
    v = _lines(qkv + at_k + span, 3 * span, length - first, D, BLOCK_N, BLOCK_D, True)
    d_k = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    d_v = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    at_row = head.to(tl.int64) * tokens + start
    i, d = tl.arange(0, BLOCK_M)[:, None], tl.arange(0, BLOCK_D)[None, :]
    for query in range(0, length, BLOCK_M):
        left = length - query
        q = _lines(qkv + (start + query) * (3 * span) + head * D, 3 * span, left, D, BLOCK_M, BLOCK_D, True)
        g = _lines(gradient + (start + query) * span + head * D, span, left, D, BLOCK_M, BLOCK_D, True)
        log_total = _values(lse + at_row + query, left, float("inf"), BLOCK_M, True)
        row_delta = _values(delta + at_row + query, left, 0.0, BLOCK_M, True)
        p = tl.exp2(tl.dot(k, tl.trans(q), input_precision=PRECISION) * scale_log2 - log_total[None, :])
        d_v = tl.dot(p.to(g.dtype), g, acc=d_v, input_precision=PRECISION)
        d_p = tl.dot(v, tl.trans(g), input_precision=PRECISION)
        d_s = (p * (d_p - row_delta[None, :])).to(q.dtype)
        d_k = tl.dot(d_s, q, acc=d_k, input_precision=PRECISION)
        d_q = tl.dot(tl.trans(d_s), k, input_precision=PRECISION) * scale
        tl.atomic_add(d_q_sum + (start + query) * span + head * D + i * span + d, d_q, (i < left) & (d < D), "relaxed")
    _store(d_qkv + at_k, 3 * span, length - first, d_k * scale, D, BLOCK_N, BLOCK_D)
    _store(d_qkv + at_k + span, 3 * span, length - first, d_v, D, BLOCK_N, BLOCK_D)


@triton.jit
def double_atomic(
    qkv, gradient, lse, cotangent, delta, mean, w, d_qkv, d_q_sum, cu_seqlens, scale, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The key and value parts of d_qkv for BLOCK_N keys; their part of the query's is added to d_q_sum."""
    head, start, length, first = _place(cu_seqlens, heads, blocks, BLOCK_N)
    if first >= length:
        return
    span = heads * D
    own = length - first
    at_k = (start + first) * (3 * span) + span + head * D
    k = _lines(qkv + at_k, 3 * span, own, D, BLOCK_N, BLOCK_D, True)
    v = _lines(qkv + at_k + span, 3 * span, own, D, BLOCK_N, BLOCK_D, True)
    e = _lines(cotangent + at_k, 3 * span, own, D, BLOCK_N, BLOCK_D, True)
    c = _lines(cotangent + at_k + span, 3 * span, own, D, BLOCK_N, BLOCK_D, True)
    d_k = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    d_v = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    at_row = head.to(tl.int64) * tokens + start
    i, d = tl.arange(0, BLOCK_M)[:, None], tl.arange(0, BLOCK_D)[None, :]
    for query in range(0, length, BLOCK_M):
        left = length - query
        at_q = (start + query) * (3 * span) + head * D
        q = _lines(qkv + at_q, 3 * span, left, D, BLOCK_M, BLOCK_D, True)
        a = _lines(cotangent + at_q, 3 * span, left, D, BLOCK_M, BLOCK_D, True)
        g = _lines(gradient + (start + query) * span + head * D, span, left, D, BLOCK_M, BLOCK_D, True)
        log_total = _values(lse + at_row + query, left, float("inf"), BLOCK_M, True)
        row_delta = _values(delta + at_row + query, left, 0.0, BLOCK_M, True)
        row_mean = _values(mean + at_row + query, left, 0.0, BLOCK_M, True)
        row_w = _values(w + at_row + query, left, 0.0, BLOCK_M, True)
        p = tl.exp2(tl.dot(k, tl.trans(q), input_precision=PRECISION) * scale_log2 - log_total[None, :])
        m = tl.dot(k, tl.trans(a), input_precision=PRECISION)
        m = tl.dot(e, tl.trans(q), acc=m, input_precision=PRECISION) * scale - row_mean[None, :]
        d_v = tl.dot((p * m).to(g.dtype), g, acc=d_v, input_precision=PRECISION)
        d_s = p * (tl.dot(v, tl.trans(g), input_precision=PRECISION) - row_delta[None, :])
        n = tl.dot(c, tl.trans(g), input_precision=PRECISION)
        d_s2 = (p * (n - row_w[None, :]) + m * d_s).to(q.dtype)
        d_s = d_s.to(a.dtype)
        d_k = tl.dot(d_s2, q, acc=d_k, input_precision=PRECISION)
        d_k = tl.dot(d_s, a, acc=d_k, input_precision=PRECISION)
        d_q = tl.dot(tl.trans(d_s2), k, input_precision=PRECISION)
        d_q = tl.dot(tl.trans(d_s), e, acc=d_q, input_precision=PRECISION) * scale
        tl.atomic_add(d_q_sum + (start + query) * span + head * D + i * span + d, d_q, (i < left) & (d < D), "relaxed")
    _store(d_qkv + at_k, 3 * span, own, d_k * scale, D, BLOCK_N, BLOCK_D)
    _store(d_qkv + at_k + span, 3 * span, own, d_v, D, BLOCK_N, BLOCK_D)


@triton.jit
def double_merged(
    qkv, out, gradient, lse, cotangent, first_d_qkv, delta, mean, w, d_gradient, d_qkv, cu_seqlens,
    scale, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """delta, m (mean), w, d_gradient and the query part of d_qkv for BLOCK_M queries. first_d_qkv: of the first backward."""
    head, start, length, first = _place(cu_seqlens, heads, blocks, BLOCK_M)
    if first >= length:
        return
    span = heads * D
    left = length - first
    at_q = (start + first) * (3 * span) + head * D
    at_out = (start + first) * span + head * D
    at_row = head.to(tl.int64) * tokens + start + first
    q = _lines(qkv + at_q, 3 * span, left, D, BLOCK_M, BLOCK_D, True)
    a = _lines(cotangent + at_q, 3 * span, left, D, BLOCK_M, BLOCK_D, True)
    g = _lines(gradient + at_out, span, left, D, BLOCK_M, BLOCK_D, True)
    o = _lines(out + at_out, span, left, D, BLOCK_M, BLOCK_D, True)
    log_total = _values(lse + at_row, left, 0.0, BLOCK_M, True)
    row_delta = tl.sum(g.to(tl.float32) * o.to(tl.float32), 1)
    m_mean = tl.zeros([BLOCK_M], tl.float32)
    d_g = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    d_q = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    p_k = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for key in range(0, length, BLOCK_N):
        at = (start + key) * (3 * span) + span + head * D
        k = _lines(qkv + at, 3 * span, length - key, D, BLOCK_N, BLOCK_D, True)
        e = _lines(cotangent + at, 3 * span, length - key, D, BLOCK_N, BLOCK_D, True)
        v = _lines(qkv + at + span, 3 * span, length - key, D, BLOCK_N, BLOCK_D, True)
        c = _lines(cotangent + at + span, 3 * span, length - key, D, BLOCK_N, BLOCK_D, True)
        p = tl.exp2(tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale_log2 - log_total[:, None])
        p = tl.where((tl.arange(0, BLOCK_N) < length - key)[None, :], p, 0.0)
        m = tl.dot(a, tl.trans(k), input_precision=PRECISION)
        m = tl.dot(q, tl.trans(e), acc=m, input_precision=PRECISION) * scale
        p_half = p.to(v.dtype)
        p_k = tl.dot(p_half, k, acc=p_k, input_precision=PRECISION)
        d_g = tl.dot(p_half, c, acc=d_g, input_precision=PRECISION)
        m_mean += tl.sum(p * m, 1)
        d_g = tl.dot((p * m).to(v.dtype), v, acc=d_g, input_precision=PRECISION)
        d_s = p * (tl.dot(g, tl.trans(v), input_precision=PRECISION) - row_delta[:, None])
        n = tl.dot(g, tl.trans(c), input_precision=PRECISION)
        d_q = tl.dot((p * n + m * d_s).to(k.dtype), k, acc=d_q, input_precision=PRECISION)
        d_q = tl.dot(d_s.to(e.dtype), e, acc=d_q, input_precision=PRECISION)
    d_g -= m_mean[:, None] * o.to(tl.float32)
    row_w = tl.sum(g.to(tl.float32) * d_g, 1)
    earlier = _lines(first_d_qkv + at_q, 3 * span, left, D, BLOCK_M, BLOCK_D, True).to(tl.float32)
    d_q = (d_q - row_w[:, None] * p_k) * scale - m_mean[:, None] * earlier
    _store(d_gradient + at_out, span, left, d_g, D, BLOCK_M, BLOCK_D)
    _store(d_qkv + at_q, 3 * span, left, d_q, D, BLOCK_M, BLOCK_D)
    i = tl.arange(0, BLOCK_M)
    tl.store(delta + at_row + i, row_delta, mask=i < left)
    tl.store(mean + at_row + i, m_mean, mask=i < left)
    tl.store(w + at_row + i, row_w, mask=i < left)


# What would be launched, each with its products and the tiles to try; ' of today' are rows of the table in use.
TRIED = {
    backward_atomic: ("64x64w4s2", "32x64w4s2", "64x128w8s2"),
    double_atomic: ("32x64w4s1", "32x64w8s1", "64x128w8s1"),
    double_merged: ("64x32w4s1", "64x32w8s1", "128x32w8s1"),
}
# Name: kernels of block size with their products, kernels that add to memory once a key block of so many keys.
PLANS = {
    "backward today": (7, 0),
    "backward_atomic": (5, 64),
    "backward_atomic, 128 keys": (5, 128),
    "double today": (20, 0),
    "double_atomic": (15, 64),
    "double_atomic, 128 keys": (15, 128),
    "double_merged": (18, 0),
}


def predicted_ms(products: int, keys: int) -> tuple[float, float]:
    """(roofline, at the share of it that today's kernels achieve) of a plan on SHAPE; keys: of a block whose dQ is added to
    memory, 0 for none. The additions are taken to overlap with nothing."""
    batch, heads, length, dim = SHAPE
    compute_s = products * 2 * dim * batch * heads * length**2 / RATES[0]
    added_s = -(-length // keys) * batch * heads * length * dim * 4 / L2_RATE if keys else 0.0
    return max(compute_s, added_s) * 1e3, (compute_s / ACHIEVED + added_s) * 1e3


def print_resources() -> None:
    """Registers, spilled bytes and shared memory of each candidate on sm_90, D = 64, bfloat16; then predicted times."""
    from kernels.ahead_of_time import compile_kernel, resources
    from kernels.masked_attention.configurations import Configuration

    floats = dict.fromkeys(("lse", "delta", "mean", "w", "d_q_sum"), "*fp32")
    elements = ("qkv", "out", "gradient", "cotangent", "first_d_qkv", "d_qkv", "d_gradient")
    types = floats | dict.fromkeys(elements, "*bf16") | {"cu_seqlens": "*i32", "scale": "fp32", "scale_log2": "fp32"}
    types |= dict.fromkeys(("tokens", "heads", "blocks"), "i32")
    for kernel, tiles in TRIED.items():
        for to in map(Configuration.parse, tiles):
            sizes = {"D": 64, "BLOCK_D": 64, "BLOCK_M": to.block_m, "BLOCK_N": to.block_n, "PRECISION": "ieee"}
            try:
                used = resources(compile_kernel(kernel, types, sizes, 90, **to.options))
            except Exception as failure:  # noqa: BLE001 one tile that does not compile must not lose the others
                print(f"| {kernel.__name__} | {to} | {type(failure).__name__} |", flush=True)
                continue
            programs = min(65536 // (used.registers * 32 * to.warps), 227 * 1024 // (used.shared_bytes + 1024))
            cells = used.registers, used.spill_bytes, f"{used.shared_bytes / 1024:.0f}", programs, used.serialized
            print(f"| {kernel.__name__} | {to} | " + " | ".join(map(str, cells)) + " |", flush=True)
    for name, plan in PLANS.items():
        print(f"| {name} | {plan[0]} | " + " | ".join(f"{ms:.2f}" for ms in predicted_ms(*plan)) + " |")


def largest_error() -> float:
    """Largest relative error of the candidates against float64, one row of 37 tokens in two heads, by the interpreter."""
    from kernels.masked_attention.launches import attention_backward, attention_double_backward, attention_forward

    heads, length, dim, block = 2, 37, 16, 16
    generator = torch.Generator().manual_seed(0)
    qkv, cotangent = (torch.randn(length, 3, heads, dim, generator=generator) for _ in range(2))
    gradient = torch.randn(length, heads, dim, generator=generator)
    cu_seqlens, scale = torch.tensor([0, length], dtype=torch.int32), dim**-0.5
    fixed = cu_seqlens, None, length, False, scale
    out, lse = attention_forward(qkv, *fixed)
    first = attention_backward(qkv, gradient, out, lse, *fixed)
    true, true_g = attention_double_backward(qkv, gradient, out, lse, cotangent, *fixed)
    grid, log2e = (heads * -(-length // block),), 1.4426950408889634
    same = {"D": dim, "BLOCK_D": 16, "BLOCK_M": block, "BLOCK_N": block, "PRECISION": "ieee"}
    values = cu_seqlens, scale, scale * log2e, length, heads, -(-length // block)
    delta, mean, w = (torch.zeros_like(lse) for _ in range(3))
    found, found_g = torch.zeros_like(qkv), torch.zeros_like(gradient)
    double_merged[grid](
        qkv, out, gradient, lse, cotangent, first, delta, mean, w, found_g, found, *values, **same
    )  # fmt: skip
    pairs = [(found[:, 0], true[:, 0]), (found_g, true_g)]
    sums = torch.zeros(2, length, heads, dim)
    again, once = torch.zeros_like(qkv), torch.zeros_like(qkv)
    double_atomic[grid](qkv, gradient, lse, cotangent, delta, mean, w, again, sums[0], *values, **same)
    backward_atomic[grid](qkv, gradient, lse, delta, once, sums[1], *values, **same)
    pairs += [(again[:, 1:], true[:, 1:]), (sums[0], true[:, 0]), (once[:, 1:], first[:, 1:]), (sums[1], first[:, 0])]
    return max(((a - b).norm() / b.norm()).item() for a, b in pairs)


def main() -> None:
    """The table, or the error where Triton interprets."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        error = largest_error()
        print(f"largest difference from today's kernels: {error:.1e}")
        sys.exit(error > 1e-5)
    print_resources()


if __name__ == "__main__":
    main()
