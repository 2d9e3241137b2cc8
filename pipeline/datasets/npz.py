"""npz: the user's own arrays (dataset.path): `x` and optional `y` in a .npz file, or `x` alone in a .npy file.

x: images (N, H, W) or (N, H, W, 1 or 3), or vectors (N, D); NaN where missing. y: (N,) whole numbers or words.
Nothing is ever unpickled, and a header is checked against the file and the memory before it is believed. Bytes and
float32 in a .npy file may be larger than memory: they are read in chunks.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError

import numpy as np
import pandas as pd
import psutil

from pipeline.base.params import Params
from pipeline.datasets.categories import category_codes, with_categories
from pipeline.datasets.source import RawData, Source
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.row_file import RowFile, Rows, chunks, read_header
from pipeline.rows.schema import Schema
from pipeline.rows.tokens import Token

HEADER_BYTES = 4096
# What Python's zip reader and NumPy raise for a damaged file; RuntimeError and its kind: encrypted, unknown method.
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, RuntimeError, SyntaxError, TokenError)
MAX_PATCHES = 64  # what the default patch size aims at


def read_array(path: Path, name: str = "x") -> np.ndarray | None:
    """The array of a .npy file, or the array `name` of a .npz file (None when it has none).

    Raises ValueError naming the fault: not such a file, Python objects, a header that promises more than the file
    or the memory holds.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            with open(path, "rb") as stream:
                shape, _, dtype = _check_header(stream.read(HEADER_BYTES), path.stat().st_size, path.name)
            _check_memory(shape, dtype, path.name)
            return np.load(path, allow_pickle=False)
        with zipfile.ZipFile(path) as archive:
            if f"{name}.npy" not in archive.namelist():
                return None
            with archive.open(f"{name}.npy") as stream:
                size, label = archive.getinfo(f"{name}.npy").file_size, f"{path.name}: {name}"
                shape, _, dtype = _check_header(stream.read(HEADER_BYTES), size, label)
            _check_memory(shape, dtype, label)
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[name]
    except UNREADABLE as error:
        raise ValueError(f"{path} is not a readable {path.suffix} file: {error}") from error


