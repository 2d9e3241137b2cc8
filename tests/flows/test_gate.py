"""The gate: direction, tolerance, missing values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.gate import judge
from pipeline.base.result_groups import RetrainParams

VALUES = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize(
    ("new", "old", "direction", "promote"),
    [
        (1.0, 1.0, "lower", True),
        (1.09, 1.0, "lower", True),
        (1.11, 1.0, "lower", False),
        (0.2, 1.0, "lower", True),
        (0.91, 1.0, "higher", True),
        (0.89, 1.0, "higher", False),
        (5.0, 1.0, "higher", True),
        (-1.05, -1.0, "higher", True),
        (-1.2, -1.0, "higher", False),
    ],
)
def test_decisions(new, old, direction, promote):
    gate = RetrainParams("fid", direction, 0.1)
    decision = judge({"fid": new}, {"fid": old}, gate)
    assert decision.promote is promote
    assert f"{new:.5g}" in decision.reason and f"{old:.5g}" in decision.reason


def test_the_first_model_and_one_after_a_model_without_the_metric_pass():
    assert judge({"fid": 9.0}, None, RetrainParams()).reason == "fid 9: the first model"
    assert judge({"fid": 9.0}, {"kid": 1.0}, RetrainParams()).promote
    assert judge({"fid": 9.0}, {"fid": math.nan}, RetrainParams()).promote


@pytest.mark.parametrize("new", [{}, {"fid": math.nan}, {"fid": math.inf}, {"fid": None}, {"fid": True}])
def test_a_new_model_without_the_metric_is_an_error(new):
    with pytest.raises(ValueError, match=r"'retrain.metric' must be a finite key of evaluate.json. Got 'fid'."):
        judge(new, {"fid": 1.0}, RetrainParams())


@settings(deadline=None)
@given(VALUES, VALUES, st.floats(0.0, 2.0))
def test_better_always_passes_and_directions_mirror(new, old, tolerance):
    lower = judge({"m": new}, {"m": old}, RetrainParams("m", "lower", tolerance)).promote
    assert lower or new > old
    assert lower == judge({"m": -new}, {"m": -old}, RetrainParams("m", "higher", tolerance)).promote
