"""npz: the user's own arrays (dataset.path): `x` and optional `y` in a .npz file, or `x` alone in a .npy file.

x: images (N, H, W) or (N, H, W, 1 or 3), or vectors (N, D); NaN where missing. y: (N,) whole numbers or words.
Nothing is ever unpickled, and a header is checked against the file and the memory before it is believed.
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

from pipeline.datasets.categories import category_codes, with_categories
from pipeline.datasets.source import RawData, Source
from pipeline.params import Params
from pipeline.schema import Schema, Token, image_label_schema

HEADER_BYTES = 4096
# What Python's zip reader and NumPy raise for a damaged file; RuntimeError and its kind: encrypted, unknown method.
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, RuntimeError, TokenError)
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
                _check_header(stream.read(HEADER_BYTES), path.stat().st_size, path.name)
            return np.load(path, allow_pickle=False)
        with zipfile.ZipFile(path) as archive:
            if f"{name}.npy" not in archive.namelist():
                return None
            with archive.open(f"{name}.npy") as stream:
                _check_header(
                    stream.read(HEADER_BYTES), archive.getinfo(f"{name}.npy").file_size, f"{path.name}: {name}"
                )
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[name]
    except UNREADABLE as error:
        raise ValueError(f"{path} is not a readable {path.suffix} file: {error}") from error


def _check_header(head: bytes, size: int, name: str) -> None:
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    except (ValueError, TokenError) as error:
        raise ValueError(f"{name} is not a NumPy array: {error}") from error
    if dtype.hasobject:
        raise ValueError(f"{name} must hold numbers. Got Python objects, which are never loaded.")
    wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if wanted + stream.tell() > size:
        raise ValueError(f"{name}: its header says {shape} of {dtype}, {wanted} bytes. The file has {size}.")
    free = psutil.virtual_memory().available
    if wanted > free:
        raise ValueError(f"{name}: its header says {wanted} bytes. This machine has {free} free.")


def load(raw: Path, params: Params) -> RawData:
    """Rows of `x` with the label of `y` behind it. Raises ValueError naming what does not fit."""
    path = SOURCE.user_file(raw, params)
    x = read_array(path)
    if x is None:
        raise ValueError(f"{path} must have an array named 'x'.")
    if x.dtype.kind not in "buif" or x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise ValueError(
            f"{path}: 'x' must be numbers of shape (N, D), (N, H, W) or (N, H, W, channels). Got {x.dtype} {x.shape}."
        )
    if np.isinf(x).any() if x.dtype.kind == "f" else False:
        raise ValueError(f"{path}: 'x' must be finite or NaN (missing). Got an infinity.")
    schema = _vectors(x) if x.ndim == 2 else _images(x, params)
    rows = x.reshape(len(x), -1)
    rows = rows if rows.dtype == np.uint8 else rows.astype(np.float32)
    y = read_array(path, "y") if path.suffix.lower() == ".npz" and params.prepare.label_token else None
    if y is None:
        return RawData(schema, rows)
    if y.shape != (len(x),) or y.dtype.kind not in "biuU":
        raise ValueError(f"{path}: 'y' must be {len(x)} whole numbers or words. Got {y.dtype} of shape {y.shape}.")
    words, codes = category_codes(pd.Series(y.astype(str)), "y")
    schema = with_categories(schema, {"label": words}, "label", "label")
    return RawData(schema, np.concatenate([rows, codes[:, None].astype(rows.dtype)], 1))


def _images(x: np.ndarray, params: Params) -> Schema:
    height, width = x.shape[1:3]
    channels = 1 if x.ndim == 3 else x.shape[3]
    if channels not in (1, 3):
        raise ValueError(f"'x' must have 1 or 3 channels in its last axis. Got {channels} in {x.shape}.")
    low, high = (0.0, 255.0) if x.dtype == np.uint8 else (float(np.nanmin(x)), float(np.nanmax(x)))
    if not high > low:
        raise ValueError(f"'x' must have pixels that differ. Got {low} everywhere.")
    patch = params.prepare.patch_size_px or default_patch_size_px(height, width)
    return image_label_schema(height, width, channels, patch, low, high, [])


def default_patch_size_px(height: int, width: int) -> int:
    """The smallest edge that divides the image into at most MAX_PATCHES patches; else the largest that divides it."""
    edges = [p for p in range(1, min(height, width) + 1) if height % p == 0 and width % p == 0]
    return next((p for p in edges if (height // p) * (width // p) <= MAX_PATCHES), edges[-1])


def _vectors(x: np.ndarray) -> Schema:
    """One numeric token a column, standardised by the mean and deviation of its known cells."""
    tokens = []
    for i, column in enumerate(np.asarray(x, np.float64).T):
        known = column[~np.isnan(column)]
        if not len(known):
            raise ValueError(f"'x' must have a known cell in every column. Got none in column {i}.")
        tokens.append(
            Token(f"x{i}", "numeric", f"x{i}", (i,), 1, (0, i), float(known.mean()), float(known.std()) or 1.0)
        )
    return Schema(tuple(tokens), tuple(t.name for t in tokens))


SOURCE = Source("npz", load, reads_path=True)
