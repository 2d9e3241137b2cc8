"""Numba kernel of the task distribution: N rows of roles, ranks and families.

Randomness. Word i of row n of a stream is splitmix64(key(seed, stream, n) + i·γ): a function of its
arguments alone, so a row is the same whatever the number of threads, the chunk or the first row.
A whole number below n is ⌊u·n / 2³²⌋ of a 32-bit u (bias < n / 2³²).

Random subsets (`assign`). Every token gets a random byte, eight to a 64-bit word. A token whose byte
is below one threshold takes the first role, above another the second, and the thresholds are the
widest that exceed neither count (a binary search by comparing and counting bits, 64 tokens at a
time). The few that ties leave out are placed on uniformly drawn free tokens. Each step treats
all tokens alike, so given the counts every assignment is equally likely: the result is exact.

Rows are built in a scratch buffer that stays in cache; blocks of 64 tokens are written whole, and
what spills over a row's end is overwritten by the next row.

For Numba. All njit functions live in this file: its cache does not notice changes in imported ones.
Indices are cast to uint64 where its check for negative ones would keep LLVM from vectorising.
`_nrt=False` leaves out reference counting, 20 atomic operations a row, in functions that neither
allocate nor keep an array.

Names: t is a Tables, L tokens, N rows, u a uint64 below 2³², w a random word, state a uint64 counter.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from kernels.task_sampling.beta import CELL_BITS
from kernels.task_sampling.bits import below_bytes, copy_bytes, count_ones, write_bytes
from kernels.task_sampling.spec import FAMILIES, HIDDEN, SOURCE, TARGET
from kernels.task_sampling.tables import BETA, BLOCK, BODY_COUNT, COUNT, PREFIX, TARGET_BETA

WORD_STEPS = 7  # key bits before the first check whether they suffice; more would rarely be needed
CHUNK_BYTES = 1 << 15  # of roles per unit of parallel work: the scratch buffer stays in L1 or L2

U64 = np.uint64
GAMMA = U64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = U64(0xBF58476D1CE4E5B9), U64(0x94D049BB133111EB)
RANK_TAG = U64(0x3C79AC492BA7B653)  # separate words for permutations …
PAIR_TAG = U64(0x1C69B3F74AC4AE35)  # … and for second tasks, so that both can be drawn again alone
MASK_TAG = U64(0x6A09E667F3BCC909)  # and for new targets of rows with missing tokens
S27, S30, S31, S32 = U64(27), U64(30), U64(31), U64(32)
ZERO, ONE, ALL = U64(0), U64(1), U64(2**64 - 1)
LOW_32, QUARTER_32, HALF_32 = U64(2**32 - 1), U64(2**30), U64(2**31)
CELL_SHIFT, CELL_MASK = U64(32 - CELL_BITS), U64(2 ** (32 - CELL_BITS) - 1)
CELL_WIDTH = 2.0 ** (CELL_BITS - 32)

H, S, T = np.uint8(HIDDEN), np.uint8(SOURCE), np.uint8(TARGET)
CAUSAL, PERMUTATION = FAMILIES.index("causal"), FAMILIES.index("permutation")


# -- random numbers --------------------------------------------------------------------------------
@njit(cache=True)
def mix(z):
    """splitmix64's output function (Steele, Lea, Flood 2014): a bijection of uint64."""
    z = (z ^ (z >> S30)) * MIX_1
    z = (z ^ (z >> S27)) * MIX_2
    return z ^ (z >> S31)


@njit(cache=True)
def stream_key(seed, stream):
    """uint64 that starts the rows of stream `stream` (uint64) of seed `seed` (uint64)."""
    return mix(mix(seed + GAMMA) ^ (stream * MIX_1 + MIX_2))


@njit(cache=True)
def row_key(key, row):
    """uint64 state of row `row` (int64) of the stream."""
    return mix(key + U64(row) * GAMMA)


@njit(cache=True)
def below(u, n):
    """int64 uniform in 0 … n−1 from a 32-bit draw."""
    return np.int64((u * U64(n)) >> S32)


