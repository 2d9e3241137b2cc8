"""Rows of a .npy file read by number, one system call a row, and not mapped into memory.

A mapping would do for small files; of a large one the kernel maps whole folios around each row that is touched, up
to 2 MiB, and counts them all to the process: 300 steps of 64 rows on 20 GB had a resident size of 4.5 GB.
"""

from __future__ import annotations

import math
import os
import weakref
from pathlib import Path

import numpy as np


class RowFile:
    """The (N, C) array of a .npy file, opened for reading. shape, dtype: the array's. `len` gives N."""

    def __init__(self, path: Path) -> None:
        """Raises ValueError when the file is no two-dimensional C-ordered array or is shorter than its header says."""
        with open(path, "rb") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            self.shape, by_column, self.dtype = read(stream)
            self._start, size = stream.tell(), os.fstat(stream.fileno()).st_size
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
