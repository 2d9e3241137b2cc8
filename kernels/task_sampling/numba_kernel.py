"""Numba kernel of the task distribution: N rows of roles, ranks and families.

Randomness. Word i of row n of a stream is splitmix64(key(seed, stream, n) + i·γ): a function of its
arguments alone, so a row is the same whatever the number of threads, the chunk or the first row.
A whole number below n is ⌊u·n / 2³²⌋ of a 32-bit u (bias < n / 2³²).

Random subsets (`subset`). Every token gets a random key; the tokens of the smallest keys are sources,
those of the largest targets. Up to 64 tokens are one word: keys are drawn a bit at a time for all
tokens at once, and the boundary is narrowed by counting bits (radix selection). Longer rows use
keys of one byte, 64 comparisons at a time, and place what ties leave out on uniformly drawn tokens.
Each step treats all tokens alike, so given the counts every assignment is equally likely: exact.

A chunk of rows is drawn in three passes: outcomes, with no branch on a draw; bit masks of what the
templates leave open; bytes, where whole blocks of 64 are written and what spills over a row's end
is overwritten by the next row.

For Numba. This is one file because the cache of compiled functions does not notice changes in imported
ones: all njit functions live here. After a change in bits.py or in a constant of tables.py, save this file too.
Indices are cast to uint64 where its check for negative ones would keep LLVM from vectorising.
`_nrt=False` leaves out reference counting, 20 atomic operations a row, in functions that neither
allocate nor keep an array; `forceinline` where a call would copy the tables' fields to the stack.

Names: t is a Tables, L tokens, N rows, u a uint64 below 2³², w a random word, state a uint64 counter.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kernels.task_sampling.beta import CELL_BITS
from kernels.task_sampling.bits import below_bytes, blend_bytes, count_ones
from kernels.task_sampling.spec import FAMILIES, HIDDEN, SOURCE, TARGET
from kernels.task_sampling.tables import BETA, BLOCK, BODY_COUNT, COPY, COUNT, PREFIX, TARGET_BETA

CHUNK_BYTES = 1 << 15  # of roles drawn at a time: they stay in cache between the passes

LANES = 512  # rows of at most 64 tokens whose subsets are narrowed together …
LANE_STEPS = 10  # … by so many key bits; more are rarely needed

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

LANE_LOW, LANE_HIGH, LANE_LOW_REST, LANE_HIGH_REST, LANE_SOURCE, LANE_REST = (U64(k * LANES) for k in range(1, 7))
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


@njit(cache=True, _nrt=False, forceinline=True)
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
def last_mask(n):
    """uint64 mask of the tokens of the last word of n >= 1 tokens."""
    return ALL >> U64(63 - ((n - 1) & 63))


@njit(cache=True, _nrt=False)
def select_bits(low, high, r, wanted):
    """One step of radix selection of `wanted` tokens: (low, high) with low ⊆ chosen ⊆ high, narrowed by one key bit.

    r holds the next bit of every token's random key. No branch: it would be mispredicted half the time.
    """
    middle = low | (r & high)
    over = U64((wanted - count_ones(middle)) >> 63)  # all ones when the middle set is too large
    return middle ^ ((middle ^ low) & over), high ^ ((high ^ middle) & over)


@njit(cache=True, _nrt=False, forceinline=True)
def finish_word(low, high, low_rest, high_rest, n_source, n_rest, state):
    """(low, low_rest), narrowed until they hold n_source and n_rest tokens, by key bits from `state` on."""
    while count_ones(low) != n_source or count_ones(low_rest) != n_rest:
        r = mix(state)
        state += GAMMA
        low, high = select_bits(low, high, r, n_source)
        low_rest, high_rest = select_bits(low_rest, high_rest, r, n_rest)
    return low, low_rest


@njit(cache=True, _nrt=False, forceinline=True)
def subset_of_word(source, target, at, n, n_source, n_target, state):
    """`subset` for n <= 64: the tokens of the smallest keys are sources, those of the largest targets.

    Keys are as many bits long as it takes to tell the tokens on the two boundaries apart.
    """
    valid = last_mask(n)
    source[at], rest = finish_word(ZERO, valid, ZERO, valid, n_source, n - n_target, state)
    target[at] = valid & ~rest


@njit(cache=True, _nrt=False)
def narrow_lanes(lanes, n_lanes):
    """LANE_STEPS steps of `finish_word` for many rows at once: one row is one lane of the vector unit.

    lanes: seven fields of LANES uint64 each: state, low, high, low_rest, high_rest, n_source, n_rest.
    Fields lie a constant apart, so that LLVM sees that they do not overlap.
    """
    for step in range(LANE_STEPS):
        jump = U64(step) * GAMMA
        for lane in range(n_lanes):
            i = U64(lane)
            r = mix(lanes[i] + jump)
            lanes[i + LANE_LOW], lanes[i + LANE_HIGH] = select_bits(
                lanes[i + LANE_LOW], lanes[i + LANE_HIGH], r, np.int64(lanes[i + LANE_SOURCE])
            )
            lanes[i + LANE_LOW_REST], lanes[i + LANE_HIGH_REST] = select_bits(
                lanes[i + LANE_LOW_REST], lanes[i + LANE_HIGH_REST], r, np.int64(lanes[i + LANE_REST])
            )


@njit(cache=True, _nrt=False)
def thresholds(words, n, limit_a, limit_b):
    """Two int64 in 0 … 255: the largest thresholds with at most limit_a and limit_b of n bytes below them."""
    last, valid = (n - 1) >> 6, last_mask(n)
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
    return a, b


@njit(cache=True, _nrt=False)
def two_subsets(first, second, at, n, n_first, n_second, words, state):
    """Masks of two random disjoint subsets of n tokens, by keys of one byte: those below one threshold, above another.

    The thresholds are the widest that exceed neither count; the few tokens that ties leave out are
    placed on uniformly drawn free tokens, so at least a third should be free.
    """
    last = (n - 1) >> 6
    for i in range(8 * (last + 1)):
        words[U64(i)] = mix(state + U64(i) * GAMMA)
    state += U64(8 * (last + 1)) * GAMMA
    below_first, from_second = thresholds(words, n, n_first, n - n_second - 1)
    from_second += 1  # the second subset is the bytes from here on: none when this is 256
    for k in range(last + 1):
        valid = last_mask(n) if k == last else ALL
        in_first = below_bytes(words, 8 * k, np.uint8(below_first)) & valid
        in_second = valid & ~below_bytes(words, 8 * k, np.uint8(from_second)) if from_second < 256 else ZERO
        first[at + k], second[at + k] = in_first, in_second
        n_first -= count_ones(in_first)
        n_second -= count_ones(in_second)
    while n_first + n_second > 0:
        i = below(mix(state) >> S32, n)
        state += GAMMA
        k, bit = at + (i >> 6), ONE << U64(i & 63)
        if (first[k] | second[k]) & bit == ZERO:
            if n_first > 0:
                first[k] |= bit
                n_first -= 1
            else:
                second[k] |= bit
                n_second -= 1


@njit(cache=True, _nrt=False)
def subset_of_words(source, target, at, n, n_source, n_target, words, state):
    """`subset` for any n: the two rarer roles are drawn, the most frequent one takes the rest."""
    n_hidden = n - n_source - n_target
    if n_hidden >= n_source and n_hidden >= n_target:
        two_subsets(source, target, at, n, n_source, n_target, words, state)
        return
    drawn, other, n_drawn = (target, source, n_target) if n_source >= n_target else (source, target, n_source)
    two_subsets(other, drawn, at, n, n_hidden, n_drawn, words, state)  # `other` holds the hidden ones for now
    last = (n - 1) >> 6
    for k in range(last + 1):
        other[at + k] = (last_mask(n) if k == last else ALL) & ~(other[at + k] | drawn[at + k])


@njit(cache=True, _nrt=False, forceinline=True)
def subset(source, target, at, n, n_source, n_target, words, state):
    """Writes masks of a uniformly random assignment of n >= 1 tokens with exactly these counts to source, target[at:].

    source, target: uint64, at least ⌈n/64⌉ from `at` on. words: (≥ 8·⌈n/64⌉,) uint64 scratch.
    """
    if n <= 64:
        subset_of_word(source, target, at, n, n_source, n_target, state)
    else:
        subset_of_words(source, target, at, n, n_source, n_target, words, state)


# -- families --------------------------------------------------------------------------------------
@njit(cache=True, _nrt=False, forceinline=True)
def block(t, source, target, at, key):
    """A random rectangle of the body is target and the rest source, or, as often, the reverse.

    Edges: uniform in [block_low, block_high] of the grid, at least one cell. When no target is left
    (a reversed block that is the whole body, a rectangle in a hole of the grid), all the body is target.
    """
    n_rows, n_columns = len(t.above) - 1, len(t.left_of) - 1
    w, v = mix(key + GAMMA), mix(key + GAMMA + GAMMA)
    span = t.block_high - t.block_low
    height = min(n_rows, max(1, nearest(t.block_low + span * unit(w >> S32), n_rows)))
    width = min(n_columns, max(1, nearest(t.block_low + span * unit(w & LOW_32), n_columns)))
    top = below(v >> S32, n_rows - height + 1)
    left = below(v & LOW_32, n_columns - width + 1)
    reverse = ZERO - (key & ONE)  # all ones half the time
    any_target = ZERO
    for k in range(t.above.shape[1]):
        rows = t.above[top + height, k] & ~t.above[top, k]
        columns = t.left_of[left + width, k] & ~t.left_of[left, k]
        body = t.above[n_rows, k]
        target[at + k] = ((rows & columns) ^ reverse) & body
        source[at + k] = body & ~target[at + k]
        any_target |= target[at + k]
    if any_target == ZERO:
        for k in range(t.above.shape[1]):
            target[at + k], source[at + k] = source[at + k], ZERO


@njit(cache=True, _nrt=False, forceinline=True)
def spread_to_body(t, target, at, words):
    """Moves bit i of the mask target[at:] to token body[i]."""
    n_words = (t.n_tokens + 63) >> 6
    for k in range(n_words):
        words[k], target[at + k] = target[at + k], ZERO
    for i in range(len(t.body)):
        bit = (words[i >> 6] >> U64(i & 63)) & ONE
        target[at + (t.body[i] >> 6)] |= bit << U64(t.body[i] & 63)


@njit(cache=True, _nrt=False, forceinline=True)
def prefix(t, source, at, u):
    """The first 1 … L−1 tokens, uniformly, are source."""
    left = 1 + below(u, t.n_tokens - 1)
    for k in range((left + 63) >> 6):
        source[at + k] = ALL if left >= 64 * (k + 1) else last_mask(left)


@njit(cache=True, _nrt=False, forceinline=True)
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


# -- a chunk of rows: outcomes, then what they leave open, then bytes --------------------------------
@njit(cache=True, _nrt=False)
def draw_outcomes(t, stream_state, start, key, outcome, drawn):
    """Fills key (n,) uint64 and outcome (n,) int64 of rows start … start + n.

    Returns how many rows have more to draw; drawn (n,) int64 begins with their places.
    """
    limit, alias, action, n_outcomes = t.outcome_limit, t.outcome_alias, t.outcome_action, U64(len(t.outcome_limit))
    n_drawn = 0
    for n in range(len(outcome)):
        key[U64(n)] = row_key(stream_state, start + n)
    for n in range(len(outcome)):
        scaled = (key[U64(n)] >> S32) * n_outcomes
        column = scaled >> S32
        chosen = np.int64(column) if (scaled & LOW_32) < limit[column] else alias[column]
        outcome[U64(n)] = chosen
        drawn[U64(n_drawn)] = n
        n_drawn += np.int64(action[U64(chosen)] != COPY)
    return n_drawn


@njit(cache=True, _nrt=False, forceinline=True)
def keep_body(t, source, target, at, words):
    """Moves a subset of 0 … B−1 to the body tokens. Its sources are in the template already, with the companions."""
    for k in range((t.n_tokens + 63) >> 6):
        source[at + k] = ZERO
    if not t.body_is_prefix:
        spread_to_body(t, target, at, words)


@njit(cache=True, _nrt=False)
def draw_long(t, key, outcome, drawn, n_drawn, source, target, words):
    """Writes the masks of the rows listed in drawn, W words a row, where they differ from their templates."""
    action, n_words = t.outcome_action, (t.n_tokens + 63) >> 6
    for d in range(n_drawn):
        row_state, at, what = key[drawn[d]], drawn[d] * n_words, action[outcome[drawn[d]]]
        if what == BLOCK:
            block(t, source, target, at, row_state)
        elif what == PREFIX:
            prefix(t, source, at, row_state & LOW_32)
        else:
            n, n_source, n_target = counts(t, what, mix(row_state + GAMMA))
            subset(source, target, at, n, n_source, n_target, words, row_state + GAMMA + GAMMA)
            if what == BODY_COUNT:
                keep_body(t, source, target, at, words)


@njit(cache=True, _nrt=False)
def draw_short(t, key, outcome, drawn, n_drawn, source, target, words, lanes):
    """`draw_long` for L <= 64, the subsets of up to LANES rows together."""
    action, n_lanes = t.outcome_action, 0
    for d in range(n_drawn):
        at = drawn[d]
        row_state, what = key[at], action[outcome[at]]
        if what == BLOCK:
            block(t, source, target, at, row_state)
        elif what == PREFIX:
            prefix(t, source, at, row_state & LOW_32)
        else:
            n, n_source, n_target = counts(t, what, mix(row_state + GAMMA))
            i = U64(n_lanes)
            lanes[i] = row_state + GAMMA + GAMMA
            lanes[i + LANE_LOW], lanes[i + LANE_LOW_REST] = ZERO, ZERO
            lanes[i + LANE_HIGH], lanes[i + LANE_HIGH_REST] = last_mask(n), last_mask(n)
            lanes[i + LANE_SOURCE], lanes[i + LANE_REST] = U64(n_source), U64(n - n_target)
            drawn[n_lanes] = at  # n_lanes <= d: read already
            n_lanes += 1
    narrow_lanes(lanes, n_lanes)
    for lane in range(n_lanes):
        i, at = U64(lane), drawn[lane]
        what = action[outcome[at]]
        low, low_rest = finish_word(
            lanes[i + LANE_LOW],
            lanes[i + LANE_HIGH],
            lanes[i + LANE_LOW_REST],
            lanes[i + LANE_HIGH_REST],
            np.int64(lanes[i + LANE_SOURCE]),
            np.int64(lanes[i + LANE_REST]),
            lanes[i] + U64(LANE_STEPS) * GAMMA,
        )
        source[at] = low
        target[at] = last_mask(len(t.body) if what == BODY_COUNT else t.n_tokens) & ~low_rest
        if what == BODY_COUNT:
            keep_body(t, source, target, at, words)


@njit(cache=True, _nrt=False)
def write_rows(t, outcome, source, target, role, family, scratch):
    """Writes role (n · L,) and family (n,): each row's template, with the tokens in the masks changed."""
    n_tokens, template, outcome_family = t.n_tokens, t.template, t.outcome_family
    n_words = (n_tokens + 63) >> 6
    at = 0
    for n in range(len(outcome)):
        family[U64(n)] = outcome_family[U64(outcome[n])]
        fits = at + 64 * n_words <= len(role)  # else the last block would reach into the next chunk
        out, begin = (role, at) if fits else (scratch, 0)
        for k in range(n_words):
            i, start = n * n_words + k, (outcome[n] * n_words + k) * 64
            blend_bytes(out, begin + 64 * k, template, start, source[i], target[i], S, T)
        if not fits:
            for i in range(n_tokens):
                role[at + i] = scratch[i]
        at += n_tokens


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
def draw_second(t, key, first, second, source, target, words):
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
    n_source = min(n_visible - 1, nearest(interpolate(t.source_quantile, w & LOW_32), n_visible))
    subset(source, target, 0, n_visible, n_source, n_visible - n_source, words, state + GAMMA)
    j = 0
    for i in range(n):
        second[i] = H
        if first[i] != H:
            second[i] = T if (target[j >> 6] >> U64(j & 63)) & ONE else S
            j += 1


