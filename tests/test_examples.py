"""The programs of examples/, in a short form."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from pipeline.model.sampler import Sampler
from tests.helpers.imports import ROOT

PROGRAMS = sorted((ROOT / "examples").glob("*.py"))


def program(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pixels(path: Path) -> np.ndarray:
    """(H, W, 3) of a sheet."""
    with Image.open(path) as image:
        return np.asarray(image)


def test_every_program_is_listed_and_tested():
    names = [path.name for path in PROGRAMS]
    page = (ROOT / "examples" / "README.md").read_text(encoding="utf8")
    assert names == ["nightly_retrain.py", "own_pictures.py", "survey_estimate.py"]
    assert all(f"[{name}]({name})" in page for name in names)


def test_rubins_rules():
    """Three estimates 1, 2, 3 with variance 0.5 each: mean 2, T = 0.5 + (1 + 1/3) · 1."""
    estimate, error = program("survey_estimate").pool(np.array([1.0, 2.0, 3.0]), np.full(3, 0.5))
    assert estimate == 2 and error == pytest.approx(np.sqrt(0.5 + 4 / 3))


def test_a_survey_is_filled_and_pooled(capsys):
    found = program("survey_estimate").main(rows=300, draws=4, model="network", steps=40)
    assert list(found) == ["no gaps (the truth)", "complete rows alone", "one table of best guesses", "4 draws, pooled"]
    assert found["complete rows alone"][0] < found["no gaps (the truth)"][0] - 0.5, "the gaps do not matter"
    assert found["4 draws, pooled"][1] > found["one table of best guesses"][1], "draws must not claim more"
    assert "mean income in thousands" in capsys.readouterr().out


@pytest.mark.slow(short=True)
def test_own_pictures(tmp_path):
    written = program("own_pictures").main(None, tmp_path, steps=5, size=8)
    assert [path.name for path in written] == ["samples.png", "halves.png", "edited.png", "classes.png"]
    sheets = [pixels(path) for path in written]
    sizes = [(sheet.shape[1], sheet.shape[0]) for sheet in sheets]
    assert sizes == [(4 * 8 * 16, 4 * 8 * 4), (4 * 8 * 10, 4 * 8 * 6), (4 * 8 * 10, 4 * 8 * 6), (4 * 8 * 8, 4 * 8 * 2)]
    halves = sheets[1].reshape(6, 32, 10, 32, 3)
    assert (halves[:, :16, 2:] == halves[:, :16, :1]).all(), "the upper halves are given"


@pytest.mark.slow
def test_nights_of_retraining(tmp_path):
    """The first night promotes, the second judges, the third has nothing to do; the promoted model loads."""
    first, second, third = program("nightly_retrain").main(Path(tmp_path) / "nightly", rows=60, steps=5)
    assert "promoted as v0.1.0" in first and "promoted" in second and "Unchanged" in third
    assert Sampler.load(tmp_path / "nightly" / "project" / "data" / "promoted" / "generator").sample(2).shape == (2, 4)
