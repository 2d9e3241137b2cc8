"""Numba kernel of the task distribution: N rows of roles, ranks and families.

Randomness. Word i of row n of a stream is splitmix64(key(seed, stream, n) + i·γ): a function of its
arguments alone, so a row is the same whatever the number of threads, the chunk or the first row.
One 64-bit word serves two 32-bit choices. A whole number below n is ⌊u·n / 2³²⌋ (bias < n / 2³²).

Random subsets. `assign` gives every token an independent role by comparing one random *byte* with two
thresholds (eight tokens a word, vectorised), then moves uniformly chosen tokens between roles until
the counts are exact. Each step treats all tokens alike, so given the counts every assignment is
equally likely: the result is exact, and the cost is about one random byte a token plus O(√L) moves.

All njit functions live in this file: Numba's cache does not notice changes in imported ones.

Names: t is a Tables, L tokens, N rows, u a uint64 below 2³², state a uint64 counter.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from kernels.task_sampling.beta import CELL_BITS
from kernels.task_sampling.spec import FAMILIES, HIDDEN, SOURCE, TARGET

CHUNK_ROWS = 1024  # rows per unit of parallel work

GAMMA = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
RANK_TAG = np.uint64(0x3C79AC492BA7B653)  # separate words for permutations …
PAIR_TAG = np.uint64(0x1C69B3F74AC4AE35)  # … and for second tasks, so that both can be drawn again alone
S27, S30, S31, S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
LOW_32 = np.uint64(0xFFFFFFFF)
HALF_32 = np.uint64(1 << 31)
QUARTER_32 = np.uint64(1 << 30)
HALF_64 = np.uint64(1 << 63)
CELL_SHIFT = np.uint64(32 - CELL_BITS)
CELL_MASK = np.uint64((1 << (32 - CELL_BITS)) - 1)
CELL_WIDTH = 2.0 ** (CELL_BITS - 32)

H, S, T = np.uint8(HIDDEN), np.uint8(SOURCE), np.uint8(TARGET)
JOINT, MARGINAL, BETA_RANDOM, BLOCK, HALF, MODALITY, CAUSAL, PERMUTATION, BERT, MAE, COLUMN_MISSING = range(
    len(FAMILIES)
)


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
    return mix(key + np.uint64(row) * GAMMA)


@njit(cache=True)
def below(u, n):
    """int64 uniform in 0 … n−1 from a 32-bit draw."""
    return np.int64((u * np.uint64(n)) >> S32)


@njit(cache=True)
def interpolate(table, u):
    """float64 draw of the distribution whose quantiles are `table`."""
    cell = np.int64(u >> CELL_SHIFT)
    low = table[cell]
    return low + (table[cell + 1] - low) * (np.float64(np.int64(u & CELL_MASK)) * CELL_WIDTH)


@njit(cache=True)
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


# -- random subsets --------------------------------------------------------------------------------
@njit(cache=True)
def byte_threshold(count, n):
    """int64 in 0 … 255: threshold of a random byte for a role wanted `count` times among n tokens.

    Half a standard deviation under the mean: adding a token to a rare role is cheap (most tokens
    qualify), taking one away is not.
    """
    mean = np.float64(count) - 0.5 * np.sqrt(np.float64(count))
    return np.int64(max(0.0, 256.0 * mean / np.float64(n)))


@njit(cache=True)
def assign(role, n, n_source, n_target, words, state):
    """Writes a uniformly random assignment with exactly these counts to role[:n]; returns the state.

    role: (≥ n,) uint8. words: (⌈n/8⌉ or more,) uint64 scratch. n_source + n_target <= n.
    """
    n_hidden = n - n_source - n_target
    if n_hidden >= n_source and n_hidden >= n_target:
        base, a, b, wanted_a, wanted_b = H, S, T, n_source, n_target
    elif n_source >= n_target:
        base, a, b, wanted_a, wanted_b = S, H, T, n_hidden, n_target
    else:
        base, a, b, wanted_a, wanted_b = T, H, S, n_hidden, n_source
    limit_a = byte_threshold(wanted_a, n)
    limit_b = limit_a + byte_threshold(wanted_b, n)
    missing_a, missing_b = wanted_a, wanted_b
    if limit_b == 0:
        for i in range(n):
            role[i] = base
    else:
        n_words = (n + 7) // 8
        for i in range(n_words):
            words[i] = mix(state + np.uint64(i) * GAMMA)
        state += np.uint64(n_words) * GAMMA
        random = words.view(np.uint8)
        below_a, below_b = np.uint8(limit_a), np.uint8(limit_b)
        count_a, count_b = 0, 0
        for i in range(n):
            r = random[i]
            in_a = r < below_a
            in_ab = r < below_b
            role[i] = a if in_a else (b if in_ab else base)
            count_a += np.int64(in_a)
            count_b += np.int64(in_ab)
        missing_a -= count_a
        missing_b -= count_b - count_a
    while missing_a != 0 or missing_b != 0:
        w = mix(state)
        state += GAMMA
        for u in (w >> S32, w & LOW_32):
            i = below(u, n)
            r = role[i]
            if r == base:
                if missing_a > 0:
                    role[i] = a
                    missing_a -= 1
                elif missing_b > 0:
                    role[i] = b
                    missing_b -= 1
            elif r == a:
                if missing_a < 0:
                    role[i] = base
                    missing_a += 1
            elif missing_b < 0:
                role[i] = base
                missing_b += 1
    return state


# -- families --------------------------------------------------------------------------------------
@njit(cache=True)
def nearest(share, n):
    """int64 nearest to share · n."""
    return np.int64(np.floor(share * np.float64(n) + 0.5))


@njit(cache=True)
def companions(t, role, w):
    """Shows the companions, all as source or all as target, with the visible probability; else hides them."""
    code = H
    if (w >> S32) < np.uint64(t.visible_limit):
        code = S if (w & LOW_32) < HALF_32 else T
    for i in t.companion:
        role[i] = code


@njit(cache=True)
def block_edges(t, w):
    """(height, width) of a block, int64: shares uniform in [block_low, block_high], at least one cell."""
    span = t.block_high - t.block_low
    height = nearest(t.block_low + span * (np.float64(np.int64(w >> S32)) / 2.0**32), t.n_rows)
    width = nearest(t.block_low + span * (np.float64(np.int64(w & LOW_32)) / 2.0**32), t.n_columns)
    return min(t.n_rows, max(1, height)), min(t.n_columns, max(1, width))


@njit(cache=True)
def block(t, role, state):
    """A random rectangle of the body is target and the rest source, or, as often, the reverse.

    When that leaves no target (a reversed block that is the whole body, a rectangle between the
    tokens of a grid with holes) source and target change places.
    """
    companions(t, role, mix(state))
    height, width = block_edges(t, mix(state + GAMMA))
    w = mix(state + GAMMA + GAMMA)
    top = below(w >> S32, t.n_rows - height + 1)
    left = below(w & LOW_32, t.n_columns - width + 1)
    reverse = mix(state + GAMMA + GAMMA + GAMMA) < HALF_64
    inside, outside = (S, T) if reverse else (T, S)
    n_inside = 0
    n_body = len(t.body)
    if t.body_is_prefix:
        for i in range(n_body):
            hit = (
                (t.body_row[i] >= top)
                & (t.body_row[i] < top + height)
                & (t.body_column[i] >= left)
                & (t.body_column[i] < left + width)
            )
            role[i] = inside if hit else outside
            n_inside += np.int64(hit)
    else:
        for i in range(n_body):
            hit = (
                (t.body_row[i] >= top)
                & (t.body_row[i] < top + height)
                & (t.body_column[i] >= left)
                & (t.body_column[i] < left + width)
            )
            role[t.body[i]] = inside if hit else outside
            n_inside += np.int64(hit)
    n_targets = n_body - n_inside if reverse else n_inside
    if n_targets == 0:
        for i in t.body:
            role[i] = T


@njit(cache=True)
def causal(t, role, w):
    """All tokens are targets in order, or a prefix of 1 … L−1 tokens is source (never when L = 1)."""
    prefix = 0
    if (w >> S32) < np.uint64(t.prefix_limit) and t.n_tokens > 1:
        prefix = 1 + below(w & LOW_32, t.n_tokens - 1)
    for i in range(t.n_tokens):
        role[i] = S if i < prefix else T


@njit(cache=True)
def body_subset(t, role, scratch, words, state):
    """A random subset of mae_targets body tokens is target, every other token source."""
    n_body = len(t.body)
    for i in t.companion:
        role[i] = S
    if t.body_is_prefix:
        return assign(role, n_body, n_body - t.mae_targets, t.mae_targets, words, state)
    state = assign(scratch, n_body, n_body - t.mae_targets, t.mae_targets, words, state)
    for i in range(n_body):
        role[t.body[i]] = scratch[i]
    return state


@njit(cache=True)
def draw_role(t, key, role, scratch, words):
    """Writes the role row (L,) uint8 of the row with this key; returns its family code."""
    n = t.n_tokens
    state = key + GAMMA
    w = mix(state)
    family = t.family[first_above(t.family_limit, w >> S32)]
    u = w & LOW_32
    state += GAMMA
    if family == JOINT:
        role[:] = T
    elif family == MODALITY:
        role[:] = t.modality[first_above(t.modality_limit, u)]
    elif family == BETA_RANDOM:
        n_source = min(n - 1, nearest(interpolate(t.source_quantile, u), n))
        n_target = max(1, nearest(interpolate(t.target_quantile, mix(state) >> S32), n - n_source))
        assign(role, n, n_source, n_target, words, state + GAMMA)
    elif family == MARGINAL:
        n_target = max(1, nearest(interpolate(t.target_quantile, u), n))
        assign(role, n, 0, n_target, words, state)
    elif family == BLOCK:
        block(t, role, state)
    elif family == HALF:
        role[:] = t.half[below(u, len(t.half))]
        companions(t, role, mix(state))
    elif family == CAUSAL:
        causal(t, role, mix(state))
    elif family == PERMUTATION:
        role[:] = T
    elif family == BERT:
        assign(role, n, n - t.bert_targets, t.bert_targets, words, state)
    elif family == MAE:
        body_subset(t, role, scratch, words, state)
    else:
        n_target = max(1, first_above(t.missing_limit, u))
        assign(role, n, n - n_target, n_target, words, state)
    return family


@njit(cache=True)
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


@njit(cache=True)
def draw_second(t, key, first, second, scratch, words):
    """Writes a second role row with the same S ∪ T as `first`.

    A quarter exchange source and target, a quarter make everything visible a target; the rest, and
    both of these when `first` has no source, split S ∪ T anew: |S₂|/|S₂ ∪ T₂| ~ source_beta.
    """
    n = len(first)
    state = mix(key ^ PAIR_TAG)
    n_source, n_visible = 0, 0
    for i in range(n):
        n_source += np.int64(first[i] == S)
        n_visible += np.int64(first[i] != H)
    w = mix(state)
    if n_source > 0 and (w >> S32) < HALF_32:
        from_target = S if (w >> S32) < QUARTER_32 else T
        for i in range(n):
            second[i] = T if first[i] == S else (from_target if first[i] == T else H)
        return
    split = min(n_visible - 1, nearest(interpolate(t.source_quantile, w & LOW_32), n_visible))
    assign(scratch, n_visible, split, n_visible - split, words, state + GAMMA)
    j = 0
    for i in range(n):
        if first[i] == H:
            second[i] = H
        else:
            second[i] = scratch[j]
            j += 1


# -- drivers: rows in parallel, each a function of its own key ---------------------------------------
@njit(parallel=True, cache=True)
def sample_rows(t, seed, stream, start, role, rank, family):
    """Fills role (N, L), family (N,) and, unless it has no rows, rank (N, L; zero on entry) from row `start` on."""
    n_rows = len(role)
    stream_state = stream_key(seed, stream)
    for chunk in prange((n_rows + CHUNK_ROWS - 1) // CHUNK_ROWS):
        words = np.empty((t.n_tokens + 7) // 8, np.uint64)
        scratch = np.empty(t.n_tokens, np.uint8)
        for n in range(chunk * CHUNK_ROWS, min(n_rows, (chunk + 1) * CHUNK_ROWS)):
            key = row_key(stream_state, start + n)
            family[n] = draw_role(t, key, role[n], scratch, words)
            if len(rank) > 0:
                draw_rank(family[n], key, role[n], rank[n])


@njit(cache=True)
def rank_rows(seed, stream, rows, role, rank, family):
    """Fills rank (N, L; zero on entry) of the rows with these numbers (N,) int64, given role and family."""
    stream_state = stream_key(seed, stream)
    for n in range(len(rows)):
        draw_rank(family[n], row_key(stream_state, rows[n]), role[n], rank[n])


@njit(cache=True)
def second_rows(t, seed, stream, rows, first, second):
    """Fills `second` (N, L) uint8: the other halves of the communication pairs of `first` (N, L)."""
    stream_state = stream_key(seed, stream)
    words = np.empty((t.n_tokens + 7) // 8, np.uint64)
    scratch = np.empty(t.n_tokens, np.uint8)
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
    words = np.empty((n_tokens + 7) // 8, np.uint64)
    scratch = np.empty(n_tokens, np.uint8)
    stream_state = stream_key(seed, np.uint64(0))
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
        if n_target > 0:
            continue
        if n_source == 0:
            for i in range(n_tokens):
                out[n, i] = H if missing[n, i] else T
            continue
        kept = n_source // 2
        assign(scratch, n_source, kept, n_source - kept, words, row_key(stream_state, n))
        j = 0
        for i in range(n_tokens):
            if out[n, i] == S:
                out[n, i] = scratch[j]
                j += 1
    return -1
