"""Stage evaluate: joint and conditional scores beside simple baselines. Run: python -m pipeline.evaluate

Reads data/tokens and data/models/generator. Writes data/metrics/evaluate.json (flat, numbers only) and, under
data/plots/evaluate, the CSV series behind the curves, charts, and sheets of drawn images.

* An image with categories: FID, KID and neighbourhood scores in the features of a classifier trained here on the
  training split, which also judges completions. The same scores of real training rows stand beside them (`_real`).
  Of several categories (attributes) also how they go together, and each on its own in attributes.csv.
* An image alone: joint scores in principal components, named `pca_…`; completions by errors and diversity.
* A table: distances of columns and correlations; completions by errors, energy score, categories and diversity; whether the
  probabilities of single cells are right and find wrong cells, where the generator gives any.

Shapes: N rows, C columns.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.base.devices import choose_device
from pipeline.base.files import replaced_folder, write_bytes, write_json, write_text
from pipeline.base.params import Params
from pipeline.base.paths import Paths
from pipeline.base.stage import run_stage
from pipeline.base.streams import note, progress
from pipeline.evaluation import attribute_scores, pictures
from pipeline.evaluation.cell_scores import cell_scores
from pipeline.evaluation.classifier import train_classifier
from pipeline.evaluation.comparison import (
    Table,
    baselines,
    confusion,
    csv_text,
    label_task,
    score_method,
    svm_scores,
)
from pipeline.evaluation.image_scores import JOINT_ROWS, ImageReader, Reference, joint_scores, real_scores
from pipeline.evaluation.metrics import class_shares
from pipeline.evaluation.principal import PrincipalComponents
from pipeline.evaluation.table_scores import category_distance, column_distances, table_scores
from pipeline.model.sampler import Sampler
from pipeline.reporting import charts
from pipeline.reporting.method_names import METHODS
from pipeline.rows.cells import Task, curve_tasks, named_tasks, predicted_tokens, token_codes, whole_images
from pipeline.rows.permutation import some_numbers
from pipeline.rows.row_file import RowFile
from pipeline.rows.schema import Schema
from pipeline.tables.readable import readable

TABLE_VALUES = 1 << 26  # cells of a table's held-out rows, at most, that distances of columns see: they are sorted
HISTOGRAM_ROWS = 100_000  # held-out rows of a table in the histograms, at most
SHOWN_ROWS = 6  # of a table or a text, in rows.csv
SIDE = "which rows"  # its first column
LEAST_WHOLE_IMAGES = 32  # of each split: below, neither a classifier nor a distance between distributions means much
IMAGE_TITLES = {
    "accuracy": "completed image shows its class",
    "label_accuracy": "drawn label is true",
    "rmse": "RMSE of the mean of the draws",
    "diversity": "diversity between draws",
}
TABLE_TITLES = {
    "rmse": "RMSE of the mean of the draws (σ)",
    "energy_score": "energy score (σ)",
    "label_accuracy": "drawn category is true",
    "diversity": "diversity between draws (σ)",
}


@dataclass(frozen=True)
class Data:
    """What is evaluated: both splits, which stay in their files, and the held-out rows of the conditional tasks with these tasks."""

    sampler: Sampler
    train: RowFile
    test: RowFile
    rows: np.ndarray
    curve: dict[float, Task]
    named: list[Task]

    @property
    def schema(self) -> Schema:
        return self.sampler.schema

    @property
    def tasks(self) -> list[Task]:
        return [*self.curve.values(), *self.named]


def run(params: Params, where: Paths) -> dict[str, float]:
    """Writes data/metrics/evaluate.json and data/plots/evaluate, all or nothing; returns the metrics."""
    data = read_data(params, where)
    schema = data.schema
    judged = schema.image is not None and len(predicted_tokens(schema)) > 0
    methods = 1 + (4 if params.evaluate.baselines else 0)
    total = (params.evaluate.classifier_epochs if judged else 0) + 2 + methods * len(data.tasks)
    with replaced_folder(where.plots / "evaluate") as fresh, progress(total=total, desc="evaluate", unit="part") as bar:
        reader = _reader(data, params, bar)
        samples, metrics = _joint(data, params, reader, fresh)
        bar.update(1)
        table = Table()
        for name, draws, method in _methods(data, params):
            bar.set_postfix_str(METHODS[name], refresh=False)
            parts = score_method(table, name, method(), data.tasks, schema, reader, draws=draws, seed=params.seed + 100)
            for _ in parts:
                bar.update(1)
        metrics |= table.metrics()
        if params.evaluate.baselines:
            metrics |= svm_scores(schema, _some(data.train, params.evaluate.baseline_rows, params.seed), data.rows)
        metrics |= _cell_scores(data, params, fresh)
        bar.set_postfix_str("pictures", refresh=False)
        _write_tables(fresh, data, table)
        if schema.image is None:
            _write_rows(fresh, {"drawn": samples, "held out": data.rows}, schema)
        _write_attributes(fresh, data, samples, reader, params)
        _write_pictures(fresh, data, samples, params)
        bar.update(bar.total - bar.n)
    metrics |= {"evaluated_rows": len(data.rows), "joint_samples": len(samples)}
    metrics = {k: round(float(v), 6) for k, v in metrics.items()}
    write_json(where.metrics / "evaluate.json", metrics)
    print(f"evaluate: {_summary(metrics)}")
    return metrics


def read_data(params: Params, where: Paths) -> Data:
    """The generator, both splits and the tasks. Raises ValueError when the generator knows another schema."""
    schema = Schema.load(where.tokens / "schema.json")
    sampler = Sampler.load(where.generator, choose_device(params.sample.device, "sample.device").type)
    if json.loads(sampler.schema.to_json()) != json.loads(schema.to_json()):
        raise ValueError(
            f"'{where.generator}' must be trained on the rows in '{where.tokens}'. "
            "Got a generator of another schema: run the stage train again."
        )
    train, test = (RowFile(where.tokens / f"{name}.npy") for name in ("train", "test"))
    rows = _some(test, params.evaluate.rows, params.seed).astype(np.float32)
    curve = curve_tasks(schema, rows, params.evaluate.source_shares, params.seed + 10)
    return Data(sampler, train, test, rows, curve, named_tasks(schema, rows))


def _some(rows: RowFile, limit: int, seed: int) -> np.ndarray:
    """All rows in their order, or a random `limit` of them, in memory."""
    return rows[:] if len(rows) <= limit else rows[some_numbers(len(rows), limit, seed)]


def _reader(data: Data, params: Params, bar: Any) -> ImageReader | None:
    """What judges the images; None for a table, and for images of which too few are whole."""
    schema = data.schema
    if schema.image is None:
        return None
    whole = min(len(whole_images(schema, rows)) for rows in (data.train, data.test))
    if whole < LEAST_WHOLE_IMAGES:
        note(
            f"evaluate: {whole} images have no missing pixel, fewer than {LEAST_WHOLE_IMAGES}: "
            "no classifier and no joint scores"
        )
        return None
    if not predicted_tokens(schema):
        return PrincipalComponents(schema, data.train, params.seed)
    bar.set_postfix_str("classifier", refresh=False)
    return train_classifier(
        schema,
        data.train,
        epochs=params.evaluate.classifier_epochs,
        seed=params.seed,
        device=choose_device(params.sample.device, "sample.device"),
        progress=bar.update,
    )


def _joint(data: Data, params: Params, reader: ImageReader | None, folder: Path) -> tuple[np.ndarray, dict]:
    """(joint samples (N, C), their scores beside those of real rows); writes columns.csv or class_shares.csv."""
    schema, limit = data.schema, params.evaluate.joint_samples or JOINT_ROWS
    if reader is not None:
        reference = Reference(schema, data.train, data.test, reader, params.seed, limit)
        samples = data.sampler.sample(len(reference.train_half), seed=params.seed + 1)
        real = reference.train_half
        scores = joint_scores(samples, schema, reference, reader) | real_scores(reference)
        if not predicted_tokens(schema):
            scores = {f"pca_{k}": v for k, v in scores.items()}
    else:
        half = max(2, min(limit, len(data.train) // 2))
        real = _some(data.train, half, params.seed)
        samples, scores = data.sampler.sample(half, seed=params.seed + 1), {}
    scores |= _marginal_scores(samples, real, data, folder, params.seed)
    if schema.image is not None and schema.label_token is not None and reader is not None:
        seen = reader.read(schema.images(samples))[1][:, 0]
        names = [str(n) for n in schema.categories[schema.label]]
        shares = [class_shares(seen, len(names)), pictures.class_shares_of(schema, data.train)]
        lines = [{"class": n, "samples": a, "real": b} for n, a, b in zip(names, *shares, strict=True)]
        scores["min_class_share_real"] = shares[1].min()
        write_text(folder / "class_shares.csv", csv_text(["class", "samples", "real"], lines))
        groups = {"seen in joint samples": shares[0], "real": shares[1]}
        write_bytes(folder / "class_shares.png", charts.png(charts.bars(names, groups, "share of the rows")))
    return samples, scores


def _marginal_scores(samples: np.ndarray, real: np.ndarray, data: Data, folder: Path, seed: int) -> dict[str, float]:
    """Distances of columns; for an image those of its categories alone."""
    schema, test = data.schema, data.test
    if schema.image is not None:
        pair = {"": category_distance(samples, test, schema), "_real": category_distance(real, test, schema)}
        out = {f"category_distance{k}": v for k, v in pair.items() if v is not None}
        return out | _attribute_scores(samples, real, data, seed)
    test = _some(test, TABLE_VALUES // len(schema.columns), seed)
    ours, theirs = column_distances(samples, test, schema), column_distances(real, test, schema)
    lines = [{"column": name, "samples": d, "real": theirs.get(name)} for name, d in ours.items()]
    write_text(folder / "columns.csv", csv_text(["column", "samples", "real"], lines))
    out = table_scores(samples, test, schema)
    return out | {f"{k}_real": v for k, v in table_scores(real, test, schema).items()}


def _attribute_scores(samples: np.ndarray, real: np.ndarray, data: Data, seed: int) -> dict[str, float]:
    """How categories go together, and what a constant guess of them is worth; of an image with several."""
    schema = data.schema
    if len(schema.tokens_of("categorical")) < 2:
        return {}
    test = _some(data.test, TABLE_VALUES // len(schema.columns), seed)
    pair = {"": samples, "_real": real}
    out = {f"correlation_distance{k}": attribute_scores.category_correlations(v, test, schema) for k, v in pair.items()}
    return out | {"label_base_rate": float(attribute_scores.base_rates(schema, data.test).mean())}


def _methods(data: Data, params: Params) -> list[tuple[str, int, object]]:
    """(name, draws, what makes it) of every method that completes."""
    draws = params.evaluate.draws
    out = [("generator", draws, lambda: data.sampler)]
    if params.evaluate.baselines:
        rows = _some(data.train, params.evaluate.baseline_rows, params.seed)
        found = baselines(data.schema, rows, draws, params.seed)
        if "iterative" not in found:
            note(f"evaluate: {data.schema.n_features} features are too many for IterativeImputer: left out")
        out += [(name, draws, make) for name, (make, draws) in found.items()]
    return out


def _write_tables(folder: Path, data: Data, table: Table) -> None:
    """tasks.csv: every task and method; completion.csv: the curves in columns; and the chart of the curves."""
    shares = {task.name: share for share, task in data.curve.items()}
    write_text(folder / "tasks.csv", table.csv())
    write_text(folder / "completion.csv", csv_text(*table.series(shares)))
    titles = IMAGE_TITLES if data.schema.image is not None else TABLE_TITLES
    panels = table.panels(shares, titles)
    if panels:
        chart = charts.lines(panels, "|S| / L", columns=2)
        write_bytes(folder / "completion.png", charts.png(chart))


def _write_rows(folder: Path, sides: dict[str, np.ndarray], schema: Schema) -> None:
    """rows.csv: the first rows of each side, as people read them."""
    parts = [readable(rows[:SHOWN_ROWS].astype(np.float32), schema).assign(**{SIDE: s}) for s, rows in sides.items()]
    table = pd.concat(parts)
    write_text(folder / "rows.csv", table[[SIDE, *table.columns[:-1]]].to_csv(index=False, float_format="%.5g"))


def _cell_scores(data: Data, params: Params, folder: Path) -> dict[str, float]:
    """Scores of single cells; writes calibration.csv and its picture. {} unless a table's generator gives probabilities."""
    if not data.schema.table or data.sampler.generator.order != "one_by_one":
        return {}
    found = cell_scores(data.sampler, data.rows, params.seed)
    if len(found.places):
        write_text(folder / "calibration.csv", csv_text(["level", "covered"], found.levels()))
        pictures.save_calibration(folder / "calibration.png", found.levels(), found.places)
    return found.metrics()


