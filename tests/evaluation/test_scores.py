"""Scores of samplers whose answer is known: the truth itself, a copy of the training rows, a constant."""

from __future__ import annotations

import weakref

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation import image_scores as scores
from pipeline.evaluation.classifier import train_classifier
from pipeline.evaluation.image_scores import (
    Reference,
    completion_scores,
    joint_scores,
    quick_scores,
    real_scores,
    task_names,
)
from pipeline.evaluation.principal import PrincipalComponents
from pipeline.evaluation.table_scores import (
    category_distance,
    column_distances,
    correlation_distance,
    indicators,
    pairwise_correlations,
    table_scores,
)
from pipeline.rows import row_file
from pipeline.rows.cells import Task, curve_tasks, named_tasks
from pipeline.rows.row_file import RowFile
from tests.helpers import evaluation_case as case


@pytest.fixture(scope="module")
def digits():
    """(schema, train rows, test rows, classifier) of enough digits to tell the classes apart."""
    schema, rows = case.digits(n=600)
    rows = np.random.default_rng(0).permutation(rows)  # the file lists one writer after another
    return schema, rows[:450], rows[450:], train_classifier(schema, rows[:450], epochs=12)


class Truth:
    """Knows the rows it is asked about; joint samples are training rows."""

    def __init__(self, schema, rows):
        self.schema, self.rows = schema, rows

    def sample(self, n, seed=0):
        return self.rows[np.random.default_rng(seed).integers(0, len(self.rows), n)]

    def complete(self, rows, observed=None, draws=1, seed=0, targets=None):
        return np.repeat(rows[None], draws, 0)


def test_a_perfect_sampler_scores_perfectly(digits):
    schema, train, test, classifier = digits
    scores = quick_scores(Truth(schema, train), train, test, classifier, draws=2)
    assert scores["image_to_label_accuracy"] == scores["image_to_label_mode_accuracy"] == 1
    assert scores["half_completion_rmse"] == scores["completion_diversity"] == 0
    assert scores["half_completion_label_accuracy"] == 1
    assert (
        scores["half_completion_accuracy"] == scores["label_to_image_accuracy"] == scores["classifier_accuracy"] > 0.9
    )
    assert scores["fid"] < 2 * scores["fid_real"] and scores["coverage"] > 0.8
    assert scores["joint_label_agreement"] > scores["classifier_accuracy"] - 0.05 and scores["min_class_share"] > 0.03


def test_collapsed_samples_are_found_out(digits):
    schema, train, test, classifier = digits
    reference = Reference(schema, train, test, classifier)
    zeros = train[schema.labels(train) == 0]
    collapsed = zeros[np.random.default_rng(0).integers(0, len(zeros), len(reference.train_half))]
    scores, real = joint_scores(collapsed, schema, reference, classifier), real_scores(reference)
    assert scores["min_class_share"] == 0 and scores["coverage"] < 0.3
    assert scores["fid"] > 5 * real["fid_real"] and scores["recall"] < real["recall_real"]


def test_reference_takes_at_most_the_limit_and_half_of_the_rows(digits):
    schema, train, test, classifier = digits
    assert len(Reference(schema, train, test, classifier).train_half) == 225
    assert len(Reference(schema, train, test, classifier, limit=40).train_half) == 40
    holes = train.copy()
    holes[:100, 5] = np.nan
    assert len(Reference(schema, holes, test, classifier).train_half) == 175, "only whole images can be measured"


def test_unlabelled_rows_count_for_nothing(digits):
    schema, train, test, classifier = digits
    rows = test.copy()
    rows[::2, 64] = np.nan
    assert 0.9 < Reference(schema, train, rows, classifier).classifier_accuracy <= 1
    tasks = {t.name: t for t in named_tasks(schema, rows)}
    assert len(tasks["half"].rows) == len(rows) and len(tasks["image_to_label"].rows) == len(rows) // 2
    scores = completion_scores(np.nan_to_num(rows)[None], tasks["half"], schema, classifier)
    assert scores["label_accuracy"] == 1 and scores["accuracy"] > 0.9


def test_principal_components_keep_distances_and_predict_nothing():
    schema, rows = case.digits(label=False, n=120)
    reader = PrincipalComponents(schema, rows)
    features, codes = reader.read(schema.images(rows))
    assert codes.shape == (120, 0) and features.shape == (120, 64)
    a, b = rows[0] - rows[1], features[0] - features[1]
    assert np.linalg.norm(b) * reader.scale == pytest.approx(np.linalg.norm(a), rel=1e-6)
    assert (features**2).mean() == pytest.approx(1, rel=0.02)
    with pytest.raises(ValueError, match="'rows' must hold at least 2 rows without a missing pixel. Got 0"):
        PrincipalComponents(schema, np.full((5, 64), np.nan, np.float32))


