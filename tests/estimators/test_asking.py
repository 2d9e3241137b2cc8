"""Questions to a fitted imputer: frames and arrays, dtypes, rules from fit to file, errors. What the answers must be is
tested in tests/asking, on models set by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from biglearn import BigLearnImputer, linear_model, mean_of
from tests.helpers.frames import mixed_frame

QUICK = {"model": "network", "steps": 40, "width": 16, "depth": 1, "batch_size": 64, "progress": False}
RULES = ["start <= end", "a + b == total", "(city, country) seen", "a >= 1"]


def ruled_frame(n: int = 200, seed: int = 0) -> pd.DataFrame:
    """A table that keeps RULES."""
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D")
    a, b, place = rng.integers(1, 90, n), rng.integers(0, 50, n), rng.integers(0, 5, n)
    return pd.DataFrame({
        "start": start, "end": start + pd.to_timedelta(rng.integers(0, 30, n), unit="D"), "a": a, "b": b, "total": a + b,
        "city": np.array(["Bern", "Basel", "Lima", "Oslo", "Rome"])[place],
        "country": np.array(["CH", "CH", "PE", "NO", "IT"])[place],
    })  # fmt: skip


def keeps_rules(frame: pd.DataFrame) -> bool:
    pairs = set(map(tuple, ruled_frame()[["city", "country"]].to_numpy().tolist()))
    seen = [tuple(p) in pairs for p in frame[["city", "country"]].to_numpy().tolist()]
    return bool(
        (frame["start"] <= frame["end"]).all() and (frame["a"] + frame["b"] == frame["total"]).all() and all(seen)
    )


@pytest.fixture(scope="module")
def mixed() -> BigLearnImputer:
    return BigLearnImputer(**QUICK).fit(mixed_frame(200))


@pytest.fixture(scope="module")
def ruled() -> BigLearnImputer:
    return BigLearnImputer(**QUICK, rules=RULES).fit(ruled_frame())


def test_densities_of_a_table(mixed):
    frame = mixed_frame(20, seed=4)
    whole = mixed.log_density(frame, orders=2)
    assert whole.shape == (20,) and np.isfinite(whole).all()
    np.testing.assert_array_equal(whole[:5], mixed.log_density(frame[:5], orders=2))  # whatever rows are beside
    part = mixed.log_density(frame, of="age", given=["city", "height"], orders=1)
    assert (part < 0).all()
    unseen = frame.assign(city="Atlantis")
    assert mixed.log_density(unseen, of="city") == pytest.approx(np.log(1e-6))
    with pytest.raises(ValueError, match="different columns"):
        mixed.log_density(frame, of="age", given="age")
    with pytest.raises(ValueError, match="There must be a column 'agee'"):
        mixed.log_density(frame, of="agee")


def test_surprise_and_wrong_cells(mixed):
    frame = mixed_frame(30, seed=5).set_index(pd.Index([f"r{i}" for i in range(30)]))
    frame.loc["r7", "city"] = "Atlantis"
    found = mixed.surprise(frame)
    assert found.index.equals(frame.index) and list(found.columns) == list(frame.columns)
    assert found["height"].isna().equals(frame["height"].isna())
    worst = mixed.wrong_cells(frame, 3)
    assert worst.iloc[0][["row", "column", "value"]].tolist() == ["r7", "city", "Atlantis"]


def test_a_wrong_cell_of_a_training_row_is_found_by_a_mixture():
    """Trees that have seen the cell would expect it; so the networks alone are asked."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=250)
    frame = pd.DataFrame({"x": x, "twice": 2 * x + 0.1 * rng.normal(size=250), "noise": rng.normal(size=250)})
    wrong = rng.permutation(250)[:8]
    frame.loc[wrong, "twice"] *= -1
    frame.loc[wrong, "twice"] += np.where(frame.loc[wrong, "twice"] > 0, 1.5, -1.5)
    imputer = BigLearnImputer(steps=200, width=32, depth=1, batch_size=64, progress=False).fit(frame)
    imputer.sampler_.pool.weight[:] = 0.25  # mostly the trees
    worst = imputer.wrong_cells(frame, 16)
    assert len(set(worst["row"]) & set(wrong)) >= 7
    assert imputer.surprise(frame)["twice"].nlargest(8).index.isin(wrong).sum() >= 6


