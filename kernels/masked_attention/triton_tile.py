"""Triton kernels for short rows: all visible tokens of one (row, head) in one tile, nothing spilled to memory.

One program owns one row b and one head h; scores, weights and their derivatives stay on the chip. The formulas
and their symbols are those of reference.py; the row constants of the double backward are written as
rowsum(P∘W) = rowsum(G∘∂G), which needs no second pass.

Shapes: B rows, M packed tokens, H heads, D head dimension. Memory is contiguous:
    qkv, d_qkv, cotangent   (M, 3, H, D)
    out, gradient, d_gradient   (M, H, D)
    lse   (H, M) float32, log2 of the softmax denominators
    cu_seqlens   (B + 1,) int32;   rank, key_rank   (M,) integers, the same array or two, read only if HAS_RANK
Token i sees token j of its row iff key_rank[j] <= rank[i] and, if CAUSAL, j is not behind i.
Accumulation is float32; products of half precision inputs round P, dS, … to the input type, as tensor cores need.
"""

import triton
import triton.language as tl


@triton.jit
def forward_tile(
    qkv, out, lse, cu_seqlens, rank, key_rank, scale_log2, tokens, heads,
    D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr, HAS_RANK: tl.constexpr, PRECISION: tl.constexpr,
    CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """out = softmax(c·QKᵀ + mask)·V and lse. scale_log2: c·log2 e; tokens: M; heads: H."""
    row = tl.program_id(0) // heads
    head = tl.program_id(0) % heads
    start = tl.load(cu_seqlens + row)
    length = tl.load(cu_seqlens + row + 1) - start
    i = tl.arange(0, BLOCK)
    d = tl.arange(0, BLOCK_D)
    inside = i < length
    token = (start + i).to(tl.int64)
    used = inside[:, None] & (d < D)[None, :]
    at = ((token * 3 * heads + head) * D)[:, None] + d[None, :]
    q = tl.load(qkv + at, mask=used, other=0.0)
    k = tl.load(qkv + at + heads * D, mask=used, other=0.0)
    v = tl.load(qkv + at + 2 * heads * D, mask=used, other=0.0)
    allowed = inside[None, :] & inside[:, None]
    if HAS_RANK:
        r = tl.load(rank + token, mask=inside, other=0)
        allowed = allowed & (tl.load(key_rank + token, mask=inside, other=0)[None, :] <= r[:, None])
    if CAUSAL:
        allowed = allowed & (i[None, :] <= i[:, None])
    s = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale_log2
    s = tl.where(allowed, s, -float("inf"))
    top = tl.max(s, 1)
    seeing = top > -float("inf") if HAS_RANK else inside  # the others give 0, and weights of 0 in the derivatives
    top = tl.where(seeing, top, 0.0)
    p = tl.exp2(s - top[:, None])
    total = tl.sum(p, 1)
    total = tl.where(seeing, total, 1.0)
    o = tl.dot((p / total[:, None]).to(v.dtype), v, input_precision=PRECISION)
    at_out = ((token * heads + head) * D)[:, None] + d[None, :]
    tl.store(out + at_out, o.to(out.dtype.element_ty), mask=used)
    tl.store(lse + head.to(tl.int64) * tokens + token, top + tl.log2(total), mask=inside)


@triton.jit
def backward_tile(
    qkv, gradient, lse, d_qkv, cu_seqlens, rank, key_rank, scale, scale_log2, tokens, heads,
    D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr, HAS_RANK: tl.constexpr, PRECISION: tl.constexpr,
    CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """d_qkv from the gradient of out."""
    row = tl.program_id(0) // heads
    head = tl.program_id(0) % heads
    start = tl.load(cu_seqlens + row)
    length = tl.load(cu_seqlens + row + 1) - start
    i = tl.arange(0, BLOCK)
    d = tl.arange(0, BLOCK_D)
    inside = i < length
    token = (start + i).to(tl.int64)
    used = inside[:, None] & (d < D)[None, :]
    at = ((token * 3 * heads + head) * D)[:, None] + d[None, :]
    at_out = ((token * heads + head) * D)[:, None] + d[None, :]
    q = tl.load(qkv + at, mask=used, other=0.0)
    k = tl.load(qkv + at + heads * D, mask=used, other=0.0)
    v = tl.load(qkv + at + 2 * heads * D, mask=used, other=0.0)
    g = tl.load(gradient + at_out, mask=used, other=0.0)
    log_total = tl.load(lse + head.to(tl.int64) * tokens + token, mask=inside, other=0.0)
    allowed = inside[None, :] & inside[:, None]
    if HAS_RANK:
        r = tl.load(rank + token, mask=inside, other=0)
        allowed = allowed & (tl.load(key_rank + token, mask=inside, other=0)[None, :] <= r[:, None])
    if CAUSAL:
        allowed = allowed & (i[None, :] <= i[:, None])
    s = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale_log2
    p = tl.where(allowed, tl.exp2(s - log_total[:, None]), 0.0)
    d_v = tl.dot(tl.trans(p).to(g.dtype), g, input_precision=PRECISION)
    tl.store(d_qkv + at + 2 * heads * D, d_v.to(d_qkv.dtype.element_ty), mask=used)
    d_p = tl.dot(g, tl.trans(v), input_precision=PRECISION)
    d_s = (p * (d_p - tl.sum(p * d_p, 1)[:, None]) * scale).to(q.dtype)
    d_q = tl.dot(d_s, k, input_precision=PRECISION)
    tl.store(d_qkv + at, d_q.to(d_qkv.dtype.element_ty), mask=used)
    d_k = tl.dot(tl.trans(d_s), q, input_precision=PRECISION)
    tl.store(d_qkv + at + heads * D, d_k.to(d_qkv.dtype.element_ty), mask=used)


@triton.jit
def double_tile(
    qkv, gradient, lse, cotangent, d_qkv, d_gradient, cu_seqlens, rank, key_rank, scale, scale_log2, tokens, heads,
    D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr, HAS_RANK: tl.constexpr, PRECISION: tl.constexpr,
    CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """∂qkv and ∂gradient from the cotangents A, E, C of the first derivatives of Q, K, V: 12 products."""
    row = tl.program_id(0) // heads
    head = tl.program_id(0) % heads
    start = tl.load(cu_seqlens + row)
    length = tl.load(cu_seqlens + row + 1) - start
    i = tl.arange(0, BLOCK)
    d = tl.arange(0, BLOCK_D)
    inside = i < length
    token = (start + i).to(tl.int64)
    used = inside[:, None] & (d < D)[None, :]
    at = ((token * 3 * heads + head) * D)[:, None] + d[None, :]
    at_out = ((token * heads + head) * D)[:, None] + d[None, :]
    q = tl.load(qkv + at, mask=used, other=0.0)
    k = tl.load(qkv + at + heads * D, mask=used, other=0.0)
    log_total = tl.load(lse + head.to(tl.int64) * tokens + token, mask=inside, other=0.0)
    allowed = inside[None, :] & inside[:, None]
    if HAS_RANK:
        r = tl.load(rank + token, mask=inside, other=0)
        allowed = allowed & (tl.load(key_rank + token, mask=inside, other=0)[None, :] <= r[:, None])
    if CAUSAL:
        allowed = allowed & (i[None, :] <= i[:, None])
    s = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale_log2
    p = tl.where(allowed, tl.exp2(s - log_total[:, None]), 0.0)
    a = tl.load(cotangent + at, mask=used, other=0.0)
    e = tl.load(cotangent + at + heads * D, mask=used, other=0.0)
    m = tl.dot(a, tl.trans(k), input_precision=PRECISION)
    m = tl.dot(q, tl.trans(e), acc=m, input_precision=PRECISION) * scale
    m = m - tl.sum(p * m, 1)[:, None]
    p_dot = (p * m).to(q.dtype)
    p_half = p.to(q.dtype)
    v = tl.load(qkv + at + 2 * heads * D, mask=used, other=0.0)
    c = tl.load(cotangent + at + 2 * heads * D, mask=used, other=0.0)
    g = tl.load(gradient + at_out, mask=used, other=0.0)
    d_g = tl.dot(p_dot, v, input_precision=PRECISION)
    d_g = tl.dot(p_half, c, acc=d_g, input_precision=PRECISION)
    tl.store(d_gradient + at_out, d_g.to(d_gradient.dtype.element_ty), mask=used)
    w = tl.sum(g.to(tl.float32) * d_g, 1)
    d_v = tl.dot(tl.trans(p_dot), g, input_precision=PRECISION)
    tl.store(d_qkv + at + 2 * heads * D, d_v.to(d_qkv.dtype.element_ty), mask=used)
    d_p = tl.dot(g, tl.trans(v), input_precision=PRECISION)
    d_s = p * (d_p - tl.sum(p * d_p, 1)[:, None])
    n = tl.dot(g, tl.trans(c), input_precision=PRECISION)
    d_s2 = ((p * (n - w[:, None]) + m * d_s) * scale).to(q.dtype)
    d_s = (d_s * scale).to(q.dtype)
    d_q = tl.dot(d_s2, k, input_precision=PRECISION)
    d_q = tl.dot(d_s, e, acc=d_q, input_precision=PRECISION)
    tl.store(d_qkv + at, d_q.to(d_qkv.dtype.element_ty), mask=used)
    d_k = tl.dot(tl.trans(d_s2), q, input_precision=PRECISION)
    d_k = tl.dot(tl.trans(d_s), a, acc=d_k, input_precision=PRECISION)
    tl.store(d_qkv + at + heads * D, d_k.to(d_qkv.dtype.element_ty), mask=used)


@triton.jit
def tangent_tile(
    qkv, lse, tangent, d_out, cu_seqlens, rank, key_rank, scale, scale_log2, tokens, heads,
    D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr, HAS_RANK: tl.constexpr, PRECISION: tl.constexpr,
    CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """d_out, the derivative of out along `tangent` of qkv: (P∘(Ṡ − rowsum(P∘Ṡ)))V + PV̇, 5 products."""
    row = tl.program_id(0) // heads
    head = tl.program_id(0) % heads
    start = tl.load(cu_seqlens + row)
    length = tl.load(cu_seqlens + row + 1) - start
    i = tl.arange(0, BLOCK)
    d = tl.arange(0, BLOCK_D)
    inside = i < length
    token = (start + i).to(tl.int64)
    used = inside[:, None] & (d < D)[None, :]
    at = ((token * 3 * heads + head) * D)[:, None] + d[None, :]
    q = tl.load(qkv + at, mask=used, other=0.0)
    k = tl.load(qkv + at + heads * D, mask=used, other=0.0)
    log_total = tl.load(lse + head.to(tl.int64) * tokens + token, mask=inside, other=0.0)
    allowed = inside[None, :] & inside[:, None]
    if HAS_RANK:
        r = tl.load(rank + token, mask=inside, other=0)
        allowed = allowed & (tl.load(key_rank + token, mask=inside, other=0)[None, :] <= r[:, None])
    if CAUSAL:
        allowed = allowed & (i[None, :] <= i[:, None])
    s = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale_log2
    p = tl.where(allowed, tl.exp2(s - log_total[:, None]), 0.0)
    a = tl.load(tangent + at, mask=used, other=0.0)
    e = tl.load(tangent + at + heads * D, mask=used, other=0.0)
    m = tl.dot(a, tl.trans(k), input_precision=PRECISION)
    m = tl.dot(q, tl.trans(e), acc=m, input_precision=PRECISION) * scale
    m = m - tl.sum(p * m, 1)[:, None]
    v = tl.load(qkv + at + 2 * heads * D, mask=used, other=0.0)
    c = tl.load(tangent + at + 2 * heads * D, mask=used, other=0.0)
    d_o = tl.dot((p * m).to(q.dtype), v, input_precision=PRECISION)
    d_o = tl.dot(p.to(q.dtype), c, acc=d_o, input_precision=PRECISION)
    at_out = ((token * heads + head) * D)[:, None] + d[None, :]
    tl.store(d_out + at_out, d_o.to(d_out.dtype.element_ty), mask=used)
