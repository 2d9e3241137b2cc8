"""Rows from people's files: arrays, tables, .txt, images and folders of images.

    rows = read_rows(Path("faces/"), schema)             # (N, C) float32 in the units of the source, NaN unknown

Shapes: N rows, C columns.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.base.data_groups import TableParams
from pipeline.datasets.image_files import NotAnImage, fit_pixels, image_files, open_image
from pipeline.datasets.image_folder import ATTRIBUTES, FILE_COLUMN
from pipeline.datasets.npz import read_array
from pipeline.rows.schema import TEXT_GROUP, Schema
from pipeline.sources.opening import read_frame
from pipeline.sources.places import is_table
from pipeline.tables.codec import TableCodec
from pipeline.tables.parts import parse_cell
from pipeline.tables.readable import SHOWN_CHARACTERS, UNKNOWN_CHARACTER, stamp_names


# -- reading -----------------------------------------------------------------------------------------------------
def read_rows(path: Path, schema: Schema) -> np.ndarray:
    """(N, C) float32 rows of a file or folder, NaN where the file says nothing.

    .npy: rows (N, C) or images (N, H, W[, channels]); .npz: `x` and optional `y`; tables (.csv, .parquet, …): columns named
    as in the schema, words of categories, empty where unknown; .txt: one text a line; else an image or a folder of
    images, whose transparent pixels are unknown. Raises ValueError naming the file and its fault.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"There is no file or folder {path}.")
    suffix = path.suffix.lower()
    if path.is_dir():
        rows = _rows_of_folder(path, schema)
    elif suffix in (".npy", ".npz"):
        rows = _rows_of_array(path, schema)
    elif is_table(path):
        rows = rows_of_frame(read_frame(path), schema, str(path))
    elif suffix == ".txt":
        rows = _rows_of_text(path, schema)
    else:
        rows, _ = _rows_of_images([path], schema, strict=True)
    if not len(rows):
        raise ValueError(f"{path} must hold at least one row. Got none.")
    return schema.check_rows(rows)


def _rows_of_array(path: Path, schema: Schema) -> np.ndarray:
    x = read_array(path)
    if x is None:
        raise ValueError(f"{path} must have an array named 'x'.")
    if x.dtype.kind not in "buif":
        raise ValueError(f"{path}: 'x' must be real numbers. Got {x.dtype}.")
    columns = len(schema.columns)
    out = np.full((len(x) if x.ndim else 0, columns), np.nan, np.float32)
    if x.ndim == 2 and x.shape[1] == columns:
        out[:] = x
    elif schema.image is not None and x.ndim >= 2 and int(np.prod(x.shape[1:])) == int(np.prod(schema.image)):
        out[:, : int(np.prod(schema.image))] = x.reshape(len(x), -1)
    else:
        images = f" or images {schema.image}" if schema.image is not None else ""
        raise ValueError(f"{path}: 'x' must be rows of {columns} columns{images}. Got shape {x.shape}.")
    y = read_array(path, "y") if path.suffix.lower() == ".npz" else None
    if y is not None:
        if schema.label_token is None or y.shape != (len(x),):
            raise ValueError(f"{path}: 'y' must be one class code per row of data that has labels. Got {y.shape}.")
        out[:, schema.tokens[schema.label_token].columns[0]] = y
    return out


def _rows_of_folder(path: Path, schema: Schema) -> np.ndarray:
    """Rows of the images below a folder, in sorted order; attributes.csv, if there, says what is not a pixel."""
    files = [f for f in image_files(path) if f != path / ATTRIBUTES]
    rows, kept = _rows_of_images(files, schema, strict=False)
    if not (path / ATTRIBUTES).is_file():
        return rows
    table = read_frame(path / ATTRIBUTES)
    if FILE_COLUMN not in table.columns or table[FILE_COLUMN].duplicated().any():
        raise ValueError(f"{path / ATTRIBUTES} must have a column {FILE_COLUMN!r} that names each image once.")
    table = table.set_index(FILE_COLUMN).reindex([str(f.relative_to(path)) for f in kept]).reset_index(drop=True)
    said = rows_of_frame(table, schema, str(path / ATTRIBUTES))
    return np.where(np.isnan(said), rows, said)


