"""Triton kernels for long rows: blocks of queries sweep over blocks of keys, or the reverse.

Two kernels make the backward (query side, key side) and three the double backward: a sweep for the row constants and ∂G,
then the query side and the key side; one combined kernel would not fit the registers. tangent_blocks is the first of these
sweeps alone, which is the forward derivative. This is one file because all share how a block is placed, read, masked and
stored: rules for a row's end that the passes must keep alike, or a gradient would see a token that the forward did not.

With o the output row and δ = G·o, a single sweep gives the constants, since

    m = rowsum(P∘M),   ∂G = (P∘M)V + PC − m·o,   rowsum(P∘W) = G·∂G =: w
    dS₂ = P∘(N − w) + (M − m)∘dS

5 + 7 + 8 products of block size. Programs whose block lies beyond the end of their row leave at once.

Each sweep takes whole blocks without a mask, then what the row has beyond them, masked: in one narrow block of TAIL
where that suffices. (Not before: a branch that writes what the loop accumulates makes the assembler run its asynchronous
products one by one.) Where the three copies of the loop's body would spill registers, SPLIT is off: all blocks are
masked. A block that a program owns may reach beyond the row: those lines are read as 0, give
finite results and are never stored. A swept block must add nothing there: keys get weight 0; queries have lse = ∞.

If CAUSAL, a sweep leaves out the blocks that no query of the program sees, and masks those on the diagonal; these come
after the rest of the sweep.

Shapes, memory and who sees whom as in triton_tile.py; delta, m, w: (H, M) float32 like lse. blocks: blocks of the
longest row.
A line is one token's D elements; lines of qkv lie 3·H·D elements apart, those of gradient H·D.
"""

import triton
import triton.language as tl

TAIL = tl.constexpr(16)
UNSPECIALIZED = ["tokens", "heads", "blocks"]  # a new mask compiles nothing anew for being a multiple of 16, or 1


