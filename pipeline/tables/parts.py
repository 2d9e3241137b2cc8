"""Names for parts of a row, as people say them: "upper", "label", "image", a token, a column, a group of tokens.

Shapes: N rows, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.rows.cells import image_columns
from pipeline.rows.schema import Schema

HALVES = ("upper", "lower", "left", "right")


def named_columns(schema: Schema, names: Sequence[str]) -> np.ndarray:
    """(C,) bool: the columns of every named part.

    A name is "all", "none", "image", one half of the image (upper, lower, left, right), "label" (every categorical
    token of an image dataset), or the name of a token, a column or a group. Raises ValueError that lists the names.
    """
    out = np.zeros(len(schema.columns), bool)
    for name in names:
        out |= _part(schema, name)
    return out


def part_names(schema: Schema) -> list[str]:
    """Every name that `named_columns` knows for this schema, patches and pixels left out."""
    names = ["all", "none"]
    if schema.image is not None:
        names += ["image", *HALVES]
    groups = [g.name for g in schema.groups if g.name not in names]
    tokens = [t.name for t in schema.tokens if t.modality != "patch"]
    labels = ["label"] if schema.image is not None and len(schema.tokens_of("categorical")) else []
    return list(dict.fromkeys(names + labels + groups + tokens))


def _part(schema: Schema, name: str) -> np.ndarray:
    out = np.zeros(len(schema.columns), bool)
    if name == "none":
        return out
    if name == "all":
        return ~out
    if schema.image is not None:
        if name == "image":
            return image_columns(schema)
        if name in HALVES:
            return _half(schema, name)
        if name == "label":
            out[[schema.tokens[i].columns[0] for i in schema.tokens_of("categorical")]] = True
            if out.any():
                return out
    owners = [t for t in schema.tokens if name in (t.name, t.group)]
    for token in owners:
        out[list(token.columns)] = True
    if not owners and name in schema.columns:
        out[schema.columns.index(name)] = True
    if not out.any():
        raise ValueError(f"No part {name!r} in this data. Its parts: {', '.join(part_names(schema)[:60])}.")
    return out


def _half(schema: Schema, name: str) -> np.ndarray:
    """(C,) bool: the pixels of the patches in one half of the grid; the middle line of an odd grid is in none."""
    axis = 0 if name in ("upper", "lower") else 1
    patches = [schema.tokens[int(i)] for i in schema.tokens_of("patch")]
    lines = 1 + max(t.position[axis] for t in patches)
    first = range(lines // 2) if name in ("upper", "left") else range(lines - lines // 2, lines)
    out = np.zeros(len(schema.columns), bool)
    for token in patches:
        if token.position[axis] in first:
            out[list(token.columns)] = True
    return out


def assign(schema: Schema, rows: np.ndarray, assignments: Sequence[str]) -> np.ndarray:
    """A float32 copy of (N, C) rows with cells set by "name=value": the word or code of a category, or a number.

    Raises ValueError naming the assignment, and the words there are.
    """
    out = np.array(rows, np.float32)
    for text in assignments:
        name, separator, value = text.partition("=")
        if not separator:
            raise ValueError(f"An assignment must look like name=value. Got {text!r}.")
        columns = np.flatnonzero(_part(schema, name))
        if len(columns) != 1:
            raise ValueError(f"{name!r} must be one cell to take a value. Got a part of {len(columns)} cells.")
        out[:, columns[0]] = parse_cell(schema, int(columns[0]), value)
    return out


def parse_cell(schema: Schema, column: int, value: str) -> float:
    """The cell that `value` stands for in a column: the code of a category's word, or a number. Raises ValueError."""
    token, name = schema.tokens[schema.token_of_column[column]], schema.columns[column]
    if schema.table:
        return _table_cell(schema, name, value)
    if token.modality == "categorical":
        words = schema.categories.get(token.name, [str(i) for i in range(token.width)])
        if value not in words:
            raise ValueError(f"{name!r} must be one of {', '.join(map(repr, words[:40]))}. Got {value!r}.")
        return float(words.index(value))
    try:
        return float(value)
    except ValueError as error:
        raise ValueError(f"{name!r} must be a number. Got {value!r}.") from error


def _table_cell(schema: Schema, name: str, value: str) -> float:
    """The cell in the row of a table, where numbers have origins and days are numbers."""
    import pandas as pd

    from pipeline.tables.codec import TableCodec

    frame = pd.DataFrame({c: pd.Series([value if c == name else None], dtype=object) for c in schema.columns})
    cell = float(TableCodec(schema).rows(frame)[0, schema.columns.index(name)])
    if np.isnan(cell):
        words = ", ".join(map(repr, schema.categories.get(name, [])[:40]))
        raise ValueError(f"{name!r} must be {f'one of {words}' if words else 'a value'}. Got {value!r}.")
    return cell