def _rows_of_images(files: list[Path], schema: Schema, *, strict: bool) -> tuple[np.ndarray, list[Path]]:
    """(rows of image files, the files); other files are named and left out, unless `strict`."""
    if schema.image is None:
        raise ValueError("This model has no image: give it a table or an array.")
    height, width, channels = schema.image
    low, high = schema.pixel_range
    rows, kept = [], []
    for file in files:
        try:
            pixels, known = fit_pixels(open_image(file), height, width, channels)
        except NotAnImage as error:
            if strict:
                raise
            print(f"left out: {error}")
            continue
        row = np.full(len(schema.columns), np.nan, np.float32)
        scaled = low + pixels.astype(np.float32) / 255 * (high - low)
        row[: pixels.size] = np.where(known[..., None], scaled, np.float32(np.nan)).ravel()
        rows.append(row)
        kept.append(file)
    return np.stack(rows) if rows else np.empty((0, len(schema.columns)), np.float32), kept


def _rows_of_text(path: Path, schema: Schema) -> np.ndarray:
    tokens = [t for t in schema.tokens if t.group == TEXT_GROUP]
    if not tokens:
        raise ValueError("This model has no text: give it a table, an array or images.")
    out = []
    for number, line in enumerate(path.read_text(encoding="utf8").splitlines(), 1):
        if len(line) > len(tokens):
            raise ValueError(f"{path}, line {number}: at most {len(tokens)} characters. Got {len(line)}.")
        row = np.full(len(schema.columns), np.nan, np.float32)
        for token, character in zip(tokens, line, strict=False):
            if character != UNKNOWN_CHARACTER:
                row[token.columns[0]] = parse_cell(schema, token.columns[0], _shown(character))
        out.append(row)
    return np.stack(out) if out else np.empty((0, len(schema.columns)), np.float32)


def _shown(character: str) -> str:
    return {v: k for k, v in SHOWN_CHARACTERS.items()}.get(character, character)


def rows_of_frame(frame: pd.DataFrame, schema: Schema, name: str = "the table") -> np.ndarray:
    """(N, C) float32 rows of a table whose columns are among the schema's, in any order; the others are NaN.

    Raises ValueError for unknown columns, for text where numbers belong and, but for the data of a table, where
    such words count as unknown, for unknown words of a category.
    """
    frame = frame.drop(columns=[c for c in stamp_names(schema.columns) if c in frame.columns])
    extra = [str(c) for c in frame.columns if str(c) not in schema.columns]
    if extra:
        raise ValueError(f"{name}: unknown columns {extra[:8]}. The model has {list(schema.columns)[:20]}.")
    if schema.table:
        absent = {c: pd.Series([None] * len(frame), dtype=object) for c in schema.columns if c not in frame.columns}
        return TableCodec(schema).rows(frame.reset_index(drop=True).assign(**absent))
    out = np.full((len(frame), len(schema.columns)), np.nan, np.float32)
    for column in frame.columns:
        index = schema.columns.index(column)
        if schema.tokens[schema.token_of_column[index]].modality == "categorical":
            codes = {word: parse_cell(schema, index, word) for word in _words(frame[column])}
            out[:, index] = [codes.get(_word(v), np.nan) for v in frame[column]]
        else:
            out[:, index] = _numbers(frame[column], f"{name}: column {column!r}")
    return out


def _numbers(cells: pd.Series, name: str) -> np.ndarray:
    numbers = pd.to_numeric(cells, errors="coerce")
    wrong = cells.notna() & ~cells.isin(TableParams().missing) & numbers.isna()
    if wrong.any():
        raise ValueError(f"{name} must hold numbers. Got {cells[wrong].iloc[0]!r}.")
    return numbers.to_numpy(np.float32)


def _word(value: object) -> str:
    """The word of a category as it came out of a CSV file: 7.0 stands for "7" where cells of its column are empty."""
    if value in TableParams().missing:
        return ""
    if isinstance(value, float):
        return "" if np.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    return "" if value is None or value is pd.NA else str(value)


def _words(column: pd.Series) -> set[str]:
    return {_word(v) for v in column} - {""}
