"""Rows from NumPy arrays of people's own, in the units of the training data.

Shapes: N rows, C columns, K draws, H, W pixels.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from pipeline.datasets.npz import read_array
from pipeline.rows.schema import Schema

FEWEST_FRACTIONS = 16  # known pixels that show that an array was divided by 255
SLACK = 0.5  # of the range of the pixels, that new ones may lie outside


def rows_of_array(path: Path, schema: Schema) -> np.ndarray:
    """(N, C) float32 rows of `x` in a .npy or .npz file, and of `y`, the class, in a .npz file.

    x: rows (N, C), images (N, H, W[, channels]) or (N, H·W·channels), or K draws of these, which follow one another.
    y: the words of the classes, or the whole numbers that are these words; "" or −1 where unknown. Raises ValueError.
    """
    x = read_array(path)
    if x is None:
        raise ValueError(f"{path} must have an array named 'x'.")
    if x.dtype.kind not in "buif":
        raise ValueError(f"{path}: 'x' must be real numbers. Got {x.dtype}.")
    columns, image = len(schema.columns), schema.image
    pixels = math.prod(image) if image is not None else 0
    shapes = [(columns,), *(((pixels,), image, *([image[:2]] if image[2] == 1 else [])) if image is not None else ())]
    width = next((s for s in shapes if x.ndim > len(s) and x.shape[-len(s) :] == s and x.ndim - len(s) <= 2), None)
    if width is None:
        images = f" or images {image}" if image is not None else ""
        raise ValueError(f"{path}: 'x' must be rows of {columns} columns{images}. Got shape {x.shape}.")
    flat = x.reshape(-1, math.prod(width))
    out = np.full((len(flat), columns), np.nan, np.float32)
    out[:, : flat.shape[1]] = flat
    if image is not None:
        _check_units(out[:, :pixels], x.dtype, schema, path)
    y = read_array(path, "y") if path.suffix.lower() == ".npz" else None
    if y is not None:
        if schema.label_token is None or y.size != len(flat) or y.dtype.kind not in "biufU":
            raise ValueError(f"{path}: 'y' must be one class per row of data that has labels. Got {y.dtype} {y.shape}.")
        out[:, schema.tokens[schema.label_token].columns[0]] = _codes(y.ravel(), schema, path)
    return out


def _check_units(pixels: np.ndarray, dtype: np.dtype, schema: Schema, path: Path) -> None:
    """Raises ValueError for (N, P) pixels that are not in the units of the training data."""
    known = pixels[~np.isnan(pixels)]
    if not known.size:
        return
    low, high = schema.pixel_range
    least, most = float(known.min()), float(known.max())
    margin = SLACK * (high - low)
    divided = dtype.kind == "f" and high >= 16 and least >= 0 and most <= 1
    divided = divided and np.count_nonzero(known != np.floor(known)) >= FEWEST_FRACTIONS
    if least < low - margin or most > high + margin or divided:
        remedy = f"multiply them by {high:g}" if divided else "scale them first"
        raise ValueError(
            f"{path}: the pixels of 'x' must be in the units of the training data, {low:g} … {high:g}. "
            f"Got {least:g} … {most:g}; {remedy}."
        )


def _codes(y: np.ndarray, schema: Schema, path: Path) -> np.ndarray:
    """(N,) float32 codes of words or whole numbers, NaN where unknown. Raises ValueError for other words."""
    token = schema.tokens[schema.label_token]
    words = schema.categories.get(token.name, [str(i) for i in range(token.width)])
    code: dict[str, float] = {
        "": math.nan,
        "-1": math.nan,
        "nan": math.nan,
        **{w: float(i) for i, w in enumerate(words)},
    }
    texts = [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in y.tolist()]
    odd = next((t for t in texts if t not in code), None)
    if odd is not None:
        raise ValueError(f"{path}: 'y' must be one of {', '.join(map(repr, words[:40]))}. Got {odd!r}.")
    return np.array([code[t] for t in texts], np.float32)