def test_distribution_and_predictions_of_a_column(mixed):
    frame = mixed_frame(10, seed=6)
    ages = mixed.distribution(frame, "age", level=0.8)
    assert (ages["low"] <= ages["q50"]).all() and (ages["q50"] <= ages["high"]).all()
    assert list(ages.columns) == ["mean", "sd", "low", "high", "q05", "q25", "q50", "q75", "q95"]
    born = mixed.distribution(frame, "born")
    assert pd.api.types.is_datetime64_any_dtype(born["low"].dtype)
    cities = mixed.distribution(frame, "city")
    np.testing.assert_allclose(cities.sum(axis=1), 1)
    p = mixed.predict_proba(frame, "city")
    np.testing.assert_allclose(p, cities)
    np.testing.assert_array_equal(mixed.predict(frame, "city"), mixed.classes_["city"][p.argmax(1)])
    assert mixed.classes_["smoker"].dtype == bool
    same = frame.assign(city="Bern")
    np.testing.assert_array_equal(mixed.predict_proba(same, "city"), p)  # the cell itself is not read
    with pytest.raises(ValueError, match="must hold categories"):
        mixed.predict_proba(frame, "age")


def test_generated_rows_meet_conditions_and_rules(ruled):
    frame = ruled.generate(300, where=["start >= 2024-06-01", "city in Bern, Oslo", "a between 10 and 20"])
    assert keeps_rules(frame) and (frame["start"] >= "2024-06-01").all()
    assert frame["city"].isin(["Bern", "Oslo"]).all() and frame["a"].between(10, 20).all()
    assert 0 < frame.attrs["mass"] < 0.2 and frame.attrs["candidates"] == 2400
    assert (frame.dtypes == ruled_frame().dtypes).all()
    pd.testing.assert_frame_equal(frame, ruled.generate(
        300, where=["start >= 2024-06-01", "city in Bern, Oslo", "a between 10 and 20"]))  # fmt: skip


def test_filled_rows_keep_rules_and_known_cells(ruled):
    frame = ruled_frame(80, seed=3)
    gaps = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.3)
    for filled in (ruled.transform(gaps), *ruled.sample(gaps, draws=2), *ruled.sample(gaps, 2, where="b < 50")):
        assert keeps_rules(filled)
        for name in frame:
            known = gaps[name].notna()
            assert (filled.loc[known, name] == frame.loc[known, name]).all()


def test_known_cells_that_break_a_rule_are_told_and_stay(ruled):
    frame = ruled_frame(5, seed=4).astype({"total": float})
    frame.loc[2, "end"] = frame.loc[2, "start"] - pd.Timedelta(days=3)
    frame.loc[3, "total"] = np.nan
    with pytest.warns(UserWarning, match=r"1 rows break 'start <= end', among them rows \[2\]"):
        filled = ruled.transform(frame)
    assert filled.loc[2, "end"] == frame.loc[2, "end"]
    assert filled.loc[3, "total"] == frame.loc[3, "a"] + frame.loc[3, "b"]


def test_training_rows_that_break_a_rule_are_counted_and_named():
    frame = ruled_frame(60)
    frame.loc[[4, 9], "total"] += 1
    with pytest.warns(
        UserWarning, match=r"2 of 60 training rows break the rule 'a \+ b == total', among them rows \[4, 9\]"
    ):
        imputer = BigLearnImputer(**QUICK, rules="a + b == total").fit(frame)
    assert imputer.broken_rules_ == {"a + b == total": [4, 9]}
    with pytest.raises(ValueError, match="at character 10: Column 'start' must hold dates"):
        BigLearnImputer(**QUICK, rules=["start <= endd"]).fit(frame)  # before any training
    with pytest.raises(ValueError, match="must be known to `fit`"):
        imputer.generate(3, rules=["(city, country) seen"])


