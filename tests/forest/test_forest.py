"""The forest: any token from any others, exact files, the same trees for a seed whatever the threads."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from pipeline.base.data_groups import TableParams, TasksParams
from pipeline.forest.forest import KINDS, Forest, cuts_of, smoothed
from pipeline.forest.gaussian import fit_gaussian
from pipeline.forest.growing import Growth, grow_forest
from pipeline.forest.inputs import choices, level_order
from pipeline.rows.schema import Schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.rows.tokens import Token
from pipeline.tables.codec import fit_codec
from tests.helpers.related import related_rows

TASKS = TasksParams(weights={"beta_random": 1.0}, target_beta=[1000.0, 0.001])
SMALL = Growth(trees=18, most_samples=1500)


def grown(rows: np.ndarray, schema: Schema, **changes) -> Forest:
    spec = spec_from_schema(TASKS, schema)
    return grow_forest(rows, schema, spec, **({"seed": 3, "growth": SMALL} | changes))


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, Schema, Forest]:
    rows, schema = related_rows(300, missing=0.2)
    return rows, schema, grown(rows, schema)


def test_probabilities_are_distributions_at_open_tokens_alone(case):
    rows, schema, forest = case
    p = forest.probabilities(rows)
    total = np.add.reduceat(p, schema.offsets[:-1], axis=1)
    np.testing.assert_allclose(total, np.isnan(rows).astype(float), atol=1e-9)
    assert p.shape == (len(rows), schema.n_features) and (p >= 0).all()


def test_it_tells_what_the_other_columns_tell(case):
    _, schema, forest = case
    rows, _ = related_rows(200, seed=9)
    observed = np.ones(rows.shape, bool)
    sign, double = schema.index("sign"), schema.index("double")
    observed[:, [sign, double]] = False
    p = forest.probabilities(rows, observed)
    told = p[:, schema.offsets[sign] : schema.offsets[sign + 1]].argmax(1)
    assert (told == rows[:, sign]).mean() > 0.95
    t = schema.tokens[double]
    middle = (np.asarray(t.edges[:-1]) + np.asarray(t.edges[1:])) / 2
    guess = p[:, schema.offsets[double] : schema.offsets[double + 1]] @ middle
    assert np.corrcoef(guess, rows[:, double])[0, 1] > 0.97


def test_each_kind_of_trees_is_a_distribution_near_the_truth(case):
    rows, schema, forest = case
    double = schema.index("double")
    known = np.flatnonzero(~np.isnan(rows).any(1))[:80]
    seen = np.ones((len(known), schema.n_tokens), bool)
    seen[:, double] = False
    told = forest.by_kind(forest.view(rows[known], seen), np.arange(len(known)), double, list(KINDS), (2, 10))
    truth = choices(rows[known], schema)[:, double]
    for kind, p in told.items():
        np.testing.assert_allclose(p.sum(1), 1.0, atol=1e-9)
        place = p @ np.arange(p.shape[1])
        assert np.abs(place - truth).mean() < 0.12 * p.shape[1], kind


def test_a_question_stops_where_a_step_would_leave_too_few():
    """Against the plain walk of scikit-learn's trees: the last node on the way that has `leaf` samples."""
    from sklearn.tree import ExtraTreeRegressor

    from pipeline.forest.trees import grow

    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(150, 3)).astype(np.float32)
    aims = np.stack([inputs[:, 0] * inputs[:, 1], inputs[:, 2]], 1)
    members = rng.integers(0, 7, 150).astype(np.uint16)
    trees = grow(inputs, aims, members, trees=1, leaf=2, seed=5, n_jobs=1)
    seed = np.random.RandomState(5).randint(np.iinfo(np.int32).max)
    tree = ExtraTreeRegressor(min_samples_leaf=2, max_features=1.0, random_state=seed).fit(inputs, aims).tree_
    path = tree.decision_path(inputs).toarray().astype(bool)
    for leaf in (1, 5, 20, 1000):
        found = trees.histograms(inputs[:40], 7, leaf)
        np.testing.assert_array_equal(trees.endings(7, leaf).histograms(inputs[:40], 7), found)
        for n in range(40):
            on_the_way = [i for i in np.flatnonzero(path[n]) if i == 0 or tree.n_node_samples[i] >= leaf]
            own = members[path[:, on_the_way[-1]]]
            np.testing.assert_allclose(found[n], np.bincount(own, minlength=7) / len(own), atol=1e-9)


