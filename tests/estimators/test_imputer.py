"""BigLearnImputer: scikit-learn's conventions, dtypes, joint draws, files, and bad tables one by one."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils.estimator_checks import estimator_checks_generator

from pipeline import BigLearnImputer
from pipeline.tables.errors import TableError
from tests.helpers.frames import mixed_frame
from tests.helpers.small_presets import shrink

QUICK = {"steps": 60, "width": 16, "depth": 1, "batch_size": 64, "progress": False}


def related_frame(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """sign tells the sign of x; twice is 2x; noise is independent."""
    rng = np.random.default_rng(seed)
    x = rng.choice([-1.0, 1.0], n) * rng.uniform(1, 2, n)
    return pd.DataFrame({"x": x, "twice": 2 * x, "sign": np.where(x > 0, "plus", "minus"), "noise": rng.normal(size=n)})


@pytest.fixture(scope="module")
def fitted() -> BigLearnImputer:
    frame = related_frame()
    gap = np.random.default_rng(1).random(frame.shape) < 0.2
    return BigLearnImputer(steps=500, width=32, depth=1, batch_size=64, progress=False).fit(frame.mask(gap))


@pytest.fixture(scope="module")
def mixed() -> BigLearnImputer:
    return BigLearnImputer(**QUICK).fit(mixed_frame(200))


def test_scikit_learn_checks(monkeypatch):
    """Every check of scikit-learn's estimators that applies, of both models joined; none is expected to fail."""
    shrink(monkeypatch)
    tiny = BigLearnImputer(steps=2, width=8, depth=1, batch_size=16, progress=False)
    ran = 0
    for estimator, check in estimator_checks_generator(tiny):
        if check.func.__name__ == "check_array_api_input":  # needs an environment variable of SciPy
            continue
        check(estimator)
        ran += 1
    assert ran > 40


def test_best_guesses_follow_the_other_columns(fitted):
    test = related_frame(100, seed=5)
    hidden = test.copy()
    hidden["twice"], hidden["sign"] = np.nan, None
    filled = fitted.transform(hidden)
    assert np.corrcoef(filled["twice"], test["twice"])[0, 1] > 0.97
    assert (filled["sign"] == test["sign"]).mean() > 0.97
    pd.testing.assert_frame_equal(filled[["x", "noise"]], test[["x", "noise"]])


