"""Pictures of an evaluation: sheets of drawn images, confusion of labels, marginals of a table.

Each sheet draws for itself, from few rows. Shapes: N rows, C columns, K draws, R lines of a sheet.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.base.files import write_bytes
from pipeline.evaluation.image_scores import RowSampler
from pipeline.reporting import charts
from pipeline.reporting.sheets import save_sheet, tiles
from pipeline.rows.cells import (
    category_counts,
    curve_tasks,
    label_columns,
    scaled_cells,
    upper_half_columns,
)
from pipeline.rows.row_file import Rows
from pipeline.rows.schema import Schema

LINES, COLUMNS = 6, 16  # of the sheets of joint samples and of real images
DRAWS = 8  # of one task, side by side
LABEL_DRAWS = 12  # images given a label, side by side
CAPTION_NAMES = 4  # attributes in the name of a line, at most
CLASSES_DRAWN = 30  # lines of the sheet of classes, at most
MARGINALS_DRAWN = 12  # columns of a table, at most
PLACE_BINS = 10


def example_rows(schema: Schema, rows: np.ndarray, n: int) -> np.ndarray:
    """(≤ n, C) float32 rows to show: one per class in turn where there is a label, else the first ones."""
    rows = np.asarray(rows, np.float32)
    if schema.label_token is None:
        return rows[:n]
    labels = schema.labels(rows)
    rank = np.array([(labels[:i] == label).sum() for i, label in enumerate(labels)])  # first of its class, second, …
    return rows[np.lexsort((labels, rank))[:n]]


def save_sheets(folder: Path, sampler: RowSampler, samples: np.ndarray, rows: np.ndarray, seed: int) -> None:
    """Writes joint.png, real.png, completions.png, half.png and, where there is a label, label_to_image.png; for
    attributes more, see `_save_from_attributes`.

    Nothing but generated pixels is in joint.png, label_to_image.png and one_attribute.png; the others show real ones.
    samples: joint samples (N, C); rows: held-out rows (N, C).
    """
    schema = sampler.schema
    for name, shown in (("joint", samples), ("real", rows)):
        count = min(LINES * COLUMNS, len(shown) // COLUMNS * COLUMNS) or len(shown)
        pictures = tiles(schema, shown[:count])
        save_sheet(folder / f"{name}.png", pictures.reshape(-1, min(COLUMNS, count), *pictures.shape[1:]))
    examples = example_rows(schema, rows, 10)
    _save_rising(folder / "completions.png", sampler, examples[: min(4, len(examples))], seed)
    if upper_half_columns(schema) is not None:
        _save_half(folder / "half.png", sampler, examples, seed + 1)
    if schema.label_token is not None:
        _save_from_label(folder / "label_to_image.png", sampler, seed + 2)
    elif label_columns(schema).any():
        _save_from_attributes(folder, sampler, np.asarray(rows, np.float32), examples, seed + 2)


def _save_rising(path: Path, sampler: RowSampler, rows: np.ndarray, seed: int) -> None:
    """For each row: what is given at rising |S|/L, and two draws of the rest; the real image ends the line."""
    schema, shares = sampler.schema, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    columns = []
    for k, task in enumerate(curve_tasks(schema, rows, shares, seed).values()):
        draws = sampler.complete(task.rows, observed=task.observed, draws=2, seed=seed + k)
        columns.append([tiles(schema, rows, task.observed), *(tiles(schema, d) for d in draws)])
    columns.append([tiles(schema, rows)] * 3)
    lines = np.array(columns).transpose(2, 1, 0, 3, 4, 5)  # (rows, 3, columns, H, W, 3)
    names = ["given", "draw 1", "draw 2"] * len(rows)
    save_sheet(path, lines.reshape(-1, *lines.shape[2:]), names, [*(f"{100 * s:.0f} %" for s in shares), "real"])


def _save_half(path: Path, sampler: RowSampler, rows: np.ndarray, seed: int) -> None:
    schema = sampler.schema
    observed = np.broadcast_to(upper_half_columns(schema), rows.shape) & ~np.isnan(rows)
    draws = sampler.complete(rows, observed=observed, draws=DRAWS, seed=seed)
    columns = [tiles(schema, rows), tiles(schema, rows, observed), *(tiles(schema, d) for d in draws)]
    save_sheet(path, np.stack(columns, 1), [], ["real", "given", *(f"draw {k + 1}" for k in range(DRAWS))])


def _save_from_label(path: Path, sampler: RowSampler, seed: int) -> None:
    """One line per class; nothing real is shown."""
    schema = sampler.schema
    token = schema.tokens[schema.label_token]
    classes = min(token.width, CLASSES_DRAWN)
    given = np.full((classes, len(schema.columns)), np.nan, np.float32)
    given[:, token.columns[0]] = np.arange(classes)
    names = [str(n) for n in schema.categories.get(token.name, range(classes))][:classes]
    save_sheet(path, _images_given(sampler, given, seed), names)


def _save_from_attributes(folder: Path, sampler: RowSampler, rows: np.ndarray, examples: np.ndarray, seed: int) -> None:
    """label_to_image.png: images given all attributes of each example, the rarest named, nothing real shown;
    label_to_image_real.png: the same beside the real ones; one_attribute.png: given the rarer code of one attribute."""
    schema = sampler.schema
    given = np.where(label_columns(schema), examples, np.nan)
    drawn = _images_given(sampler, given, seed)
    save_sheet(folder / "label_to_image.png", drawn, _captions(schema, rows, examples))
    titles = ["real", *(f"draw {k + 1}" for k in range(LABEL_DRAWS))]
    save_sheet(
        folder / "label_to_image_real.png", np.concatenate([tiles(schema, examples)[:, None], drawn], 1), [], titles
    )
    rarest = _rarest_codes(schema, rows)
    single = np.full((len(rarest), len(schema.columns)), np.nan, np.float32)
    for line, (column, code, _) in enumerate(rarest):
        single[line, column] = code
    names = [_said(schema, column, code) for column, code, _ in rarest]
    save_sheet(folder / "one_attribute.png", _images_given(sampler, single, seed + 1), names)


def _images_given(sampler: RowSampler, given: np.ndarray, seed: int) -> np.ndarray:
    """(N, LABEL_DRAWS, H, W, 3) tiles of images drawn given the cells of (N, C) that are known."""
    observed = ~np.isnan(given)
    draws = sampler.complete(given, observed=observed, draws=LABEL_DRAWS, seed=seed, targets=~observed)
    return np.stack([tiles(sampler.schema, d) for d in draws], 1)


def _rarest_codes(schema: Schema, rows: np.ndarray) -> list[tuple[int, int, float]]:
    """(column, its rarest code among (N, C) rows, the share of it) of each category, most 40 of them."""
    counts = category_counts(schema, rows)
    codes = {column: min(np.flatnonzero(n), key=lambda c, n=n: n[c]) for column, n in counts.items() if n.any()}
    return [(column, int(code), counts[column][code] / counts[column].sum()) for column, code in codes.items()][:40]


def _said(schema: Schema, column: int, code: int) -> str:
    """What a code says: "Smiling", "not Young", "Beard" for a no to "No_Beard", "colour: red"."""
    name = schema.columns[column].replace("_", " ")
    words = schema.categories.get(schema.columns[column], [])
    word = str(words[code]) if words else str(code)
    denied = name[3:] if name.startswith("No ") else f"not {name}"
    return {"yes": name, "no": denied}.get(word, f"{name}: {word}")


def _captions(schema: Schema, rows: np.ndarray, examples: np.ndarray) -> list[str]:
    """The rarest attributes of each example, as said of it, CAPTION_NAMES at most."""
    rarest = sorted(_rarest_codes(schema, rows), key=lambda one: one[2])
    own = [[_said(schema, column, code) for column, code, _ in rarest if row[column] == code] for row in examples]
    return [", ".join(names[:CAPTION_NAMES]) for names in own]


def save_confusion(path: Path, shares: np.ndarray, names: list[str]) -> None:
    """Writes the confusion of drawn labels, unless there are more classes than can be read."""
    if len(names) <= CLASSES_DRAWN:
        write_bytes(path, charts.png(charts.matrix(shares, names, "drawn label", "true label")))


def save_calibration(path: Path, levels: list[dict[str, float]], places: np.ndarray) -> None:
    """Writes the chart of central intervals, share inside against level, and of the places of numbers (P,), whose density is 1
    where probabilities are right."""
    nominal = [line["level"] for line in levels]
    density, edges = np.histogram(places, PLACE_BINS, (0.0, 1.0), density=True)
    middle = (edges[:-1] + edges[1:]) / 2
    panels = {
        "Numbers inside their central interval": {
            "model": (nominal, [line["covered"] for line in levels]), "calibrated": ([0, 1], [0, 1]),
        },
        "Density of the numbers' places": {"model": (middle, density), "calibrated": ([0, 1], [1, 1])},
    }  # fmt: skip
    write_bytes(path, charts.png(charts.lines(panels, "level of the interval; place, 0 to 1", columns=2)))


def save_marginals(path: Path, samples: np.ndarray, rows: np.ndarray, schema: Schema) -> None:
    """Writes histograms of the first columns of a table: sampled beside real; numbers in standard deviations."""
    both = {"samples": scaled_cells(schema, samples[None])[0], "real": scaled_cells(schema, rows[None])[0]}
    panels = {}
    for column, name in enumerate(schema.columns[:MARGINALS_DRAWN]):
        panel = {k: v[~np.isnan(v[:, column]), column] for k, v in both.items()}
        if all(len(v) for v in panel.values()):
            panels[name] = panel
    write_bytes(path, charts.png(charts.histograms(panels)))


def class_shares_of(schema: Schema, rows: Rows) -> np.ndarray:
    """(classes,) share of each class among the labels of rows (N, C)."""
    counts = category_counts(schema, rows)[schema.tokens[schema.label_token].columns[0]]
    return counts / max(1, counts.sum())
