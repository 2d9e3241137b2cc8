"""Sampler: observed cells come back, cells in neither S nor T are NaN, seeds decide, faults are named."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pipeline import Sampler
from pipeline.base.model_groups import NetworkParams
from pipeline.base.params import to_dict
from pipeline.model.generator import Generator
from pipeline.rows.image_schema import image_label_schema

SCHEMA = image_label_schema(4, 4, 1, 2, 0.0, 16.0, ["a", "b", "c"])
NETWORK = NetworkParams(width=8, depth=1, heads=2, noise_width=4)


@pytest.fixture
def sampler() -> Sampler:
    torch.manual_seed(0)
    return Sampler(Generator(SCHEMA, NETWORK), SCHEMA, batch_size=7)


def rows(n: int = 10) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.integers(0, 17, (n, 16)), rng.integers(0, 3, (n, 1))], 1).astype(np.float32)


def test_joint_samples_lie_in_range_and_follow_the_seed(sampler):
    first, again, other = sampler.sample(20, seed=1), sampler.sample(20, seed=1), sampler.sample(20, seed=2)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.shape == (20, 17) and first[:, :16].min() >= 0 and first[:, :16].max() <= 16
    assert set(first[:, 16]) <= {0.0, 1.0, 2.0}


def test_observed_cells_come_back_and_the_rest_is_drawn(sampler):
    x = rows()
    observed = np.random.default_rng(1).random(x.shape) < 0.5
    draws = sampler.complete(x, observed, draws=3, seed=4)
    assert draws.shape == (3, *x.shape) and not np.isnan(draws).any()
    for draw in draws:
        np.testing.assert_array_equal(draw[observed], x[observed])
    assert (draws[0] != draws[1]).any()


def test_unobserved_values_are_not_read(sampler):
    x, observed = rows(), np.zeros((10, 17), bool)
    observed[:, :8] = True
    hidden = np.where(observed, x, np.nan)
    np.testing.assert_array_equal(sampler.complete(x, observed), sampler.complete(hidden))


def test_marginals_leave_other_cells_missing(sampler):
    x = rows()
    observed, targets = np.zeros(x.shape, bool), np.zeros(x.shape, bool)
    targets[:, 16] = True
    out = sampler.complete(x, observed, targets=targets)[0]
    assert np.isnan(out[:, :16]).all() and not np.isnan(out[:, 16]).any()


def test_nothing_to_draw_returns_the_rows(sampler):
    x = rows()
    np.testing.assert_array_equal(sampler.complete(x, np.ones(x.shape, bool), draws=2), np.stack([x, x]))


def test_saved_and_loaded_samplers_agree(sampler, tmp_path):
    Sampler.save(tmp_path / "model", sampler.generator, SCHEMA, to_dict(NETWORK), 7)
    loaded = Sampler.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.sample(9, seed=3), sampler.sample(9, seed=3))


@pytest.mark.parametrize(
    ("arguments", "wording"),
    [
        ({"rows": rows()[:, :4]}, r"'rows' must have shape \(N, 17\). Got \(10, 4\)"),
        ({"rows": rows(), "observed": np.ones((10, 3), bool)}, r"'observed' must be bool of shape \(10, 17\)"),
        ({"rows": rows(), "observed": np.ones((10, 17))}, "'observed' must be bool .* Got float64"),
        ({"rows": rows(), "targets": np.ones((9, 17), bool)}, r"'targets' must be bool of shape \(10, 17\)"),
        (
            {"rows": np.full((2, 17), np.nan), "observed": np.ones((2, 17), bool)},
            "'observed' must be False where 'rows'",
        ),
        ({"rows": rows(), "draws": 0}, "'draws' must be at least 1. Got 0"),
    ],
)
def test_faulty_arguments_are_named(sampler, arguments, wording):
    with pytest.raises(ValueError, match=wording):
        sampler.complete(**arguments)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "schema.json"])
@pytest.mark.parametrize("fault", ["missing", "truncated", "flipped"])
def test_damaged_folders_are_refused(sampler, tmp_path, name, fault):
    Sampler.save(tmp_path / "model", sampler.generator, SCHEMA, to_dict(NETWORK), 7)
    path = tmp_path / "model" / name
    content = bytearray(path.read_bytes())
    if fault == "missing":
        path.unlink()
    elif fault == "truncated":
        path.write_bytes(bytes(content[: len(content) // 2]))
    elif name == "model.safetensors":
        content[-3] ^= 0x40
        path.write_bytes(bytes(content))
    else:
        path.write_text(json.dumps({"something": "else"}))
    with pytest.raises(
        ValueError, match=r"must hold a saved model|damaged|not valid JSON|Not a schema|does not describe"
    ):
        Sampler.load(tmp_path / "model")
