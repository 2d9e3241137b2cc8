"""What the report shows, read from the files that the other stages left; nothing is computed anew.

A part whose stage has not run is absent, and named by `missing_stages`.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from pipeline.base.params import Params
from pipeline.base.paths import Paths
from pipeline.reporting.method_names import METHODS

STAGES = ("fetch", "prepare", "tasks", "simulate", "train", "evaluate")
MEASURED = ("tasks", "simulate", "train", "evaluate")  # stages that leave data/metrics/<stage>.json


@dataclass(frozen=True)
class Tile:
    """A headline number: its value, and what to compare it with, in words."""

    title: str
    value: str
    beside: str


# Metric, title, how to print it, and the metrics beside it with their names; shown where the metric is there.
HEADLINES = (
    ("fid", "Joint FID, features of the pipeline's classifier", "number", {"fid_real": "real rows"}),
    ("pca_fid", "Joint FID, principal components", "number", {"pca_fid_real": "real rows"}),
    ("wasserstein_mean", "Wasserstein-1 of a column, σ", "number", {"wasserstein_mean_real": "real rows"}),
    ("correlation_distance", "Correlation distance", "number", {"correlation_distance_real": "real rows"}),
    (
        "cell_log_score",
        "Log score of a cell given its row, nats",
        "number",
        {"cell_log_score_marginal": "its column's shares"},
    ),
    (
        "cell_interval_80",
        "Numbers in their 80 % interval",
        "percent",
        {"cell_interval_50": "50 % interval", "cell_interval_95": "95 % interval"},
    ),
    ("wrong_cells", "Wrong cells found, average precision", "number", {"wrong_cells_chance": "chance"}),
    ("min_class_share", "Rarest class in joint samples", "percent", {"min_class_share_real": "of the training rows"}),
    ("joint_label_agreement", "Joint label agreement", "percent", {"classifier_accuracy": "on real images"}),
    (
        "image_to_label_accuracy",
        "Image → label",
        "percent",
        {
            "image_to_label_accuracy_nearest": "nearest neighbour",
            "image_to_label_accuracy_iterative": "iterative imputer",
        },
    ),
    ("label_to_image_accuracy", "Label → image", "percent", {"classifier_accuracy": "classifier on real images"}),
    (
        "half_completion_accuracy",
        "Lower half from upper",
        "percent",
        {
            "half_completion_accuracy_nearest_draws": "draws of 5 nearest",
            "half_completion_accuracy_nearest": "nearest neighbour",
            "half_svm_draw_accuracy": "SVM's posterior",
        },
    ),
    (
        "completion_diversity",
        "Diversity of half completions",
        "number",
        {"completion_diversity_nearest_draws": "draws of 5 nearest"},
    ),
    (
        "completion_energy_score_s50",
        "Energy score, half of the row given",
        "number",
        {"completion_energy_score_s50_nearest_draws": "draws of 5 nearest"},
    ),
    (
        "completion_rmse_s50",
        "RMSE, half of the tokens given",
        "number",
        {
            "completion_rmse_s50_nearest_draws": "draws of 5 nearest",
            "completion_rmse_s50_iterative": "iterative imputer",
        },
    ),
    (
        "completion_rmse_s90",
        "RMSE, nine tenths of the tokens given",
        "number",
        {"completion_rmse_s90_nearest_draws": "draws of 5 nearest"},
    ),
    (
        "gmm25_tuned_full_coverage_share",
        "25-GMM: seeds that find every mode",
        "percent",
        {
            "gmm25_paper_modes_mean": "modes by the paper's schedule",
            "gmm25_joint_modes_mean": "modes by joint matching",
        },
    ),
)
JOINT_SCORES = {
    "fid": "Fréchet distance (FID)",
    "kid": "Kernel distance (KID)",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
    "pca_fid": "Fréchet distance, principal components",
    "pca_kid": "Kernel distance, principal components",
    "pca_precision": "Precision, principal components",
    "pca_recall": "Recall, principal components",
    "pca_density": "Density, principal components",
    "pca_coverage": "Coverage, principal components",
    "category_distance": "Total variation of categories",
    "wasserstein_mean": "Wasserstein-1, mean of columns (σ)",
    "wasserstein_max": "Wasserstein-1, worst column (σ)",
    "correlation_distance": "Correlation distance",
}
TASK_TITLES = {"half": "Rest from the upper half", "image_to_label": "Image → label", "label_to_image": "Label → image"}
SCORE_TITLES = {
    "accuracy": "class seen",
    "label_accuracy": "label true",
    "rmse": "RMSE",
    "diversity": "diversity",
    "energy_score": "energy score",
}


# -- numbers ---------------------------------------------------------------------------------------------------
def metrics_of(where: Paths) -> dict[str, dict[str, float]]:
    """Stage → its metrics, of those stages that left any."""
    return {s: json.loads((where.metrics / f"{s}.json").read_text("utf8")) for s in MEASURED if _has(where, s)}


def missing_stages(where: Paths) -> list[str]:
    """Stages without metrics."""
    return [s for s in MEASURED if not _has(where, s)]


def _has(where: Paths, stage: str) -> bool:
    return (where.metrics / f"{stage}.json").is_file()


def number(value: float) -> str:
    """A number for people: whole ones whole, with narrow spaces between thousands, others to 4 significant digits."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.4g}"