def test_tasks_give_and_hide_what_they_say():
    schema, rows = case.digits(n=30)
    half, to_label, to_image = named_tasks(schema, rows)
    assert half.observed.sum() == 30 * 32 and half.observed[:, :32].all()
    assert to_label.observed[:, :64].all() and not to_label.observed[:, 64].any()
    assert to_image.observed[:, 64].all() and not to_image.observed[:, :64].any()
    curve = curve_tasks(schema, rows, [0.1, 0.5, 0.9], seed=0)
    assert [t.name for t in curve.values()] == ["s10", "s50", "s90"]
    assert [int(t.observed[0].sum()) // 4 for t in curve.values()] == [2, 8, 15]  # of 17 tokens; labels stay hidden
    assert named_tasks(case.table()[0], case.table()[1]) == []


def test_missing_cells_are_neither_given_nor_measured():
    schema, rows = case.table(60)
    task = curve_tasks(schema, rows, [0.5], seed=1)[0.5]
    assert not (task.observed & np.isnan(rows)).any()
    scores = completion_scores(np.nan_to_num(rows, nan=1.0)[None], task, schema, None)
    assert scores["rmse"] == scores["energy_score"] == 0 and scores["label_accuracy"] == 1


def test_errors_are_in_standard_deviations_and_categories_apart():
    schema, rows = case.table(60)
    rows = np.nan_to_num(rows)
    observed = np.zeros(rows.shape, bool)
    observed[:, 1] = True
    draws = np.stack([rows, rows])
    draws[0, :, 0] += 2.0  # one standard deviation of this column
    draws[:, :, 2] = 1 - draws[:, :, 2]
    scores = completion_scores(draws, Task("s25", rows, observed), schema, None)
    assert scores["rmse"] == pytest.approx(0.5, rel=1e-5) and scores["diversity"] == pytest.approx(1, rel=1e-5)
    assert scores["label_accuracy"] == 0.5


def test_names_of_tasks_among_the_metrics():
    scores = {"accuracy": 1.0, "label_accuracy": 2.0, "label_mode_accuracy": 3.0, "rmse": 4.0, "diversity": 5.0}
    assert task_names("half", scores) == {
        "completion_diversity": 5.0,
        "half_completion_accuracy": 1.0,
        "half_completion_label_accuracy": 2.0,
        "half_completion_rmse": 4.0,
    }
    assert task_names("image_to_label", scores) == {"image_to_label_accuracy": 2.0, "image_to_label_mode_accuracy": 3.0}
    assert task_names("label_to_image", scores) == {"label_to_image_accuracy": 1.0, "label_to_image_diversity": 5.0}
    assert "completion_rmse_s10" in task_names("s10", scores)


def test_table_scores_of_equal_shifted_and_shuffled_rows():
    schema, rows = case.table(400)
    assert set(table_scores(rows, rows, schema).values()) == {0.0}
    moved = rows + np.array([3.0, 0, 0, 0], np.float32)
    assert column_distances(moved, rows, schema)["size"] == pytest.approx(1.5, rel=1e-5)  # 3 units of 2 a σ
    rng = np.random.default_rng(0)
    shuffled = np.stack([rng.permutation(column) for column in rows.T], 1)
    assert table_scores(shuffled, rows, schema)["wasserstein_max"] == pytest.approx(0, abs=1e-6)
    assert correlation_distance(shuffled, rows, schema) > 0.1
    rows[:, 3] = 0
    one_colour = rows.copy()
    one_colour[:200, 3] = 2
    distances = column_distances(one_colour, rows, schema)
    assert distances["colour"] == 0.5 and category_distance(one_colour, rows, schema) == 0.25


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_correlations_in_chunks_are_those_of_pandas(size):
    """Over the rows that know both columns; a constant, and a column known once, correlate with nothing."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1)) + rng.normal(size=(200, 5)) * [0.1, 1, 10, 0.0, 1] + [0, 1e4, -3, 0, 0]
    x[:, 3], x[rng.random(x.shape) < 0.2] = 0.1, np.nan
    x[1:, 4] = np.nan
    expected = pd.DataFrame(x).corr(min_periods=2).fillna(0.0).to_numpy()
    found = pairwise_correlations(x[i : i + size] for i in range(0, 200, size))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert not found[3].any() and not found[4].any() and found[0, 1] > 0.5


def test_rows_in_a_file_are_scored_as_in_memory(digits, tmp_path, monkeypatch):
    """Whatever the chunks, with missing pixels and labels."""
    schema, train, test, classifier = digits
    holes = test.copy()
    holes[::7, 3], holes[::5, 64] = np.nan, np.nan
    np.save(tmp_path / "train.npy", train), np.save(tmp_path / "test.npy", holes)
    whole = Reference(schema, train, holes, classifier)
    monkeypatch.setattr(row_file, "CHUNK_VALUES", 65 * 9)
    files = [RowFile(tmp_path / f"{name}.npy") for name in ("train", "test")]
    chunked = Reference(schema, *files, classifier)
    assert np.array_equal(whole.train_half, chunked.train_half)
    assert real_scores(chunked) == pytest.approx(real_scores(whole), rel=1e-4, abs=1e-6)
    assert category_distance(train, files[1], schema) == pytest.approx(category_distance(train, holes, schema))
    again = [train_classifier(schema, rows, epochs=1) for rows in (train, files[0])]
    assert np.array_equal(*(c.features(schema.images(test)) for c in again))


def test_of_many_features_only_moments_and_the_first_are_kept(monkeypatch):
    monkeypatch.setattr(scores, "NEIGHBOURHOOD_ROWS", 25)
    rows = np.random.default_rng(0).normal(size=(100, 3))
    alive: list[weakref.ref] = []

    def parts():
        for start in range(0, 100, 10):
            part = rows[start : start + 10].copy()
            alive.append(weakref.ref(part))
            yield part

    found = scores.Features.of(parts())
    assert np.array_equal(found.near, rows[:25]) and found.moments.count == 100
    assert [ref() for ref in alive] == [None] * 10


def test_indicators_of_categories_keep_missing_cells():
    schema, rows = case.table(40)
    values, owner = indicators(rows, schema)
    assert values.shape == (40, 1 + 1 + 2 + 3) and owner.tolist() == [0, 1, 2, 2, 3, 3, 3]
    np.testing.assert_array_equal(np.isnan(values[:, 4:]).all(1), np.isnan(rows[:, 3]))
    known = ~np.isnan(rows[:, 3])
    np.testing.assert_array_equal(values[known, 4:].argmax(1), rows[known, 3])
