"""Which cells of a row are pixels, which are labels, and which are given in the tasks that are evaluated.

Shapes: N rows, C columns, L tokens, A predicted tokens, K draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.rows.row_file import ChosenRows, Rows, chunks
from pipeline.rows.schema import Schema


def predicted_tokens(schema: Schema) -> list[int]:
    """Indices of the tokens whose codes are judged: the label of an image, else every categorical token."""
    if schema.image is not None and schema.label_token is not None:
        return [schema.label_token]
    return schema.tokens_of("categorical").tolist()


def token_codes(schema: Schema, rows: np.ndarray) -> np.ndarray:
    """(N, A) int64 codes of the predicted tokens in (N, C) rows; −1 where missing."""
    columns = [schema.tokens[i].columns[0] for i in predicted_tokens(schema)]
    codes = np.asarray(rows)[:, columns].astype(np.float32)
    return np.where(np.isnan(codes), -1, codes).astype(np.int64)


def whole_images(schema: Schema, rows: Rows) -> Rows:
    """The (N', C) rows whose image has no missing pixel; those of a file stay there."""
    if rows.dtype.kind != "f":
        return rows
    pixels = int(np.prod(schema.image))
    whole = np.concatenate([np.zeros(0, bool), *(~np.isnan(part[:, :pixels]).any(1) for part in chunks(rows))])
    if whole.all():
        return rows
    return rows[whole] if isinstance(rows, np.ndarray) else ChosenRows(rows, np.flatnonzero(whole))


def category_counts(schema: Schema, rows: Rows) -> dict[int, np.ndarray]:
    """Column of each categorical token → (K,) int64 how often each of its codes occurs in (N, C) rows."""
    tokens = [schema.tokens[i] for i in schema.tokens_of("categorical")]
    out = {t.columns[0]: np.zeros(t.width, np.int64) for t in tokens}
    for part in chunks(rows) if out else ():
        for column, counts in out.items():
            codes = part[:, column]
            known = codes[~np.isnan(codes)].astype(np.int64) if codes.dtype.kind == "f" else codes
            counts += np.bincount(known, minlength=len(counts))[: len(counts)]
    return out


def image_columns(schema: Schema) -> np.ndarray:
    """(C,) bool: the pixels."""
    out = np.zeros(len(schema.columns), bool)
    if schema.image is not None:
        out[: int(np.prod(schema.image))] = True
    return out


def label_columns(schema: Schema) -> np.ndarray:
    """(C,) bool: the columns of the predicted tokens."""
    out = np.zeros(len(schema.columns), bool)
    out[[schema.tokens[i].columns[0] for i in predicted_tokens(schema)]] = True
    return out


def upper_half_columns(schema: Schema) -> np.ndarray | None:
    """(C,) bool: the pixels of the patches in the upper half of the grid; None when there is no such half."""
    patches = schema.tokens_of("patch")
    lines = sorted({schema.tokens[i].position[0] for i in patches})
    if len(lines) < 2:
        return None
    upper = set(lines[: len(lines) // 2])
    out = np.zeros(len(schema.columns), bool)
    for i in patches:
        if schema.tokens[i].position[0] in upper:
            out[list(schema.tokens[i].columns)] = True
    return out


def random_observed(schema: Schema, n: int, source_share: float, seed: int) -> np.ndarray:
    """(n, C) bool: per row, round(share·L) random tokens are given; at least one is, and at least one is not.

    In a schema with an image they are patches, so that the label always has to be inferred; in a table any tokens.
    """
    patches = schema.tokens_of("patch")
    candidates = patches if len(patches) else np.arange(schema.n_tokens)
    count = max(1, min(round(source_share * schema.n_tokens), len(candidates) - 1))
    order = np.random.default_rng(seed).permuted(np.tile(candidates, (n, 1)), axis=1)[:, :count]
    chosen = np.zeros((n, schema.n_tokens), bool)
    np.put_along_axis(chosen, order, True, axis=1)
    return chosen[:, schema.token_of_column]


@dataclass(frozen=True)
class Task:
    """A conditional task that is evaluated: the cells of `rows` (N, C) that are `observed` (N, C); the rest is asked
    for. Rows are float32 in the units of the source."""

    name: str
    rows: np.ndarray
    observed: np.ndarray


def curve_tasks(schema: Schema, rows: np.ndarray, source_shares: list[float], seed: int) -> dict[float, Task]:
    """Share → the task named s<percent> that gives round(share·L) random tokens of each row."""
    out = {}
    for k, share in enumerate(source_shares):
        observed = random_observed(schema, len(rows), share, seed + k)
        out[share] = _task(f"s{round(100 * share):02d}", rows, observed)
    return out


def named_tasks(schema: Schema, rows: np.ndarray) -> list[Task]:
    """half (the rest from the upper half of the image), image_to_label and label_to_image: those the schema has.

    The label tasks leave out rows whose label is missing; a task no row is left for is left out.
    """
    if schema.image is None:
        return []
    out = []
    upper, label = upper_half_columns(schema), label_columns(schema)
    if upper is not None:
        out.append(_task("half", rows, np.broadcast_to(upper, rows.shape)))
    known = rows[(token_codes(schema, rows) >= 0).all(1)]
    if label.any() and len(known):
        out.append(_task("image_to_label", known, np.broadcast_to(image_columns(schema), known.shape)))
        out.append(_task("label_to_image", known, np.broadcast_to(label, known.shape)))
    return out


def _task(name: str, rows: np.ndarray, observed: np.ndarray) -> Task:
    rows = np.asarray(rows, np.float32)
    return Task(name, rows, observed & ~np.isnan(rows))


def measured_columns(schema: Schema) -> np.ndarray:
    """(C,) bool: the pixels of an image, the numeric columns of a table."""
    if schema.image is not None:
        return image_columns(schema)
    categorical = [schema.tokens[i].columns[0] for i in schema.tokens_of("categorical")]
    return ~np.isin(np.arange(len(schema.columns)), categorical)


def scaled_cells(schema: Schema, draws: np.ndarray) -> np.ndarray:
    """(K, N, C) float64 cells in comparable units: pixels in pixel ranges, numbers in standard deviations."""
    scale = np.ones(len(schema.columns))
    for token in schema.tokens:
        if token.modality != "categorical":
            scale[list(token.columns)] = token.scale * (2 if token.modality == "patch" else 1)
    return np.asarray(draws, np.float64) / scale
