"""A made table of any size as Parquet, for benchmarks: orders of a shop, written in pieces.

Numbers are random to their last digit and texts are random letters, so that a file is about as large as what is in it.
Columns depend on one another a little: what a model learns is not nothing.

Shapes: N rows of a piece.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GROUP_ROWS = 1_048_576  # of a row group: what pyarrow and pandas write by default
MEASURES = 16
WORDS = {
    "country": ["NL", "DE", "PL", "PT", "SE", "AT"],
    "channel": ["shop", "web", "phone"],
    "product": [f"P-{i:03d}" for i in range(40)],
    "grade": ["low", "middle", "high"],
}
GAPPY = ("amount", "country", "ordered", "items", "measure_0", "measure_1", "grade")
_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz     ", np.uint8)
NOTE_CHARACTERS = 120


def piece(rng: np.random.Generator, first: int, rows: int, gap_share: float) -> pa.Table:
    """N rows of the table from row `first` on; a share of the rows has gaps, each in two or three of GAPPY."""
    place = {name: rng.integers(0, len(words), rows) for name, words in WORDS.items()}
    level = rng.normal(size=rows) + 0.5 * place["grade"]
    amount = np.round(np.exp(3 + level / 2 + 0.1 * place["country"]), 2)
    found = {
        "order_id": rng.permutation(rows).astype(np.int64) + first,
        "ordered": (np.datetime64("2019-01-01", "us") + rng.integers(0, 5 * 365 * 86400, rows).astype("m8[s]")),
        "amount": amount,
        "items": (1 + rng.poisson(np.exp(level / 3))).astype(np.int32),
        "express": rng.random(rows) < 0.2 + 0.2 * (place["channel"] == 1),
        **{f"measure_{i}": level + rng.normal(size=rows) * (i + 1) for i in range(MEASURES)},
    }
    gappy = rng.random(rows) < gap_share
    gaps = {name: gappy & (rng.random(rows) < 0.35) for name in GAPPY}
    arrays = {name: pa.array(values, mask=gaps.get(name)) for name, values in found.items()}
    for name, words in WORDS.items():
        code = np.where(gaps[name], -1, place[name]) if name in gaps else place[name]
        arrays[name] = pa.array(words).take(pa.array(code, mask=code < 0))
    arrays["note"] = _notes(rng, rows)
    return pa.table(arrays)


def _notes(rng: np.random.Generator, rows: int) -> pa.Array:
    """N texts of NOTE_CHARACTERS random letters, built without a Python string each."""
    letters = _LETTERS[rng.integers(0, len(_LETTERS), rows * NOTE_CHARACTERS, dtype=np.uint8)]
    offsets = np.arange(0, (rows + 1) * NOTE_CHARACTERS, NOTE_CHARACTERS, dtype=np.int32)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(letters))


def write_table(
    path: Path, size_bytes: int, gap_share: float, group_rows: int = GROUP_ROWS, pieces: int = 1, seed: int = 0
) -> int:
    """Writes a table of `size_bytes`, or a little more, and of `pieces` row groups at least; how many rows it has."""
    rng, rows, writer = np.random.default_rng(seed), 0, None
    while rows < pieces * group_rows or path.stat().st_size < size_bytes:
        table = piece(rng, rows, group_rows, gap_share)
        writer = writer or pq.ParquetWriter(path, table.schema, use_dictionary=list(WORDS))
        writer.write_table(table, row_group_size=group_rows)
        rows += len(table)
    writer.close()
    return rows