def _check_header(head: bytes, size: int, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether it is stored by column, dtype). Raises ValueError unless the file can hold it."""
    stream = io.BytesIO(head)
    shape, by_column, dtype = read_header(stream, name)
    if dtype.hasobject:
        raise ValueError(f"{name} must hold numbers. Got Python objects, which are never loaded.")
    wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if wanted + stream.tell() > size:
        raise ValueError(f"{name}: its header says {shape} of {dtype}, {wanted} bytes. The file has {size}.")
    return shape, by_column, dtype


def _check_memory(shape: tuple[int, ...], dtype: np.dtype, name: str) -> None:
    """Raises ValueError for an array larger than the free memory."""
    wanted, free = int(np.prod(shape, dtype=object)) * dtype.itemsize, psutil.virtual_memory().available
    if wanted > free:
        raise ValueError(f"{name}: its header says {wanted} bytes. This machine has {free} free.")


def load(raw: Path, params: Params) -> RawData:
    """Rows of `x` with the label of `y` behind it. Raises ValueError naming what does not fit."""
    path = SOURCE.user_file(raw, params)
    rows, shape = _rows(path)
    if rows.dtype.kind not in "buif" or len(shape) not in (2, 3, 4) or 0 in shape:
        raise ValueError(
            f"{path}: 'x' must be numbers of shape (N, D), (N, H, W) or (N, H, W, channels). Got {rows.dtype} {shape}."
        )
    if any(np.isinf(part).any() for part in chunks(rows)) if rows.dtype.kind == "f" else False:
        raise ValueError(f"{path}: 'x' must be finite or NaN (missing). Got an infinity.")
    schema = _vectors(rows) if len(shape) == 2 else _images(rows, shape, params)
    if isinstance(rows, np.ndarray) and rows.dtype != np.uint8:
        rows = rows.astype(np.float32)
    y = read_array(path, "y") if path.suffix.lower() == ".npz" and params.prepare.label_token else None
    if y is None:
        return RawData(schema, rows)
    if y.shape != (len(rows),) or y.dtype.kind not in "biuU":
        raise ValueError(f"{path}: 'y' must be {len(rows)} whole numbers or words. Got {y.dtype} of shape {y.shape}.")
    words, codes = category_codes(pd.Series(y.astype(str)), "y")
    schema = with_categories(schema, {"label": words}, "label", "label")
    return RawData(schema, np.concatenate([rows, codes[:, None].astype(rows.dtype)], 1))


def _rows(path: Path) -> tuple[Rows, tuple[int, ...]]:
    """((N, all else) rows of `x`, its shape); bytes and float32 of a .npy file stay there. Raises ValueError."""
    if path.suffix.lower() == ".npy":
        with open(path, "rb") as stream:
            shape, by_column, dtype = _check_header(stream.read(HEADER_BYTES), path.stat().st_size, path.name)
        if dtype in (np.uint8, np.float32) and dtype.isnative and not by_column and len(shape) > 1 and 0 not in shape:
            return RowFile(path, flatten=True), shape
    x = read_array(path)
    if x is None:
        raise ValueError(f"{path} must have an array named 'x'.")
    return (x.reshape(len(x), -1) if x.ndim and x.size else x), x.shape


def _images(rows: Rows, shape: tuple[int, ...], params: Params) -> Schema:
    height, width = shape[1:3]
    channels = 1 if len(shape) == 3 else shape[3]
    if channels not in (1, 3):
        raise ValueError(f"'x' must have 1 or 3 channels in its last axis. Got {channels} in {shape}.")
    low, high = (0.0, 255.0) if rows.dtype == np.uint8 else _range(rows)
    if not high > low:
        raise ValueError(f"'x' must have pixels that differ. Got {low} everywhere.")
    patch = params.prepare.patch_size_px or default_patch_size_px(height, width)
    return image_label_schema(height, width, channels, patch, low, high, [])


def _range(rows: Rows) -> tuple[float, float]:
    """(least, largest) known cell; (nan, nan) where there is none."""
    low, high = np.nan, np.nan
    for part in chunks(rows):
        known = part[~np.isnan(part)] if part.dtype.kind == "f" else part
        if known.size:
            low, high = float(np.fmin(low, known.min())), float(np.fmax(high, known.max()))
    return low, high


def default_patch_size_px(height: int, width: int) -> int:
    """The smallest edge that divides the image into at most MAX_PATCHES patches; else the largest that divides it."""
    edges = [p for p in range(1, min(height, width) + 1) if height % p == 0 and width % p == 0]
    return next((p for p in edges if (height // p) * (width // p) <= MAX_PATCHES), edges[-1])


def _vectors(rows: Rows) -> Schema:
    """One numeric token a column, standardised by the mean and deviation of its known cells."""
    count, mean, squares = np.zeros((3, rows.shape[1]))
    for part in chunks(rows):  # Chan, Golub, LeVeque 1979
        known = ~np.isnan(part) if part.dtype.kind == "f" else np.ones(part.shape, bool)
        values, n = np.where(known, part, 0).astype(np.float64), known.sum(0)
        own = values.sum(0) / np.maximum(n, 1)
        step, both = own - mean, np.maximum(count + n, 1)
        squares += (np.where(known, values - own, 0.0) ** 2).sum(0) + step**2 * count * n / both
        mean, count = mean + step * n / both, count + n
    if not count.all():
        raise ValueError(f"'x' must have a known cell in every column. Got none in column {int(count.argmin())}.")
    deviation = np.sqrt(squares / count)
    tokens = [
        Token(f"x{i}", "numeric", f"x{i}", (i,), 1, (0, i), float(mean[i]), float(deviation[i]) or 1.0)
        for i in range(len(mean))
    ]
    return Schema(tuple(tokens), tuple(t.name for t in tokens))


SOURCE = Source("npz", load, reads_path=True)
