"""Triton kernels for long rows: blocks of queries sweep over blocks of keys, or the reverse.

Two kernels make the backward (query side, key side) and three the double backward: a sweep for the row constants
and ∂G, then the query side and the key side; one combined kernel would not fit the registers. With o the output
row and δ = G·o, a single sweep gives the constants, since

    m = rowsum(P∘M),   ∂G = (P∘M)V + PC − m·o,   rowsum(P∘W) = G·∂G =: w
    dS₂ = P∘(N − w) + (M − m)∘dS

5 + 7 + 8 products of block size. Programs whose block lies beyond the end of their row leave at once.

Shapes and memory as in triton_tile.py; delta, m, w: (H, M) float32 like lse. blocks: blocks of the longest row.
"""

import triton
import triton.language as tl


@triton.jit
def forward_blocks(
    qkv, out, lse, cu_seqlens, rank, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """out and lse of BLOCK_M queries, by an online softmax over all keys of the row."""
    first = (tl.program_id(0) % blocks) * BLOCK_M
    head = (tl.program_id(0) // blocks) % heads
    row = tl.program_id(0) // (blocks * heads)
    start = tl.load(cu_seqlens + row)
    length = tl.load(cu_seqlens + row + 1) - start
    if first >= length:
        return
    d = tl.arange(0, BLOCK_D)
    wide = (d < D)[None, :]
    i = first + tl.arange(0, BLOCK_M)
    inside = i < length
    token = (start + i).to(tl.int64)
    used = inside[:, None] & wide
    q = tl.load(qkv + ((token * 3 * heads + head) * D)[:, None] + d[None, :], mask=used, other=0.0)
    if HAS_RANK:
        r = tl.load(rank + token, mask=inside, other=32767)
    top = tl.full([BLOCK_M], -float("inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    o = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for first_key in range(0, length, BLOCK_N):
        j = first_key + tl.arange(0, BLOCK_N)
        key = j < length
        key_token = (start + j).to(tl.int64)
        at = ((key_token * 3 * heads + head) * D)[:, None] + d[None, :]
        k = tl.load(qkv + at + heads * D, mask=key[:, None] & wide, other=0.0)
        v = tl.load(qkv + at + 2 * heads * D, mask=key[:, None] & wide, other=0.0)
        s = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale_log2
        allowed = key[None, :]
        if HAS_RANK:
            allowed = allowed & (tl.load(rank + key_token, mask=key, other=0)[None, :] <= r[:, None])
        s = tl.where(allowed, s, -float("inf"))
        new_top = tl.maximum(top, tl.max(s, 1))
        shift = tl.where(new_top == -float("inf"), 0.0, new_top)  # no key seen yet
        p = tl.exp2(s - shift[:, None])
        decay = tl.exp2(top - shift)
        total = total * decay + tl.sum(p, 1)
        o = tl.dot(p.to(v.dtype), v, acc=o * decay[:, None], input_precision=PRECISION)
        top = new_top
    o = o / total[:, None]
    tl.store(out + ((token * heads + head) * D)[:, None] + d[None, :], o.to(out.dtype.element_ty), mask=used)
    tl.store(lse + head.to(tl.int64) * tokens + token, top + tl.log2(total), mask=inside)


@triton.jit
def backward_rows(
    qkv, out, gradient, lse, delta, d_qkv, cu_seqlens, rank, scale, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """delta and the query part of d_qkv for BLOCK_M queries."""
    first = (tl.program_id(0) % blocks) * BLOCK_M
    head = (tl.program_id(0) // blocks) % heads
    row = tl.program_id(0) // (blocks * heads)
    start = tl.load(cu_seqlens + row)
    length = tl.load(cu_seqlens + row + 1) - start
    if first >= length:
        return
    d = tl.arange(0, BLOCK_D)
    wide = (d < D)[None, :]
    i = first + tl.arange(0, BLOCK_M)
    inside = i < length
    token = (start + i).to(tl.int64)
    used = inside[:, None] & wide
    at_q = ((token * 3 * heads + head) * D)[:, None] + d[None, :]
    at_out = ((token * heads + head) * D)[:, None] + d[None, :]
    at_row = head.to(tl.int64) * tokens + token
    q = tl.load(qkv + at_q, mask=used, other=0.0)
    g = tl.load(gradient + at_out, mask=used, other=0.0)
    o = tl.load(out + at_out, mask=used, other=0.0)
    row_delta = tl.sum(g.to(tl.float32) * o.to(tl.float32), 1)
    tl.store(delta + at_row, row_delta, mask=inside)
    log_total = tl.load(lse + at_row, mask=inside, other=0.0)
    if HAS_RANK:
        r = tl.load(rank + token, mask=inside, other=32767)
    d_q = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for first_key in range(0, length, BLOCK_N):
        j = first_key + tl.arange(0, BLOCK_N)
        key = j < length
        key_token = (start + j).to(tl.int64)
        at = ((key_token * 3 * heads + head) * D)[:, None] + d[None, :]
        k = tl.load(qkv + at + heads * D, mask=key[:, None] & wide, other=0.0)
        v = tl.load(qkv + at + 2 * heads * D, mask=key[:, None] & wide, other=0.0)
        allowed = inside[:, None] & key[None, :]
        if HAS_RANK:
            allowed = allowed & (tl.load(rank + key_token, mask=key, other=0)[None, :] <= r[:, None])
        s = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale_log2
        p = tl.where(allowed, tl.exp2(s - log_total[:, None]), 0.0)
        d_p = tl.dot(g, tl.trans(v), input_precision=PRECISION)
        d_s = (p * (d_p - row_delta[:, None])).to(k.dtype)
        d_q = tl.dot(d_s, k, acc=d_q, input_precision=PRECISION)
    tl.store(d_qkv + at_q, (d_q * scale).to(d_qkv.dtype.element_ty), mask=used)


@triton.jit
def backward_columns(
    qkv, gradient, lse, delta, d_qkv, cu_seqlens, rank, scale, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The key and value parts of d_qkv for BLOCK_N keys; everything is transposed (keys first)."""
    first = (tl.program_id(0) % blocks) * BLOCK_N
    head = (tl.program_id(0) // blocks) % heads
    row = tl.program_id(0) // (blocks * heads)
    start = tl.load(cu_seqlens + row)
    length = tl.load(cu_seqlens + row + 1) - start
    if first >= length:
        return
    d = tl.arange(0, BLOCK_D)
    wide = (d < D)[None, :]
    j = first + tl.arange(0, BLOCK_N)
    key = j < length
    key_token = (start + j).to(tl.int64)
    used = key[:, None] & wide
    at_k = ((key_token * 3 * heads + head) * D)[:, None] + d[None, :] + heads * D
    k = tl.load(qkv + at_k, mask=used, other=0.0)
    v = tl.load(qkv + at_k + heads * D, mask=used, other=0.0)
    if HAS_RANK:
        r = tl.load(rank + key_token, mask=key, other=0)
    d_k = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    d_v = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    for first_query in range(0, length, BLOCK_M):
        i = first_query + tl.arange(0, BLOCK_M)
        inside = i < length
        token = (start + i).to(tl.int64)
        at_q = ((token * 3 * heads + head) * D)[:, None] + d[None, :]
        at_out = ((token * heads + head) * D)[:, None] + d[None, :]
        at_row = head.to(tl.int64) * tokens + token
        q = tl.load(qkv + at_q, mask=inside[:, None] & wide, other=0.0)
        g = tl.load(gradient + at_out, mask=inside[:, None] & wide, other=0.0)
        log_total = tl.load(lse + at_row, mask=inside, other=0.0)
        row_delta = tl.load(delta + at_row, mask=inside, other=0.0)
        allowed = key[:, None] & inside[None, :]
        if HAS_RANK:
            allowed = allowed & (r[:, None] <= tl.load(rank + token, mask=inside, other=0)[None, :])
        s = tl.dot(k, tl.trans(q), input_precision=PRECISION) * scale_log2
        p = tl.where(allowed, tl.exp2(s - log_total[None, :]), 0.0)
        d_v = tl.dot(p.to(g.dtype), g, acc=d_v, input_precision=PRECISION)
        d_p = tl.dot(v, tl.trans(g), input_precision=PRECISION)
        d_s = (p * (d_p - row_delta[None, :])).to(q.dtype)
        d_k = tl.dot(d_s, q, acc=d_k, input_precision=PRECISION)
    tl.store(d_qkv + at_k, (d_k * scale).to(d_qkv.dtype.element_ty), mask=used)
    tl.store(d_qkv + at_k + heads * D, d_v.to(d_qkv.dtype.element_ty), mask=used)


@triton.jit
def double_constants(
    qkv, out, gradient, lse, cotangent, delta, mean, w, d_gradient, cu_seqlens, rank,
    scale, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """delta, m (mean), w and d_gradient for BLOCK_M queries: 5 products."""
    first = (tl.program_id(0) % blocks) * BLOCK_M
    head = (tl.program_id(0) // blocks) % heads
    row = tl.program_id(0) // (blocks * heads)
    start = tl.load(cu_seqlens + row)
    length = tl.load(cu_seqlens + row + 1) - start
    if first >= length:
        return
    d = tl.arange(0, BLOCK_D)
    wide = (d < D)[None, :]
    i = first + tl.arange(0, BLOCK_M)
    inside = i < length
    token = (start + i).to(tl.int64)
    used = inside[:, None] & wide
    at_q = ((token * 3 * heads + head) * D)[:, None] + d[None, :]
    at_out = ((token * heads + head) * D)[:, None] + d[None, :]
    at_row = head.to(tl.int64) * tokens + token
    q = tl.load(qkv + at_q, mask=used, other=0.0)
    a = tl.load(cotangent + at_q, mask=used, other=0.0)
    log_total = tl.load(lse + at_row, mask=inside, other=0.0)
    if HAS_RANK:
        r = tl.load(rank + token, mask=inside, other=32767)
    m_mean = tl.zeros([BLOCK_M], tl.float32)
    d_g = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for first_key in range(0, length, BLOCK_N):
        j = first_key + tl.arange(0, BLOCK_N)
        key = j < length
        key_token = (start + j).to(tl.int64)
        at = ((key_token * 3 * heads + head) * D)[:, None] + d[None, :]
        k = tl.load(qkv + at + heads * D, mask=key[:, None] & wide, other=0.0)
        e = tl.load(cotangent + at + heads * D, mask=key[:, None] & wide, other=0.0)
        v = tl.load(qkv + at + 2 * heads * D, mask=key[:, None] & wide, other=0.0)
        c = tl.load(cotangent + at + 2 * heads * D, mask=key[:, None] & wide, other=0.0)
        allowed = inside[:, None] & key[None, :]
        if HAS_RANK:
            allowed = allowed & (tl.load(rank + key_token, mask=key, other=0)[None, :] <= r[:, None])
        s = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale_log2
        p = tl.where(allowed, tl.exp2(s - log_total[:, None]), 0.0)
        m = tl.dot(a, tl.trans(k), input_precision=PRECISION)
        m = tl.dot(q, tl.trans(e), acc=m, input_precision=PRECISION)
        p_m = p * (m * scale)
        m_mean += tl.sum(p_m, 1)
        d_g = tl.dot(p_m.to(v.dtype), v, acc=d_g, input_precision=PRECISION)
        d_g = tl.dot(p.to(c.dtype), c, acc=d_g, input_precision=PRECISION)
    o = tl.load(out + at_out, mask=used, other=0.0).to(tl.float32)
    g = tl.load(gradient + at_out, mask=used, other=0.0).to(tl.float32)
    d_g -= m_mean[:, None] * o
    tl.store(d_gradient + at_out, d_g.to(d_gradient.dtype.element_ty), mask=used)
    tl.store(delta + at_row, tl.sum(g * o, 1), mask=inside)
    tl.store(mean + at_row, m_mean, mask=inside)
    tl.store(w + at_row, tl.sum(g * d_g, 1), mask=inside)


@triton.jit
def double_rows(
    qkv, gradient, lse, cotangent, delta, mean, w, d_qkv, cu_seqlens, rank,
    scale, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The query part of d_qkv for BLOCK_M queries: 7 products."""
    first = (tl.program_id(0) % blocks) * BLOCK_M
    head = (tl.program_id(0) // blocks) % heads
    row = tl.program_id(0) // (blocks * heads)
    start = tl.load(cu_seqlens + row)
    length = tl.load(cu_seqlens + row + 1) - start
    if first >= length:
        return
    d = tl.arange(0, BLOCK_D)
    wide = (d < D)[None, :]
    i = first + tl.arange(0, BLOCK_M)
    inside = i < length
    token = (start + i).to(tl.int64)
    used = inside[:, None] & wide
    at_q = ((token * 3 * heads + head) * D)[:, None] + d[None, :]
    at_row = head.to(tl.int64) * tokens + token
    q = tl.load(qkv + at_q, mask=used, other=0.0)
    a = tl.load(cotangent + at_q, mask=used, other=0.0)
    g = tl.load(gradient + ((token * heads + head) * D)[:, None] + d[None, :], mask=used, other=0.0)
    log_total = tl.load(lse + at_row, mask=inside, other=0.0)
    row_delta = tl.load(delta + at_row, mask=inside, other=0.0)
    row_mean = tl.load(mean + at_row, mask=inside, other=0.0)
    row_w = tl.load(w + at_row, mask=inside, other=0.0)
    if HAS_RANK:
        r = tl.load(rank + token, mask=inside, other=32767)
    d_q = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for first_key in range(0, length, BLOCK_N):
        j = first_key + tl.arange(0, BLOCK_N)
        key = j < length
        key_token = (start + j).to(tl.int64)
        at = ((key_token * 3 * heads + head) * D)[:, None] + d[None, :]
        k = tl.load(qkv + at + heads * D, mask=key[:, None] & wide, other=0.0)
        e = tl.load(cotangent + at + heads * D, mask=key[:, None] & wide, other=0.0)
        v = tl.load(qkv + at + 2 * heads * D, mask=key[:, None] & wide, other=0.0)
        c = tl.load(cotangent + at + 2 * heads * D, mask=key[:, None] & wide, other=0.0)
        allowed = inside[:, None] & key[None, :]
        if HAS_RANK:
            allowed = allowed & (tl.load(rank + key_token, mask=key, other=0)[None, :] <= r[:, None])
        s = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale_log2
        p = tl.where(allowed, tl.exp2(s - log_total[:, None]), 0.0)
        d_p = tl.dot(g, tl.trans(v), input_precision=PRECISION)
        d_s = p * (d_p - row_delta[:, None])
        n = tl.dot(g, tl.trans(c), input_precision=PRECISION)
        m = tl.dot(a, tl.trans(k), input_precision=PRECISION)
        m = tl.dot(q, tl.trans(e), acc=m, input_precision=PRECISION)
        d_s2 = p * (n - row_w[:, None]) + (m * scale - row_mean[:, None]) * d_s
        d_q = tl.dot(d_s2.to(k.dtype), k, acc=d_q, input_precision=PRECISION)
        d_q = tl.dot(d_s.to(e.dtype), e, acc=d_q, input_precision=PRECISION)
    tl.store(d_qkv + at_q, (d_q * scale).to(d_qkv.dtype.element_ty), mask=used)


@triton.jit
def double_columns(
    qkv, gradient, lse, cotangent, delta, mean, w, d_qkv, cu_seqlens, rank,
    scale, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The key and value parts of d_qkv for BLOCK_N keys, keys first: 8 products."""
    first = (tl.program_id(0) % blocks) * BLOCK_N
    head = (tl.program_id(0) // blocks) % heads
    row = tl.program_id(0) // (blocks * heads)
    start = tl.load(cu_seqlens + row)
    length = tl.load(cu_seqlens + row + 1) - start
    if first >= length:
        return
    d = tl.arange(0, BLOCK_D)
    wide = (d < D)[None, :]
    j = first + tl.arange(0, BLOCK_N)
    key = j < length
    key_token = (start + j).to(tl.int64)
    used = key[:, None] & wide
    at_k = ((key_token * 3 * heads + head) * D)[:, None] + d[None, :] + heads * D
    k = tl.load(qkv + at_k, mask=used, other=0.0)
    v = tl.load(qkv + at_k + heads * D, mask=used, other=0.0)
    e = tl.load(cotangent + at_k, mask=used, other=0.0)
    c = tl.load(cotangent + at_k + heads * D, mask=used, other=0.0)
    if HAS_RANK:
        r = tl.load(rank + key_token, mask=key, other=0)
    d_k = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    d_v = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    for first_query in range(0, length, BLOCK_M):
        i = first_query + tl.arange(0, BLOCK_M)
        inside = i < length
        token = (start + i).to(tl.int64)
        at_q = ((token * 3 * heads + head) * D)[:, None] + d[None, :]
        at_row = head.to(tl.int64) * tokens + token
        q = tl.load(qkv + at_q, mask=inside[:, None] & wide, other=0.0)
        a = tl.load(cotangent + at_q, mask=inside[:, None] & wide, other=0.0)
        at_out = ((token * heads + head) * D)[:, None] + d[None, :]
        g = tl.load(gradient + at_out, mask=inside[:, None] & wide, other=0.0)
        log_total = tl.load(lse + at_row, mask=inside, other=0.0)
        row_delta = tl.load(delta + at_row, mask=inside, other=0.0)
        row_mean = tl.load(mean + at_row, mask=inside, other=0.0)
        row_w = tl.load(w + at_row, mask=inside, other=0.0)
        allowed = key[:, None] & inside[None, :]
        if HAS_RANK:
            allowed = allowed & (r[:, None] <= tl.load(rank + token, mask=inside, other=0)[None, :])
        s = tl.dot(k, tl.trans(q), input_precision=PRECISION) * scale_log2
        p = tl.where(allowed, tl.exp2(s - log_total[None, :]), 0.0)
        m = tl.dot(k, tl.trans(a), input_precision=PRECISION)
        m = tl.dot(e, tl.trans(q), acc=m, input_precision=PRECISION)
        m = m * scale - row_mean[None, :]
        d_v = tl.dot((p * m).to(g.dtype), g, acc=d_v, input_precision=PRECISION)
        d_p = tl.dot(v, tl.trans(g), input_precision=PRECISION)
        d_s = p * (d_p - row_delta[None, :])
        n = tl.dot(c, tl.trans(g), input_precision=PRECISION)
        d_s2 = p * (n - row_w[None, :]) + m * d_s
        d_k = tl.dot(d_s2.to(q.dtype), q, acc=d_k, input_precision=PRECISION)
        d_k = tl.dot(d_s.to(a.dtype), a, acc=d_k, input_precision=PRECISION)
    tl.store(d_qkv + at_k, (d_k * scale).to(d_qkv.dtype.element_ty), mask=used)
    tl.store(d_qkv + at_k + heads * D, d_v.to(d_qkv.dtype.element_ty), mask=used)
