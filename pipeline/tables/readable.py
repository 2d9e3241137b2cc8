"""Rows as people read them: words of categories, text of characters.

Shapes: N rows, C columns, K draws.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from pipeline.rows.schema import TEXT_GROUP, Schema
from pipeline.tables.codec import TableCodec

UNKNOWN_CHARACTERS = "_□▢⍰"  # in text files: a character that is not given; the first that the model does not know

SHOWN_CHARACTERS = {"\n": "⏎", "\t": "⇥"}  # a line of a text file cannot hold a line break


def frame_of_rows(draws: np.ndarray, schema: Schema) -> pd.DataFrame:
    """A table of (K, N, C) draws with words for categories; columns `draw` and `row` come first when K > 1."""
    flat = draws.reshape(-1, draws.shape[2])
    columns = {}
    if len(draws) > 1:
        first, second = stamp_names(schema.columns)
        columns[first] = np.repeat(np.arange(len(draws)), draws.shape[1])
        columns[second] = np.tile(np.arange(draws.shape[1]), len(draws))
    if schema.table:
        return pd.concat([pd.DataFrame(columns), TableCodec(schema).frame(flat)], axis=1)
    for index, name in enumerate(schema.columns):
        token = schema.tokens[schema.token_of_column[index]]
        codes = flat[:, index]
        columns[name] = words_of(schema, token.name, codes) if token.modality == "categorical" else codes
    return pd.DataFrame(columns)


def stamp_names(columns: Iterable[str]) -> tuple[str, str]:
    """Names of the columns that number draws and rows: draw and row, or others where the table has these."""
    taken = {str(c) for c in columns}

    def free(name: str) -> str:
        while name in taken:
            name = f"biglearn_{name}"
        return name

    return free("draw"), free("row")


def readable(rows: np.ndarray, schema: Schema) -> pd.DataFrame:
    """(N, C) rows as people read them: a column `text` of a text, else the columns with the words of categories."""
    if all(token.group == TEXT_GROUP for token in schema.tokens):
        return pd.DataFrame({"text": [texts(row, schema) for row in rows]})
    return frame_of_rows(rows[None], schema)


def words_of(schema: Schema, token_name: str, codes: np.ndarray) -> list[str | None]:
    """The words of category codes (N,); None where NaN."""
    words = schema.categories.get(token_name)
    return [None if np.isnan(c) else words[int(c)] if words else str(int(c)) for c in codes]


def texts(row: np.ndarray, schema: Schema) -> str:
    """The text of one row (C,); `unknown_character` stands for characters that are not known."""
    out, unknown = [], unknown_character(schema)
    for token in schema.tokens:
        if token.group == TEXT_GROUP:
            word = words_of(schema, token.name, row[[token.columns[0]]])[0]
            out.append(unknown if word is None else SHOWN_CHARACTERS.get(word, word))
    return "".join(out)


def unknown_character(schema: Schema) -> str:
    """What stands for a character that is not given: "_", or "□" where "_" is a character of the text itself."""
    token = next(t for t in schema.tokens if t.group == TEXT_GROUP)
    known = set(schema.categories.get(token.name, []))
    return next((c for c in UNKNOWN_CHARACTERS if c not in known), "\0")
