"""Rows of a file by number: what NumPy gives, without its memory."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.row_file import RowFile


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_rows_are_those_of_the_array(tmp_path, dtype):
    array = np.random.default_rng(0).integers(0, 255, (50, 7)).astype(dtype)
    np.save(tmp_path / "x.npy", array)
    rows = RowFile(tmp_path / "x.npy")
    for index in (np.array([3, 49, 3, 0]), slice(0, 8), slice(None), np.arange(0)):
        assert rows[index].dtype == dtype and np.array_equal(rows[index], array[index])
    assert len(rows) == 50 and rows.shape == (50, 7)
    with pytest.raises(IndexError, match=r"'rows' must lie in \[0, 50\)\. Got 50 … 50"):
        rows[np.array([50])]


@pytest.mark.parametrize(
    ("array", "wording"),
    [(np.zeros(5), "must hold rows"), (np.zeros((3, 4)).T, "must hold rows"), (np.zeros((3, 4)), "its header says")],
)
def test_other_files_are_refused(tmp_path, array, wording):
    np.save(tmp_path / "x.npy", array)
    payload = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(payload[:-1] if wording == "its header says" else payload)
    with pytest.raises(ValueError, match=wording):
        RowFile(tmp_path / "x.npy")