def percent(value: float) -> str:
    """A share as percent with one decimal."""
    return f"{100 * value:.1f}\N{NARROW NO-BREAK SPACE}%"


def tiles(metrics: dict[str, float]) -> list[Tile]:
    """The headline numbers that there are, each with its comparison."""
    out = []
    for name, title, kind, beside in HEADLINES:
        if name not in metrics:
            continue
        show = percent if kind == "percent" else number
        words = []
        for other, what in beside.items():
            if other in metrics:
                value = number(metrics[other]) if other.endswith("_modes_mean") else show(metrics[other])
                words.append(f"{what} {value}")
        if name.endswith("fid") and metrics.get(f"{name}_real", 0) > 0:
            words.append(f"{metrics[name] / metrics[f'{name}_real']:.1f} times that")
        out.append(Tile(title, show(metrics[name]), ", ".join(words)))
    return out


def joint_table(metrics: dict[str, float]) -> list[tuple[str, str, str]]:
    """(score, of joint samples, of real rows)."""
    return [
        (title, number(metrics[name]), number(metrics[f"{name}_real"]) if f"{name}_real" in metrics else "–")
        for name, title in JOINT_SCORES.items()
        if name in metrics
    ]


def shown_rows(where: Paths) -> list[list[str]]:
    """The lines of data/plots/evaluate/rows.csv, the header first; [] where it is not there."""
    path = where.plots / "evaluate" / "rows.csv"
    if not path.is_file():
        return []
    with open(path, encoding="utf8", newline="") as stream:
        return list(csv.reader(stream))


def task_table(where: Paths) -> dict[str, Any]:
    """{columns, groups: [(task, [(method, values)])]} of the named tasks; {} where data/plots/evaluate/tasks.csv has none."""
    path = where.plots / "evaluate" / "tasks.csv"
    if not path.is_file():
        return {}
    with open(path, encoding="utf8", newline="") as stream:
        lines = [line for line in csv.DictReader(stream) if line["task"] in TASK_TITLES or line["task"] == "s50"]
    if not lines:
        return {}
    columns = [c for c in SCORE_TITLES if any(line[c] for line in lines)]
    groups = []
    for task in dict.fromkeys(line["task"] for line in lines):
        own = [
            (METHODS.get(line["method"], line["method"]), [_score(c, line[c]) for c in columns])
            for line in lines
            if line["task"] == task
        ]
        groups.append((TASK_TITLES.get(task, "Half of the tokens given"), own))
    return {"columns": [SCORE_TITLES[c] for c in columns], "groups": groups}


def _score(name: str, text: str) -> str:
    """One cell of the table of tasks; a dash for what a task or method does not have."""
    if not text:
        return "–"
    return percent(float(text)) if name.endswith("accuracy") else f"{float(text):.3f}"


def wall_times(where: Paths) -> list[tuple[str, str, str]]:
    """(stage, seconds, when it ended) of stages that ran in this folder."""
    out = []
    for stage in STAGES:
        path = where.times / f"{stage}.json"
        if path.is_file():
            time = json.loads(path.read_text("utf8"))
            out.append((stage, f"{time['wall_s']:.1f}", time["ended"]))
    return out


def parameters(params: Params) -> list[tuple[str, list[dict[str, Any]]]]:
    """(group, lines of name, value, meaning and whether it differs from the default), in the order of params.yaml."""
    default = Params()
    names = [f.name for f in fields(params)]
    groups = [name for name in names if is_dataclass(getattr(params, name))]
    loose = [line for line in _lines(params, default) if line["name"] in set(names) - set(groups)]
    return [("everywhere", loose), *((g, _lines(getattr(params, g), getattr(default, g))) for g in groups)]


def _lines(group: Any, default: Any, prefix: str = "") -> list[dict[str, Any]]:
    out = []
    for f in fields(group):
        value, usual = getattr(group, f.name), getattr(default, f.name)
        if is_dataclass(value):
            out += _lines(value, usual, f"{prefix}{f.name}.")
            continue
        text = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        what = f.metadata.get("what", "")
        out.append({"name": prefix + f.name, "value": text, "what": what, "changed": value != usual})
    return out
