"""Rows from people's files: arrays, tables, .txt, images and folders of images.

    rows = read_rows(Path("faces/"), schema)             # (N, C) float32 in the units of the source, NaN unknown

Shapes: N rows, C columns.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.base.data_groups import TableParams
from pipeline.datasets.text import OTHER
from pipeline.exchange.arrays import rows_of_array
from pipeline.exchange.pictures import rows_of_folder, rows_of_picture
from pipeline.rows.schema import TEXT_GROUP, Schema
from pipeline.sources.opening import read_frame
from pipeline.sources.places import is_table
from pipeline.tables.codec import TableCodec
from pipeline.tables.parts import parse_cell
from pipeline.tables.readable import SHOWN_CHARACTERS, stamp_names, unknown_character


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
        rows = rows_of_folder(path, schema)
    elif suffix in (".npy", ".npz"):
        rows = rows_of_array(path, schema)
    elif is_table(path):
        rows = rows_of_frame(read_frame(path), schema, str(path))
    elif suffix == ".txt":
        rows = _rows_of_text(path, schema)
    else:
        rows = rows_of_picture(path, schema)
    if not len(rows):
        raise ValueError(f"{path} must hold at least one row. Got none.")
    return schema.check_rows(rows)


def _rows_of_text(path: Path, schema: Schema) -> np.ndarray:
    tokens = [t for t in schema.tokens if t.group == TEXT_GROUP]
    if not tokens:
        raise ValueError("This model has no text: give it a table, an array or images.")
    out, unknown = [], unknown_character(schema)
    breaks = "\r" not in schema.categories.get(tokens[0].name, [])
    for number, line in enumerate(_lines(path), 1):
        line = line.removesuffix("\r") if breaks else line
        if len(line) > len(tokens):
            raise ValueError(f"{path}, line {number}: at most {len(tokens)} characters. Got {len(line)}.")
        row = np.full(len(schema.columns), np.nan, np.float32)
        for token, character in zip(tokens, line, strict=False):
            if character != unknown:
                word, words = _shown(character), schema.categories.get(token.name, [])
                word = OTHER if word not in words and OTHER in words else word  # rare ones, as `fit` reads them
                row[token.columns[0]] = parse_cell(schema, token.columns[0], word)
        out.append(row)
    return np.stack(out) if out else np.empty((0, len(schema.columns)), np.float32)


def _lines(path: Path) -> list[str]:
    """The lines of a text, parted by line feeds alone: other breaks are characters of the text."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8 text. Got the byte {error.object[error.start]:#x}.") from error
    return text.removesuffix("\n").split("\n") if text else []


def _shown(character: str) -> str:
    return {v: k for k, v in SHOWN_CHARACTERS.items()}.get(character, character)


def rows_of_frame(frame: pd.DataFrame, schema: Schema, name: str = "the table") -> np.ndarray:
    """(N, C) float32 rows of a table whose columns are among the schema's, in any order; the others are NaN.

    Raises ValueError for unknown columns, for text where numbers belong and, but for the data of a table, where
    such words count as unknown, for unknown words of a category.
    """
    frame = frame.drop(columns=[c for c in stamp_names(schema.columns) if c in frame.columns])
    beside = [c.name for c in TableCodec(schema).columns if c.name not in schema.columns] if schema.table else []
    frame = frame.drop(columns=[c for c in beside if c in frame.columns])  # identifiers, free text: not modelled
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
