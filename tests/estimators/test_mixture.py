"""Network and forest as one: the interface of Sampler, pooling by held-out scores, honest and sharp draws, files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from kernels.task_sampling import TaskSpec
from pipeline.base.data_groups import TasksParams
from pipeline.base.params import merge_params
from pipeline.estimators.held_out import Answers, choose_pool, choose_trees, pulled_choice
from pipeline.estimators.mixture import MixtureSampler
from pipeline.estimators.pool import Pool, drawn, joined, narrowed
from pipeline.estimators.spread import Spread, calibrated_share
from pipeline.forest.growing import Growth, grow_forest
from pipeline.model.generator import Generator
from pipeline.model.sampler import Sampler
from pipeline.rows.task_spec import spec_from_schema
from tests.helpers.related import related_rows

NETWORK = {"width": 16, "depth": 1, "heads": 2, "order": "one_by_one", "noise_width": 1}


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, MixtureSampler]:
    rows, schema = related_rows(250, missing=0.2)
    spec: TaskSpec = spec_from_schema(TasksParams(weights={"beta_random": 1.0}), schema)
    forest = grow_forest(rows, schema, spec, seed=0, growth=Growth(trees=12, most_samples=1200))
    torch.manual_seed(0)
    params = merge_params({"network": NETWORK}).network
    networks = tuple(Sampler(Generator(schema, params), schema, batch_size=64) for _ in range(2))
    pool = Pool.plain(schema.n_tokens, 0.25)
    return rows, MixtureSampler(schema, networks, forest, pool, network=NETWORK, batch_size=64)


def test_probabilities_are_the_pool_of_both(case):
    rows, mixture = case
    p = mixture.probabilities(rows)
    total = np.add.reduceat(p, mixture.schema.offsets[:-1], axis=1)
    np.testing.assert_allclose(total, np.isnan(rows).astype(float), atol=1e-9)
    one, other = (n.probabilities(rows).clip(1e-30) for n in mixture.networks)
    forest = mixture.forest.probabilities(rows).clip(1e-30)
    logs = 0.125 * np.log(one) + 0.125 * np.log(other) + 0.75 * np.log(forest)
    own = slice(mixture.schema.offsets[1], mixture.schema.offsets[2])
    gap = np.isnan(rows[:, 1])
    wanted = np.exp(logs[gap, own])
    np.testing.assert_allclose(p[gap, own], wanted / wanted.sum(1, keepdims=True), atol=1e-6)


def test_draws_keep_observed_cells_repeat_themselves_and_do_not_depend_on_the_batch(case):
    rows, mixture = case
    draws = mixture.complete(rows, draws=2, seed=5)
    known = ~np.isnan(rows)
    assert draws.shape == (2, *rows.shape) and not np.isnan(draws).any()
    assert (draws[:, known] == rows[known]).all() and (draws[0] != draws[1]).any()
    wide = MixtureSampler(mixture.schema, mixture.networks, mixture.forest, mixture.pool, batch_size=250)
    np.testing.assert_allclose(wide.complete(rows, draws=2, seed=5), draws, rtol=1e-4, atol=1e-4)
    assert mixture.sample(7, seed=1).shape == (7, 4)
    only = np.zeros(rows.shape, bool)
    only[:, 1] = True
    part = mixture.complete(rows, observed=np.zeros(rows.shape, bool), targets=only)[0]
    assert not np.isnan(part[:, 1]).any() and np.isnan(part[:, [0, 2, 3]]).all()


def test_draws_are_joint(case):
    rows, mixture = case
    alone = MixtureSampler(mixture.schema, (), mixture.forest, Pool.plain(4, 0.0))
    drawn_rows = alone.sample(150, seed=2)
    x, double, sign, _ = drawn_rows.T
    assert ((x > 0) == (sign == 1)).mean() > 0.9 and np.corrcoef(x, double)[0, 1] > 0.9
    assert alone.generator is None and mixture.generator is mixture.networks[0].generator


def test_best_guesses_are_means(case):
    rows, mixture = case
    best = mixture.expect(rows)
    known = ~np.isnan(rows)
    assert (best[known] == rows[known]).all() and not np.isnan(best).any()
    assert set(best[:, 2]) <= {0.0, 1.0}


def test_files_bring_the_same_mixture_back(case, tmp_path):
    rows, mixture = case
    mixture.save(tmp_path / "m", {"extra.json": {"a": 1}})
    loaded = MixtureSampler.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.complete(rows, seed=3), mixture.complete(rows, seed=3))
    assert json.loads((tmp_path / "m" / "extra.json").read_text()) == {"a": 1}
    alone = MixtureSampler(mixture.schema, (), mixture.forest, Pool.plain(4, 0.0))
    alone.save(tmp_path / "forest")
    again = MixtureSampler.load(tmp_path / "forest")
    assert again.networks == () and not (tmp_path / "forest" / "model.safetensors").exists()
    np.testing.assert_array_equal(again.expect(rows), alone.expect(rows))
    lone = Sampler(mixture.networks[0].generator, mixture.schema)
    Sampler.save(tmp_path / "old", lone.generator, lone.schema, NETWORK, 64)
    assert MixtureSampler.load(tmp_path / "old").forest is None


def test_a_damaged_mixture_is_named(case, tmp_path):
    mixture = case[1]
    mixture.save(tmp_path / "m")
    file = tmp_path / "m" / "mixture.json"
    raw = json.loads(file.read_text())
    for changed, words in (
        ({"weight": [0.5]}, "must fit"),
        ({"rule": "best"}, "must fit"),
        ({"share": None}, "must fit"),
        ({"share": "x"}, "not describe"),
    ):
        file.write_text(json.dumps(raw | changed))
        with pytest.raises(ValueError, match=words):
            MixtureSampler.load(tmp_path / "m")
    with pytest.raises(ValueError, match="needs a network or a forest"):
        MixtureSampler(mixture.schema, (), None, mixture.pool)
    with pytest.raises(ValueError, match=r"'draws' must be at least 1\. Got 0"):
        mixture.complete(np.zeros((1, 4), np.float32), draws=0)


def test_pooling_narrowing_and_drawing_by_hand():
    one, other = np.array([[0.5, 0.5, 0.0]]), np.array([[0.125, 0.5, 0.375]])
    np.testing.assert_allclose(joined(one, other, 0.5, 1.0, "linear"), [[0.3125, 0.5, 0.1875]])
    np.testing.assert_allclose(joined(one, other, 0.5, 1.0), [[1 / 3, 2 / 3, 0.0]], atol=1e-9)
    np.testing.assert_allclose(joined(one, None, 0.3, 1.0), one)
    np.testing.assert_allclose(joined(None, other, 0.0, 2.0), other**2 / (other**2).sum())
    p = np.array([[0.2, 0.3, 0.5]])
    np.testing.assert_allclose(narrowed(p, 0.8, True), [[0.125, 0.375, 0.5]])
    np.testing.assert_allclose(narrowed(p, 0.5, False), p**2 / (p**2).sum())
    assert narrowed(p, 1.0, True) is p
    at = np.array([0.0, 0.19, 0.21, 0.49, 0.51, 0.999999])
    np.testing.assert_array_equal(drawn(np.repeat(p, 6, 0), at), [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(drawn(np.array([[0.0, 1.0, 0.0]]).repeat(2, 0), np.array([0.0, 1 - 1e-16])), [1, 1])


def answers_of(network: np.ndarray, forest: np.ndarray, choice: np.ndarray, spacing: np.ndarray) -> Answers:
    mass = np.full(network.shape[1], 1 / network.shape[1])
    return Answers(np.arange(len(choice)), choice, network, {("raw", 5): forest}, spacing, mass)


def test_the_better_model_gets_the_weight():
    rng = np.random.default_rng(0)
    truth = rng.dirichlet(np.ones(4), 600)
    choice = (truth.cumsum(1) < rng.random((600, 1))).sum(1)
    flat = np.full((600, 4), 0.25)
    spacing = np.ones(3)
    pool, scores = choose_pool([answers_of(truth, flat, choice, spacing)], [(("raw",), 5)])
    assert pool.weight[0] >= 0.75 and scores["network"] < scores["forest"]
    pool, scores = choose_pool([answers_of(flat, truth, choice, spacing)], [(("raw",), 5)])
    assert pool.weight[0] <= 0.25 and scores["chosen"] <= scores["forest"] + 1e-3


def test_the_better_trees_are_chosen():
    rng = np.random.default_rng(3)
    truth = rng.dirichlet(np.ones(4), 500)
    choice = (truth.cumsum(1) < rng.random((500, 1))).sum(1)
    flat, mass = np.full((500, 4), 0.25), np.full(4, 0.25)
    told = {
        (k, leaf): truth if (k, leaf) == ("guided", 10) else flat for k in ("raw", "guided") for leaf in (2, 5, 10, 25)
    }
    one = Answers(np.arange(500), choice, None, told, np.ones(3), mass)
    assert choose_trees([one]) == [(("guided",), 10)]


def test_spread_is_brought_to_one_where_draws_are_too_wide():
    class Wide(Spread):
        def __init__(self, times: float) -> None:
            rng = np.random.default_rng(0)
            self.error, self.times = rng.uniform(0.9, 1.1, 300), times

        def distances(self, share: float) -> np.ndarray:
            return np.stack([self.times * share**1.3 * self.error, self.error * (0.8 + 0.2 * share)])

    share, found = calibrated_share(Wide(1.3))
    assert found["ratio_of_all"] > 1.25 and 0.7 < share < 0.9 and abs(found["ratio"] - 1) < 0.03
    assert found["ratio_sharp"] < 0.8
    assert calibrated_share(Wide(0.9))[0] == 1.0


def test_spread_is_measured_on_gaps_as_other_rows_have_them(case):
    rows, mixture = case
    spec = spec_from_schema(TasksParams(weights={"copied": 1.0}), mixture.schema, mixture.schema.missing(rows))
    alone = MixtureSampler(mixture.schema, (), mixture.forest, Pool.plain(4, 0.0))
    spread = Spread([(alone, rows[:60])], spec, 0)
    apart, near = spread.distances(1.0)
    narrow, error = spread.distances(0.5)
    assert (apart > 0).any() and narrow.sum() < apart.sum() and error.sum() > 0.5 * near.sum()


def test_a_column_of_few_rows_follows_the_table():
    scores = np.array([[1.0, 0.5], [1.0, 1.2], [1.0, 0.6]])
    assert pulled_choice(scores, np.array([500, 2, 500]), 0).tolist() == [1, 1, 1]
    assert pulled_choice(scores, np.array([500, 5000, 500]), 0).tolist() == [1, 0, 1]
    assert pulled_choice(np.array([[np.nan, np.nan]]), np.array([0]), 1).tolist() == [0]