# -- drivers, all in the calling thread; `threads.in_parallel` gives each thread a part of a stream. Numba's own threads
# (prange) would end every process that forks after them -------------------------------------------------------------
@njit(cache=True)
def role_chunk(t, stream_state, start, role, family):
    """Fills role (n · L,) and family (n,) uint8 with rows start … start + n, n <= LANES."""
    n_rows, n_words = len(family), (t.n_tokens + 63) >> 6
    key, outcome, drawn = np.empty(n_rows, U64), np.empty(n_rows, np.int64), np.empty(n_rows, np.int64)
    source, target = np.zeros(n_rows * n_words, U64), np.zeros(n_rows * n_words, U64)
    words, scratch = np.empty(8 * n_words, U64), np.empty(64 * n_words, np.uint8)
    n_drawn = draw_outcomes(t, stream_state, start, key, outcome, drawn)
    if n_words == 1:
        draw_short(t, key, outcome, drawn, n_drawn, source, target, words, np.empty(7 * LANES, U64))
    else:
        draw_long(t, key, outcome, drawn, n_drawn, source, target, words)
    write_rows(t, outcome, source, target, role, family, scratch)


@njit(cache=True, nogil=True)
def role_rows(t, seed, stream, start, role, family):
    """Fills role (N · L,) and family (N,) uint8 with rows start … start + N of the stream."""
    n_tokens, n_rows = t.n_tokens, len(family)
    stream_state = stream_key(seed, stream)
    chunk = min(LANES, max(1, CHUNK_BYTES // n_tokens))
    for c in range((n_rows + chunk - 1) // chunk):
        first, end = c * chunk, min(n_rows, (c + 1) * chunk)
        role_chunk(t, stream_state, start + first, role[first * n_tokens : end * n_tokens], family[first:end])


@njit(cache=True, nogil=True)
def rank_span(seed, stream, start, role, rank, family):
    """Fills rank (N, L; zero on entry) of rows start … start + N, given role and family."""
    stream_state = stream_key(seed, stream)
    for n in range(len(family)):
        draw_rank(family[n], row_key(stream_state, start + n), role[n], rank[n])


@njit(cache=True)
def rank_rows(seed, stream, rows, role, rank, family):
    """`rank_span` for the rows with these numbers (N,) int64."""
    stream_state = stream_key(seed, stream)
    for n in range(len(rows)):
        draw_rank(family[n], row_key(stream_state, rows[n]), role[n], rank[n])


@njit(cache=True)
def second_rows(t, seed, stream, rows, first, second):
    """Fills `second` (N, L) uint8: the second halves of the pairs of `first` (N, L), rows numbered (N,) int64."""
    stream_state = stream_key(seed, stream)
    n_words = (t.n_tokens + 63) >> 6
    words, source, target = np.empty(8 * n_words, U64), np.empty(n_words, U64), np.empty(n_words, U64)
    for n in range(len(rows)):
        draw_second(t, row_key(stream_state, rows[n]), first[n], second[n], source, target, words)


@njit(cache=True)
def mask_rows(seed, numbers, role, missing, out):
    """Fills `out` (N, L) uint8 with role where not missing, else HIDDEN, each with a target.

    Returns −1, or the first row with every token missing. A row that lost all its targets gets new
    ones: half of its remaining sources, drawn at random, at least one; without sources, every
    observed token. Row n draws from (seed, numbers[n]).
    """
    n_tokens = role.shape[1]
    n_words = (n_tokens + 63) >> 6
    words, source, target = np.empty(8 * n_words, U64), np.empty(n_words, U64), np.empty(n_words, U64)
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
            subset(source, target, 0, n_source, kept, n_source - kept, words, row_key(stream_state, numbers[n]))
            j = 0
            for i in range(n_tokens):
                if out[n, i] == S:
                    out[n, i] = T if (target[j >> 6] >> U64(j & 63)) & ONE else S
                    j += 1
    return -1
