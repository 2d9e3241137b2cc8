"""Stage evaluate, end to end on small projects with an untrained generator."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from pipeline.base.files import write_text
from pipeline.evaluate import run
from pipeline.evaluation.comparison import Table, confusion, csv_text
from pipeline.evaluation.pictures import example_rows, save_sheets
from tests.helpers import evaluation_case as case

CONTRACT = (
    *("fid", "fid_real", "kid", "kid_real", "min_class_share", "image_to_label_accuracy", "label_to_image_accuracy"),
    *("half_completion_accuracy", "joint_label_agreement", "completion_diversity", "classifier_accuracy"),
    *("precision", "recall", "density", "coverage", "coverage_real", "half_svm_draw_accuracy"),
    *("half_completion_accuracy_nearest", "half_completion_accuracy_mean_fill", "half_completion_accuracy_iterative"),
    *(
        "image_to_label_accuracy_nearest",
        "completion_accuracy_s25",
        "completion_rmse_s50",
        "completion_rmse_s50_nearest",
    ),
)


def lines_of(path) -> list[dict]:
    with open(path, encoding="utf8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_digits_from_tokens_to_metrics_tables_and_sheets(tmp_path):
    params, where = case.project(tmp_path, *case.digits())
    metrics = run(params, where)
    written = json.loads((where.metrics / "evaluate.json").read_text("utf8"))
    assert written == metrics
    assert all(isinstance(v, float) and np.isfinite(v) for v in metrics.values())
    assert set(CONTRACT) <= set(metrics)
    shares = [v for k, v in metrics.items() if "accuracy" in k or "share" in k or "agreement" in k]
    assert min(shares) >= 0 and max(shares) <= 1
    assert metrics["fid_real"] < metrics["fid"], "real rows must be nearer to real rows than untrained samples"
    assert metrics["image_to_label_accuracy_nearest"] > 0.7
    assert metrics["joint_samples"] == 60 and metrics["evaluated_rows"] == 40
    assert not [k for k in metrics if k.startswith("completion_diversity") and k.endswith(("mean_fill", "iterative"))]
    folder = where.plots / "evaluate"
    curve = lines_of(folder / "completion.csv")
    assert [float(line["source_share"]) for line in curve] == [0.25, 0.5]
    assert float(curve[1]["accuracy_generator"]) == pytest.approx(metrics["completion_accuracy_s50"], abs=1e-5)
    tasks = {(line["task"], line["method"]) for line in lines_of(folder / "tasks.csv")}
    assert len(tasks) == 5 * 5 and ("half", "nearest_draws") in tasks
    classes = lines_of(folder / "class_shares.csv")
    assert len(classes) == 10 and sum(float(line["samples"]) for line in classes) == pytest.approx(1, abs=1e-5)
    pictures = {p.name for p in folder.glob("*.png")}
    assert pictures == {
        *("joint.png", "real.png", "completions.png", "half.png", "label_to_image.png"),
        *("confusion.png", "class_shares.png", "completion.png"),
    }
    assert all((folder / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for name in pictures)


def test_images_without_a_label_are_scored_in_principal_components(tmp_path):
    params, where = case.project(tmp_path, *case.digits(label=False), baselines=False)
    metrics = run(params, where)
    assert metrics["pca_fid_real"] < metrics["pca_fid"]
    assert {"pca_kid", "pca_coverage", "half_completion_rmse", "completion_diversity"} <= set(metrics)
    assert not [
        k for k in metrics if k.startswith(("fid", "image_to_label", "label_to", "min_class")) or "accuracy" in k
    ]
    assert not (where.plots / "evaluate" / "label_to_image.png").exists()


def test_attributes_are_judged_together(tmp_path):
    params, where = case.project(tmp_path, *case.attributes(), baselines=False)
    metrics = run(params, where)
    assert {"fid", "joint_label_agreement", "image_to_label_accuracy", "category_distance"} <= set(metrics)
    assert "min_class_share" not in metrics and 0 <= metrics["label_to_image_accuracy"] <= 1
    assert {"correlation_distance", "correlation_distance_real", "label_base_rate"} <= set(metrics)
    folder = where.plots / "evaluate"
    for name in ("label_to_image", "label_to_image_real", "one_attribute"):
        assert (folder / f"{name}.png").exists()
    lines = lines_of(folder / "attributes.csv")
    assert [line["attribute"] for line in lines] == ["a", "b"]
    assert all(0.5 <= float(line["base_rate"]) <= 1 for line in lines)


def test_sheets_that_may_be_shown_hold_no_real_pixel(tmp_path):
    """A sampler that draws black: whatever is not black in these sheets was copied from real rows."""
    schema, rows = case.attributes()
    rows[:, :64] = rows[:, :64].clip(8, 16)
    black = type(
        "Black", (), {"schema": schema, "complete": lambda self, x, draws=1, **_: np.zeros((draws, *x.shape))}
    )()
    save_sheets(tmp_path, black, np.zeros((16, 66), np.float32), rows, seed=0)
    for name in ("joint", "label_to_image", "one_attribute"):
        sheet = np.asarray(Image.open(tmp_path / f"{name}.png"))
        last = sheet[:, -60:]  # no names there
        assert (last[..., 3] == 255).any() and not last[last[..., 3] == 255, :3].any()
    real = np.asarray(Image.open(tmp_path / "label_to_image_real.png"))
    assert real[30:90, :60, :3].max() > 200


def test_a_table_with_missing_cells(tmp_path):
    params, where = case.project(tmp_path, *case.table())
    metrics = run(params, where)
    for name in ("wasserstein_mean", "wasserstein_max", "category_distance", "correlation_distance"):
        assert metrics[f"{name}_real"] < metrics[name], name
    assert {"completion_energy_score_s50", "completion_rmse_s50_iterative", "completion_label_accuracy_s25"} <= set(
        metrics
    )
    assert not [k for k in metrics if "fid" in k or "half" in k]
    columns = [line["column"] for line in lines_of(where.plots / "evaluate" / "columns.csv")]
    assert columns == ["size", "weight", "sign", "colour"]
    assert (where.plots / "evaluate" / "marginals.png").exists()
    shown = lines_of(where.plots / "evaluate" / "rows.csv")
    assert [line["which rows"] for line in shown] == ["drawn"] * 6 + ["held out"] * 6
    assert list(shown[0]) == ["which rows", "size", "weight", "sign", "colour"]


def test_a_user_s_table_is_judged_cell_by_cell(tmp_path):
    """Of an untrained generator of order one_by_one, which draws from the columns' own shares."""
    params, where = case.users_table(tmp_path)
    metrics = run(params, where)
    assert abs(metrics["cell_log_score"] - metrics["cell_log_score_marginal"]) < 0.3
    assert metrics["cell_interval_50"] < metrics["cell_interval_80"] < metrics["cell_interval_95"] <= 1
    assert 0 < metrics["cell_confidence"] < 1 and 0 < metrics["wrong_cells_chance"] < 0.1
    levels = lines_of(where.plots / "evaluate" / "calibration.csv")
    assert [line["level"] for line in levels] == ["0.1", "0.25", "0.5", "0.75", "0.8", "0.9", "0.95"]
    assert (where.plots / "evaluate" / "calibration.png").read_bytes()[:4] == b"\x89PNG"


