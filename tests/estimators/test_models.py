"""BigLearnImputer with network, forest and both: choices, repeats, files, presets, limits."""

from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd
import pytest

from pipeline import BigLearnImputer
from pipeline.base.beside import Beside
from pipeline.base.data_groups import TasksParams
from pipeline.estimators import fit_model
from pipeline.estimators.presets import FOREST_WEIGHTS, PRESETS, TASKS, forest_tasks, work_for
from tests.helpers.related import related_frame

QUICK = {"steps": 40, "width": 16, "depth": 1, "batch_size": 64, "preset": "fast", "progress": False}
ASKED = dict.fromkeys(("steps", "batch_size", "learning_rate", "width", "depth", "max_epochs"))


def gaps(n: int = 150, seed: int = 0) -> pd.DataFrame:
    frame = related_frame(n, seed)
    mask = np.random.default_rng(seed).random(frame.shape) < 0.25
    mask[:, 0] &= ~mask[:, 1:].all(1)
    return frame.mask(mask)


@pytest.fixture(scope="module", params=["auto", "forest", "network"])
def fitted(request) -> BigLearnImputer:
    return BigLearnImputer(model=request.param, **QUICK).fit(gaps())


def test_every_model_fills_draws_generates_and_reports(fitted):
    frame = gaps(60, 5)
    filled, (drawn,) = fitted.transform(frame), fitted.sample(frame, draws=1)
    for out in (filled, drawn):
        assert not out.isna().any().any() and (out.dtypes == frame.dtypes).all()
        assert (out.where(frame.notna()) == frame)[frame.notna()].sum().sum() == frame.notna().sum().sum()
    assert fitted.generate(9).shape == (9, 4)
    report = fitted.report_
    assert report["model"] == fitted.model and set(report["columns"]) == set(frame.columns)
    assert ("held-out" in report["why"]) == (fitted.model == "auto") and report["scores"]["chosen"] > 0
    weights = {c["network_weight"] for c in report["columns"].values()}
    assert weights == {"forest": {0.0}, "network": {1.0}}.get(fitted.model, weights)
    assert ("trees" in report["columns"]["x"]) == (fitted.model != "network")
    assert {"ratio_of_all", "central_share", "ratio_sharp"} <= set(report["spread"])
    json.dumps(report, allow_nan=False)


def test_saved_models_give_the_same_answers_without_pickle(fitted, tmp_path):
    frame = gaps(40, 7)
    fitted.save(tmp_path / "m")
    loaded = BigLearnImputer.load(tmp_path / "m")
    pd.testing.assert_frame_equal(loaded.transform(frame), fitted.transform(frame))
    pd.testing.assert_frame_equal(loaded.sample(frame, 2)[1], fitted.sample(frame, 2)[1])
    assert loaded.report_ == fitted.report_ and loaded.get_params() == fitted.get_params()
    kinds = {p.suffix for p in (tmp_path / "m").rglob("*") if p.is_file()}
    assert kinds <= {".json", ".safetensors"}
    loaded.save(tmp_path / "again")
    assert sorted(p.name for p in (tmp_path / "again").iterdir()) == sorted(p.name for p in (tmp_path / "m").iterdir())


def test_a_fit_repeats_itself_whatever_the_threads(monkeypatch):
    """With two the forest grows in a thread beside the networks."""
    frame, beside = gaps(90), []
    monkeypatch.setattr(fit_model, "Beside", lambda work: beside.append(1) or Beside(work))
    one, two = (BigLearnImputer(n_jobs=n, **QUICK).fit(frame) for n in (1, 2))
    assert len(beside) == 1
    pd.testing.assert_frame_equal(one.sample(frame, 1)[0], two.sample(frame, 1)[0])
    assert one.report_["columns"] == two.report_["columns"]


def test_sharp_draws_are_closer_together_and_off_by_default(fitted):
    frame = gaps(80, 9)
    honest = np.stack([f["noise"] for f in fitted.sample(frame, 4)]).std(0).mean()
    sharp = np.stack([f["noise"] for f in fitted.set_spread("sharp").sample(frame, 4)]).std(0).mean()
    fitted.set_spread("honest")
    assert BigLearnImputer().spread == "honest" and sharp < 0.9 * honest
    again = np.stack([f["noise"] for f in fitted.sample(frame, 4)]).std(0).mean()
    assert again == honest


