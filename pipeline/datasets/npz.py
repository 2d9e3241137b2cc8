"""npz: the user's own arrays (dataset.path): `x` and optional `y` in a .npz file, or `x` alone in a .npy file.

x: images (N, H, W) or (N, H, W, 1 or 3), or vectors (N, D); NaN where missing. y: (N,) whole numbers or words, "" where
unknown. Black and white of images are their least and largest value; 0 and 255 of bytes, unless none exceeds 127.
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

from pipeline.base.fields import ParamsError
from pipeline.base.params import Params
from pipeline.datasets.categories import MAX_CATEGORIES, category_codes, with_categories
from pipeline.datasets.source import RawData, Source
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.row_file import RowFile, Rows, chunks, read_header
from pipeline.rows.schema import Schema
from pipeline.rows.tokens import Token

HEADER_BYTES = 4096
# What Python's zip reader and NumPy raise for a damaged file; RuntimeError and its kind: encrypted, unknown method.
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, RuntimeError, SyntaxError, TokenError)
LISTED_CLASSES = 12
DARK_BYTES = 127  # bytes that none exceeds are no whole range: masks 0 and 1, digits 0 … 16
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
    """Rows of `x` with the label of `y` behind it. Prints what was understood; raises ValueError for what does not fit."""
    data, said = described(SOURCE.user_file(raw, params), params)
    print(f"npz: {said}")
    return data


def described(path: Path, params: Params) -> tuple[RawData, str]:
    """(the rows of a file, a sentence that says what they are). Raises ValueError naming what does not fit."""
    rows, shape = _without_draws(*_rows(path))
    if rows.dtype.kind not in "buif" or len(shape) not in (2, 3, 4) or 0 in shape:
        raise ValueError(
            f"{path}: 'x' must be numbers of shape (N, D), (N, H, W) or (N, H, W, channels). Got {rows.dtype} {shape}."
        )
    if any(np.isinf(part).any() for part in chunks(rows)) if rows.dtype.kind == "f" else False:
        raise ValueError(f"{path}: 'x' must be finite or NaN (missing). Got an infinity.")
    schema = _vectors(rows) if len(shape) == 2 else _images(rows, shape, params)
    said = _sentence(path.name, rows, shape, schema)
    if isinstance(rows, np.ndarray) and rows.dtype != np.uint8:
        rows = rows.astype(np.float32)
    y = read_array(path, "y") if path.suffix.lower() == ".npz" and params.prepare.label_token else None
    if y is None:
        return RawData(schema, rows), f"{said}."
    y = y.ravel() if y.size == len(rows) and y.ndim <= 2 else y  # (N, 1), or (K, N) of draws
    if y.shape != (len(rows),) or y.dtype.kind not in "biuU":
        raise ValueError(f"{path}: 'y' must be {len(rows)} whole numbers or words. Got {y.dtype} of shape {y.shape}.")
    words, codes = class_codes(y)
    schema = with_categories(schema, {"label": words}, "label", "label")
    dtype = np.float32 if np.isnan(codes).any() else rows.dtype
    rows = np.concatenate([rows.astype(dtype, copy=False), codes[:, None].astype(dtype)], 1)
    counts = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=len(words))
    listed = ", ".join(f"{w} {c}" for w, c in list(zip(words, counts, strict=True))[:LISTED_CLASSES])
    unknown = int(np.isnan(codes).sum())
    said += f"; {len(words)} classes: {listed}{', …' if len(words) > LISTED_CLASSES else ''}"
    return RawData(schema, rows), said + (f"; class unknown: {unknown}." if unknown else ".")


def class_codes(y: np.ndarray) -> tuple[list[str], np.ndarray]:
    """(words, (N,) float32 codes, NaN where the word is empty) of whole numbers or words (N,). Raises ParamsError for
    more of them than classes can be."""
    texts = pd.Series(y.astype(str))
    words = texts[texts != ""].nunique()
    if words > MAX_CATEGORIES:
        raise ParamsError(
            f"'y' must hold at most {MAX_CATEGORIES} different classes. Got {words}; set prepare.label_token=false, "
            "to train without them."
        )
    return category_codes(texts.mask(texts == ""), "y")


def _without_draws(rows: Rows, shape: tuple[int, ...]) -> tuple[Rows, tuple[int, ...]]:
    """K draws of N images (K, N, H, W, channels), as `biglearn complete` writes them, as K·N images."""
    if len(shape) != 5 or shape[-1] not in (1, 3) or 0 in shape:
        return rows, shape
    image = shape[2:]
    return rows[:].reshape(-1, int(np.prod(image))), (shape[0] * shape[1], *image)


def _sentence(name: str, rows: Rows, shape: tuple[int, ...], schema: Schema) -> str:
    """What an array was read as, for people."""
    if schema.image is None:
        return f"{name}: {len(rows)} rows of {shape[1]} numbers, {rows.dtype}"
    height, width, channels = schema.image
    low, high = schema.pixel_range
    missing = sum(int(np.isnan(part).sum()) for part in chunks(rows)) if rows.dtype.kind == "f" else 0
    return (
        f"{name}: {len(rows)} images of {width}×{height} pixels, {'grey' if channels == 1 else 'RGB'}, {rows.dtype}; "
        f"black is {low:g} and white {high:g}" + (f"; {missing} pixels missing" if missing else "")
    )


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
        last = "; move them to the end: x.transpose(0, 2, 3, 1)" if shape[1] in (1, 3) else ""
        raise ValueError(f"'x' must have 1 or 3 channels in its last axis. Got {channels} in {shape}{last}.")
    low, high = _range(rows)
    if rows.dtype == np.uint8 and high > DARK_BYTES:
        low, high = 0.0, 255.0
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