def test_endings_found_first_change_no_bit(case):
    """Of whole forests, against the walk that counts every member: pruned trees and unpruned, any threads, and copied."""
    rows, schema, forest = case
    forest = forest.limited_to([(("raw", "guided", "residual"), 5)] * schema.n_tokens)
    index, view = np.arange(len(rows)), forest.view(rows, ~np.isnan(rows))
    for token in range(schema.n_tokens):
        kinds = list(forest.columns[token].trees)
        for leaf in (5, 12):
            plain = forest.by_kind(view, index, token, kinds, (leaf,))
            fast = forest.by_kind(view, index, token, kinds, (leaf,), lasting=True)
            for key, told in plain.items():
                np.testing.assert_array_equal(fast[key], told)
    trees = forest.columns[0].trees["raw"]
    inputs, width = np.tile(view.place, (40, 1)), schema.tokens[0].width
    alone = trees.endings(width, 5).histograms(inputs, width)
    np.testing.assert_array_equal(trees.endings(width, 5).histograms(inputs, width, threads=2), alone)
    again = pickle.loads(pickle.dumps(trees))
    assert not again._endings  # no copy carries them
    np.testing.assert_array_equal(again.endings(width, 5).histograms(inputs, width), alone)


def test_pruning_changes_no_answer(case):
    rows, schema, forest = case
    for leaf in (5, 25):
        choices_made = [(("raw",), leaf)] * schema.n_tokens
        pruned = forest.limited_to(choices_made)
        index, view = np.arange(40), forest.view(rows[:40], ~np.isnan(rows[:40]))
        for token in range(schema.n_tokens):
            whole = forest.by_kind(view, index, token, ["raw"], (leaf,))["raw", leaf]
            np.testing.assert_array_equal(pruned.by_kind(view, index, token, ["raw"], (leaf,))["raw", leaf], whole)
            assert len(pruned.columns[token].trees["raw"].feature) < len(forest.columns[token].trees["raw"].feature)


def test_the_same_trees_for_a_seed_whatever_the_threads(case):
    rows, schema, forest = case
    again = grown(rows, schema, n_jobs=2)
    np.testing.assert_array_equal(forest.probabilities(rows[:50]), again.probabilities(rows[:50]))
    other = grown(rows, schema, seed=4)
    assert np.abs(forest.probabilities(rows[:50]) - other.probabilities(rows[:50])).max() > 0


def test_files_bring_the_same_forest_back(case, tmp_path):
    rows, schema, forest = case
    forest.save(tmp_path / "forest")
    loaded = Forest.load(tmp_path / "forest")
    assert loaded.schema == schema
    np.testing.assert_array_equal(loaded.probabilities(rows[:60]), forest.probabilities(rows[:60]))
    assert sorted(p.name for p in (tmp_path / "forest").iterdir()) == [
        "forest.json",
        "forest.safetensors",
        "schema.json",
    ]


def test_damaged_files_are_named(case, tmp_path):
    forest = case[2]
    with pytest.raises(ValueError, match=r"must hold a saved forest\. Got .*, which has no forest\.safetensors"):
        Forest.load(tmp_path / "none")
    forest.save(tmp_path / "a")
    payload = bytearray((tmp_path / "a" / "forest.safetensors").read_bytes())
    payload[-1] ^= 1
    (tmp_path / "a" / "forest.safetensors").write_bytes(payload)
    with pytest.raises(ValueError, match=r"forest\.safetensors is damaged"):
        Forest.load(tmp_path / "a")
    forest.save(tmp_path / "b")
    file = tmp_path / "b" / "forest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"columns": [{"shares": {"leaves": 1.0}, "leaf": 5}]}))
    with pytest.raises(ValueError, match=r"forest\.json does not describe a forest"):
        Forest.load(tmp_path / "b")


