"""Remedies for Python are told in the shell as options that the commands take."""

from __future__ import annotations

import shlex

import numpy as np
import pandas as pd
import pytest

from pipeline.app.shell_words import in_shell_words
from pipeline.app.tables import keywords
from tests.helpers.commands import biglearn


@pytest.mark.parametrize(
    ("told", "there"),
    [
        ("missing={'age': [-999]} says so", "--missing age=-999 says so"),
        ("missing={'Bemerkung': ['k.A.']} says so", "--missing Bemerkung=k.A. says so"),
        ("missing={'a b': ['not asked']}", "--missing 'a b=not asked'"),
        ("missing={\"it's\": ['}']}", "--missing 'it'\"'\"'s=}'"),
        (
            "kinds={'id': 'category'} models it, 'ignore' leaves",
            "--set 'kinds={id: category}' models it, 'ignore' leaves",
        ),
        ("kinds={'code': 'category', …} fills in", "--set 'kinds={code: category, …}' fills in"),
        ("kinds={'code': …} fills in", "kinds={'code': …} fills in"),
        ("missing={'a': 3}", "missing={'a': 3}"),
        ("'missing' says otherwise; kinds='ignore'", "'missing' says otherwise; kinds='ignore'"),
        ("kinds={'open", "kinds={'open"),
    ],
)
def test_arguments_become_options(told, there):
    assert in_shell_words(told) == there


@pytest.mark.parametrize(
    "name", ["age", "Einkommen (€)", "a: b", "x, y", "{z}", "on", "007", "no", "-", "it's", 'a"b', "ä_1"]
)
def test_settings_are_read_back_as_they_were_meant(name):
    _, setting = shlex.split(in_shell_words(f"kinds={{{name!r}: 'category'}}"))
    assert keywords([setting]) == {"kinds": {name: "category"}}


@pytest.mark.filterwarnings("default")
def test_a_word_that_may_be_missing_is_told_with_the_option(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"n": rng.normal(size=60).round(3), "said": rng.choice(["yes", "no", "k.A."], 60)})
    frame.loc[:5, "n"] = None
    frame.to_csv(tmp_path / "t.csv", index=False)
    code, _, error = biglearn("impute", tmp_path / "t.csv", "-o", tmp_path / "o.csv", "--set", "model=forest")
    count = int((frame["said"] == "k.A.").sum())
    assert (
        code == 0
        and f"note: Column 'said': 'k.A.' ({count} cells) may mean a missing cell; --missing said=k.A. says so" in error
    )