@triton.jit
def _place(cu_seqlens, heads, blocks, BLOCK: tl.constexpr):
    """(head, first packed token of the row as int64, the row's length, first token of the program's block)."""
    row = tl.program_id(0) // (blocks * heads)
    head = (tl.program_id(0) // blocks) % heads
    start = tl.load(cu_seqlens + row)
    length = tl.load(cu_seqlens + row + 1) - start
    return head, start.to(tl.int64), length, (tl.program_id(0) % blocks) * BLOCK


@triton.jit
def _lines(base, apart, left, D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr, MASKED: tl.constexpr):
    """(BLOCK, BLOCK_D) lines from `base` on, `apart` elements from each other; 0 beyond D, and from line `left` on if
    MASKED."""
    i = tl.arange(0, BLOCK)[:, None]
    d = tl.arange(0, BLOCK_D)[None, :]
    at = base + (i * apart + d)
    if MASKED:
        block = tl.load(at, mask=(i < left) & (d < D), other=0.0)
    elif D < BLOCK_D:
        block = tl.load(at, mask=tl.broadcast_to(d < D, [BLOCK, BLOCK_D]), other=0.0)
    else:
        block = tl.load(at)
    return block


@triton.jit
def _store(base, apart, left, block, D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr):
    """Stores the lines of `block` before line `left`, as `_lines` reads them."""
    i = tl.arange(0, BLOCK)[:, None]
    d = tl.arange(0, BLOCK_D)[None, :]
    tl.store(base + (i * apart + d), block.to(base.dtype.element_ty), mask=(i < left) & (d < D))


@triton.jit
def _values(base, left, other, BLOCK: tl.constexpr, MASKED: tl.constexpr):
    """(BLOCK,) values from `base` on, `other` from place `left` on if MASKED."""
    i = tl.arange(0, BLOCK)
    if MASKED:
        values = tl.load(base + i, mask=i < left, other=other)
    else:
        values = tl.load(base + i)
    return values


@triton.jit
def _keep_keys(
    x, other, ranks, r, ahead, left,
    BLOCK: tl.constexpr, MASKED: tl.constexpr, HAS_RANK: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """x (queries, BLOCK keys) where the query may see the key, `other` elsewhere. r: ranks of the queries; ahead: the
    first query's place in the row less the first key's."""
    if CAUSAL:
        i = tl.arange(0, x.shape[0]) + ahead
        x = tl.where(tl.arange(0, BLOCK)[None, :] <= i[:, None], x, other)
    if HAS_RANK:
        seen = _values(ranks, left, 0, BLOCK, MASKED)[None, :] <= r[:, None]
        if MASKED:
            seen = seen & (tl.arange(0, BLOCK) < left)[None, :]
        x = tl.where(seen, x, other)
    elif MASKED:
        x = tl.where((tl.arange(0, BLOCK) < left)[None, :], x, other)
    return x


@triton.jit
def _forward_step(
    o, top, total, q, r, keys, ranks, ahead, scale_log2, span, left,
    D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr, MASKED: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr, CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """The online softmax after BLOCK more keys: (Σ pV, largest score so far, Σ p). keys: their first line."""
    k = _lines(keys, 3 * span, left, D, BLOCK, BLOCK_D, MASKED)
    v = _lines(keys + span, 3 * span, left, D, BLOCK, BLOCK_D, MASKED)
    s = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    s = _keep_keys(s, -float("inf"), ranks, r, ahead, left, BLOCK, MASKED, HAS_RANK, CAUSAL)
    new_top = tl.maximum(top, tl.max(s, 1) * scale_log2)
    shift = new_top
    if HAS_RANK:
        shift = tl.where(new_top == -float("inf"), 0.0, new_top)  # no key seen yet
    p = tl.exp2(s * scale_log2 - shift[:, None])
    decay = tl.exp2(top - shift)
    total = total * decay + tl.sum(p, 1)
    o = tl.dot(p.to(v.dtype), v, acc=o * decay[:, None], input_precision=PRECISION)
    return o, new_top, total


@triton.jit(do_not_specialize=UNSPECIALIZED)
def forward_blocks(
    qkv, out, lse, cu_seqlens, rank, key_rank, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr, CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """out and lse of BLOCK_M queries, by an online softmax over all keys of the row."""
    head, start, length, first = _place(cu_seqlens, heads, blocks, BLOCK_M)
    if first >= length:
        return
    span = heads * D
    line = qkv + head * D
    left = length - first
    q = _lines(line + (start + first) * (3 * span), 3 * span, left, D, BLOCK_M, BLOCK_D, True)
    # the maximum comes before the scale, which is ≥ 0; not 0, or −∞ would become NaN
    scale_log2 = tl.maximum(scale_log2, 1e-30)
    r = 0
    if HAS_RANK:
        r = _values(rank + start + first, left, 32767, BLOCK_M, True)
    top = tl.full([BLOCK_M], -float("inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    o = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    SPLIT: tl.constexpr = (BLOCK_D <= 64) & (qkv.dtype.element_ty.primitive_bitwidth == 16)
    end = tl.minimum(first + BLOCK_M, length) if CAUSAL else length
    rest = end % BLOCK_N if SPLIT else 0
    if CAUSAL and SPLIT:
        rest = end - first // BLOCK_N * BLOCK_N
    whole = end - rest
    ranks = key_rank + start
    for key in range(0, whole, BLOCK_N):
        o, top, total = _forward_step(
            o, top, total, q, r, line + span + (start + key) * (3 * span), ranks + key, first - key, scale_log2, span,
            length - key, D, BLOCK_N, BLOCK_D, not SPLIT, HAS_RANK, PRECISION, CAUSAL and not SPLIT,
        )  # fmt: skip
    keys = line + span + (start + whole) * (3 * span)
    if CAUSAL and SPLIT:
        for key in range(whole, end, BLOCK_N):
            o, top, total = _forward_step(
                o, top, total, q, r, line + span + (start + key) * (3 * span), ranks + key, first - key, scale_log2,
                span,
                length - key, D, BLOCK_N, BLOCK_D, True, HAS_RANK, PRECISION, True,
            )  # fmt: skip
    elif rest > TAIL:
        o, top, total = _forward_step(
            o, top, total, q, r, keys, ranks + whole, first - whole, scale_log2, span, rest,
            D, BLOCK_N, BLOCK_D, True, HAS_RANK, PRECISION,
        )  # fmt: skip
    elif rest > 0:
        o, top, total = _forward_step(
            o, top, total, q, r, keys, ranks + whole, first - whole, scale_log2, span, rest,
            D, TAIL, BLOCK_D, True, HAS_RANK, PRECISION,
        )  # fmt: skip
    if HAS_RANK:  # a query that sees no key: 0, and weights of 0 in the derivatives
        top = tl.where(total == 0.0, 0.0, top)
        total = tl.where(total == 0.0, 1.0, total)
    o = o / total[:, None]
    _store(out + head * D + (start + first) * span, span, left, o, D, BLOCK_M, BLOCK_D)
    i = tl.arange(0, BLOCK_M)
    tl.store(lse + head.to(tl.int64) * tokens + start + first + i, top + tl.log2(total), mask=i < left)


@triton.jit
def _backward_rows_step(
    d_q, q, g, log_total, row_delta, r, keys, ranks, ahead, scale_log2, span, left,
    D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr, MASKED: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr, CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """d_q after BLOCK more keys, without the scale."""
    k = _lines(keys, 3 * span, left, D, BLOCK, BLOCK_D, MASKED)
    v = _lines(keys + span, 3 * span, left, D, BLOCK, BLOCK_D, MASKED)
    s = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    p = tl.exp2(s * scale_log2 - log_total[:, None])
    p = _keep_keys(p, 0.0, ranks, r, ahead, left, BLOCK, MASKED, HAS_RANK, CAUSAL)
    d_p = tl.dot(g, tl.trans(v), input_precision=PRECISION)
    d_s = (p * (d_p - row_delta[:, None])).to(k.dtype)
    return tl.dot(d_s, k, acc=d_q, input_precision=PRECISION)


@triton.jit(do_not_specialize=UNSPECIALIZED)
def backward_rows(
    qkv, out, gradient, lse, delta, d_qkv, cu_seqlens, rank, key_rank, scale, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr, CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """delta and the query part of d_qkv for BLOCK_M queries."""
    head, start, length, first = _place(cu_seqlens, heads, blocks, BLOCK_M)
    if first >= length:
        return
    span = heads * D
    line = qkv + head * D
    left = length - first
    at_out = (start + first) * span + head * D
    at_row = head.to(tl.int64) * tokens + start + first
    q = _lines(line + (start + first) * (3 * span), 3 * span, left, D, BLOCK_M, BLOCK_D, True)
    g = _lines(gradient + at_out, span, left, D, BLOCK_M, BLOCK_D, True)
    o = _lines(out + at_out, span, left, D, BLOCK_M, BLOCK_D, True)
    log_total = _values(lse + at_row, left, 0.0, BLOCK_M, True)
    row_delta = tl.sum(g.to(tl.float32) * o.to(tl.float32), 1)
    i = tl.arange(0, BLOCK_M)
    tl.store(delta + at_row + i, row_delta, mask=i < left)
    r = 0
    if HAS_RANK:
        r = _values(rank + start + first, left, 32767, BLOCK_M, True)
    d_q = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    SPLIT: tl.constexpr = (BLOCK_D <= 64) & (qkv.dtype.element_ty.primitive_bitwidth == 16)
    end = tl.minimum(first + BLOCK_M, length) if CAUSAL else length
    rest = end % BLOCK_N if SPLIT else 0
    if CAUSAL and SPLIT:
        rest = end - first // BLOCK_N * BLOCK_N
    whole = end - rest
    ranks = key_rank + start
    for key in range(0, whole, BLOCK_N):
        keys = line + span + (start + key) * (3 * span)
        d_q = _backward_rows_step(
            d_q, q, g, log_total, row_delta, r, keys, ranks + key, first - key, scale_log2, span, length - key,
            D, BLOCK_N, BLOCK_D, not SPLIT, HAS_RANK, PRECISION, CAUSAL and not SPLIT,
        )  # fmt: skip
    keys = line + span + (start + whole) * (3 * span)
    if CAUSAL and SPLIT:
        for key in range(whole, end, BLOCK_N):
            keys = line + span + (start + key) * (3 * span)
            d_q = _backward_rows_step(
                d_q, q, g, log_total, row_delta, r, keys, ranks + key, first - key, scale_log2, span, length - key,
                D, BLOCK_N, BLOCK_D, True, HAS_RANK, PRECISION, True,
            )  # fmt: skip
    elif rest > TAIL:
        d_q = _backward_rows_step(
            d_q, q, g, log_total, row_delta, r, keys, ranks + whole, first - whole, scale_log2, span, rest,
            D, BLOCK_N, BLOCK_D, True, HAS_RANK, PRECISION,
        )  # fmt: skip
    elif rest > 0:
        d_q = _backward_rows_step(
            d_q, q, g, log_total, row_delta, r, keys, ranks + whole, first - whole, scale_log2, span, rest,
            D, TAIL, BLOCK_D, True, HAS_RANK, PRECISION,
        )  # fmt: skip
    _store(d_qkv + (start + first) * (3 * span) + head * D, 3 * span, left, d_q * scale, D, BLOCK_M, BLOCK_D)


@triton.jit
def _keep_queries(
    x, ranks, r, ahead, left, BLOCK: tl.constexpr, MASKED: tl.constexpr, HAS_RANK: tl.constexpr, CAUSAL: tl.constexpr
):  # fmt: skip
    """x (keys, BLOCK queries) where the query may see the key, 0 elsewhere. r: ranks of the keys; ahead as above."""
    if CAUSAL:
        i = tl.arange(0, BLOCK) + ahead
        x = tl.where(tl.arange(0, x.shape[0])[:, None] <= i[None, :], x, 0.0)
    if HAS_RANK:
        x = tl.where(r[:, None] <= _values(ranks, left, 0, BLOCK, MASKED)[None, :], x, 0.0)
    return x


@triton.jit
def _backward_columns_step(
    d_k, d_v, k, v, r, queries, gradients, at_row, lse, delta, ranks, ahead, scale_log2, span, left,
    D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr, MASKED: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr, CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """d_k, without the scale, and d_v after BLOCK more queries."""
    q = _lines(queries, 3 * span, left, D, BLOCK, BLOCK_D, MASKED)
    g = _lines(gradients, span, left, D, BLOCK, BLOCK_D, MASKED)
    log_total = _values(lse + at_row, left, float("inf"), BLOCK, MASKED)
    row_delta = _values(delta + at_row, left, 0.0, BLOCK, MASKED)
    s = tl.dot(k, tl.trans(q), input_precision=PRECISION)
    p = tl.exp2(s * scale_log2 - log_total[None, :])
    p = _keep_queries(p, ranks, r, ahead, left, BLOCK, MASKED, HAS_RANK, CAUSAL)
    d_v = tl.dot(p.to(g.dtype), g, acc=d_v, input_precision=PRECISION)
    d_p = tl.dot(v, tl.trans(g), input_precision=PRECISION)
    d_s = (p * (d_p - row_delta[None, :])).to(q.dtype)
    d_k = tl.dot(d_s, q, acc=d_k, input_precision=PRECISION)
    return d_k, d_v


@triton.jit(do_not_specialize=UNSPECIALIZED)
def backward_columns(
    qkv, gradient, lse, delta, d_qkv, cu_seqlens, rank, key_rank, scale, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr, CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """The key and value parts of d_qkv for BLOCK_N keys; everything is transposed (keys first)."""
    head, start, length, first = _place(cu_seqlens, heads, blocks, BLOCK_N)
    if first >= length:
        return
    span = heads * D
    line = qkv + head * D
    left = length - first
    at_k = (start + first) * (3 * span) + span
    k = _lines(line + at_k, 3 * span, left, D, BLOCK_N, BLOCK_D, True)
    v = _lines(line + at_k + span, 3 * span, left, D, BLOCK_N, BLOCK_D, True)
    r = 0
    if HAS_RANK:
        r = _values(key_rank + start + first, left, 0, BLOCK_N, True)
    d_k = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    d_v = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    SPLIT: tl.constexpr = (BLOCK_D <= 64) & (qkv.dtype.element_ty.primitive_bitwidth == 16)
    begin = 0
    if CAUSAL:
        begin = tl.minimum(first + (BLOCK_N + BLOCK_M - 1) // BLOCK_M * BLOCK_M, length) if SPLIT else first
    rest = (length - begin) % BLOCK_M if SPLIT else 0
    at_row = head.to(tl.int64) * tokens
    for query in range(begin, length - rest, BLOCK_M):
        at = start + query
        d_k, d_v = _backward_columns_step(
            d_k, d_v, k, v, r, line + at * (3 * span), gradient + head * D + at * span, at_row + at,
            lse, delta, rank + at, query - first, scale_log2, span, length - query,
            D, BLOCK_M, BLOCK_D, not SPLIT, HAS_RANK, PRECISION, CAUSAL and not SPLIT,
        )  # fmt: skip
    at = start + (length - rest)
    if CAUSAL and SPLIT:
        diagonal = tl.cdiv(begin - first, BLOCK_M)
        for n in range(0, diagonal + tl.cdiv(rest, BLOCK_M)):
            query = tl.where(n < diagonal, first + n * BLOCK_M, length - rest)
            at = start + query
            d_k, d_v = _backward_columns_step(
                d_k, d_v, k, v, r, line + at * (3 * span), gradient + head * D + at * span, at_row + at,
                lse, delta, rank + at, query - first, scale_log2, span, length - query,
                D, BLOCK_M, BLOCK_D, True, HAS_RANK, PRECISION, True,
            )  # fmt: skip
    elif rest > TAIL:
        d_k, d_v = _backward_columns_step(
            d_k, d_v, k, v, r, line + at * (3 * span), gradient + head * D + at * span, at_row + at,
            lse, delta, rank + at, length - rest - first, scale_log2, span, rest,
            D, BLOCK_M, BLOCK_D, True, HAS_RANK, PRECISION,
        )  # fmt: skip
    elif rest > 0:
        d_k, d_v = _backward_columns_step(
            d_k, d_v, k, v, r, line + at * (3 * span), gradient + head * D + at * span, at_row + at,
            lse, delta, rank + at, length - rest - first, scale_log2, span, rest,
            D, TAIL, BLOCK_D, True, HAS_RANK, PRECISION,
        )  # fmt: skip
    d_keys = d_qkv + head * D + at_k
    _store(d_keys, 3 * span, left, d_k * scale, D, BLOCK_N, BLOCK_D)
    _store(d_keys + span, 3 * span, left, d_v, D, BLOCK_N, BLOCK_D)


@triton.jit
def _double_constants_step(
    d_g, m_sum, q, a, log_total, r, keys, cotangents, ranks, ahead, scale, scale_log2, span, left,
    D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr, MASKED: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr, CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """((P∘M)V + PC, m) after BLOCK more keys."""
    k = _lines(keys, 3 * span, left, D, BLOCK, BLOCK_D, MASKED)
    e = _lines(cotangents, 3 * span, left, D, BLOCK, BLOCK_D, MASKED)
    v = _lines(keys + span, 3 * span, left, D, BLOCK, BLOCK_D, MASKED)
    c = _lines(cotangents + span, 3 * span, left, D, BLOCK, BLOCK_D, MASKED)
    s = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    p = tl.exp2(s * scale_log2 - log_total[:, None])
    p = _keep_keys(p, 0.0, ranks, r, ahead, left, BLOCK, MASKED, HAS_RANK, CAUSAL)
    m = tl.dot(a, tl.trans(k), input_precision=PRECISION)
    m = tl.dot(q, tl.trans(e), acc=m, input_precision=PRECISION)
    p_m = p * (m * scale)
    m_sum += tl.sum(p_m, 1)
    d_g = tl.dot(p_m.to(v.dtype), v, acc=d_g, input_precision=PRECISION)
    d_g = tl.dot(p.to(c.dtype), c, acc=d_g, input_precision=PRECISION)
    return d_g, m_sum


@triton.jit(do_not_specialize=UNSPECIALIZED)
def double_constants(
    qkv, out, gradient, lse, cotangent, delta, mean, w, d_gradient, cu_seqlens, rank, key_rank,
    scale, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr, CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """delta, m (mean), w and d_gradient for BLOCK_M queries: 5 products."""
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
    log_total = _values(lse + at_row, left, 0.0, BLOCK_M, True)
    r = 0
    if HAS_RANK:
        r = _values(rank + start + first, left, 32767, BLOCK_M, True)
    m_mean = tl.zeros([BLOCK_M], tl.float32)
    d_g = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    SPLIT: tl.constexpr = (BLOCK_D <= 64) & (qkv.dtype.element_ty.primitive_bitwidth == 16)
    end = tl.minimum(first + BLOCK_M, length) if CAUSAL else length
    rest = end % BLOCK_N if SPLIT else 0
    if CAUSAL and SPLIT:
        rest = end - first // BLOCK_N * BLOCK_N
    whole = end - rest
    ranks = key_rank + start
    for key in range(0, whole, BLOCK_N):
        at = (start + key) * (3 * span) + span + head * D
        d_g, m_mean = _double_constants_step(
            d_g, m_mean, q, a, log_total, r, qkv + at, cotangent + at, ranks + key, first - key, scale, scale_log2,
            span, length - key, D, BLOCK_N, BLOCK_D, not SPLIT, HAS_RANK, PRECISION, CAUSAL and not SPLIT,
        )  # fmt: skip
    at = (start + whole) * (3 * span) + span + head * D
    if CAUSAL and SPLIT:
        for key in range(whole, end, BLOCK_N):
            at = (start + key) * (3 * span) + span + head * D
            d_g, m_mean = _double_constants_step(
                d_g, m_mean, q, a, log_total, r, qkv + at, cotangent + at, ranks + key, first - key, scale, scale_log2,
                span, length - key, D, BLOCK_N, BLOCK_D, True, HAS_RANK, PRECISION, True,
            )  # fmt: skip
    elif rest > TAIL:
        d_g, m_mean = _double_constants_step(
            d_g, m_mean, q, a, log_total, r, qkv + at, cotangent + at, ranks + whole, first - whole, scale, scale_log2,
            span, rest, D, BLOCK_N, BLOCK_D, True, HAS_RANK, PRECISION,
        )  # fmt: skip
    elif rest > 0:
        d_g, m_mean = _double_constants_step(
            d_g, m_mean, q, a, log_total, r, qkv + at, cotangent + at, ranks + whole, first - whole, scale, scale_log2,
            span, rest, D, TAIL, BLOCK_D, True, HAS_RANK, PRECISION,
        )  # fmt: skip
    o = _lines(out + at_out, span, left, D, BLOCK_M, BLOCK_D, True).to(tl.float32)
    g = _lines(gradient + at_out, span, left, D, BLOCK_M, BLOCK_D, True).to(tl.float32)
    d_g -= m_mean[:, None] * o
    _store(d_gradient + at_out, span, left, d_g, D, BLOCK_M, BLOCK_D)
    i = tl.arange(0, BLOCK_M)
    tl.store(delta + at_row + i, tl.sum(g * o, 1), mask=i < left)
    tl.store(mean + at_row + i, m_mean, mask=i < left)
    tl.store(w + at_row + i, tl.sum(g * d_g, 1), mask=i < left)


@triton.jit(do_not_specialize=UNSPECIALIZED)
def tangent_blocks(
    qkv, out, lse, tangent, d_out, cu_seqlens, rank, key_rank,
    scale, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr, CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """d_out, the derivative of out along `tangent` of qkv, for BLOCK_M queries: 5 products."""
    head, start, length, first = _place(cu_seqlens, heads, blocks, BLOCK_M)
    if first >= length:
        return
    span = heads * D
    left = length - first
    at_q = (start + first) * (3 * span) + head * D
    at_out = (start + first) * span + head * D
    at_row = head.to(tl.int64) * tokens + start + first
    q = _lines(qkv + at_q, 3 * span, left, D, BLOCK_M, BLOCK_D, True)
    a = _lines(tangent + at_q, 3 * span, left, D, BLOCK_M, BLOCK_D, True)
    log_total = _values(lse + at_row, left, 0.0, BLOCK_M, True)
    r = 0
    if HAS_RANK:
        r = _values(rank + start + first, left, 32767, BLOCK_M, True)
    m_mean = tl.zeros([BLOCK_M], tl.float32)
    d_o = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    SPLIT: tl.constexpr = (BLOCK_D <= 64) & (qkv.dtype.element_ty.primitive_bitwidth == 16)
    end = tl.minimum(first + BLOCK_M, length) if CAUSAL else length
    rest = end % BLOCK_N if SPLIT else 0
    if CAUSAL and SPLIT:
        rest = end - first // BLOCK_N * BLOCK_N
    whole = end - rest
    ranks = key_rank + start
    for key in range(0, whole, BLOCK_N):
        at = (start + key) * (3 * span) + span + head * D
        d_o, m_mean = _double_constants_step(
            d_o, m_mean, q, a, log_total, r, qkv + at, tangent + at, ranks + key, first - key, scale, scale_log2,
            span, length - key, D, BLOCK_N, BLOCK_D, not SPLIT, HAS_RANK, PRECISION, CAUSAL and not SPLIT,
        )  # fmt: skip
    at = (start + whole) * (3 * span) + span + head * D
    if CAUSAL and SPLIT:
        for key in range(whole, end, BLOCK_N):
            at = (start + key) * (3 * span) + span + head * D
            d_o, m_mean = _double_constants_step(
                d_o, m_mean, q, a, log_total, r, qkv + at, tangent + at, ranks + key, first - key, scale, scale_log2,
                span, length - key, D, BLOCK_N, BLOCK_D, True, HAS_RANK, PRECISION, True,
            )  # fmt: skip
    elif rest > TAIL:
        d_o, m_mean = _double_constants_step(
            d_o, m_mean, q, a, log_total, r, qkv + at, tangent + at, ranks + whole, first - whole, scale, scale_log2,
            span, rest, D, BLOCK_N, BLOCK_D, True, HAS_RANK, PRECISION,
        )  # fmt: skip
    elif rest > 0:
        d_o, m_mean = _double_constants_step(
            d_o, m_mean, q, a, log_total, r, qkv + at, tangent + at, ranks + whole, first - whole, scale, scale_log2,
            span, rest, D, TAIL, BLOCK_D, True, HAS_RANK, PRECISION,
        )  # fmt: skip
    o = _lines(out + at_out, span, left, D, BLOCK_M, BLOCK_D, True).to(tl.float32)
    _store(d_out + at_out, span, left, d_o - m_mean[:, None] * o, D, BLOCK_M, BLOCK_D)


@triton.jit
def _double_rows_step(
    d_q, q, a, g, log_total, row_delta, row_mean, row_w, r, keys, cotangents, ranks, ahead, scale, scale_log2, span,
    left,
    D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr, MASKED: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr, CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """The query part of d_qkv, without the scale, after BLOCK more keys."""
    k = _lines(keys, 3 * span, left, D, BLOCK, BLOCK_D, MASKED)
    e = _lines(cotangents, 3 * span, left, D, BLOCK, BLOCK_D, MASKED)
    v = _lines(keys + span, 3 * span, left, D, BLOCK, BLOCK_D, MASKED)
    c = _lines(cotangents + span, 3 * span, left, D, BLOCK, BLOCK_D, MASKED)
    s = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    p = tl.exp2(s * scale_log2 - log_total[:, None])
    p = _keep_keys(p, 0.0, ranks, r, ahead, left, BLOCK, MASKED, HAS_RANK, CAUSAL)
    d_p = tl.dot(g, tl.trans(v), input_precision=PRECISION)
    d_s = p * (d_p - row_delta[:, None])
    n = tl.dot(g, tl.trans(c), input_precision=PRECISION)
    m = tl.dot(a, tl.trans(k), input_precision=PRECISION)
    m = tl.dot(q, tl.trans(e), acc=m, input_precision=PRECISION)
    d_s2 = p * (n - row_w[:, None]) + (m * scale - row_mean[:, None]) * d_s
    d_q = tl.dot(d_s2.to(k.dtype), k, acc=d_q, input_precision=PRECISION)
    return tl.dot(d_s.to(e.dtype), e, acc=d_q, input_precision=PRECISION)


@triton.jit(do_not_specialize=UNSPECIALIZED)
def double_rows(
    qkv, gradient, lse, cotangent, delta, mean, w, d_qkv, cu_seqlens, rank, key_rank,
    scale, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr, CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """The query part of d_qkv for BLOCK_M queries: 7 products."""
    head, start, length, first = _place(cu_seqlens, heads, blocks, BLOCK_M)
    if first >= length:
        return
    span = heads * D
    left = length - first
    at_q = (start + first) * (3 * span) + head * D
    at_row = head.to(tl.int64) * tokens + start + first
    q = _lines(qkv + at_q, 3 * span, left, D, BLOCK_M, BLOCK_D, True)
    a = _lines(cotangent + at_q, 3 * span, left, D, BLOCK_M, BLOCK_D, True)
    g = _lines(gradient + (start + first) * span + head * D, span, left, D, BLOCK_M, BLOCK_D, True)
    log_total = _values(lse + at_row, left, 0.0, BLOCK_M, True)
    row_delta = _values(delta + at_row, left, 0.0, BLOCK_M, True)
    row_mean = _values(mean + at_row, left, 0.0, BLOCK_M, True)
    row_w = _values(w + at_row, left, 0.0, BLOCK_M, True)
    r = 0
    if HAS_RANK:
        r = _values(rank + start + first, left, 32767, BLOCK_M, True)
    d_q = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    SPLIT: tl.constexpr = (BLOCK_D <= 64) & (qkv.dtype.element_ty.primitive_bitwidth == 16)
    end = tl.minimum(first + BLOCK_M, length) if CAUSAL else length
    rest = end % BLOCK_N if SPLIT else 0
    if CAUSAL and SPLIT:
        rest = end - first // BLOCK_N * BLOCK_N
    whole = end - rest
    ranks = key_rank + start
    for key in range(0, whole, BLOCK_N):
        at = (start + key) * (3 * span) + span + head * D
        d_q = _double_rows_step(
            d_q, q, a, g, log_total, row_delta, row_mean, row_w, r, qkv + at, cotangent + at, ranks + key, first - key,
            scale, scale_log2, span, length - key, D, BLOCK_N, BLOCK_D, not SPLIT, HAS_RANK, PRECISION,
            CAUSAL and not SPLIT,
        )  # fmt: skip
    at = (start + whole) * (3 * span) + span + head * D
    if CAUSAL and SPLIT:
        for key in range(whole, end, BLOCK_N):
            at = (start + key) * (3 * span) + span + head * D
            d_q = _double_rows_step(
                d_q, q, a, g, log_total, row_delta, row_mean, row_w, r, qkv + at, cotangent + at, ranks + key,
                first - key,
                scale, scale_log2, span, length - key, D, BLOCK_N, BLOCK_D, True, HAS_RANK, PRECISION, True,
            )  # fmt: skip
    elif rest > TAIL:
        d_q = _double_rows_step(
            d_q, q, a, g, log_total, row_delta, row_mean, row_w, r, qkv + at, cotangent + at, ranks + whole,
            first - whole,
            scale, scale_log2, span, rest, D, BLOCK_N, BLOCK_D, True, HAS_RANK, PRECISION,
        )  # fmt: skip
    elif rest > 0:
        d_q = _double_rows_step(
            d_q, q, a, g, log_total, row_delta, row_mean, row_w, r, qkv + at, cotangent + at, ranks + whole,
            first - whole,
            scale, scale_log2, span, rest, D, TAIL, BLOCK_D, True, HAS_RANK, PRECISION,
        )  # fmt: skip
    _store(d_qkv + at_q, 3 * span, left, d_q * scale, D, BLOCK_M, BLOCK_D)


@triton.jit
def _double_columns_step(
    d_k, d_v, k, v, e, c, r, queries, cotangents, gradients, at_row, lse, delta, mean, w, ranks, ahead,
    scale, scale_log2, span, left,
    D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr, MASKED: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr, CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """d_k, without the scale, and d_v after BLOCK more queries."""
    q = _lines(queries, 3 * span, left, D, BLOCK, BLOCK_D, MASKED)
    a = _lines(cotangents, 3 * span, left, D, BLOCK, BLOCK_D, MASKED)
    g = _lines(gradients, span, left, D, BLOCK, BLOCK_D, MASKED)
    log_total = _values(lse + at_row, left, float("inf"), BLOCK, MASKED)
    row_delta = _values(delta + at_row, left, 0.0, BLOCK, MASKED)
    row_mean = _values(mean + at_row, left, 0.0, BLOCK, MASKED)
    row_w = _values(w + at_row, left, 0.0, BLOCK, MASKED)
    s = tl.dot(k, tl.trans(q), input_precision=PRECISION)
    p = tl.exp2(s * scale_log2 - log_total[None, :])
    p = _keep_queries(p, ranks, r, ahead, left, BLOCK, MASKED, HAS_RANK, CAUSAL)
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
    return d_k, d_v


@triton.jit(do_not_specialize=UNSPECIALIZED)
def double_columns(
    qkv, gradient, lse, cotangent, delta, mean, w, d_qkv, cu_seqlens, rank, key_rank,
    scale, scale_log2, tokens, heads, blocks,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    HAS_RANK: tl.constexpr, PRECISION: tl.constexpr, CAUSAL: tl.constexpr = False,
):  # fmt: skip
    """The key and value parts of d_qkv for BLOCK_N keys, keys first: 8 products."""
    head, start, length, first = _place(cu_seqlens, heads, blocks, BLOCK_N)
    if first >= length:
        return
    span = heads * D
    left = length - first
    at_k = (start + first) * (3 * span) + span + head * D
    k = _lines(qkv + at_k, 3 * span, left, D, BLOCK_N, BLOCK_D, True)
    v = _lines(qkv + at_k + span, 3 * span, left, D, BLOCK_N, BLOCK_D, True)
    e = _lines(cotangent + at_k, 3 * span, left, D, BLOCK_N, BLOCK_D, True)
    c = _lines(cotangent + at_k + span, 3 * span, left, D, BLOCK_N, BLOCK_D, True)
    r = 0
    if HAS_RANK:
        r = _values(key_rank + start + first, left, 0, BLOCK_N, True)
    d_k = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    d_v = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    SPLIT: tl.constexpr = (BLOCK_D <= 64) & (qkv.dtype.element_ty.primitive_bitwidth == 16)
    begin = 0
    if CAUSAL:
        begin = tl.minimum(first + (BLOCK_N + BLOCK_M - 1) // BLOCK_M * BLOCK_M, length) if SPLIT else first
    rest = (length - begin) % BLOCK_M if SPLIT else 0
    at_row = head.to(tl.int64) * tokens
    for query in range(begin, length - rest, BLOCK_M):
        at = start + query
        at_q = at * (3 * span) + head * D
        d_k, d_v = _double_columns_step(
            d_k, d_v, k, v, e, c, r, qkv + at_q, cotangent + at_q, gradient + at * span + head * D, at_row + at,
            lse, delta, mean, w, rank + at, query - first, scale, scale_log2, span, length - query,
            D, BLOCK_M, BLOCK_D, not SPLIT, HAS_RANK, PRECISION, CAUSAL and not SPLIT,
        )  # fmt: skip
    at = start + (length - rest)
    at_q = at * (3 * span) + head * D
    if CAUSAL and SPLIT:
        diagonal = tl.cdiv(begin - first, BLOCK_M)
        for n in range(0, diagonal + tl.cdiv(rest, BLOCK_M)):
            query = tl.where(n < diagonal, first + n * BLOCK_M, length - rest)
            at = start + query
            at_q = at * (3 * span) + head * D
            d_k, d_v = _double_columns_step(
                d_k, d_v, k, v, e, c, r, qkv + at_q, cotangent + at_q, gradient + at * span + head * D, at_row + at,
                lse, delta, mean, w, rank + at, query - first, scale, scale_log2, span, length - query,
                D, BLOCK_M, BLOCK_D, True, HAS_RANK, PRECISION, True,
            )  # fmt: skip
    elif rest > TAIL:
        d_k, d_v = _double_columns_step(
            d_k, d_v, k, v, e, c, r, qkv + at_q, cotangent + at_q, gradient + at * span + head * D, at_row + at,
            lse, delta, mean, w, rank + at, length - rest - first, scale, scale_log2, span, rest,
            D, BLOCK_M, BLOCK_D, True, HAS_RANK, PRECISION,
        )  # fmt: skip
    elif rest > 0:
        d_k, d_v = _double_columns_step(
            d_k, d_v, k, v, e, c, r, qkv + at_q, cotangent + at_q, gradient + at * span + head * D, at_row + at,
            lse, delta, mean, w, rank + at, length - rest - first, scale, scale_log2, span, rest,
            D, TAIL, BLOCK_D, True, HAS_RANK, PRECISION,
        )  # fmt: skip
    _store(d_qkv + at_k, 3 * span, left, d_k * scale, D, BLOCK_N, BLOCK_D)
    _store(d_qkv + at_k + span, 3 * span, left, d_v, D, BLOCK_N, BLOCK_D)