def test_rules_are_saved(ruled, tmp_path):
    ruled.save(tmp_path / "model")
    again = BigLearnImputer.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.generate(20), ruled.generate(20))


def test_arrays_are_answered_with_arrays():
    x = np.random.default_rng(0).normal(size=(60, 3))
    imputer = BigLearnImputer(**QUICK).fit(x)
    assert imputer.surprise(x).shape == (60, 3) and imputer.log_density(x).shape == (60,)
    assert imputer.predict(x).shape == (60,) and not hasattr(imputer, "predict_proba")
    x[:, 0] = np.nan
    assert (imputer.sample(x, 2, where="x0 > 0.5")[:, :, 0] > 0.5).all()


def timed_frame(n: int = 150) -> pd.DataFrame:
    """Moments in minutes, durations between them, money in cents, dates in a format of their own."""
    rng = np.random.default_rng(0)
    start = pd.Timestamp("2024-01-01 08:00") + pd.to_timedelta(rng.integers(0, 300 * 1440, n), unit="min")
    length = pd.to_timedelta(rng.integers(10, 600, n), unit="min")
    net = np.round(rng.uniform(1, 100, n), 2)
    return pd.DataFrame({
        "start": start, "end": start + length, "length": length, "net": net, "tax": np.round(net / 5, 2),
        "gross": np.round(net + np.round(net / 5, 2), 2), "day": start.strftime("%d.%m.%Y"),
    })  # fmt: skip


def test_times_durations_and_cents_keep_rules_and_conditions():
    frame = timed_frame()
    imputer = BigLearnImputer(**QUICK, rules=["end - start == length", "net + tax == gross"]).fit(frame)

    def keeps(table: pd.DataFrame) -> bool:
        times = ((table["end"] - table["start"]) == table["length"]).all()
        return bool(times and (np.round(table["net"] + table["tax"], 2) == table["gross"]).all())

    assert keeps(imputer.generate(200))
    assert keeps(imputer.transform(frame.mask(np.random.default_rng(1).random(frame.shape) < 0.3)))
    some = imputer.generate(100, where=["length between 2 hours and 240 minutes", "day >= 01.06.2024", "net < 50.25"])
    assert keeps(some) and some["length"].between("2h", "4h").all() and (some["net"] < 50.25).all()
    assert (pd.to_datetime(some["day"], format="%d.%m.%Y") >= "2024-06-01").all()
    spread = imputer.distribution(frame.head(1), "length")["sd"].iloc[0]
    assert 0.05 < spread < 0.2  # days: 2.8 hours


def test_a_sum_beyond_the_range_of_its_column_is_filled_in(ruled):
    frame = ruled_frame(4, seed=8).astype({"total": float, "b": float})
    frame.loc[1, ["a", "b", "total"]] = [89, 400, np.nan]
    assert ruled.transform(frame).loc[1, "total"] == 489


def test_tables_of_another_library():
    import polars

    frame = polars.from_pandas(timed_frame().drop(columns="length"))
    imputer = BigLearnImputer(**QUICK).fit(frame)
    assert isinstance(imputer.generate(5, where="net > 20"), polars.DataFrame)
    gaps = frame.with_columns(polars.lit(None, polars.Float64).alias("net"))
    assert (imputer.sample(gaps, 1, where="net > 20")[0]["net"] > 20).all()
    assert imputer.surprise(frame).shape == (150, 6) and np.isfinite(imputer.log_density(frame, orders=1)).all()


def test_estimates_are_pooled(mixed):
    frame = mixed_frame(60, seed=7)
    found = mixed.pool(frame, mean_of("height"), draws=3)
    assert found["lost"].between(0, 1).all() and found.loc["mean of height", "std_error"] > 0
    assert len(mixed.pool(frame, linear_model("height", ["age", "city"]), draws=3)) == 4


def test_questions_need_a_fitted_imputer():
    with pytest.raises(NotFittedError):
        BigLearnImputer().log_density(mixed_frame(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not hasattr(BigLearnImputer(), "classes_")
