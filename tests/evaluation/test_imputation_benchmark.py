"""The benchmark of imputers: DiffPuter's cases, and the tables made from recorded rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks import imputation_data
from benchmarks.imputation import job_of, recorded, write_row
from benchmarks.imputation_table import cases_of, lines


def test_a_case_of_diffputer_drops_the_label_and_hides_three_tenths(monkeypatch):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(4000, 9)), columns=[f"x{j}" for j in range(9)])
    frame["label"] = np.where(frame["x0"] > 0, "up", "down")
    frame.loc[3, "x1"] = np.nan
    monkeypatch.setattr(imputation_data, "read", lambda name, **_: (frame, "label"))
    case = imputation_data.make_case("letter", "diffputer", 0, 20_000)
    assert list(case.train.columns) == [f"x{j}" for j in range(9)] and case.label is None
    assert len(case.train) == int(0.7 * 3999) and case.test is case.train and not case.train.isna().any().any()
    share = case.train_mask.mean(0)
    whole = share == 0
    assert 2 <= whole.sum() <= 3  # three of the ten columns, the label perhaps among them
    assert np.allclose(share[~whole], 0.3 / 0.7, atol=0.05)
    again = imputation_data.make_case("letter", "diffputer", 0, 20_000)
    assert (again.train_mask == case.train_mask).all()


def test_the_table_of_results_says_who_is_best_and_counts_marks(tmp_path):
    file = tmp_path / "rows.csv"
    shared = {"table": "yacht", "mechanism": "mcar", "seed": 0, "max_rows": 5000}
    ours = {"w1": 0.2, "energy_score": 0.5, "rmse": 0.84, "rmse_best": 0.8, "coverage": 0.8, "fit_s": 5, "best_s": 0.1}
    theirs = {"w1": 0.3, "energy_score": 0.4, "rmse": 0.8, "rmse_best": 0.8, "fit_s": 4, "best_s": 0.2}
    write_row(file, shared | {"method": "biglearn"} | ours | {"w1": 0.9})
    write_row(file, shared | {"method": "biglearn"} | ours)  # the last row of a job counts
    write_row(file, shared | {"method": "missforest"} | theirs)
    assert len(recorded(file)) == 2 and job_of(recorded(file)[0])[0] == "yacht"
    cases = cases_of(file, "mcar", 0)
    told = "\n".join(lines(cases))
    assert "| yacht | **.200** / .300 MF | .500 / **.400** MF | .840 / **.800** MF (1.05) |" in told
    assert "W1 first: 1 of 1" in told and "energy score first: 0 of 1" in told and "RMSE within 10 %: 1 of 1" in told
    assert told.splitlines()[2].endswith("| 40 |")  # missforest fits in 4 s, ours fills in a tenth
    assert cases_of(file, "mnar", 0) == {}