def test_rows_of_nothing_but_categories(tmp_path):
    metrics = run(*case.project(tmp_path, *case.letters()))
    assert (
        metrics["category_distance_real"] < 0.2
        and metrics["correlation_distance_real"] < metrics["correlation_distance"]
    )
    assert metrics["completion_label_accuracy_s50_nearest"] > metrics["completion_label_accuracy_s50"]
    assert not [k for k in metrics if "rmse" in k or "energy" in k or "wasserstein" in k or "diversity" in k]


def test_images_that_all_miss_pixels_have_no_joint_scores(tmp_path, capsys):
    schema, rows = case.digits()
    rows[:, 3] = np.nan
    metrics = run(*case.project(tmp_path, schema, rows, baselines=False))
    assert "0 images have no missing pixel, fewer than 32" in capsys.readouterr().err
    assert "fid" not in metrics and 0 <= metrics["image_to_label_accuracy"] <= 1
    assert metrics["half_completion_rmse"] > 0


def test_the_same_seed_gives_the_same_metrics(tmp_path):
    schema, rows = case.table()
    first = run(*case.project(tmp_path / "a", schema, rows))
    assert first == run(*case.project(tmp_path / "b", schema, rows))


def test_a_generator_of_another_schema_is_refused_and_old_results_stay(tmp_path):
    params, where = case.project(tmp_path, *case.table())
    write_text(where.metrics / "evaluate.json", "old")
    write_text(where.plots / "evaluate" / "tasks.csv", "old")
    write_text(where.tokens / "schema.json", case.digits()[0].to_json())
    with pytest.raises(ValueError, match="must be trained on the rows in .* run the stage train again"):
        run(params, where)
    assert (where.metrics / "evaluate.json").read_text() == "old"
    assert (where.plots / "evaluate" / "tasks.csv").read_text() == "old"


def test_confusion_shares():
    draws, truth = np.array([[0, 1, 1], [0, 0, 1]]), np.array([0, 0, 1])
    np.testing.assert_allclose(confusion(draws, truth, 3), [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]])


def test_example_rows_take_the_classes_in_turn():
    schema, rows = case.digits(n=100)
    shown = example_rows(schema, rows, 12)
    np.testing.assert_array_equal(schema.labels(shown), [*range(10), 0, 1])
    plain, rows = case.digits(label=False, n=100)
    np.testing.assert_array_equal(example_rows(plain, rows, 3), rows[:3])


def test_table_names_the_baseline_behind_the_metric():
    table = Table()
    table.add("half", "generator", {"accuracy": 0.5, "diversity": 0.2})
    table.add("half", "nearest", {"accuracy": 0.75})
    table.add("s25", "generator", {"rmse": 0.1})
    table.add("s25", "nearest", {"rmse": 0.3})
    assert table.metrics() == {
        "half_completion_accuracy": 0.5,
        "completion_diversity": 0.2,
        "half_completion_accuracy_nearest": 0.75,
        "completion_rmse_s25": 0.1,
    }
    columns, lines = table.series({"s25": 0.25})
    assert columns == ["source_share", "rmse_generator", "rmse_nearest"]
    assert csv_text(columns, lines) == "source_share,rmse_generator,rmse_nearest\n0.25,0.1,0.3\n"