def _write_attributes(
    folder: Path, data: Data, samples: np.ndarray, reader: ImageReader | None, params: Params
) -> None:
    """attributes.csv, for an image with several categories."""
    names = {task.name for task in data.named}
    if reader is None or len(predicted_tokens(data.schema)) < 2 or not {"image_to_label", "label_to_image"} <= names:
        return
    lines = attribute_scores.attribute_lines(data.schema, data.named, samples, data.sampler, reader, params.seed + 300)
    write_text(folder / "attributes.csv", csv_text(list(attribute_scores.COLUMNS), lines))


def _write_pictures(folder: Path, data: Data, samples: np.ndarray, params: Params) -> None:
    schema, seed = data.schema, params.seed + 200
    if schema.image is None:
        shown = _some(data.test, HISTOGRAM_ROWS, seed)
        pictures.save_marginals(folder / "marginals.png", samples, shown, schema)
        return
    pictures.save_sheets(folder, data.sampler, samples, data.rows, seed)
    task = label_task(data.named, schema)
    if task is not None:
        drawn = data.sampler.complete(task.rows, observed=task.observed, draws=params.evaluate.draws, seed=seed)
        names = [str(n) for n in schema.categories[schema.label]]
        codes = np.stack([token_codes(schema, d)[:, 0] for d in drawn])
        shares = confusion(codes, token_codes(schema, task.rows)[:, 0], len(names))
        pictures.save_confusion(folder / "confusion.png", shares, names)


def _summary(metrics: dict[str, float]) -> str:
    """The scores one looks at first, those that there are."""
    names = (
        ("fid", "fid_real", "image_to_label_accuracy", "label_to_image_accuracy", "half_completion_accuracy")
        if "fid" in metrics
        else ("pca_fid", "pca_fid_real", "wasserstein_mean", "wasserstein_mean_real", "correlation_distance")
    )
    return ", ".join(f"{name} {metrics[name]:.3g}" for name in names if name in metrics)


def main() -> None:
    """Entry point of the stage."""
    run_stage("evaluate", run)


if __name__ == "__main__":
    main()
