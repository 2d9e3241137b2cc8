"""Rows from picture files and folders of them, read as `biglearn fit` reads them.

Shapes: N rows, C columns, H, W pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.datasets.folder_attributes import ATTRIBUTES, matched, read_attributes
from pipeline.datasets.folder_files import folder_files
from pipeline.datasets.folder_layout import folder_layout
from pipeline.datasets.image_files import NotAnImage, fit_pixels, read_picture
from pipeline.datasets.picture_facts import left_out_lines
from pipeline.rows.schema import Schema


def rows_of_picture(path: Path, schema: Schema) -> np.ndarray:
    """(1, C) float32 row of one picture, NaN where it is transparent and beside the pixels. Raises NotAnImage."""
    _check_image(schema)
    return _row(path, schema)[None]


def rows_of_folder(path: Path, schema: Schema) -> np.ndarray:
    """(N, C) float32 rows of the pictures below a folder in sorted order, NaN where nothing is known.

    The class is the subfolder's name and the attributes those in attributes.csv, as far as the model knows them. What is
    left out or not known is printed.
    """
    _check_image(schema)
    files = folder_files(path)
    listed = {n: p for n, p in files.names.items() if n != ATTRIBUTES}
    outside = folder_layout(list(listed)).outside
    left_out = [*files.left_out, *((n, "beside the splits") for n in sorted(outside))]
    rows, names = [], []
    for name, file in listed.items():
        if name in outside:
            continue
        try:
            rows.append(_row(file, schema))
            names.append(name)
        except NotAnImage as error:
            left_out.append((name, str(error).partition(": ")[2]))
        except OSError as error:
            left_out.append((name, f"cannot be read: {error.strerror}"))
    for line in left_out_lines(left_out):
        print(f"left out: {line}")
    out = np.stack(rows) if rows else np.empty((0, len(schema.columns)), np.float32)
    if schema.label and names:
        _put_words(out, pd.Series(folder_layout(names).labels, dtype="string"), schema.label, schema, strict=False)
    if ATTRIBUTES in files.names and names:
        _put_attributes(out, names, files.names[ATTRIBUTES], schema)
    return out


def _check_image(schema: Schema) -> None:
    if schema.image is None:
        raise ValueError("This model has no image: give it a table or an array.")


def _row(path: Path, schema: Schema) -> np.ndarray:
    height, width, channels = schema.image
    low, high = schema.pixel_range
    pixels, known = fit_pixels(read_picture(path).image, height, width, channels)
    row = np.full(len(schema.columns), np.nan, np.float32)
    scaled = low + pixels.astype(np.float32) / 255 * (high - low)
    row[: pixels.size] = np.where(known[..., None], scaled, np.float32(np.nan)).ravel()
    return row


def _put_attributes(rows: np.ndarray, names: list[str], path: Path, schema: Schema) -> None:
    """Fills the cells that attributes.csv knows. Raises ValueError for a word that the model does not know."""
    table, said = matched(read_attributes(path), names, path)
    there = {schema.tokens[i].name for i in schema.tokens_of("categorical")}
    pixels = set(schema.columns[: int(np.prod(schema.image))])
    unknown = [c for c in table.columns if c not in there and c not in pixels]
    if unknown:
        said += f"; the model does not know {', '.join(unknown[:8])}"
    print(said)
    for column in table.columns:
        if column in there:
            _put_words(rows, table[column], column, schema, strict=True)


def _put_words(rows: np.ndarray, words: pd.Series, name: str, schema: Schema, *, strict: bool) -> None:
    """Sets the column `name` of (N, C) rows to the codes of its words; unknown words are an error, or only printed."""
    known = schema.categories.get(name, [])
    odd = sorted(set(words.dropna()) - set(known))
    listed = ", ".join(map(repr, known[:40]))
    if odd and strict:
        raise ValueError(f"{ATTRIBUTES}: {name!r} must be one of {listed}. Got {odd[0]!r}.")
    if odd:
        print(f"no classes of this model, read as unknown: {', '.join(odd[:8])}; it knows {listed}")
    codes = words.map({w: i for i, w in enumerate(known)}).to_numpy(np.float32, na_value=np.nan)
    column = schema.columns.index(name)
    rows[:, column] = np.where(np.isnan(codes), rows[:, column], codes)
