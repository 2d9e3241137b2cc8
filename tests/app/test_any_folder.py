"""For random folders of pictures, inspect, fit, sample, complete and evaluate agree on what is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from pipeline.app.cli import app
from pipeline.rows.schema import Schema
from tests.helpers.random_pictures import make

TINY = [f"--set={name}" for name in (
    "train.steps=2", "train.batch_size=8", "train.processes=1", "train.warmup_steps=1", "tasks.train_rows=64",
    "tasks.evaluation_rows=64", "network.width=8", "network.depth=1", "network.heads=1", "network.noise_width=4",
    "network.convolution_channels=0", "prepare.image_size_px=8", "train.sample_interval=100000",
)]  # fmt: skip
SHORT = [
    "evaluate.classifier_epochs=1",
    "evaluate.draws=2",
    "evaluate.rows=64",
    "evaluate.baselines=false",
    "evaluate.source_shares=[0.5]",
]


def biglearn(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, f"{arguments}: {result.stdout[-500:]} {result.stderr[-500:]}"
    return result.stdout


@pytest.mark.parametrize("seed", range(2))
def test_commands_agree_on_what_is_in_a_folder(tmp_path, seed):
    check(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 30))
def test_commands_agree_on_what_is_in_many_folders(tmp_path, seed):
    check(tmp_path, seed)


def check(tmp_path: Path, seed: int) -> None:
    """A folder made from `seed`, through every command."""
    photos, model = tmp_path / "photos", tmp_path / "model"
    made = make(photos, seed)
    told = biglearn("inspect", photos, "--set", "prepare.image_size_px=8")
    assert told.startswith(f"{made.pictures} pictures in photos/.")
    left_out = re.search(r"Left out: (\d+) ", told)  # files of one reason share a line below
    assert (int(left_out[1]) if left_out else 0) == made.no_pictures
    for name, count in made.classes.items():
        assert re.search(rf"{len(made.classes)} classes: [^.]*\b{name} {count}\b", told), told
    fitted = biglearn("fit", photos, "-o", model, *TINY)
    understood = re.sub(
        r" \d+ hidden and system files passed over\.", "", told.splitlines()[0]
    )  # which fit never copies
    assert understood in fitted, "fit understands what inspect told"
    summary = json.loads((model / "data" / "tokens" / "summary.json").read_text(encoding="utf8"))
    assert summary["train_rows"] + summary["test_rows"] == made.pictures
    schema = Schema.load(model / "data" / "tokens" / "schema.json")
    assert schema.image == (8, 8, 3 if made.colour else 1)
    assert schema.categories.get("label", []) == sorted(made.classes)
    assert ("smile" in schema.categories) == made.attributes
    check_draws(tmp_path, photos, model, made.pictures, schema)


def check_draws(tmp_path: Path, photos: Path, model: Path, pictures: int, schema: Schema) -> None:
    biglearn("sample", model, 5, "-o", tmp_path / "drawn")
    assert f"{pictures} rows in" in biglearn("complete", model, photos, "--given", "upper", "-o", tmp_path / "filled")
    assert "1 draws of 5 rows" in biglearn("complete", model, tmp_path / "drawn", "-o", tmp_path / "again.npy")
    assert np.isfinite(np.load(tmp_path / "again.npy")).all()
    table = pd.read_csv(tmp_path / "filled" / "attributes.csv")
    assert len(table) == pictures and set(table.columns) == {"file", *schema.categories}
    if schema.label:
        assert set(table["label"]) <= set(schema.categories["label"])
    assert biglearn("inspect", tmp_path / "filled").startswith(f"{pictures} pictures in filled/.")
    options = [f"--set={name}" for name in SHORT]
    for data in (photos, tmp_path / "filled"):
        out = biglearn("evaluate", model, "--data", data, *options)
        scores = json.loads(out[out.index("{") :])
        assert scores["evaluated_rows"] == pictures and np.isfinite(list(scores.values())).all()
