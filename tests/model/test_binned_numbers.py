"""Binned numbers: scores against their definition, draws from shares, means, trust, and what order one_by_one needs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from kernels.task_sampling import SOURCE, TARGET
from pipeline.base.data_groups import TableParams
from pipeline.base.model_groups import NetworkParams
from pipeline.base.params import Params
from pipeline.model.generator import Generator
from pipeline.model.sampler import Sampler
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.schema import Schema
from pipeline.rows.tokens import Token
from pipeline.tables.codec import fit_codec
from pipeline.training.fitting import fit_generator
from pipeline.training.losses import ranked_scores
from pipeline.training.trust import Judge, calibrate

NETWORK = NetworkParams(width=16, depth=1, heads=2, noise_width=1, order="one_by_one")


def small_table(n: int = 300) -> pd.DataFrame:
    """Continuous, discrete and categorical columns; v is an atom at 0 in 40 % of the rows."""
    rng = np.random.default_rng(0)
    v = np.where(rng.random(n) < 0.4, 0.0, rng.normal(3, 1, n))
    return pd.DataFrame({"v": v, "k": rng.integers(0, 5, n), "w": rng.choice(list("abb"), n)})


@pytest.fixture(scope="module")
def schema() -> Schema:
    return fit_codec(small_table(), TableParams(bins=12)).schema


def untrained(schema: Schema, trust: float) -> Sampler:
    torch.manual_seed(0)
    generator = Generator(schema, NETWORK)
    generator.trust.fill_(trust)
    return Sampler(generator, schema)


def test_ranked_scores_are_those_of_their_definition(schema):
    """E|X − y| − ½E|X − X'| with X on the middles of the bins, in standard deviations; ½ Brier for categories."""
    rows = fit_codec(small_table(), TableParams(bins=12)).rows(small_table())[:20]
    features = torch.from_numpy(schema.encode(rows)).double()
    raw = torch.randn(features.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    generator = Generator(schema, NETWORK)
    target = torch.ones(20, 3, dtype=torch.bool)
    found = ranked_scores(raw, features, target, generator.body.groups, generator.spacing.double())
    for i, token in enumerate(schema.tokens):
        own = slice(schema.offsets[i], schema.offsets[i + 1])
        p = raw[:, own].softmax(-1).numpy()
        if token.binned:
            edges = np.asarray(token.edges)
            place = (edges[:-1] + edges[1:]) / 2 / token.scale
            true = np.floor(features[:, own].sum(1).numpy()).astype(int)
            distance = np.abs(place[:, None] - place[None])
        else:
            true = features[:, own].argmax(1).numpy()
            distance = 1 - np.eye(token.width)
        expected = (p * distance[true]).sum(1) - np.einsum("nk,kl,nl->n", p, distance, p) / 2
        np.testing.assert_allclose(found[:, i].numpy(), expected, rtol=1e-5, atol=1e-7)
    nothing = ranked_scores(raw, features * np.nan, ~target, generator.body.groups, generator.spacing.double())
    assert (nothing == 0).all()


def test_without_trust_every_column_is_drawn_from_its_marginal(schema):
    table = small_table()
    drawn = untrained(schema, trust=0.0).sample(4000, seed=1)
    frame = pd.DataFrame(drawn, columns=schema.columns)
    assert frame["v"].eq(0).mean() == pytest.approx(table["v"].eq(0).mean(), abs=0.04)
    assert set(frame["k"]) == {0, 1, 2, 3, 4}
    for code in range(5):
        assert frame["k"].eq(code).mean() == pytest.approx(table["k"].eq(code).mean(), abs=0.03)
    quantiles = [0.5, 0.7, 0.9]
    np.testing.assert_allclose(frame["v"].quantile(quantiles), table["v"].quantile(quantiles), atol=0.2)


def test_draws_keep_what_is_observed_and_follow_their_seed(schema):
    sampler = untrained(schema, trust=1.0)
    rows = sampler.sample(30, seed=2)
    hidden = rows.copy()
    hidden[::2, 0], hidden[1::3, 2] = np.nan, np.nan
    draws = sampler.complete(hidden, draws=3, seed=5)
    known = ~np.isnan(hidden)
    assert (draws == hidden)[:, known].all() and not np.isnan(draws).any()
    np.testing.assert_array_equal(draws, sampler.complete(hidden, draws=3, seed=5))
    assert not np.array_equal(draws[0], draws[1])


def test_best_guess_is_the_mean_of_many_draws(schema):
    sampler = untrained(schema, trust=1.0)
    rows = np.array([[np.nan, 2, 0], [3.0, np.nan, 1], [0.0, 4, np.nan]], np.float32)
    best = sampler.expect(rows)
    mean = sampler.complete(np.repeat(rows, 3000, 0), seed=3)[0].reshape(3, 3000, 3).mean(1)
    assert best[0, 0] == pytest.approx(mean[0, 0], abs=0.1)
    assert best[1, 1] == pytest.approx(mean[1, 1], abs=0.1)
    assert best[2, 2] == round(float(mean[2, 2]))
    assert (best == rows)[~np.isnan(rows)].all()


def test_trust_falls_where_the_network_is_wrong(schema):
    """Heads that shout the wrong bin are not believed; heads that know the answer are."""

    class Oracle(Generator):
        def _raw(self, features, role, noise, rank, **_):
            sign = torch.ones(features.shape[1])
            sign[: int(schema.offsets[1])] = -1.0  # the first column is told wrongly
            return self.trusted(8.0 * sign * self.answers, self.trust)

    codec = fit_codec(small_table(), TableParams(bins=12))
    features = torch.from_numpy(schema.encode(codec.rows(small_table())))
    torch.manual_seed(0)
    oracle = Oracle(schema, NETWORK)
    place = [features[:, schema.offsets[i] : schema.offsets[i + 1]] for i in range(3)]
    one_hot = [torch.nn.functional.one_hot(p.sum(1).long().clamp(max=p.shape[1] - 1), p.shape[1]) for p in place[:2]]
    oracle.answers = torch.cat([*one_hot, place[2]], 1)
    batch = type("Batch", (), {"features": features, "role": torch.full((len(features), 3), TARGET)})
    trust, loss = calibrate(oracle, [batch])
    assert trust[0] == 0 and (trust[1:] > 0.9).all() and np.isfinite(loss)
    judge = Judge(oracle, [batch, batch])
    for scale in (1.0, 0.1):  # the same judge, as the network changes
        oracle.answers *= scale
        wanted, wanted_loss = calibrate(oracle, [batch, batch])
        found, found_loss = judge(oracle)
        assert torch.equal(found, wanted) and found_loss == wanted_loss


def test_order_one_by_one_needs_choices(schema):
    with pytest.raises(ValueError, match="unless every token is categorical or binned. Got 4 continuous tokens"):
        Generator(image_label_schema(4, 4, 1, 2, 0, 16, ["a", "b"]), NETWORK)
    params = Params()
    with pytest.raises(ValueError, match="'validation_share' must be 0 unless network.order is one_by_one. Got 0.1"):
        fit_generator(np.zeros((4, 3), np.float32), schema, params, seed=0)


def test_sources_tell_targets_apart(schema):
    """A pass reads sources and nothing else: another target value changes nothing, another source does."""
    generator = untrained(schema, trust=1.0).generator
    a, b = (torch.from_numpy(schema.encode(np.array([r], np.float32))) for r in ([1.0, 2, 0], [2.5, 3, 1]))
    role = torch.tensor([[SOURCE, TARGET, TARGET]])
    mixed = torch.where(torch.as_tensor(schema.token_of_feature) == 0, a, b)
    torch.testing.assert_close(generator.logits(a, role), generator.logits(mixed, role))
    assert not torch.allclose(generator.logits(a, role), generator.logits(b, role))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": (0.0, 1.0)}, "'edges' must be 3 finite numbers that do not decrease. Got 2"),
        ({"edges": (0.0, 2.0, 1.0)}, "'edges' must be 3 finite numbers that do not decrease"),
        ({"mass": (1.0,)}, "'mass' must hold 2 shares"),
        ({"modality": "categorical"}, "'edges' need a numeric token of one column"),
    ],
)
def test_faulty_bins_are_refused(change, message):
    fields = {"modality": "numeric", "edges": (0.0, 1.0, 2.0), "mass": (0.5, 0.5)} | change
    with pytest.raises(ValueError, match=message):
        Token("x", group="x", columns=(0,), width=2, **fields)


def test_training_ends_when_held_out_rows_no_longer_gain():
    """Columns of pure noise: nothing is there to learn, so the score stops falling long before the last step."""
    rows = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    codec = fit_codec(pd.DataFrame(rows, columns=["a", "b"]), TableParams(bins=8))
    params = Params(network=NETWORK)
    params.tasks.weights = {"column_missing": 1.0}
    params.train.steps, params.train.batch_size, params.train.minibatch_group = 100, 16, 1
    params.train.adversarial_weight, params.train.generator_lr = 0.0, 3e-2
    _, patient = fit_generator(rows, codec.schema, params, seed=0, patience=100, progress=False)
    _, history = fit_generator(rows, codec.schema, params, seed=0, patience=3, progress=False)
    assert history.held_out == patient.held_out[: len(history.held_out)]
    assert history.held_out[-1][0] == history.best_step + 3 * 4 < 100
    assert history.best_step == min(history.held_out, key=lambda point: point[1])[0]
