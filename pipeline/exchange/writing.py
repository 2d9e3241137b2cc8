"""Rows from people's files, and rows as people's files: .npy, .npz, .csv, .parquet, .txt, PNG and folders of PNG.

    rows = read_rows(Path("faces/"), schema)             # (N, C) float32 in the units of the source, NaN unknown
    write_rows(Path("out.png"), draws, schema)           # (K, N, C); one file, or a folder where there is no suffix

Shapes: N rows, C columns, K draws, H, W pixels.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from pipeline.base.files import replaced_folder, write_array, write_bytes, write_text
from pipeline.base.ownership import record_folder
from pipeline.datasets.folder_attributes import ATTRIBUTES, FILE_COLUMN
from pipeline.datasets.image_files import SHEET
from pipeline.reporting.sheets import png, sheet, tiles
from pipeline.rows.schema import TEXT_GROUP, Schema
from pipeline.sources.opening import write_frame
from pipeline.sources.places import is_table
from pipeline.tables.readable import frame_of_rows, texts, words_of

MAX_SHEET_TILES = 4096


# -- writing -----------------------------------------------------------------------------------------------------
def write_rows(path: Path, draws: np.ndarray, schema: Schema, given: np.ndarray | None = None) -> None:
    """Writes (K, N, C) draws as the suffix of `path` says, atomically; without a suffix, a folder of PNG and a CSV.

    given: (N, C) rows shown before the draws in a .png sheet, NaN where hidden.
    .npy holds (N, C) rows, or (K, N, C) for several draws. Raises ValueError for a suffix that does not fit the data.
    """
    path, suffix = Path(path), Path(path).suffix.lower()
    draws = np.asarray(draws, np.float32)
    if suffix == ".npy":
        write_array(path, draws[0] if len(draws) == 1 else draws)
    elif suffix == ".npz":
        write_bytes(path, _npz(draws, schema))
    elif is_table(path):
        write_frame(path, frame_of_rows(draws, schema))
    elif suffix == ".txt":
        write_text(path, "\n".join(texts(row, schema) for row in draws.reshape(-1, draws.shape[2])) + "\n")
    elif suffix == ".png":
        write_bytes(path, _sheet(draws, schema, given))
    elif suffix == "":
        _write_folder(path, draws, schema)
    else:
        raise ValueError(
            f"An output must end in .npy, .npz, .csv, .tsv, .parquet, .txt, .png, as another table or nothing. Got {path}."
        )


def check_output(path: Path, schema: Schema | None) -> None:
    """Raises ValueError when `write_rows` could not write such a file for this data; asked before the work."""
    suffix = Path(path).suffix.lower()
    if suffix not in ("", ".npy", ".npz", ".txt", ".png") and not is_table(path):
        raise ValueError(
            f"An output must end in .npy, .npz, .csv, .tsv, .parquet, .txt, .png, as another table or nothing. Got {path}."
        )
    if schema is not None and suffix in ("", ".png") and schema.image is None:
        raise ValueError(f"This model has no image: write .csv, .parquet, .npy, .npz or .txt. Got {path}.")
    if suffix == ".txt" and schema is not None and not any(t.group == TEXT_GROUP for t in schema.tokens):
        raise ValueError(f"This model has no text: write .csv, .parquet, .npy, .npz or .png. Got {path}.")


def picture(row: np.ndarray, schema: Schema) -> np.ndarray:
    """(H, W, 3 or 4) uint8 picture of one row (C,) at its own size; unknown pixels are transparent."""
    pixels = tiles(schema, row[None])[0]
    known = ~np.isnan(schema.images(row[None])[0]).any(-1)
    return pixels if known.all() else np.dstack([pixels, known.astype(np.uint8) * 255])


def _npz(draws: np.ndarray, schema: Schema) -> bytes:
    """x: images where there are, else rows; y: the classes, see `_classes`."""
    flat = draws.reshape(-1, draws.shape[2])
    arrays = {"x": schema.images(flat) if schema.image is not None else flat}
    if schema.label_token is not None:
        arrays["y"] = _classes(flat, schema)
    arrays = {k: v.reshape(*draws.shape[:2], *v.shape[1:]) if len(draws) > 1 else v for k, v in arrays.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _classes(rows: np.ndarray, schema: Schema) -> np.ndarray:
    """(N,) the words of the classes, "" where unknown; whole numbers where every word is one and every class is known."""
    token = schema.tokens[schema.label_token]
    words = [w or "" for w in words_of(schema, token.name, rows[:, token.columns[0]])]
    whole = all(w.removeprefix("-").isdecimal() and w == str(int(w)) for w in words)
    return np.array([int(w) for w in words]) if whole else np.array(words, dtype=np.str_)


def _sheet(draws: np.ndarray, schema: Schema, given: np.ndarray | None) -> bytes:
    k, n = draws.shape[:2]
    if k == n == 1 and given is None:
        return png(picture(draws[0, 0], schema))
    if k * n > MAX_SHEET_TILES:
        raise ValueError(f"A .png sheet holds at most {MAX_SHEET_TILES} images. Got {k * n}: write a folder.")
    pictures = np.stack([tiles(schema, d) for d in draws], 1)  # (N, K, H, W, 3)
    text = {SHEET: f"{k * n} pictures that biglearn wrote"}
    if given is not None:
        return png(sheet(np.concatenate([tiles(schema, given)[:, None], pictures], 1)), text)
    pictures = pictures.reshape(n * k, *pictures.shape[2:])
    width = k if k > 1 else int(np.ceil(np.sqrt(n)))
    padding = -len(pictures) % width
    blank = np.full((padding, *pictures.shape[1:]), 255, np.uint8)
    return png(sheet(np.concatenate([pictures, blank]).reshape(-1, width, *pictures.shape[1:])), text)


def _write_folder(path: Path, draws: np.ndarray, schema: Schema) -> None:
    """One PNG a row and draw, and attributes.csv with the file's name and every cell that is not a pixel."""
    table = frame_of_rows(draws, schema).drop(columns=list(schema.columns[: int(np.prod(schema.image))]))
    names = []
    with replaced_folder(path) as fresh:
        for draw in range(len(draws)):
            for row in range(draws.shape[1]):
                names.append(f"{row:05d}.png" if len(draws) == 1 else f"{row:05d}_{draw}.png")
                write_bytes(fresh / names[-1], png(picture(draws[draw, row], schema)))
        table.insert(0, FILE_COLUMN, names)
        write_frame(fresh / ATTRIBUTES, table)
        record_folder(fresh)
