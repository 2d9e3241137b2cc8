"""attributes.csv beside pictures: a column `file` that names each of them once, and columns of words.

Names match whole; else by their letters in any case; else by the file's name alone, then without its suffix, where
these name each picture once. Columns `draw` and `row`, which `biglearn` writes, say nothing about a picture.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline.base.data_groups import TableParams
from pipeline.datasets.folder_layout import some

ATTRIBUTES, FILE_COLUMN = "attributes.csv", "file"
MISSING = tuple(TableParams().missing)
WRITTEN_WITH_DRAWS = ("draw", "row")
SEPARATORS = (",", ";", "\t", "|")
KEYS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("", lambda name: name),
    ("in any case of letters", str.casefold),
    ("by the file's name alone", lambda name: PurePosixPath(name).name.casefold()),
    ("by the file's name without its suffix", lambda name: PurePosixPath(name).stem.casefold()),
)


def read_attributes(path: Path) -> pd.DataFrame:
    """The table as text, indexed by `file`, empty cells missing. Raises ValueError naming the file and its fault."""
    try:
        text = _decoded(path.read_bytes())
        header = text.split("\n", 1)[0]
        separator = max(SEPARATORS, key=header.count)
        table = pd.read_csv(
            io.StringIO(text), dtype="string", sep=separator, skipinitialspace=True, keep_default_na=False
        )
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not a readable table: {str(error).splitlines()[0]}") from error
    table.columns = [str(c).strip() for c in table.columns]
    table = table.apply(lambda column: column.str.strip())
    if FILE_COLUMN not in table.columns:
        listed = ", ".join(map(repr, table.columns[:8]))
        raise ValueError(f"{path} must have a column {FILE_COLUMN!r} that names each image. Got the columns {listed}.")
    if not table.columns.is_unique:
        raise ValueError(f"{path} must name each column once. Got {list(table.columns)}.")
    named = table[table[FILE_COLUMN].fillna("") != ""]
    keys = [_clean(name) for name in named[FILE_COLUMN]]
    twice = pd.Series(keys)[pd.Series(keys).duplicated()] if keys else []
    if len(twice):
        raise ValueError(
            f"{path} must have a column {FILE_COLUMN!r} that names each image once. Got {twice.iloc[0]!r} twice."
        )
    drawn = (
        [c for c in WRITTEN_WITH_DRAWS if c in table.columns] if set(WRITTEN_WITH_DRAWS) <= set(table.columns) else []
    )
    words = [w for w in MISSING if w and (named.drop(columns=FILE_COLUMN) == w).any(axis=None)]
    if words:
        print(f"{path.name}: cells {', '.join(map(repr, words))} are read as unknown")
    named = named.replace(dict.fromkeys(MISSING, pd.NA))
    return named.drop(columns=[FILE_COLUMN, *drawn]).set_axis(pd.Index(keys, name=FILE_COLUMN))


def matched(table: pd.DataFrame, names: Sequence[str], path: Path) -> tuple[pd.DataFrame, str]:
    """(the rows of the pictures `names`, all missing where a picture has none; a sentence that says what matched).

    Raises ValueError when no row names a picture.
    """
    for how, key in KEYS:  # noqa: B007  it is said below
        rows = pd.Series(range(len(table)), index=[key(n) for n in table.index])
        keys = [key(n) for n in names]
        if not rows.index.is_unique or len(set(keys)) != len(keys):
            continue
        place = rows.reindex(keys)
        if place.notna().any():
            break
    else:
        raise ValueError(
            f"{path}: column {FILE_COLUMN!r} must name the images of the folder, e.g. {names[0] if names else ''!r}. "
            f"Got none of them, e.g. {table.index[0] if len(table) else ''!r}."
        )
    unused = [str(n) for i, n in enumerate(table.index) if i not in set(place.dropna().astype(int))]
    without = [n for n, row in zip(names, place, strict=True) if pd.isna(row)]
    said = f"{path.name}: {len(names) - len(without)} of {len(names)} pictures have a row{', ' + how if how else ''}"
    said += f"; no row: {some(without)}" if without else ""
    said += f"; rows without a picture: {some(unused)}" if unused else ""
    chosen = table.iloc[[0 if pd.isna(r) else int(r) for r in place]].reset_index(drop=True) if len(table) else table
    return chosen.mask(place.isna().reset_index(drop=True), pd.NA, axis=0), said


def _decoded(payload: bytes) -> str:
    """UTF-8, with or without a mark; else Latin-1, which every byte is."""
    try:
        return payload.decode("utf-8-sig")
    except UnicodeDecodeError:
        return payload.decode("latin-1")


def _clean(name: str) -> str:
    name = unicodedata.normalize("NFC", str(name).strip().replace("\\", "/"))
    return name.removeprefix("./").lstrip("/")
