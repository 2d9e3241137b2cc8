"""Baselines against brute force and problems with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation.baselines import Iterative, MeanFill, NearestNeighbours, svm_posterior
from pipeline.evaluation.comparison import baselines, svm_scores
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.schema import Schema
from pipeline.rows.tokens import Token
from tests.helpers import evaluation_case as case


def halves(rows: np.ndarray) -> np.ndarray:
    observed = np.zeros(rows.shape, bool)
    observed[:, : rows.shape[1] // 2] = True
    return observed & ~np.isnan(rows)


def test_mean_fill_uses_known_cells_and_the_commonest_category():
    schema, rows = case.table()
    fill = MeanFill(schema, rows)
    assert fill.fill[0] == pytest.approx(np.nanmean(rows[:, 0].astype(float)))
    codes = rows[:, 3][~np.isnan(rows[:, 3])]
    assert fill.fill[3] == np.bincount(codes.astype(int)).argmax()
    out = fill.complete(rows, halves(rows))
    assert out.shape == (1, *rows.shape) and out.dtype == np.float32 and not np.isnan(out).any()
    np.testing.assert_array_equal(out[0][halves(rows)], rows[halves(rows)])


def test_mean_fill_of_a_column_without_a_value():
    schema, rows = case.table()
    rows[:, 1] = np.nan
    assert np.isnan(MeanFill(schema, rows).complete(rows, halves(rows))[0, :, 1]).all(), (
        "nothing is known: still missing"
    )


def test_nearest_neighbour_by_brute_force():
    schema, rows = case.digits(n=80)
    train, test = rows[:60], rows[60:]
    observed = np.zeros(test.shape, bool)
    observed[:, :32] = np.random.default_rng(0).random((20, 32)) < 0.7
    found = NearestNeighbours(schema, train).complete(test, observed)[0]
    for row, mask, completed in zip(test, observed, found, strict=True):
        distance = ((train[:, mask] - row[mask]) ** 2).sum(1)
        best = train[distance == distance.min()]
        assert any((completed[~mask] == candidate[~mask]).all() for candidate in best)
        np.testing.assert_array_equal(completed[mask], row[mask])


def test_nearest_neighbours_draw_from_five_and_follow_the_seed():
    schema, rows = case.digits(n=80)
    fill = NearestNeighbours(schema, rows[:60])
    observed = halves(rows[60:])
    draws = fill.complete(rows[60:], observed, draws=30, seed=1)
    np.testing.assert_array_equal(draws, fill.complete(rows[60:], observed, draws=30, seed=1))
    assert (draws != fill.complete(rows[60:], observed, draws=30, seed=2)).any()
    assert [len({d.tobytes() for d in draws[:, n]}) for n in range(20)] == [5] * 20


def test_nearest_neighbours_count_only_what_both_sides_know():
    tokens = tuple(Token(f"c{i}", "numeric", f"c{i}", (i,), 1) for i in range(3))
    schema = Schema(tokens, ("c0", "c1", "c2"))
    train = np.array([[0, np.nan, 1], [5, 5, 2], [np.nan, np.nan, 3]], np.float32)
    rows = np.array([[0.5, 5, 0], [4, 5, 0]], np.float32)
    observed = np.array([[True, True, False]] * 2)
    np.testing.assert_array_equal(NearestNeighbours(schema, train).complete(rows, observed)[0, :, 2], [1, 2])


def test_iterative_imputer_recovers_a_linear_relation_and_a_category():
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    rows = np.stack([x, 2 * x + 0.05 * rng.normal(size=300), (x > 0).astype(float)], 1).astype(np.float32)
    schema = Schema(
        (
            Token("x", "numeric", "x", (0,), 1),
            Token("y", "numeric", "y", (1,), 1),
            Token("c", "categorical", "c", (2,), 2),
        ),
        ("x", "y", "c"),
    )
    observed = np.broadcast_to([True, False, False], (100, 3))
    out = Iterative(schema, rows[:200]).complete(rows[200:], observed)[0]
    assert np.abs(out[:, 1] - rows[200:, 1]).mean() < 0.3
    assert (out[:, 2] == rows[200:, 2]).mean() > 0.9


def test_iterative_imputer_of_a_category_with_one_value():
    schema, rows = case.table(80)
    rows[:, 3] = 2
    out = Iterative(schema, rows[:60]).complete(rows[60:], np.zeros((20, 4), bool))[0]
    assert (out[:, 3] == 2).all() and not np.isnan(out).any()


def test_wide_rows_have_no_iterative_imputer():
    wide = image_label_schema(32, 32, 1, 8, 0, 1, [])
    assert set(baselines(wide, np.zeros((4, 1024), np.float32), 3, 0)) == {"mean_fill", "nearest", "nearest_draws"}
    narrow, rows = case.table(20)
    assert set(baselines(narrow, rows, 3, 0)) == {"mean_fill", "nearest", "nearest_draws", "iterative"}


def test_svm_posterior_of_clear_and_of_hopeless_problems():
    rng = np.random.default_rng(0)
    codes = np.repeat([3, 7], 60)
    clear = codes[:, None] + 0.3 * rng.normal(size=(120, 2))
    found = svm_posterior(clear, codes, clear, codes)
    assert found["argmax_accuracy"] > 0.98 and found["draw_accuracy"] > 0.95
    noise, test = rng.normal(size=(120, 2)), rng.normal(size=(400, 2))
    hopeless = svm_posterior(noise, codes, test, np.repeat([3, 7], 200))
    assert hopeless["draw_accuracy"] == pytest.approx(0.5, abs=0.06)


def test_svm_posterior_needs_rows_of_two_classes():
    with pytest.raises(ValueError, match=r"'train_codes' must hold at least 2 classes of 5 rows\. Got counts \[6, 2\]"):
        svm_posterior(np.zeros((8, 1)), np.array([0] * 6 + [1] * 2), np.zeros((1, 1)), np.zeros(1))


def test_svm_scores_only_where_there_is_a_label_a_half_and_enough_rows():
    schema, rows = case.digits()
    assert svm_scores(schema, rows[:20], rows[20:]) == {}
    assert svm_scores(*[case.digits(label=False)[k] for k in (0, 1)], rows[:, :64]) == {}
    assert svm_scores(*case.table(), case.table()[1]) == {}
    found = svm_scores(schema, rows[:150], rows[150:])
    assert 0.5 < found["half_svm_draw_accuracy"] <= found["half_svm_argmax_accuracy"] <= 1
