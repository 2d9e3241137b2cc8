"""Pooled estimates: Rubin's rules by hand, and intervals that cover the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression, Ridge

from benchmarks.pooled_intervals import coverage
from pipeline.asking.pooling import linear_model, mean_of, pool, share_of, sklearn_linear


def tables(k: int = 5, n: int = 60) -> list[pd.DataFrame]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    return [
        pd.DataFrame({"x": x + 0.3 * rng.normal(size=n), "y": 2 * x, "s": np.where(x > 0, "a", "b")}) for _ in range(k)
    ]


def test_rubins_rules_by_hand():
    draws = tables()
    found = pool(draws, mean_of("x")).iloc[0]
    q, u = np.array([t["x"].mean() for t in draws]), np.array([t["x"].var() / 60 for t in draws])
    total = u.mean() + 1.2 * q.var(ddof=1)
    share = 1.2 * q.var(ddof=1) / total
    old, observed = 4 / share**2, 60 / 62 * 59 * (1 - share)
    degrees = old * observed / (old + observed)
    assert found["estimate"] == pytest.approx(q.mean())
    assert found["std_error"] == pytest.approx(np.sqrt(total))
    assert found["degrees"] == pytest.approx(degrees)
    assert found["high"] == pytest.approx(q.mean() + stats.t.ppf(0.975, degrees) * np.sqrt(total))
    ratio = 1.2 * q.var(ddof=1) / u.mean()
    assert found["lost"] == pytest.approx((ratio + 2 / (degrees + 3)) / (ratio + 1))


def test_equal_tables_lose_nothing():
    found = pool(tables()[:1] * 4, share_of("s", "a")).iloc[0]
    assert found["lost"] == 0 and found["degrees"] == pytest.approx(60 / 62 * 59)


def test_estimates_agree_and_other_forms_are_read():
    draws = tables()
    own = pool(draws, linear_model("y", ["x"]))
    other = pool(draws, sklearn_linear(LinearRegression(), "y", ["x"]))
    pd.testing.assert_frame_equal(own, other)

    class Results:  # as statsmodels has them
        def __init__(self, table: pd.DataFrame) -> None:
            values, variances, self.df_resid = linear_model("y", ["x"])(table)
            self.params, self.bse = values, np.sqrt(variances)

    pd.testing.assert_frame_equal(pool(draws, Results), own)
    assert list(pool(draws, linear_model("y", ["x", "s"])).index) == ["intercept", "x", "s_b"]
    assert pool(draws, lambda table: (table["x"].median(), 0.1)).index.tolist() == ["value 0"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: pool(d[:1], mean_of("x")), "at least two"),
        (lambda d: pool(d, mean_of("z")), "There must be a column 'z'"),
        (lambda d: pool(d, mean_of("s")), "must hold numbers"),
        (lambda d: pool(d, lambda t: 1.0), "values, variances"),
        (lambda d: pool(d, lambda t: (1.0, -1.0)), "variances at least 0"),
        (lambda d: pool([t.mask(t["x"] > 0) for t in d], mean_of("x")), "must be filled"),
        (lambda d: sklearn_linear(Ridge(), "y", ["x"]), "LinearRegression"),
    ],
)
def test_what_cannot_be_pooled_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(tables())


def test_pooled_intervals_cover():
    """60 repetitions here, 500 in benchmarks/pooled_intervals.py; 95 % less 4 standard errors of 60 is 84 %."""
    found = coverage(repetitions=60, seed=1, draws=5)
    assert (found.loc["pooled draws", ["intercept", "slope"]] > 0.84).all()
    assert found.loc["mean fill", "slope"] < 0.8
