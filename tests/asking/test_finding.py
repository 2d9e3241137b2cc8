"""Rules found in a table: those that made it, and none of what only looks like one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from biglearn import BigLearnImputer, find_rules


def orders(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """start <= paid <= end; net + tax + fee == total; city settles country; and columns without a rule."""
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D")
    paid = start + pd.to_timedelta(rng.integers(0, 20, n), unit="D")
    net, tax, fee, place = (
        rng.integers(1, 900, n),
        rng.integers(0, 200, n),
        rng.integers(0, 20, n),
        rng.integers(0, 5, n),
    )
    return pd.DataFrame({
        "start": start, "paid": paid, "end": paid + pd.to_timedelta(rng.integers(0, 20, n), unit="D"),
        "net": net, "tax": tax, "fee": fee, "total sum": net + tax + fee,
        "city": np.array(["Bern", "Basel", "Lima", "Oslo", "Rome"])[place],
        "country": np.array(["CH", "CH", "PE", "NO", "IT"])[place],
        "age": rng.integers(18, 90, n), "height_cm": rng.normal(170, 9, n), "weight_kg": rng.normal(75, 12, n),
        "colour": rng.choice(["red", "green", "blue"], n),
    })  # fmt: skip


RULES = {"net + tax + fee == `total sum`", "start <= paid", "paid <= end", "(city, country) seen"}


def test_the_rules_that_made_a_table_are_found_and_no_other():
    """What follows from others (start <= end, net <= total), and what lies apart (weight under height), is left out."""
    found = find_rules(orders())
    assert set(found["rule"]) == RULES and (found["holds"] == 1).all() and (found["rows"] == 400).all()


def test_gaps_and_broken_rows():
    frame = orders()
    frame = frame.mask(np.random.default_rng(1).random(frame.shape) < 0.1)
    assert set(find_rules(frame)["rule"]) == RULES
    broken = orders()
    broken.loc[3, "start"] += pd.Timedelta(days=200)
    assert "start <= paid" not in set(find_rules(broken)["rule"])
    lenient = find_rules(broken, share=0.99).set_index("rule")
    assert lenient.loc["start <= paid", "holds"] == pytest.approx(399 / 400)
    with pytest.raises(ValueError, match="'share' must lie above 0.9"):
        find_rules(broken, share=0.5)


def test_noise_keeps_no_rule():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(rng.normal(size=(300, 6)), columns=list("abcdef"))
    frame["g"] = frame["a"] + 3 + rng.normal(size=300) * 0.1  # above a by much, never near
    frame["h"] = rng.choice(list("xyz"), 300)
    frame["i"] = np.arange(300) // 2  # every value twice: too few to tell that it settles h
    assert find_rules(frame).empty
    assert find_rules(orders(40)).empty  # too few rows


def test_learnt_rules_are_kept_by_new_rows_and_by_files(tmp_path):
    frame = orders(300)[["start", "paid", "city", "country"]]
    quick = {"model": "network", "steps": 20, "width": 16, "depth": 1, "batch_size": 64, "progress": False}
    imputer = BigLearnImputer(rules="learn", **quick).fit(frame)
    assert set(imputer.found_rules_) == {"start <= paid", "(city, country) seen"}
    imputer.save(tmp_path / "model")
    for model in (imputer, BigLearnImputer.load(tmp_path / "model")):
        drawn = model.generate(200)
        assert (drawn["start"] <= drawn["paid"]).all()
        assert set(zip(drawn["city"], drawn["country"], strict=True)) <= set(
            zip(frame["city"], frame["country"], strict=True)
        )
