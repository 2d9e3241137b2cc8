"""Versions, names and slots of a sweep; the Pareto front against its definition; the picture."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flows import pareto
from flows.sweep import all_versions, experiment_name, label, overrides, parse_grid, slots, task_runner
from flows.workshop import workshop_folder

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30)


def test_a_grid_is_every_combination_in_order():
    grid = parse_grid(["train.lr=0.1,1e-3", "network.order=one_pass", "train.patch_logit=true"])
    assert grid == {"train.lr": [0.1, 0.001], "network.order": ["one_pass"], "train.patch_logit": [True]}
    versions = all_versions(grid, None)
    assert [v["train.lr"] for v in versions] == [0.1, 0.001]
    assert overrides(versions[0]) == ["train.lr=0.1", 'network.order="one_pass"', "train.patch_logit=true"]
    assert label(versions[1]) == "lr 0.001, order one_pass, patch_logit True"
    assert all_versions(None, [{"seed": 1}]) == [{"seed": 1}]


@pytest.mark.parametrize("word", ["train.lr", "=1", "train.lr="])
def test_a_malformed_grid_is_told(word):
    with pytest.raises(ValueError, match="'-S' must be name=value,value,…. Got"):
        parse_grid([word])


@pytest.mark.parametrize(("grid", "versions"), [(None, None), ({}, []), ({"seed": [1]}, [{"seed": 2}])])
def test_just_one_of_grid_and_versions(grid, versions):
    with pytest.raises(ValueError, match="just one of 'grid' and 'versions' must be given"):
        all_versions(grid, versions)


def test_names_follow_the_version_alone():
    assert experiment_name({"a": 1, "b": 2}) == experiment_name({"b": 2, "a": 1})
    assert experiment_name({"a": 1}) != experiment_name({"a": 2})


def test_an_experiment_goes_back_to_the_workshop_where_it_was_cut_off(tmp_path):
    for slot, owner in (("sweep-0", "other"), ("sweep-2", "mine")):
        path = workshop_folder(tmp_path, slot).with_suffix(".owner")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(owner)
    assert slots(tmp_path, "mine", 3) == ["sweep-2", "sweep-1", "sweep-0"]


def test_runners_are_named():
    with pytest.raises(ValueError, match="'runner' must be one of threads, dask, ray. Got 'slurm'."):
        task_runner("slurm", None, 1)
    with pytest.raises(ValueError, match="'runner' 'ray' needs the package prefect-ray: pip install prefect-ray"):
        task_runner("ray", None, 1)


@settings(deadline=None)
@given(POINTS, st.sampled_from(["lower", "higher"]))
def test_the_front_is_what_nothing_beats(points, direction):
    cost, quality = zip(*points, strict=True)
    sign = 1 if direction == "lower" else -1
    chosen = pareto.front(cost, quality, direction)
    assert any(chosen)
    for (c, q), on_front in zip(points, chosen, strict=True):
        beaten = any(
            x <= c and sign * y <= sign * q and (x < c or sign * y < sign * q)
            for x, y in points
        )  # fmt: skip
        assert on_front != beaten


def test_an_unknown_direction_is_told():
    with pytest.raises(ValueError, match="'direction' must be lower or higher. Got 'up'."):
        pareto.front([1], [1], "up")


def test_the_plot_is_a_picture(tmp_path):
    rows = [
        {"cost": 1.0, "quality": 3.0, "on_front": True, "label": "small"},
        {"cost": 2.0, "quality": 4.0, "on_front": False, "label": "worse"},
    ]
    pareto.plot(tmp_path / "deep" / "pareto.png", rows, "train.wall_s", "fid", "lower")
    with Image.open(tmp_path / "deep" / "pareto.png") as picture:
        assert min(picture.size) > 400
