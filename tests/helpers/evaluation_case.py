"""Small projects to evaluate: an untrained generator over digits with and without a label, attributes, and a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits

from pipeline.base.data_groups import TableParams
from pipeline.base.files import write_array, write_json, write_text
from pipeline.base.model_groups import NetworkParams
from pipeline.base.params import Params, merge_params, to_dict
from pipeline.base.paths import Paths
from pipeline.model.generator import Generator
from pipeline.model.network_files import save_network
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.schema import Schema
from pipeline.rows.tokens import Token
from pipeline.tables.codec import fit_codec

# the body's untrained choices are far from even, those of the network over the row hardly
NETWORK = NetworkParams(width=8, depth=1, heads=2, noise_width=4, category_network="both")
EVALUATE = {
    "draws": 2,
    "rows": 40,
    "source_shares": [0.25, 0.5],
    "classifier_epochs": 3,
    "baseline_rows": 120,
    "joint_samples": 60,
}


def digits(label: bool = True, n: int = 200) -> tuple[Schema, np.ndarray]:
    """Schema and (n, 64 or 65) rows of scikit-learn's digits."""
    bunch = load_digits()
    schema = image_label_schema(8, 8, 1, 2, 0.0, 16.0, [str(k) for k in range(10)] if label else [])
    columns = [bunch.data[:n], bunch.target[:n, None]] if label else [bunch.data[:n]]
    return schema, np.concatenate(columns, 1).astype(np.float32)


def attributes(n: int = 200) -> tuple[Schema, np.ndarray]:
    """Digits with two yes-or-no attributes instead of a label: odd, and 5 or more."""
    plain, rows = digits(label=False, n=n)
    target = load_digits().target[:n]
    tokens = (*plain.tokens, *(Token(name, "categorical", "attribute", (64 + k,), 2) for k, name in enumerate("ab")))
    schema = Schema(tokens, (*plain.columns, "a", "b"), plain.image, plain.patch_size_px)
    return schema, np.concatenate([rows, (target % 2)[:, None], (target >= 5)[:, None]], 1).astype(np.float32)


def table(n: int = 200) -> tuple[Schema, np.ndarray]:
    """Two correlated numbers, one of them binned, and two categories; every sixth cell or so is missing."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=n)
    rows = np.stack([10 + 2 * x, x + 0.3 * rng.normal(size=n), (x > 0).astype(float), rng.integers(0, 3, n)], 1)
    edges = tuple(np.linspace(-4, 4, 9))
    tokens = (
        Token("size", "numeric", "size", (0,), 1, center=10.0, scale=2.0),
        Token("weight", "numeric", "weight", (1,), 8, edges=edges),
        Token("sign", "categorical", "sign", (2,), 2),
        Token("colour", "categorical", "colour", (3,), 3),
    )
    rows[rng.random(rows.shape) < 0.15] = np.nan
    return Schema(tokens, tuple(t.name for t in tokens)), rows.astype(np.float32)


def letters(n: int = 200) -> tuple[Schema, np.ndarray]:
    """Texts of six letters of an alphabet of four, each likely to repeat the one before."""
    rng = np.random.default_rng(6)
    rows = np.zeros((n, 6), np.float32)
    rows[:, 0] = rng.integers(0, 4, n)
    for k in range(1, 6):
        rows[:, k] = np.where(rng.random(n) < 0.7, rows[:, k - 1], rng.integers(0, 4, n))
    tokens = tuple(Token(f"letter_{k}", "categorical", "letter", (k,), 4, (0, k)) for k in range(6))
    return Schema(tokens, tuple(t.name for t in tokens)), rows


def project(root: Path, schema: Schema, rows: np.ndarray, **changes: object) -> tuple[Params, Paths]:
    """A project folder with tokens (three quarters train) and an untrained generator, and small parameters."""
    where = Paths(root)
    cut = len(rows) * 3 // 4
    write_text(where.tokens / "schema.json", schema.to_json())
    write_array(where.tokens / "train.npy", rows[:cut])
    write_array(where.tokens / "test.npy", rows[cut:])
    write_json(
        where.tokens / "summary.json", {"train_rows": cut, "test_rows": len(rows) - cut, "tokens": schema.n_tokens}
    )
    torch.manual_seed(1)
    save_network(where.generator, Generator(schema, NETWORK), {"network": to_dict(NETWORK), "batch_size": 64}, schema)
    return merge_params({"network": to_dict(NETWORK), "evaluate": {**EVALUATE, **changes}}), where


def users_table(root: Path, n: int = 800) -> tuple[Params, Paths]:
    """A project of a table as people have them, read by its codec; its untrained generator gives probabilities."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=n)
    frame = pd.DataFrame({"x": x, "y": x + 0.3 * rng.normal(size=n), "side": np.where(x > 0, "right", "left")})
    codec = fit_codec(frame.mask(rng.random(frame.shape) < 0.1), TableParams())
    rows = codec.rows(frame)
    params, where = project(root, codec.schema, rows, baselines=False)
    params = replace(params, evaluate=replace(params.evaluate, rows=200))
    network = NetworkParams(width=8, depth=1, heads=2, noise_width=4, order="one_by_one")
    generator = Generator(codec.schema, network)
    save_network(where.generator, generator, {"network": to_dict(network), "batch_size": 64}, codec.schema)
    return params, where