@njit(cache=True)
def unit(u):
    """float64 in [0, 1) from a 32-bit draw."""
    return np.float64(np.int64(u)) * 2.0**-32


@njit(cache=True, _nrt=False)
def interpolate(table, u):
    """float64 draw of the distribution whose quantiles are `table`."""
    cell = np.int64(u >> CELL_SHIFT)
    low = table[cell]
    return low + (table[cell + 1] - low) * (np.float64(np.int64(u & CELL_MASK)) * CELL_WIDTH)


@njit(cache=True, _nrt=False)
def first_above(limit, u):
    """int64 index of the first of the non-decreasing uint64 limits that exceeds u."""
    low, high = 0, len(limit) - 1
    while low < high:
        middle = (low + high) // 2
        if u < limit[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@njit(cache=True)
def nearest(share, n):
    """int64 nearest to share · n."""
    return np.int64(np.floor(share * np.float64(n) + 0.5))


# -- random subsets --------------------------------------------------------------------------------
@njit(cache=True, _nrt=False)
def select_bits(low, high, r, wanted):
    """One step of radix selection of `wanted` tokens: (low, high) with low ⊆ chosen ⊆ high, narrowed by one key bit.

    r holds the next bit of every token's random key. No branch: it would be mispredicted half the time.
    """
    middle = low | (r & high)
    over = U64((wanted - count_ones(middle)) >> 63)  # all ones when the middle set is too large
    return middle ^ ((middle ^ low) & over), high ^ ((high ^ middle) & over)


@njit(cache=True, _nrt=False)
def assign_word(out, at, n, base, a, b, n_a, n_b, state):
    """`assign` for n <= 64 tokens: role a to the tokens of the smallest keys, b to those of the largest.

    Keys are as many bits long as it takes to tell the tokens on the boundaries apart.
    """
    valid = ALL >> U64(64 - n)
    low_a, high_a, low_b, high_b = ZERO, valid, ZERO, valid
    for _ in range(WORD_STEPS):
        r = mix(state)
        state += GAMMA
        low_a, high_a = select_bits(low_a, high_a, r, n_a)
        low_b, high_b = select_bits(low_b, high_b, r, n - n_b)
    while count_ones(low_a) != n_a or count_ones(low_b) != n - n_b:
        r = mix(state)
        state += GAMMA
        low_a, high_a = select_bits(low_a, high_a, r, n_a)
        low_b, high_b = select_bits(low_b, high_b, r, n - n_b)
    write_bytes(out, at, low_a, valid & ~low_b, a, b, base)


@njit(cache=True, _nrt=False)
def thresholds(words, last, valid, limit_a, limit_b):
    """Two uint8: the largest thresholds with at most limit_a and limit_b bytes below them.

    words: bytes of blocks 0 … last; of the last block only the bytes in the mask `valid` count.
    """
    a, b, step = 0, 0, 128
    for _ in range(8):
        try_a, try_b = np.uint8(a + step), np.uint8(b + step)
        count_a = count_ones(below_bytes(words, 8 * last, try_a) & valid)
        count_b = count_ones(below_bytes(words, 8 * last, try_b) & valid)
        for k in range(last):
            count_a += count_ones(below_bytes(words, 8 * k, try_a))
            count_b += count_ones(below_bytes(words, 8 * k, try_b))
        a += step & ((count_a - limit_a - 1) >> 63)
        b += step & ((count_b - limit_b - 1) >> 63)
        step >>= 1
    return np.uint8(a), np.uint8(b)


@njit(cache=True, _nrt=False)
def assign_blocks(out, at, n, base, a, b, left_a, left_b, words, state):
    """`assign` for any n: keys of one byte, role a below one threshold, b above another.

    The thresholds are the widest that exceed neither count; the few tokens that ties leave out are
    placed on uniformly drawn tokens of the base role, which is the most frequent one.
    """
    last = (n - 1) >> 6
    for i in range(8 * (last + 1)):
        words[U64(i)] = mix(state + U64(i) * GAMMA)
    state += U64(8 * (last + 1)) * GAMMA
    valid = ALL >> U64(64 * (last + 1) - n)
    top_a, top_b = thresholds(words, last, valid, left_a, n - left_b - 1)
    any_b = ZERO if top_b == 255 else ALL  # role b is the bytes above top_b
    top_b = np.uint8(top_b + 1) if top_b < 255 else top_b
    for k in range(last + 1):
        inside = valid if k == last else ALL
        in_a = below_bytes(words, 8 * k, top_a) & inside
        in_b = ~below_bytes(words, 8 * k, top_b) & inside & any_b
        write_bytes(out, at + 64 * k, in_a, in_b, a, b, base)
        left_a -= count_ones(in_a)
        left_b -= count_ones(in_b)
    while left_a + left_b > 0:
        i = U64(at) + ((mix(state) >> S32) * U64(n) >> S32)
        state += GAMMA
        if out[i] == base:
            if left_a > 0:
                out[i] = a
                left_a -= 1
            else:
                out[i] = b
                left_b -= 1


@njit(cache=True, _nrt=False)
def assign(out, at, n, n_source, n_target, words, state):
    """Writes a uniformly random assignment of n >= 1 tokens with exactly these counts to out[at:].

    out: uint8, at least 64·⌈n/64⌉ bytes from `at` on, all of which are written.
    words: (≥ 8·⌈n/64⌉,) uint64 scratch. n_source + n_target <= n.
    """
    if n <= 64:
        assign_word(out, at, n, H, S, T, n_source, n_target, state)
        return
    n_hidden = n - n_source - n_target
    if n_hidden >= n_source and n_hidden >= n_target:
        base, a, b, n_a, n_b = H, S, T, n_source, n_target
    elif n_source >= n_target:
        base, a, b, n_a, n_b = S, H, T, n_hidden, n_target
    else:
        base, a, b, n_a, n_b = T, H, S, n_hidden, n_source
    assign_blocks(out, at, n, base, a, b, n_a, n_b, words, state)


# -- families --------------------------------------------------------------------------------------
@njit(cache=True, _nrt=False)
def block(t, out, at, key):
    """A random rectangle of the body is target and the rest source, or, as often, the reverse: out[at : at + B].

    Edges: uniform in [block_low, block_high] of the grid, at least one cell. When no target is left
    (a reversed block that is the whole body, a rectangle in a hole of the grid), all the body is target.
    """
    w, v = mix(key + GAMMA), mix(key + GAMMA + GAMMA)
    span = t.block_high - t.block_low
    height = min(t.n_rows, max(1, nearest(t.block_low + span * unit(w >> S32), t.n_rows)))
    width = min(t.n_columns, max(1, nearest(t.block_low + span * unit(w & LOW_32), t.n_columns)))
    top = np.uint16(below(v >> S32, t.n_rows - height + 1))
    left = np.uint16(below(v & LOW_32, t.n_columns - width + 1))
    rows, columns = np.uint16(height), np.uint16(width)
    inside, outside = (S, T) if (key & ONE) == ONE else (T, S)
    body_row, body_column = t.body_row, t.body_column
    seen = H
    for i in range(len(body_row)):
        in_rows = np.uint16(body_row[U64(i)] - top) < rows  # below 0 wraps round to a large number
        in_columns = np.uint16(body_column[U64(i)] - left) < columns
        role = inside if in_rows & in_columns else outside
        seen |= role
        out[U64(at) + U64(i)] = role
    if seen == S:
        for i in range(len(body_row)):
            out[U64(at) + U64(i)] = T


@njit(cache=True, _nrt=False)
def counts(t, action, w):
    """(n, n_source, n_target) of the random subset that this action asks for."""
    n = t.n_tokens
    if action == BETA:
        n_source = min(n - 1, nearest(interpolate(t.source_quantile, w >> S32), n))
        return n, n_source, max(1, nearest(interpolate(t.target_quantile, w & LOW_32), n - n_source))
    if action == TARGET_BETA:
        return n, 0, max(1, nearest(interpolate(t.target_quantile, w & LOW_32), n))
    if action == BODY_COUNT:
        n = len(t.body)
        return n, n - t.mae_targets, t.mae_targets
    n_target = t.bert_targets if action == COUNT else max(1, first_above(t.missing_limit, w >> S32))
    return n, n - n_target, n_target


@njit(cache=True, _nrt=False)
def draw_chunk(t, stream_state, start, role, family, scratch, words):
    """Fills role (n · L,) and family (n,) uint8 with rows start … start + n.

    scratch: (P,) uint8 and words: (P / 8,) uint64, P = L rounded up to 64.
    """
    n_rows, n_tokens, template = len(family), t.n_tokens, t.template
    outcome_limit, outcome_alias, n_outcomes = t.outcome_limit, t.outcome_alias, U64(len(t.outcome_limit))
    outcome_family, outcome_action = t.outcome_family, t.outcome_action
    body, companion, body_is_prefix = t.body, t.companion, t.body_is_prefix
    padded, row_at = len(scratch), 0
    for n in range(n_rows):
        key = row_key(stream_state, start + n)
        scaled = (key >> S32) * n_outcomes
        outcome = np.int64(scaled >> S32)
        if (scaled & LOW_32) >= outcome_limit[outcome]:
            outcome = outcome_alias[outcome]
        family[n] = outcome_family[outcome]
        action = outcome_action[outcome]
        from_template = outcome * padded
        fits = row_at + padded <= len(role)  # else the whole blocks would reach into the next chunk
        out, at = (role, row_at) if fits else (scratch, 0)
        if action <= PREFIX:
            for k in range(0, padded, 64):
                copy_bytes(out, at + k, template, from_template + k)
            if action == PREFIX:
                for i in range(1 + below(key & LOW_32, n_tokens - 1)):
                    out[at + i] = S
        elif action == BLOCK:
            block(t, out, at, key)
        else:
            size, n_source, n_target = counts(t, action, mix(key + GAMMA))
            assign(out, at, size, n_source, n_target, words, key + GAMMA + GAMMA)
        if action in (BLOCK, BODY_COUNT):  # the body's roles now lie in out[at : at + B]
            if not body_is_prefix:
                for i in range(len(body) - 1, -1, -1):  # body[i] >= i: what is read was not yet overwritten
                    out[at + body[i]] = out[at + i]
            for i in range(len(companion)):
                out[at + companion[i]] = template[from_template + companion[i]]
        if not fits:
            for i in range(n_tokens):
                role[row_at + i] = scratch[i]
        row_at += n_tokens


@njit(cache=True, _nrt=False)
def draw_rank(family, key, role, rank):
    """Writes the rank row (L,) int16 of a causal or a permutation task; others are left as they are (zero)."""
    n = len(role)
    if family == CAUSAL:
        for i in range(n):
            rank[i] = i if role[i] == T else 0
    elif family == PERMUTATION:  # inside-out Fisher–Yates
        state = mix(key ^ RANK_TAG)
        rank[0] = 0
        for i in range(1, n):
            state += GAMMA
            j = below(mix(state) >> S32, i + 1)
            rank[i] = rank[j]
            rank[j] = i


@njit(cache=True, _nrt=False)
def draw_second(t, key, first, second, scratch, words):
    """Writes a second role row with the same S ∪ T as `first`.

    A quarter exchange source and target, a quarter make everything visible a target; the rest, and
    both of these when `first` has no source, split S ∪ T anew: |S₂|/|S₂ ∪ T₂| ~ source_beta.
    """
    n = len(first)
    n_source, n_visible = 0, 0
    for i in range(n):
        n_source += np.int64(first[i] == S)
        n_visible += np.int64(first[i] != H)
    state = mix(key ^ PAIR_TAG)
    w = mix(state)
    if n_source > 0 and (w >> S32) < HALF_32:
        from_target = S if (w >> S32) < QUARTER_32 else T
        for i in range(n):
            second[i] = T if first[i] == S else (from_target if first[i] == T else H)
        return
    split = min(n_visible - 1, nearest(interpolate(t.source_quantile, w & LOW_32), n_visible))
    assign(scratch, 0, n_visible, split, n_visible - split, words, state + GAMMA)
    j = 0
    for i in range(n):
        if first[i] == H:
            second[i] = H
        else:
            second[i] = scratch[j]
            j += 1


# -- drivers: whole streams in parallel, batches in the calling thread --------------------------------
@njit(parallel=True, cache=True)
def role_rows(t, seed, stream, start, role, family):
    """Fills role (N · L,) and family (N,) uint8 with rows start … start + N of the stream, in parallel."""
    n_tokens, n_rows = t.n_tokens, len(family)
    stream_state = stream_key(seed, stream)
    chunk = max(1, CHUNK_BYTES // n_tokens)
    padded = (n_tokens + 63) // 64 * 64
    for c in prange((n_rows + chunk - 1) // chunk):
        scratch, words = np.empty(padded, np.uint8), np.empty(padded // 8, np.uint64)
        first, end = c * chunk, min(n_rows, (c + 1) * chunk)
        chunk_role = role[first * n_tokens : end * n_tokens]
        draw_chunk(t, stream_state, start + first, chunk_role, family[first:end], scratch, words)


@njit(parallel=True, cache=True)
def rank_span(seed, stream, start, role, rank, family):
    """Fills rank (N, L; zero on entry) of rows start … start + N, given role and family, in parallel."""
    stream_state = stream_key(seed, stream)
    for n in prange(len(family)):
        draw_rank(family[n], row_key(stream_state, start + n), role[n], rank[n])


@njit(cache=True)
def rank_rows(seed, stream, rows, role, rank, family):
    """`rank_span` for the rows with these numbers (N,) int64, in the calling thread."""
    stream_state = stream_key(seed, stream)
    for n in range(len(rows)):
        draw_rank(family[n], row_key(stream_state, rows[n]), role[n], rank[n])


@njit(cache=True)
def second_rows(t, seed, stream, rows, first, second):
    """Fills `second` (N, L) uint8: the second halves of the pairs of `first` (N, L), rows numbered (N,) int64."""
    stream_state = stream_key(seed, stream)
    padded = (t.n_tokens + 63) // 64 * 64
    words, scratch = np.empty(padded // 8, np.uint64), np.empty(padded, np.uint8)
    for n in range(len(rows)):
        draw_second(t, row_key(stream_state, rows[n]), first[n], second[n], scratch, words)


@njit(cache=True)
def mask_rows(seed, role, missing, out):
    """Fills `out` (N, L) uint8 with role where not missing, else HIDDEN, each with a target.

    Returns −1, or the first row with every token missing. A row that lost all its targets gets new
    ones: half of its remaining sources, drawn at random, at least one; without sources, every
    observed token.
    """
    n_tokens = role.shape[1]
    padded = (n_tokens + 63) // 64 * 64
    words, scratch = np.empty(padded // 8, np.uint64), np.empty(padded, np.uint8)
    stream_state = stream_key(seed, MASK_TAG)
    for n in range(len(role)):
        n_source, n_target, n_observed = 0, 0, 0
        for i in range(n_tokens):
            r = H if missing[n, i] else role[n, i]
            out[n, i] = r
            n_source += np.int64(r == S)
            n_target += np.int64(r == T)
            n_observed += np.int64(not missing[n, i])
        if n_observed == 0:
            return n
        if n_target == 0 and n_source == 0:
            for i in range(n_tokens):
                out[n, i] = H if missing[n, i] else T
        elif n_target == 0:
            kept = n_source // 2
            assign(scratch, 0, n_source, kept, n_source - kept, words, row_key(stream_state, n))
            j = 0
            for i in range(n_tokens):
                if out[n, i] == S:
                    out[n, i] = scratch[j]
                    j += 1
    return -1
