"""Questions about a few tokens say what whole passes say, for networks, forests and mixtures, whatever the threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from biglearn import BigLearnImputer
from pipeline.asking.density import log_density
from pipeline.asking.passes import WholePasses
from pipeline.estimators.mixture import MixtureSampler
from pipeline.model.questions import BLOCK_ROWS
from tests.helpers.frames import mixed_frame

QUICK = {"steps": 30, "width": 16, "batch_size": 64, "progress": False}


@pytest.fixture(scope="module")
def mixture() -> MixtureSampler:
    """Two networks of two blocks and a forest, each with a say in every column but two."""
    imputer = BigLearnImputer(**QUICK, depth=2).fit(mixed_frame(200))
    sampler = imputer.sampler_
    assert len(sampler.networks) == 2 and sampler.forest is not None
    sampler.pool.weight[:] = 0.4
    sampler.pool.weight[:2] = 0.0, 1.0
    return sampler


def rows_and_masks(sampler: MixtureSampler, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    rows = sampler.sample(n, seed=3)
    rows[rng.random(rows.shape) < 0.1] = np.nan
    return rows, (rng.random(rows.shape) < 0.6) & ~np.isnan(rows)


@pytest.mark.parametrize("part", ["mixture", "network", "forest"])
def test_questions_are_answered_as_by_whole_passes(mixture, part):
    models = {"network": (mixture.networks, None), "forest": ((), mixture.forest)}
    networks, forest = models.get(part, (mixture.networks, mixture.forest))
    model = MixtureSampler(mixture.schema, networks, forest, mixture.pool)
    rows, observed = rows_and_masks(model, 60)
    whole, fast = WholePasses(model, rows), model.questions(rows)
    for token in range(model.schema.n_tokens):
        index = np.flatnonzero(~observed[:, token])
        seen = observed[index]
        expected, found = (way.told(index, seen, (token,))[0] for way in (whole, fast))
        np.testing.assert_allclose(found, expected, atol=2e-6)
    both = np.flatnonzero(~observed[:, :2].any(1))
    for expected, found in zip(*(way.told(both, observed[both], (1, 0)) for way in (whole, fast)), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_log_density_is_that_of_whole_passes(mixture):
    class Whole:
        schema = mixture.schema
        probabilities = staticmethod(mixture.probabilities)

    rows, _ = rows_and_masks(mixture, 40)
    of = np.ones(rows.shape[1], bool)
    found = [log_density(model, rows, of, ~of, orders=4) for model in (mixture, Whole())]
    np.testing.assert_allclose(*found, atol=1e-4)


def test_answers_do_not_depend_on_threads_or_on_other_rows(mixture):
    rows, observed = rows_and_masks(mixture, BLOCK_ROWS + 40)
    index, before = np.arange(len(rows)), torch.get_num_threads()
    observed[:, 2] = False
    alone = mixture.questions(rows).told(index, observed, (2,))[0]
    try:
        torch.set_num_threads(2)
        np.testing.assert_array_equal(mixture.questions(rows).told(index, observed, (2,))[0], alone)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    few = mixture.questions(rows[:5]).told(index[:5], observed[:5], (2,))[0]
    np.testing.assert_allclose(few, alone[:5], atol=1e-6)