def test_a_damaged_forest_is_named(tmp_path):
    imputer = BigLearnImputer(model="forest", **QUICK).fit(gaps(60))
    imputer.save(tmp_path / "m")
    file = tmp_path / "m" / "forest" / "forest.safetensors"
    payload = bytearray(file.read_bytes())
    payload[-1] ^= 1
    file.write_bytes(payload)
    with pytest.raises(ValueError, match=r"forest\.safetensors is damaged"):
        BigLearnImputer.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "trees"}, r"'model' must be one of auto, network, forest\. Got 'trees'"),
        ({"preset": "slow"}, r"'preset' must be one of fast, balanced, best\. Got 'slow'"),
        ({"spread": "wide"}, r"'spread' must be one of honest, sharp\. Got 'wide'"),
        ({"time_limit_s": 0}, r"'time_limit_s' must be None or a number of seconds above 0\. Got 0"),
        ({"time_limit_s": "1 h"}, r"'time_limit_s' must be None or a number of seconds above 0\. Got '1 h'"),
    ],
)
def test_bad_settings_are_refused_before_any_work(settings, message):
    with pytest.raises(ValueError, match=message):
        BigLearnImputer(progress=False, **settings).fit(gaps(30))


def test_a_time_limit_ends_a_fit_that_would_go_on():
    started = time.perf_counter()
    imputer = BigLearnImputer(time_limit_s=2.0, steps=100_000, validation_share=0.2, progress=False, n_jobs=1)
    imputer.fit(gaps(500))
    assert imputer.report_["steps"][0] < 100_000 and time.perf_counter() - started < 60
    assert not imputer.transform(gaps(20, 3)).isna().any().any()


def test_a_time_limit_bounds_the_forest_of_a_large_table():
    imputer = BigLearnImputer(model="forest", time_limit_s=0.3, progress=False).fit(gaps(2100))
    counts = {len(t.roots) for c in imputer.sampler_.forest.columns for t in c.trees.values()}
    assert max(counts) <= 12
    assert not imputer.transform(gaps(20, 3)).isna().any().any()


def test_few_rows_decide_nothing_and_both_models_count_alike():
    imputer = BigLearnImputer(**QUICK).fit(gaps(20))
    assert "no held-out rows" in imputer.report_["why"]
    assert {c["network_weight"] for c in imputer.report_["columns"].values()} == {0.5}
    assert not imputer.transform(gaps(20)).isna().any().any()


def test_rows_decide_how_much_work_a_table_gets():
    small, middle, large = (work_for(n, 9, "balanced", 0.1, ASKED) for n in (120, 800, 15_000))
    assert small.networks == 2 and middle.networks == large.networks == 1
    assert small.steps < middle.steps <= large.steps == PRESETS["balanced"].steps
    assert small.batch_size == 64 and large.batch_size == 256 and small.held_out_share == 0.2
    assert work_for(120, 9, "balanced", 0.0, ASKED).networks == 1
    assert large.trees < middle.trees <= small.trees == PRESETS["balanced"].trees
    assert work_for(2000, 400, "balanced", 0.1, ASKED).most_samples < middle.most_samples  # wide tables
    asked = work_for(120, 9, "fast", 0.1, ASKED | {"steps": 7, "width": 8, "max_epochs": 2, "batch_size": 60})
    assert (asked.steps, asked.width) == (4, 8)
    assert work_for(500, 9, "best", 0.1, ASKED).trees > work_for(500, 9, "fast", 0.1, ASKED).trees
    members = [w.trees * min(10 * n, w.most_samples) for n, w in ((800, middle), (15_000, large))]
    assert members[1] > 2 * members[0]  # large tables get larger forests


def test_gaps_of_a_table_narrow_the_tasks_of_its_forest():
    tasks = TasksParams(weights=dict(TASKS["weights"]))
    missing = np.zeros((100, 5), bool)
    assert forest_tasks(tasks, missing).weights == TASKS["weights"]
    missing[:30] = True
    assert forest_tasks(tasks, missing).weights == FOREST_WEIGHTS
    missing[1:] = False
    between = forest_tasks(tasks, missing).weights
    assert 0 < between["bert"] < FOREST_WEIGHTS["bert"] and sum(between.values()) == pytest.approx(1.0)
