"""Schema: rows → features → rows is the identity, missing cells are tokens, faults are named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.schema import Schema
from pipeline.rows.tokens import Token

IMAGE = image_label_schema(4, 6, 3, 2, 0.0, 255.0, ["cat", "dog", "owl"])
TABLE = Schema(
    (
        Token("age", "numeric", "age", (0,), 1, (0, 0), 40.0, 12.5),
        Token("colour", "categorical", "colour", (1,), 4, (0, 1)),
        Token("height", "numeric", "height", (2,), 1, (0, 2), 170.0, 10.0),
    ),
    ("age", "colour", "height"),
    categories={"colour": ["red", "green", "blue", "black"]},
)


def image_rows(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.integers(0, 256, (n, 72)), rng.integers(0, 3, (n, 1))], 1).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 20), seed=st.integers(0, 2**31))
def test_decode_inverts_encode(n, seed):
    rows = image_rows(n, seed)
    np.testing.assert_allclose(IMAGE.decode(IMAGE.encode(rows)), rows, atol=1e-3)
    rng = np.random.default_rng(seed)
    table = np.stack([rng.normal(40, 12, n), rng.integers(0, 4, n), rng.normal(170, 9, n)], 1).astype(np.float32)
    np.testing.assert_allclose(TABLE.decode(TABLE.encode(table)), table, rtol=1e-5, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31))
def test_a_token_with_a_missing_column_is_missing_and_encodes_to_zero(seed):
    rng = np.random.default_rng(seed)
    rows = image_rows(8, seed)
    rows[rng.random(rows.shape) < 0.05] = np.nan
    missing = IMAGE.missing(rows)
    for i, token in enumerate(IMAGE.tokens):
        assert (missing[:, i] == np.isnan(rows[:, list(token.columns)]).any(1)).all()
    assert np.isfinite(IMAGE.encode(rows)).all()


def test_patches_own_their_pixels():
    rows = image_rows(1, 0)
    picture = IMAGE.images(rows)[0]
    token = IMAGE.tokens[IMAGE.index("patch_1_2")]
    np.testing.assert_array_equal(rows[0, list(token.columns)], picture[2:4, 4:6].ravel())
    assert [g.name for g in IMAGE.groups] == ["image", "label"] and IMAGE.label_token == 6


def test_partly_observed_tokens_are_not_observed():
    observed = np.ones((1, 73), bool)
    observed[0, 0] = False
    assert IMAGE.observed_tokens(observed).tolist() == [[False, True, True, True, True, True, True]]


def test_json_round_trip():
    for schema in (IMAGE, TABLE):
        assert Schema.from_json(schema.to_json()) == schema


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tokens": [{"name": 3}]}', "nonsense", '{"tokens": 5}'])
def test_malformed_json_is_a_value_error(text):
    with pytest.raises(ValueError, match="Not a schema"):
        Schema.from_json(text)


@pytest.mark.parametrize(
    ("change", "wording"),
    [
        (lambda r: r[:, :5], r"'rows' must have shape \(N, 73\). Got \(4, 5\)"),
        (lambda r: np.where(np.arange(73) == 72, 7.0, r), "column 'label' must hold whole codes 0…2. Got values in"),
        (lambda r: np.where(np.arange(73) == 72, 0.5, r), "column 'label' must hold whole codes"),
        (lambda r: np.where(np.arange(73) == 3, np.inf, r), "'rows' must be finite or NaN"),
    ],
)
def test_faulty_rows_are_named(change, wording):
    with pytest.raises(ValueError, match=wording):
        IMAGE.check_rows(change(image_rows(4, 1)))


def test_patch_must_divide_the_image():
    with pytest.raises(ValueError, match="'patch_size_px' must divide the image, 4×6. Got 4"):
        image_label_schema(4, 6, 1, 4, 0.0, 1.0, [])
