"""Commands that draw with a model: formats in and out, seeds, what is given stays, files end to end."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.model.sampler import Sampler
from tests.helpers.commands import biglearn, real


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.csv", "a.tsv", "a.parquet", "a.png", "folder"])
def test_samples_in_every_format_are_read_back(model, tmp_path, name):
    """What sample writes, complete reads; with everything given it comes back unchanged, up to the format's digits."""
    first, again = tmp_path / name, tmp_path / "again.npy"
    assert biglearn("sample", model, 1 if name == "a.png" else 5, "-o", first, "--with", "label=7")[0] == 0
    extra = ["--with", "label=7"] if name == "a.png" else []
    code, out, error = biglearn("complete", model, first, "-o", again, *extra)
    assert code == 0 and "100% of the cells given" in out, error
    expected = Sampler.load(model).complete(*fixed_label(1 if name == "a.png" else 5))[0]
    tolerance = 16 / 255 / 2 + 1e-6 if name in ("a.png", "folder") else 1e-5
    np.testing.assert_allclose(np.load(again), expected, atol=tolerance)


def fixed_label(n: int) -> tuple[np.ndarray, np.ndarray]:
    rows = np.full((n, 65), np.nan, np.float32)
    rows[:, 64] = 7
    return rows, ~np.isnan(rows)


def test_same_seed_same_bytes_and_another_seed_others(model, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert biglearn("sample", model, 4, "-o", tmp_path / f"{name}.npy", "--seed", seed)[0] == 0
    a, b, c = ((tmp_path / f"{n}.npy").read_bytes() for n in "abc")
    assert a == b != c


def test_complete_keeps_what_is_given_and_draws_the_rest(model, tmp_path):
    rows = np.random.default_rng(0).integers(0, 17, (3, 65)).astype(np.float32)
    rows[:, 64] = [1, 5, 9]
    np.save(tmp_path / "rows.npy", rows)
    code, _, error = biglearn(
        "complete", model, tmp_path / "rows.npy", "-o", tmp_path / "out.npy", "--given", "upper", "--given", "label", "--draws", 4
    )  # fmt: skip
    assert code == 0, error
    draws = np.load(tmp_path / "out.npy")
    assert draws.shape == (4, 3, 65)
    np.testing.assert_array_equal(draws[:, :, :32], np.broadcast_to(rows[:, :32], (4, 3, 32)))
    np.testing.assert_array_equal(draws[:, :, 64], np.broadcast_to(rows[:, 64], (4, 3)))
    assert (draws[:, :, 32:64].std(0) > 0).any()


def test_asking_for_the_label_alone_leaves_the_rest_out(model, tmp_path):
    rows = np.full((2, 65), np.nan, np.float32)
    rows[:, :20] = 8
    np.save(tmp_path / "rows.npy", rows)
    arguments = ("--ask", "label", "-o", tmp_path / "labels.csv", "--draws", 3)
    code, _, error = biglearn("complete", model, tmp_path / "rows.npy", *arguments)
    assert code == 0, error
    table = pd.read_csv(tmp_path / "labels.csv")
    assert list(table.columns[:2]) == ["draw", "row"] and len(table) == 6
    assert table["label"].between(0, 9).all() and table["pixel_63"].isna().all() and (table["pixel_0"] == 8).all()


def test_transparent_pixels_are_unknown(model, tmp_path):
    """A PNG erased in any editor is a completion task: what is left stays, what was erased is drawn."""
    pixels = np.full((8, 8, 4), 255, np.uint8)
    pixels[4:, :, 3] = 0
    pixels[:4, :, :3] = 51
    Image.fromarray(pixels).save(tmp_path / "erased.png")
    code, out, error = biglearn("complete", model, tmp_path / "erased.png", "-o", tmp_path / "filled.png")
    assert code == 0 and "49% of the cells given" in out, error
    filled = np.asarray(Image.open(tmp_path / "filled.png").convert("L"))
    assert filled.shape == (8, 8) and (filled[:4] == 51).all() and filled[4:].std() > 0


def test_force_overwrites_what_biglearn_wrote(model, tmp_path):
    for count in (3, 2):
        assert biglearn("sample", model, count, "-o", tmp_path / "x.npy", "--force")[0] == 0
    assert np.load(tmp_path / "x.npy").shape == (2, 65)


TINY = [f"--set={name}" for name in (
    "train.steps=6", "train.batch_size=16", "train.processes=1", "tasks.train_rows=256", "network.width=8", "network.depth=1", "network.heads=1",
    "evaluate.classifier_epochs=1", "evaluate.draws=2", "evaluate.rows=16", "evaluate.baselines=false",
    "evaluate.source_shares=[0.5]",
)]  # fmt: skip


def test_fit_complete_and_evaluate_a_users_arrays(tmp_path):
    """From a file to a model, draws and scores, the first command through the interpreter."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=rng.integers(0, 256, (80, 8, 8), dtype=np.uint8), y=rng.integers(0, 2, 80))
    model = tmp_path / "model"
    result = real("fit", tmp_path / "mine.npz", "-o", model, "--seed", 4, *TINY)
    assert result.returncode == 0 and "fit: model in" in result.stdout, result.stderr
    assert (model / "params.yaml").is_file() and (model / "data" / "models" / "generator" / "config.json").is_file()
    code, _, error = biglearn("fit", tmp_path / "mine.npz", "-o", model)
    assert code == 1 and "already holds a trained model; --force trains it anew." in error
    code, _, error = biglearn(
        "complete", model, tmp_path / "mine.npz", "--given", "left", "--draws", 2, "-o", tmp_path / "draws.npz"
    )
    assert code == 0, error
    draws = np.load(tmp_path / "draws.npz")
    assert draws["x"].shape == (2, 80, 8, 8, 1) and draws["y"].shape == (2, 80)
    np.testing.assert_array_equal(draws["x"][0, ..., :4, 0], np.load(tmp_path / "mine.npz")["x"][..., :4])
    code, out, error = biglearn("evaluate", model, "--data", tmp_path / "mine.npz")
    assert code == 0, error
    scores = json.loads(out[out.index("{") :])
    assert scores["evaluated_rows"] == 16 and np.isfinite(list(scores.values())).all()
    assert not (model / "data" / "metrics" / "evaluate.json").exists(), "another file's scores are not the project's"


def test_table_end_to_end(tmp_path):
    """CSV in, model, filled CSV, draws and new rows out, with dtypes and known cells kept."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"age": rng.integers(18, 80, 120), "pay": rng.normal(3, 1, 120), "job": rng.choice(["a", "b"], 120)}
    )
    table.loc[:20, "pay"], table.loc[10:30, "job"] = np.nan, None
    table.to_csv(tmp_path / "t.csv", index=False)
    model = tmp_path / "model"
    code, _, error = biglearn("fit", tmp_path / "t.csv", "-o", model, "--set", "steps=20", "--set", "width=16")
    assert code == 0, error
    code, out, error = biglearn("impute", tmp_path / "t.csv", "-o", tmp_path / "f.parquet", "--model", model)
    assert code == 0 and "42 missing cells of 120 rows filled" in out, error
    filled = pd.read_parquet(tmp_path / "f.parquet")
    assert not filled.isna().any(axis=None) and filled["age"].dtype == np.int64 and set(filled["job"]) == {"a", "b"}
    pd.testing.assert_series_equal(filled["pay"][21:], table["pay"][21:])
    code, _, error = biglearn("impute", tmp_path / "t.csv", "-o", tmp_path / "d.csv", "--model", model, "--draws", 3)
    assert code == 0, error
    draws = pd.read_csv(tmp_path / "d.csv")
    assert list(draws.columns) == ["draw", "row", "age", "pay", "job"] and len(draws) == 360
    assert draws[draws["row"] == 5]["pay"].nunique() > 1
    code, _, error = biglearn("sample", model, 7, "-o", tmp_path / "new.csv", "--with", "job=b", "--with", "age=40")
    assert code == 0, error
    new = pd.read_csv(tmp_path / "new.csv")
    assert (new["job"] == "b").all() and (new["age"] == 40).all() and new["pay"].notna().all()
    code, _, error = biglearn("sample", model, 7, "-o", tmp_path / "x.csv", "--with", "job=c")
    assert code == 1 and "'job' must be one of 'a', 'b'. Got 'c'." in error


