"""Banks of tasks: packed roles, files, specifications as JSON, and what errors say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.task_sampling import (
    TaskBank,
    TaskSpec,
    apply_missing,
    pack_roles,
    sample_pairs,
    sample_tasks,
    unpack_roles,
    write_bank,
)
from tests.helpers.task_specs import make_spec, table_spec


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 9), st.integers(1, 133), st.integers(0, 2**32 - 1))
def test_packing_round_trip(rows, n_tokens, seed):
    role = np.random.default_rng(seed).integers(0, 3, (rows, n_tokens), np.uint8)
    packed = pack_roles(role)
    assert packed.shape == (rows, (n_tokens + 3) // 4) and packed.dtype == np.uint8
    np.testing.assert_array_equal(unpack_roles(packed, n_tokens), role)
    np.testing.assert_array_equal(unpack_roles(packed[::-1], n_tokens), role[::-1])


def test_bank_holds_the_rows_of_its_stream(tmp_path):
    spec = make_spec(4, 4, causal_prefix_share=0.5)
    seen = []
    bank = write_bank(tmp_path / "bank", spec, 1000, seed=4, stream=1, progress=seen.append)
    assert sum(seen) == len(bank) == 1000 and isinstance(bank.packed, np.memmap)
    first, second = sample_pairs(spec, 1000, seed=4, stream=1)
    for rows in (slice(None), slice(10, 500, 7), np.array([3, 999, 3, -1]), np.empty(0, np.int64)):
        stored, other = TaskBank.open(tmp_path / "bank").pairs(rows)
        for got, want in ((stored, first[rows]), (other, second[rows])):
            for name in ("role", "rank", "family"):
                np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
    assert sorted(p.name for p in (tmp_path / "bank").iterdir()) == ["bank.json", "families.npy", "roles.npy"]


def test_bank_in_chunks_equals_bank_at_once(tmp_path, monkeypatch):
    spec = make_spec(4, 4)
    whole = write_bank(tmp_path / "whole", spec, 500, seed=1)
    monkeypatch.setattr("kernels.task_sampling.bank.CHUNK_BYTES", 17 * 64)
    np.testing.assert_array_equal(write_bank(tmp_path / "chunks", spec, 500, seed=1).packed, whole.packed)


def test_a_failed_write_leaves_the_old_bank(tmp_path):
    spec = make_spec(4, 4)
    write_bank(tmp_path / "bank", spec, 100, seed=1)

    def stop(rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bank(tmp_path / "bank", spec, 200, seed=2, progress=stop)
    assert len(TaskBank.open(tmp_path / "bank")) == 100
    assert [p.name for p in tmp_path.iterdir()] == ["bank"]


def test_specification_survives_json():
    spec = make_spec(3, 4, labels=2, first=True, causal_prefix_share=0.25)
    again = TaskSpec.from_json(spec.to_json())
    assert again.to_json() == spec.to_json()
    np.testing.assert_array_equal(sample_tasks(again, 50, seed=0).role, sample_tasks(spec, 50, seed=0).role)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"weights": {"copied": 1.0}, "gaps": None},
            r"'gaps' must be given for the families \['copied'\]\. Got None\.",
        ),
        ({"gaps": np.zeros((3, 2), bool)}, r"'gaps' must have shape \(G, \d+\) and a missing token\. Got \(3, 2\)\."),
        ({"weights": {"jiont": 1.0}}, r"'weights' must name families among joint, .* Got \['jiont'\]\."),
        ({"weights": {"joint": 0.0}}, r"'weights' must be finite, ≥ 0 and have a positive sum\. Got \{'joint': 0\.0\}"),
        ({"bert_target_share": 1.5}, r"'bert_target_share' must lie in \[0, 1\]\. Got 1\.5\."),
        ({"label_visible_share": float("nan")}, r"'label_visible_share' must lie in \[0, 1\]\. Got nan\."),
        (
            {"source_beta": (0.0, 1.0)},
            r"'source_beta' must hold two numbers in \[0\.001, 1000\.0\]\. Got \(0\.0, 1\.0\)",
        ),
        ({"block_share": (0.7, 0.2)}, r"'block_share' must not decrease\. Got \(0\.7, 0\.2\)\."),
        ({"group": np.zeros(3)}, r"'group' must have shape \(5,\)\. Got \(3,\)\."),
    ],
)
def test_specification_errors_say_what_came(changes, message):
    with pytest.raises(ValueError, match=message):
        make_spec(2, 2, **changes)


def test_argument_errors_say_what_came(tmp_path):
    spec = make_spec(2, 2)
    with pytest.raises(ValueError, match=r"'n_tokens' must lie in \[1, 32767\]\. Got 0\."):
        table_spec(0)
    with pytest.raises(ValueError, match=r"'seed' must lie in \[0, 2\*\*63\)\. Got -1\."):
        sample_tasks(spec, 4, seed=-1)
    tasks = sample_tasks(spec, 4, seed=0)
    with pytest.raises(ValueError, match=r"'missing' must be a \(4, 5\) bool array, .* Got shape \(4, 4\)"):
        apply_missing(tasks, np.zeros((4, 4), bool))
    missing = np.zeros((4, 5), bool)
    missing[2] = True
    with pytest.raises(ValueError, match=r"'missing' must leave an observed token in every row\. Got none in row 2\."):
        apply_missing(tasks, missing)
    with pytest.raises(ValueError, match=r"'packed' must be a \(N, 2\) uint8 array for 5 tokens\. Got shape \(4, 3\)"):
        unpack_roles(np.zeros((4, 3), np.uint8), 5)
    with pytest.raises(ValueError, match=r"'role' must be a \(N, L\) uint8 array\. .* dtype int64"):
        pack_roles(np.zeros((4, 3), np.int64))
    bank = write_bank(tmp_path / "bank", spec, 10, seed=0)
    with pytest.raises(
        ValueError, match=r"'rows' must be a slice or a 1-D integer array\. Got float64 of shape \(3,\)"
    ):
        bank.tasks(np.zeros(3))
    with pytest.raises(ValueError, match="Not a task specification"):
        TaskSpec.from_json("{}")
    (tmp_path / "bank" / "bank.json").write_text('{"format": 7}')
    with pytest.raises(ValueError, match=r"bank\.json must have format 2\. Got 7\."):
        TaskBank.open(tmp_path / "bank")
