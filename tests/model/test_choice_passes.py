"""Categories that depend on one another: a share of them a pass, each given those before it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels.task_sampling import SOURCE, TARGET
from pipeline.base.model_groups import NetworkParams
from pipeline.base.params import merge_params
from pipeline.datasets.categories import with_categories
from pipeline.model.generator import Generator
from pipeline.model.sampler import Sampler
from pipeline.rows.image_schema import image_label_schema
from pipeline.training.build import build_step
from pipeline.training.losses import likelihood_terms

WORDS = ["no", "yes"]
SCHEMA = with_categories(image_label_schema(2, 2, 1, 2, 0.0, 1.0, []), dict.fromkeys("abcd", WORDS), "attributes")
L = SCHEMA.n_tokens


def generator(passes: int) -> Generator:
    torch.manual_seed(0)
    return Generator(SCHEMA, NetworkParams(width=16, depth=1, heads=2, noise_width=4, choice_passes=passes))


def alike(n: int = 256) -> torch.Tensor:
    """(n, F) features of rows whose four attributes are equal."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.random((n, 4)), np.repeat(rng.integers(0, 2, (n, 1)), 4, 1)], 1)
    return torch.from_numpy(SCHEMA.encode(rows))


def test_in_training_the_rest_is_given_the_true_choices():
    network, x = generator(4), alike()
    role = torch.full((len(x), L), TARGET, dtype=torch.uint8)
    role[:, 1] = SOURCE
    out = network(x, role, torch.Generator().manual_seed(0))
    assert torch.equal(out.features[:, 4:], x[:, 4:])
    assert not torch.equal(out.features[:, :4], x[:, :4])
    logits, known = out.raw[:, 6:].reshape(-1, 3, 2), x[:, 6:].reshape(-1, 3, 2)
    shown = (logits == 30 * known).all(-1)
    assert 0.25 < shown.float().mean() < 0.5, "on average (K − 1) / 2K of the choices are shown"
    assert not torch.equal(network(x, role, torch.Generator().manual_seed(1)).raw, out.raw)


@pytest.mark.parametrize(("passes", "least", "most"), [(1, 0.0, 0.35), (4, 0.9, 1.0)])
def test_passes_keep_what_one_pass_loses(passes, least, most):
    network, x = generator(passes), alike()
    role = torch.full((len(x), L), TARGET, dtype=torch.uint8)
    optimiser, noise = torch.optim.Adam(network.parameters(), 1e-2), torch.Generator().manual_seed(0)
    for _ in range(80):
        raw = network(x, role, noise).raw
        loss, _ = likelihood_terms(raw, x, role, SCHEMA.groups, 0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    sampler = Sampler(network, SCHEMA)
    attributes = sampler.sample(400, seed=1)[:, 4:]
    equal = (attributes == attributes[:, :1]).all(1).mean()
    assert least <= equal <= most
    assert 0.3 < attributes.mean() < 0.7
    given = np.full((50, 8), np.nan, np.float32)
    given[:, 5] = np.arange(50) % 2
    drawn = sampler.complete(given, draws=2, seed=3)
    np.testing.assert_array_equal(drawn[:, :, 5], np.broadcast_to(given[:, 5], (2, 50)))
    if passes > 1:
        assert (drawn[:, :, 4:] == drawn[:, :, 5:6]).all(2).mean() > 0.9


def test_choices_without_a_likelihood_are_refused():
    params = merge_params({"network": {"choice_passes": 2}, "train": {"straight_through": True}})
    with pytest.raises(ValueError, match=r"'network.choice_passes' must be 1 where .* Got 2\."):
        build_step(params, SCHEMA, torch.device("cpu"), 0)