def test_text_end_to_end(tmp_path):
    """A text in, lines with unknown characters completed; what is given stays."""
    (tmp_path / "t.txt").write_text("the cat sat on the mat and the dog on the log. " * 40, encoding="utf8")
    small = [
        "--set=train.steps=4",
        "--set=train.processes=1",
        "--set=network.width=16",
        "--set=tasks.train_rows=256",
        "--set=prepare.text_length=8",
    ]
    code, _, error = biglearn("fit", tmp_path / "t.txt", "-o", tmp_path / "model", *small)
    assert code == 0, error
    (tmp_path / "some.txt").write_text("the c__\n____at  \n", encoding="utf8")
    code, _, error = biglearn(
        "complete", tmp_path / "model", tmp_path / "some.txt", "-o", tmp_path / "out.txt", "--draws", 2
    )
    assert code == 0, error
    lines = (tmp_path / "out.txt").read_text(encoding="utf8").splitlines()
    assert len(lines) == 4 and all(len(line) == 8 and "_" not in line for line in lines)
    assert all(line.startswith("the c") for line in lines[::2]) and all(line[4:] == "at  " for line in lines[1::2])
    (tmp_path / "long.txt").write_text("nine char\n", encoding="utf8")
    code, _, error = biglearn("complete", tmp_path / "model", tmp_path / "long.txt", "-o", tmp_path / "x.txt")
    assert code == 1 and "long.txt, line 1: at most 8 characters. Got 9." in error
