"""Rows of a .npy file read by number, one system call a row or a run of rows, and not mapped into memory.

A mapping would do for small files; of a large one the kernel maps whole folios around each row that is touched, up
to 2 MiB, and counts them all to the process: 300 steps of 64 rows on 20 GB had a resident size of 4.5 GB.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import BinaryIO

import numpy as np

CHUNK_VALUES = 1 << 22  # cells of a chunk, about
LONGEST_READ_BYTES = 1 << 30  # of one system call; Linux reads 2 GiB at most


def read_header(stream: BinaryIO, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether it is stored by column, dtype) of the .npy file that `stream` is at the start of.

    Raises ValueError with `name` when it is none, whatever NumPy's parser meets in it.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(stream)
    except (ValueError, SyntaxError, TokenError) as error:
        raise ValueError(f"{name} is not a NumPy array: {error}") from error


class RowFile:
    """The (N, C) array of a .npy file, opened for reading. shape, dtype: the array's. `len` gives N.

    flatten: read an array of more dimensions as N rows of all the others.
    """

    def __init__(self, path: Path, *, flatten: bool = False) -> None:
        """Raises ValueError when the file is no two-dimensional C-ordered array or is shorter than its header says."""
        with open(path, "rb") as stream:
            self.shape, by_column, self.dtype = read_header(stream, str(path))
            self._start, size = stream.tell(), os.fstat(stream.fileno()).st_size
        if flatten and len(self.shape) > 2:
            self.shape = (self.shape[0], math.prod(self.shape[1:]))
        if len(self.shape) != 2 or by_column or self.dtype.hasobject:
            raise ValueError(f"{path} must hold rows of numbers. Got {self.dtype} of shape {self.shape}.")
        self._row_bytes = self.shape[1] * self.dtype.itemsize
        if self._start + math.prod(self.shape) * self.dtype.itemsize > size:
            raise ValueError(f"{path}: its header says {self.shape} of {self.dtype}. The file has {size} bytes.")
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        """(n, C) rows of a slice or of an index array (n,). Raises IndexError beyond the file."""
        if isinstance(rows, slice) and rows.step in (None, 1):
            first, last, _ = rows.indices(len(self))
            return self._run(first, max(0, last - first))
        numbers = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else np.asarray(rows)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise IndexError(f"'rows' must lie in [0, {len(self)}). Got {numbers.min()} … {numbers.max()}.")
        out = np.empty((len(numbers), self.shape[1]), self.dtype)
        payload = memoryview(out.reshape(-1).view(np.uint8))
        for i, number in enumerate(numbers.tolist()):
            part = payload[i * self._row_bytes : (i + 1) * self._row_bytes]
            if os.preadv(self._descriptor, [part], self._start + number * self._row_bytes) != self._row_bytes:
                raise OSError(f"row {number} could not be read whole; the file has changed")
        return out

    def _run(self, first: int, count: int) -> np.ndarray:
        """(count, C) rows from number `first` on."""
        out = np.empty((count, self.shape[1]), self.dtype)
        payload, done = memoryview(out.reshape(-1).view(np.uint8)), 0
        while done < len(payload):
            part = payload[done : done + LONGEST_READ_BYTES]
            read = os.preadv(self._descriptor, [part], self._start + first * self._row_bytes + done)
            if read == 0:
                raise OSError(f"rows {first} … {first + count - 1} could not be read whole; the file has changed")
            done += read
        return out


class ChosenRows:
    """Some rows of a file: those numbered `numbers` (n,) int64. Reads like a RowFile of n rows."""

    def __init__(self, rows: RowFile, numbers: np.ndarray) -> None:
        self.rows, self.numbers, self.dtype = rows, numbers, rows.dtype
        self.shape = (len(numbers), rows.shape[1])

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        """(n, C) rows of a slice or of an index array (n,)."""
        return self.rows[self.numbers[rows]]


Rows = np.ndarray | RowFile | ChosenRows


def chunk_rows(columns: int) -> int:
    """Rows of a chunk of about CHUNK_VALUES cells; at least one."""
    return max(1, CHUNK_VALUES // max(1, columns))


def chunks(rows: Rows, columns: int | None = None) -> Iterator[np.ndarray]:
    """Consecutive (n, C) parts of `rows`, of about CHUNK_VALUES cells.

    columns: that a row grows to when it is worked on, where that is more than C.
    """
    size = chunk_rows(columns or math.prod(rows.shape[1:]))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