def test_draws_are_joint_and_differ(fitted):
    """With both hidden, x and its sign must still agree in every draw, and both signs must occur."""
    hidden = related_frame(100, seed=6).assign(x=np.nan, twice=np.nan, sign=None)
    drawn = fitted.sample(hidden, draws=4)
    for frame in drawn:
        agree = np.where(frame["x"] > 0, "plus", "minus") == frame["sign"]
        assert agree.mean() > 0.85
        assert 0.25 < (frame["sign"] == "plus").mean() < 0.75
        assert np.corrcoef(frame["x"], frame["twice"])[0, 1] > 0.8  # 0 if they were drawn apart
    assert np.std([f["x"] for f in drawn], axis=0).mean() > 0.5
    again = fitted.sample(hidden, draws=4)
    for one, other in zip(drawn, again, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_dtypes_index_and_observed_cells_are_kept(mixed):
    frame = mixed_frame(50, seed=3)
    frame.index = pd.Index([f"row {i}" for i in range(50)])
    for filled in (mixed.transform(frame), *mixed.sample(frame, draws=2)):
        assert (filled.dtypes == frame.dtypes).all()
        assert filled.index.equals(frame.index) and list(filled.columns) == list(frame.columns)
        assert not filled.isna().any().any() and not (filled == "?").any().any()
        known = frame.notna() & (frame != "?").fillna(True)
        assert (filled.astype(object).where(known) == frame.astype(object).where(known))[known].all().all()
        assert set(filled["visits"]) <= {0, 1, 2, 3} and set(filled["city"]) <= {"Bern", "Lima", "Oslo"}


def test_arrays_and_generated_rows(fitted, mixed):
    array = related_frame(40)[["x", "twice", "noise"]].to_numpy(copy=True)
    array[::3, 0] = np.nan
    imputer = BigLearnImputer(**QUICK, strategy="draw").fit(array)
    assert imputer.fit_transform(array).shape == (40, 3)
    assert imputer.sample(array, draws=2).shape == (2, 40, 3)
    rows = mixed.generate(30, random_state=4)
    assert rows.shape == (30, 8) and not rows.isna().any().any()
    assert rows["age"].dtype == "int64" and rows["age"].between(0, 90).all()


def test_saved_imputer_gives_the_same_answers(mixed, tmp_path):
    frame = mixed_frame(40, seed=9)
    mixed.save(tmp_path / "imputer")
    loaded = BigLearnImputer.load(tmp_path / "imputer")
    pd.testing.assert_frame_equal(loaded.transform(frame), mixed.transform(frame))
    pd.testing.assert_frame_equal(loaded.sample(frame, 1)[0], mixed.sample(frame, 1)[0])
    assert loaded.get_params() == mixed.get_params()
    assert not [p for p in (tmp_path / "imputer").iterdir() if p.suffix in (".pkl", ".pickle", ".pt")]


def test_damaged_files_are_named(mixed, tmp_path):
    with pytest.raises(ValueError, match="has no imputer.json"):
        BigLearnImputer.load(tmp_path / "nothing")
    mixed.save(tmp_path / "a")
    (tmp_path / "a" / "imputer.json").write_text("{")
    with pytest.raises(ValueError, match="imputer.json does not describe an imputer"):
        BigLearnImputer.load(tmp_path / "a")
    mixed.save(tmp_path / "b")
    payload = bytearray((tmp_path / "b" / "model.safetensors").read_bytes())
    payload[-1] ^= 1
    (tmp_path / "b" / "model.safetensors").write_bytes(payload)
    with pytest.raises(ValueError, match="model.safetensors is damaged"):
        BigLearnImputer.load(tmp_path / "b")


def test_fit_repeats_itself_and_leaves_global_state_alone():
    frame = related_frame(80)
    torch.manual_seed(7)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    first = BigLearnImputer(**QUICK).fit(frame)
    assert torch.equal(torch.random.get_rng_state(), before) and torch.get_num_threads() == threads
    second = BigLearnImputer(**QUICK).fit(frame)
    for a, b in zip(first.sampler_.generator.parameters(), second.sampler_.generator.parameters(), strict=True):
        assert torch.equal(a, b)


def test_rows_without_a_known_cell_are_left_out_of_training_and_filled():
    frame = related_frame(60)
    frame.loc[:9] = np.nan
    filled = BigLearnImputer(**QUICK).fit(frame).transform(frame)
    assert not filled.isna().any().any()


def _letters(number: int) -> str:
    return "".join(chr(97 + int(digit)) for digit in f"{number:04d}")


def wide_categories() -> pd.DataFrame:
    return pd.DataFrame({"name": [_letters(i) for i in range(10_000)], "x": np.arange(10_000) % 7})


BAD = {
    "empty": (pd.DataFrame(), ValueError, "0 feature|0 sample|rows and columns"),
    "no rows": (pd.DataFrame({"x": [], "y": []}), ValueError, "rows and columns. Got 0 rows and 2 columns"),
    "one row": (
        pd.DataFrame({"x": [1.0], "y": ["a"]}),
        ValueError,
        "at least 2 rows with a known cell. Got n_samples=1",
    ),
    "nothing but missing cells": (
        pd.DataFrame({"y": ["?", ""]}),
        TableError,
        "must have a column that is modelled. Got: 'y' is copied, for it has no known value",
    ),
    "repeated names": (pd.DataFrame([[1, 2]] * 3, columns=["x", "x"]), TableError, "must not repeat"),
    "infinite": (pd.DataFrame({"x": [1.0, np.inf, 2.0]}), TableError, "Column 'x' must hold finite numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_tables_that_cannot_be_learnt_are_named(case):
    frame, error, message = BAD[case]
    with pytest.raises(error, match=message):
        BigLearnImputer(**QUICK).fit(frame)


def test_one_column_is_filled_from_its_own_distribution():
    frame = pd.DataFrame({"x": [1.0, 2.5, np.nan, 2.5] * 20})
    imputer = BigLearnImputer(**QUICK).fit(frame)
    assert set(imputer.sample(frame, 1)[0]["x"]) == {1.0, 2.5}
    assert imputer.transform(frame)["x"][2] == pytest.approx(2.0, abs=0.25)
    assert imputer.set_params(strategy="draw").transform(frame)["x"][2] in (1.0, 2.5)


def test_a_constant_column_is_filled_with_its_value():
    frame = pd.DataFrame({"c": [5, 5, np.nan, 5] * 10, "w": ["a", None, "a", "a"] * 10, "x": range(40)})
    with pytest.warns(UserWarning, match="Column 'w': 'a' is its only value, and gaps get it"):
        filled = BigLearnImputer(**QUICK).fit_transform(frame)
    assert (filled["c"] == 5).all() and (filled["w"] == "a").all()


def test_ten_thousand_categories_are_cut_with_a_warning(monkeypatch):
    shrink(monkeypatch)
    frame = wide_categories()
    with (
        pytest.warns(UserWarning, match="'name': it has 10000 categories; the 256 commonest are modelled"),
        pytest.warns(UserWarning, match="almost every cell differs"),
    ):
        imputer = BigLearnImputer(**QUICK).fit(frame)
    pd.testing.assert_frame_equal(imputer.transform(frame.head(20)), frame.head(20))


def test_mixed_types_are_read_as_words():
    frame = pd.DataFrame({"m": ["a", 1, 2.5, None] * 10, "x": range(40)})
    filled = BigLearnImputer(**QUICK).fit_transform(frame)
    assert filled["m"].isin(["a", 1, 2.5, "1", "2.5"]).all() and filled["m"][1] == 1


def test_unseen_categories_stay_and_columns_are_checked(fitted):
    frame = related_frame(6)
    odd = frame.assign(sign="sideways", x=np.nan)
    filled = fitted.transform(odd)
    assert (filled["sign"] == "sideways").all()
    assert (np.sign(filled["x"]) == np.sign(frame["x"])).all()
    with pytest.raises(ValueError, match=r"Missing: \['noise'\]; in addition: \['colour'\]"):
        fitted.transform(frame.drop(columns="noise").assign(colour=1))
    pd.testing.assert_frame_equal(fitted.transform(frame[["noise", "sign", "x", "twice"]])[frame.columns], frame)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "guess"}, "'strategy' must be best or draw. Got 'guess'"),
        ({"n_jobs": 0}, "'n_jobs' must be None, −1 or a positive whole number. Got 0"),
        ({"steps": 0}, "'train.steps' must lie in"),
        ({"width": 30}, "'network.width' must be a multiple of network.heads"),
        ({"kinds": {"nowhere": "float"}}, r"Got \['nowhere'\]"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        BigLearnImputer(**{**QUICK, **settings}).fit(related_frame(20))


def test_draws_are_checked(fitted):
    with pytest.raises(ValueError, match="'draws' must be a whole number of at least 1. Got 0"):
        fitted.sample(related_frame(5), draws=0)


def test_the_recipe_of_the_imputer_is_valid_json(mixed, tmp_path):
    mixed.save(tmp_path / "i")
    raw = json.loads((tmp_path / "i" / "imputer.json").read_text(encoding="utf8"))
    assert raw["fitted"]["columns"] == list(mixed_frame(2).columns)
    assert raw["fitted"]["best_step"] in [step for step, _ in raw["fitted"]["held_out"]]
