"""A generator and simple baselines on the same tasks, and the tables that come of it; no files.

Shapes: N rows, C columns, K draws.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pipeline.evaluation.baselines import Iterative, MeanFill, NearestNeighbours, svm_posterior
from pipeline.evaluation.image_scores import ImageReader, completion_scores, task_names
from pipeline.reporting.method_names import METHODS
from pipeline.rows.cells import Task, label_columns, upper_half_columns, whole_images
from pipeline.rows.schema import Schema

SCORES = ("accuracy", "label_accuracy", "rmse", "diversity", "energy_score")
ITERATIVE_FEATURES = 1000  # IterativeImputer fits a regression per feature: beyond this it takes minutes to hours


class Completer(Protocol):
    """What completes rows: a sampler or a baseline."""

    def complete(self, rows: np.ndarray, observed: np.ndarray, draws: int = 1, seed: int = 0) -> np.ndarray: ...


@dataclass
class Table:
    """Scores by task, method and score; `add` is called once per task and method."""

    values: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    def add(self, task: str, method: str, scores: dict[str, float]) -> None:
        self.values.setdefault(task, {})[method] = scores

    def metrics(self, baseline_tasks: tuple[str, ...] = ("s50", "half", "image_to_label", "label_to_image")) -> dict:
        """Flat names → numbers: all of the generator's, and each baseline's with its name behind on `baseline_tasks`;
        draws of the nearest rows, which sample as it does, on every task."""
        out = {}
        for task, methods in self.values.items():
            for method, scores in methods.items():
                if method == "generator":
                    out |= task_names(task, scores)
                elif task in baseline_tasks or method == "nearest_draws":
                    out |= {f"{name}_{method}": value for name, value in task_names(task, scores).items()}
        return out

    def series(self, shares: dict[str, float]) -> tuple[list[str], list[dict[str, float]]]:
        """(columns, lines) of the completion curves: source_share, then <score>_<method>. shares: task → |S|/L."""
        lines = []
        for task, share in shares.items():
            line = {"source_share": share}
            for method, scores in self.values[task].items():
                line |= {f"{score}_{method}": scores[score] for score in SCORES if score in scores}
            lines.append(line)
        return list(dict.fromkeys(name for line in lines for name in line)), lines

    def panels(self, shares: dict[str, float], titles: dict[str, str]) -> dict:
        """What `charts.lines` draws: one panel per score that any method has. titles: score → title."""
        out = {}
        for score, title in titles.items():
            panel = {}
            for method, name in METHODS.items():
                points = [(s, self.values[t].get(method, {}).get(score)) for t, s in shares.items()]
                points = [p for p in points if p[1] is not None]
                if points:
                    panel[name] = tuple(zip(*points, strict=True))
            if panel:
                out[title] = panel
        return out

    def csv(self) -> str:
        """CSV text: task, method and every score."""
        lines = [
            {"task": task, "method": method} | {k: v for k, v in scores.items() if k in SCORES}
            for task, methods in self.values.items()
            for method, scores in methods.items()
        ]
        return csv_text(["task", "method", *SCORES], lines)


def score_method(
    table: Table,
    name: str,
    method: Completer,
    tasks: list[Task],
    schema: Schema,
    reader: ImageReader | None,
    *,
    draws: int,
    seed: int,
) -> Iterator[str]:
    """Adds a method's scores to the table, task by task; yields the task's name after each."""
    for k, task in enumerate(tasks):
        drawn = method.complete(task.rows, observed=task.observed, draws=draws, seed=seed + k)
        table.add(task.name, name, completion_scores(drawn, task, schema, reader))
        yield task.name


def baselines(
    schema: Schema, train_rows: np.ndarray, draws: int, seed: int
) -> dict[str, tuple[Callable[[], Completer], int]]:
    """Name → (what fits it, draws to ask it for). Without `iterative` beyond ITERATIVE_FEATURES features."""
    out = {
        "mean_fill": (lambda: MeanFill(schema, train_rows), 1),
        "nearest": (lambda: NearestNeighbours(schema, train_rows), 1),
        "nearest_draws": (lambda: NearestNeighbours(schema, train_rows), draws),
    }
    if schema.n_features <= ITERATIVE_FEATURES:
        out["iterative"] = (lambda: Iterative(schema, train_rows, seed), 1)
    return out


def svm_scores(schema: Schema, train_rows: np.ndarray, test_rows: np.ndarray) -> dict[str, float]:
    """half_svm_{draw, argmax}_accuracy: what an SVM tells of the label from the upper half of the image.

    Empty without a label or a half, and where a class has too few rows for the SVM's cross-validation.
    """
    upper = upper_half_columns(schema) if schema.image is not None else None
    if upper is None or schema.label_token is None:
        return {}
    inputs, codes = [], []
    for rows in (train_rows, test_rows):
        rows = whole_images(schema, rows)
        rows = rows[schema.labels(rows) >= 0]
        inputs.append((np.asarray(rows[:, upper], np.float64) - schema.pixel_range[0]) / np.ptp(schema.pixel_range))
        codes.append(schema.labels(rows))
    counts = np.bincount(codes[0])
    if not len(codes[1]) or (counts > 0).sum() < 2 or counts[counts > 0].min() < 5:
        return {}
    return {f"half_svm_{k}": v for k, v in svm_posterior(inputs[0], codes[0], inputs[1], codes[1]).items()}


def confusion(draws: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) share of each drawn code (column) for rows of each true code (line). draws: (K, N) codes."""
    counts = np.zeros((classes, classes))
    for drawn in draws:
        np.add.at(counts, (truth, drawn), 1)
    return counts / np.maximum(1, counts.sum(1, keepdims=True))


def label_task(tasks: list[Task], schema: Schema) -> Task | None:
    """The task image → label, where the schema has one label token."""
    found = [t for t in tasks if t.name == "image_to_label"]
    return found[0] if found and schema.label_token is not None and label_columns(schema).sum() == 1 else None


def csv_text(columns: list[str], lines: list[dict]) -> str:
    """CSV text with a header; numbers to 6 digits, what a line lacks stays empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in line.items()})
    return stream.getvalue()
