"""Rows from people's files, and rows as people's files: .npy, .npz, .csv, .parquet, .txt, PNG and folders of PNG.

    rows = read_rows(Path("faces/"), schema)             # (N, C) float32 in the units of the source, NaN unknown
    write_rows(Path("out.png"), draws, schema)           # (K, N, C); one file, or a folder where there is no suffix

Shapes: N rows, C columns, K draws, H, W pixels.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.datasets.image_files import NotAnImage, fit_pixels, image_files, open_image
from pipeline.datasets.image_folder import ATTRIBUTES, FILE_COLUMN
from pipeline.datasets.npz import read_array
from pipeline.datasets.table import read_table
from pipeline.datasets.text import GROUP as TEXT_GROUP
from pipeline.files import replaced_folder, write_array, write_bytes, write_text
from pipeline.params import TableParams
from pipeline.parts import parse_cell
from pipeline.pictures import png, sheet, tiles
from pipeline.schema import Schema
from pipeline.table import TableCodec

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
MAX_SHEET_TILES = 4096
UNKNOWN_CHARACTER = "_"  # in text files: a character that is not given
_VISIBLE = {"\n": "⏎", "\t": "⇥"}  # a line of a text file cannot hold a line break


# -- reading -----------------------------------------------------------------------------------------------------
def read_rows(path: Path, schema: Schema) -> np.ndarray:
    """(N, C) float32 rows of a file or folder, NaN where the file says nothing.

    .npy: rows (N, C) or images (N, H, W[, channels]); .npz: `x` and optional `y`; .csv, .tsv, .parquet: columns named
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
    elif suffix in TABLE_SUFFIXES:
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
    return {v: k for k, v in _VISIBLE.items()}.get(character, character)


def read_frame(path: Path) -> pd.DataFrame:
    """The table of a .csv, .tsv (also gzipped) or .parquet file. Raises ValueError naming the file and its fault."""
    if not Path(path).is_file():
        raise ValueError(f"There is no file {path}.")
    return read_table(path, TableParams())


def rows_of_frame(frame: pd.DataFrame, schema: Schema, name: str = "the table") -> np.ndarray:
    """(N, C) float32 rows of a table whose columns are among the schema's, in any order; the others are NaN.

    Raises ValueError for unknown columns, for text where numbers belong and, but for the data of a table, where
    such words count as unknown, for unknown words of a category.
    """
    frame = frame.drop(columns=[c for c in ("draw", "row") if c in frame.columns and c not in schema.columns])
    extra = [str(c) for c in frame.columns if str(c) not in schema.columns]
    if extra:
        raise ValueError(f"{name}: unknown columns {extra[:8]}. The model has {list(schema.columns)[:20]}.")
    if schema.kinds:
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
    elif suffix in TABLE_SUFFIXES:
        write_frame(path, frame_of_rows(draws, schema))
    elif suffix == ".txt":
        write_text(path, "\n".join(texts(row, schema) for row in draws.reshape(-1, draws.shape[2])) + "\n")
    elif suffix == ".png":
        write_bytes(path, _sheet(draws, schema, given))
    elif suffix == "":
        _write_folder(path, draws, schema)
    else:
        raise ValueError(f"An output must end in .npy, .npz, .csv, .tsv, .parquet, .txt, .png or nothing. Got {path}.")


def check_output(path: Path, schema: Schema | None) -> None:
    """Raises ValueError when `write_rows` could not write such a file for this data; asked before the work."""
    suffix = Path(path).suffix.lower()
    if suffix not in ("", ".npy", ".npz", ".txt", ".png", *TABLE_SUFFIXES):
        raise ValueError(f"An output must end in .npy, .npz, .csv, .tsv, .parquet, .txt, .png or nothing. Got {path}.")
    if schema is not None and suffix in ("", ".png") and schema.image is None:
        raise ValueError(f"This model has no image: write .csv, .parquet, .npy, .npz or .txt. Got {path}.")
    if suffix == ".txt" and schema is not None and not any(t.group == TEXT_GROUP for t in schema.tokens):
        raise ValueError(f"This model has no text: write .csv, .parquet, .npy, .npz or .png. Got {path}.")


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Writes a table as .parquet, .tsv or .csv, atomically."""
    if Path(path).suffix.lower() == ".parquet":
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        write_bytes(path, buffer.getvalue())
    else:
        write_text(path, frame.to_csv(index=False, sep="\t" if Path(path).suffix.lower() == ".tsv" else ","))


def frame_of_rows(draws: np.ndarray, schema: Schema) -> pd.DataFrame:
    """A table of (K, N, C) draws with words for categories; columns `draw` and `row` come first when K > 1."""
    flat = draws.reshape(-1, draws.shape[2])
    columns = {}
    if len(draws) > 1:
        columns["draw"] = np.repeat(np.arange(len(draws)), draws.shape[1])
        columns["row"] = np.tile(np.arange(draws.shape[1]), len(draws))
    if schema.kinds:
        return pd.concat([pd.DataFrame(columns), TableCodec(schema).frame(flat)], axis=1)
    for index, name in enumerate(schema.columns):
        token = schema.tokens[schema.token_of_column[index]]
        codes = flat[:, index]
        columns[name] = words_of(schema, token.name, codes) if token.modality == "categorical" else codes
    return pd.DataFrame(columns)


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
    """The text of one row (C,); "_" stands for characters that are not known."""
    out = []
    for token in schema.tokens:
        if token.group == TEXT_GROUP:
            word = words_of(schema, token.name, row[[token.columns[0]]])[0]
            out.append(UNKNOWN_CHARACTER if word is None else _VISIBLE.get(word, word))
    return "".join(out)


def picture(row: np.ndarray, schema: Schema) -> np.ndarray:
    """(H, W, 3 or 4) uint8 picture of one row (C,) at its own size; unknown pixels are transparent."""
    pixels = tiles(schema, row[None])[0]
    known = ~np.isnan(schema.images(row[None])[0]).any(-1)
    return pixels if known.all() else np.dstack([pixels, known.astype(np.uint8) * 255])


def _npz(draws: np.ndarray, schema: Schema) -> bytes:
    """x: images where there are, else rows; y: label codes, −1 where unknown."""
    flat = draws.reshape(-1, draws.shape[2])
    arrays = {"x": schema.images(flat) if schema.image is not None else flat}
    if schema.label_token is not None:
        arrays["y"] = schema.labels(flat)
    arrays = {k: v.reshape(*draws.shape[:2], *v.shape[1:]) if len(draws) > 1 else v for k, v in arrays.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _sheet(draws: np.ndarray, schema: Schema, given: np.ndarray | None) -> bytes:
    k, n = draws.shape[:2]
    if k == n == 1 and given is None:
        return png(picture(draws[0, 0], schema))
    if k * n > MAX_SHEET_TILES:
        raise ValueError(f"A .png sheet holds at most {MAX_SHEET_TILES} images. Got {k * n}: write a folder.")
    pictures = np.stack([tiles(schema, d) for d in draws], 1)  # (N, K, H, W, 3)
    if given is not None:
        return png(sheet(np.concatenate([tiles(schema, given)[:, None], pictures], 1)))
    pictures = pictures.reshape(n * k, *pictures.shape[2:])
    width = k if k > 1 else int(np.ceil(np.sqrt(n)))
    padding = -len(pictures) % width
    blank = np.full((padding, *pictures.shape[1:]), 255, np.uint8)
    return png(sheet(np.concatenate([pictures, blank]).reshape(-1, width, *pictures.shape[1:])))


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
