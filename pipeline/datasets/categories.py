"""Words as category tokens beside an image: class names, attributes.

Shapes: N rows, A tokens.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline.rows.schema import Schema
from pipeline.rows.tokens import Token

MAX_CATEGORIES = 255


def with_categories(schema: Schema, words: dict[str, list[str]], group: str, label: str = "") -> Schema:
    """`schema` with one categorical token a name in `words` (name → its words) appended.

    Tokens of equal width share the group, and with it their embedding. label: the name of the class token, or "".
    """
    start = len(schema.columns)
    tokens = tuple(
        Token(name, "categorical", name if name == label else group, (start + i,), len(w), (0, i))
        for i, (name, w) in enumerate(words.items())
    )
    return replace(
        schema,
        tokens=schema.tokens + tokens,
        columns=schema.columns + tuple(words),
        label=label,
        categories={**schema.categories, **words},
    )


def category_codes(values: pd.Series, name: str) -> tuple[list[str], np.ndarray]:
    """(sorted words, (N,) float32 codes, NaN where empty) of a column of words.

    Raises ValueError for less than one or more than MAX_CATEGORIES words.
    """
    text = values.astype("string").where(values.notna())
    words = sorted(
        text.dropna().unique().tolist(), key=lambda w: (not w.lstrip("-").isdigit(), len(w) if w.isdigit() else 0, w)
    )
    if not 1 <= len(words) <= MAX_CATEGORIES:
        raise ValueError(f"Column {name!r} must have 1 to {MAX_CATEGORIES} different words. Got {len(words)}.")
    codes = text.map({w: i for i, w in enumerate(words)}).astype("Float32")
    return words, codes.to_numpy(np.float32, na_value=np.nan)


def joined(pixels: np.ndarray, codes: list[np.ndarray]) -> np.ndarray:
    """(N, C + A) rows of (N, C) uint8 pixels and A code columns: uint8 where every code is known, else float32."""
    if not codes:
        return pixels
    table = np.stack(codes, 1)
    dtype = np.float32 if np.isnan(table).any() else np.uint8
    return np.concatenate([pixels.astype(dtype, copy=False), table.astype(dtype)], 1)