def test_bad_questions_and_rows_are_refused_in_words(case):
    rows, schema, forest = case
    with pytest.raises(ValueError, match=r"'observed' must be bool of shape \(300, 4\)"):
        forest.probabilities(rows, np.ones((2, 2), bool))
    with pytest.raises(ValueError, match=r"'observed' must be False where 'rows' is NaN"):
        forest.probabilities(rows, np.ones(rows.shape, bool))
    with pytest.raises(ValueError, match=r"at least 2 rows with a known cell\. Got n_samples=1"):
        grown(rows[:1], schema)
    plain = Schema((Token("x", "numeric", "x", (0,), 1),), ("x",))
    with pytest.raises(ValueError, match="tokens that are categories or binned numbers"):
        grown(rows[:, :1], plain)


def test_columns_of_one_value_rare_words_and_few_rows_are_grown():
    import pandas as pd

    frame = pd.DataFrame({"one": ["a"] * 12, "flat": [1.0] * 12, "x": np.arange(12.0), "word": list("abcdefghijkl")})
    codec = fit_codec(frame, TableParams())
    rows = codec.rows(frame)
    rows[1:, 2] = np.nan  # one known cell
    forest = grown(rows, codec.schema)
    p = forest.probabilities(rows, np.zeros(rows.shape, bool))
    np.testing.assert_allclose(np.add.reduceat(p, codec.schema.offsets[:-1], axis=1), 1.0, atol=1e-9)


def test_gaussian_means_are_the_closed_form():
    rng = np.random.default_rng(0)
    covariance = np.array([[1.0, 0.8, 0.2], [0.8, 1.0, 0.4], [0.2, 0.4, 1.0]])
    import pandas as pd

    frame = pd.DataFrame(rng.multivariate_normal(np.zeros(3), covariance, 3000), columns=list("abc"))
    codec = fit_codec(frame, TableParams())
    rows = codec.rows(frame.mask(rng.random(frame.shape) < 0.25))
    gaussian = fit_gaussian(rows, codec.schema)
    seen = np.array([[True, False, True]])
    at = np.array([[1.0, 0.0, -1.0]])
    found = gaussian.means(at, seen)[0, 1]
    asked = covariance[1, [0, 2]] @ np.linalg.solve(covariance[np.ix_([0, 2], [0, 2])], at[0, [0, 2]])
    assert abs(found - asked) < 0.08
    assert gaussian.means(at, seen)[0, 0] == 1.0
    assert fit_gaussian(rows[:5], codec.schema) is None  # too few rows for its dimensions


def test_level_order_follows_what_is_told():
    rng = np.random.default_rng(1)
    levels = rng.integers(0, 5, 500)
    place = np.array([3.0, 0.0, 4.0, 1.0, 2.0])
    order = level_order(levels, 6, place[levels] + rng.normal(0, 0.1, 500), 0)
    assert np.argsort(order[:5]).tolist() == [1, 3, 4, 0, 2] and order[5] == 0.5
    classes = level_order(levels, 5, (levels > 2).astype(int), 2)
    assert max(classes[:3]) < min(classes[3:]) or min(classes[:3]) > max(classes[3:])


def test_cuts_and_smoothing():
    atoms = Token("x", "numeric", "x", (0,), 5, edges=(0.0, 0.0, 1.0, 1.0, 4.0, 4.0), mass=(0.2, 0.0, 0.3, 0.0, 0.5))
    np.testing.assert_allclose(cuts_of(Schema((atoms,), ("x",)), 0), [0.5, 0.5, 2.5, 2.5])
    bins = Token("x", "numeric", "x", (0,), 3, scale=2.0, edges=(0.0, 1.0, 3.0, 4.0), mass=(0.2, 0.3, 0.5))
    np.testing.assert_allclose(cuts_of(Schema((bins,), ("x",)), 0), [0.5, 1.5])
    p = smoothed(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), np.array([0.5, 0.5, 0.0]))
    np.testing.assert_allclose(p.sum(1), 1.0)
    assert (p[:, 2] == 0).all() and p[0, 0] > 0.95 and p[1, 0] == 0.5
