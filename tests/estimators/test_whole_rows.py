"""Whole rows that an imputer draws: marginals as in the table, whatever was found best for gaps beside known cells."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline import BigLearnImputer


@pytest.fixture(scope="module")
def fitted() -> tuple[pd.DataFrame, BigLearnImputer]:
    rng = np.random.default_rng(1)
    n = 300
    frame = pd.DataFrame(
        {
            "claims": np.where(rng.random(n) < 0.7, 0.0, rng.lognormal(7, 1, n).round(2)),
            "age": rng.integers(18, 80, n),
            "kind": rng.choice(["a", "b", "c"], n, p=[0.75, 0.2, 0.05]),
        }
    )
    frame = frame.mask(rng.random(frame.shape) < 0.2)
    return frame, BigLearnImputer(model="forest", progress=False, random_state=0).fit(frame)


def test_shares_of_zeros_and_of_words_are_those_of_the_table(fitted):
    frame, imputer = fitted
    drawn = imputer.generate(3000)
    for column, value in (("claims", 0.0), ("kind", "a"), ("kind", "c")):
        share = (frame[column].dropna() == value).mean()
        assert abs((drawn[column] == value).mean() - share) < 0.06, column


def test_what_sharpens_the_filling_of_gaps_leaves_whole_rows_alone(fitted):
    frame, imputer = fitted
    before, gaps = imputer.generate(500), imputer.sample(frame, draws=1)[0]
    pool = imputer.sampler_.pool
    imputer.sampler_.pool = replace(pool, power=np.full(len(pool.power), 4.0), share=np.full(len(pool.share), 0.5))
    try:
        pd.testing.assert_frame_equal(imputer.generate(500), before)
        sharper = imputer.sample(frame, draws=1)[0]
    finally:
        imputer.sampler_.pool = pool
    assert (sharper["kind"] == "a").mean() > (gaps["kind"] == "a").mean()
