"""Task rows depend on seed, stream and number alone: not on threads, chunks, compilation or vector instructions."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from kernels.task_sampling import FAMILIES, GAP_FAMILIES, bits, numba_kernel, sample_tasks, threads
from kernels.task_sampling.beta import CELLS
from tests.helpers.imports import ROOT
from tests.helpers.task_specs import digests, make_spec, specs


@settings(deadline=None, max_examples=25)
@given(specs(), st.integers(0, 2**40), st.integers(0, 200), st.integers(1, 50))
def test_a_row_depends_on_seed_stream_and_number_alone(spec, seed, start, rows):
    whole = sample_tasks(spec, start + rows, seed=seed, stream=2)
    part = sample_tasks(spec, rows, seed=seed, stream=2, start=start)
    for name in ("role", "rank", "family"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[start:])


def test_seeds_and_streams_differ():
    spec = make_spec(5, 5)
    drawn = [sample_tasks(spec, 500, seed=s, stream=t).role for s, t in ((0, 0), (1, 0), (0, 1), (1, 1))]
    for one, other in itertools.combinations(drawn, 2):
        assert (one == other).all(1).mean() < 0.3  # joint and template rows coincide by chance


def digests_elsewhere(long: int, **environment: str) -> list[str]:
    """`digests` from a process of its own, for what Numba reads when it is imported."""
    script = f"from tests.helpers.task_specs import digests; print(*digests({long}))"
    command, here = [sys.executable, "-c", script], {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    result = subprocess.run(command, env=here, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_compiled_rows_equal_interpreted_rows():
    """fn == fn.py_func for the whole kernel: the same rows with Numba switched off, vector instructions included."""
    assert digests_elsewhere(20, NUMBA_DISABLE_JIT="1") == digests(20)


def test_rows_do_not_depend_on_the_number_of_threads(monkeypatch):
    """The variable is what the sampler reads; `numba.set_num_threads` would change the threads of PyTorch instead."""
    monkeypatch.setattr(threads, "LEAST_BYTES", 1)  # else so few rows are one thread's
    found = []
    for number in ("1", "2", "3"):
        monkeypatch.setenv("NUMBA_NUM_THREADS", number)
        found.append(digests(2000))
    assert found[0] == found[1] == found[2]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(1, 2**15))
def test_scalar_functions_equal_their_python_form(word, u, n):
    word, u = np.uint64(word), np.uint64(u)
    table = np.sort(np.random.default_rng(0).random(CELLS + 1))
    with np.errstate(over="ignore"):
        for function, arguments in (
            (numba_kernel.mix, (word,)),
            (numba_kernel.below, (u, n)),
            (numba_kernel.unit, (u,)),
            (numba_kernel.interpolate, (table, u)),
        ):
            assert function(*arguments) == function.py_func(*arguments), function.__name__


@njit(cache=False)
def _bits(words, threshold, first, second, out, template):
    bits.blend_bytes(out, 3, template, 5, first, second, np.uint8(7), np.uint8(8))
    return bits.below_bytes(words, 8, threshold), bits.count_ones(first)


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=128, max_size=128), st.integers(0, 255), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_vector_instructions_equal_their_numpy_definitions(data, threshold, first, second):
    words, template = np.frombuffer(data, np.uint64).copy(), np.frombuffer(data, np.uint8).copy()
    threshold, first, second = np.uint8(threshold), np.uint64(first), np.uint64(second)
    out = np.zeros((2, 70), np.uint8)
    below, ones = _bits(words, threshold, first, second, out[0], template)
    bits.blend_bytes(out[1], 3, template, 5, first, second, np.uint8(7), np.uint8(8))
    np.testing.assert_array_equal(out[0], out[1])
    assert below == bits.below_bytes(words, 8, threshold) and ones == bits.count_ones(first)


def test_rows_are_pinned():
    """A change of the random stream changes every trained model: it must be meant, and noted in the changelog."""
    without = {name: 1.0 for name in FAMILIES if name not in GAP_FAMILIES}
    for weights, pinned in ((without, "0a9a70857b26d714"), (None, "0fa0a559d2211ed9")):  # None: every family
        tasks = sample_tasks(make_spec(4, 4, weights=weights, causal_prefix_share=0.5), 1000, seed=0)
        digest = hashlib.sha256(tasks.role.tobytes() + tasks.rank.tobytes() + tasks.family.tobytes()).hexdigest()
        assert digest[:16] == pinned
