"""Rows of a file by number: what NumPy gives, without its memory."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.datasets.npz import read_array
from pipeline.rows import row_file
from pipeline.rows.row_file import ChosenRows, RowFile, chunks


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_rows_are_those_of_the_array(tmp_path, dtype):
    array = np.random.default_rng(0).integers(0, 255, (50, 7)).astype(dtype)
    np.save(tmp_path / "x.npy", array)
    rows = RowFile(tmp_path / "x.npy")
    for index in (np.array([3, 49, 3, 0]), slice(0, 8), slice(None), slice(9, 3), slice(0, 50, 7), np.arange(0)):
        assert rows[index].dtype == dtype and np.array_equal(rows[index], array[index])
    assert len(rows) == 50 and rows.shape == (50, 7)
    with pytest.raises(IndexError, match=r"'rows' must lie in \[0, 50\)\. Got 50 … 50"):
        rows[np.array([50])]


def test_a_long_run_of_rows_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(row_file, "LONGEST_READ_BYTES", 13)
    array = np.arange(300, dtype=np.float32).reshape(60, 5)
    np.save(tmp_path / "x.npy", array)
    assert np.array_equal(RowFile(tmp_path / "x.npy")[2:57], array[2:57])


def test_chosen_rows_and_images_read_like_an_array(tmp_path, monkeypatch):
    monkeypatch.setattr(row_file, "CHUNK_VALUES", 30)
    images = np.random.default_rng(0).integers(0, 255, (20, 3, 4)).astype(np.uint8)
    np.save(tmp_path / "x.npy", images)
    rows, flat = RowFile(tmp_path / "x.npy", flatten=True), images.reshape(20, 12)
    with pytest.raises(ValueError, match="must hold rows of numbers"):
        RowFile(tmp_path / "x.npy")
    numbers = np.array([1, 4, 5, 19])
    chosen = ChosenRows(rows, numbers)
    assert rows.shape == (20, 12) and chosen.shape == (4, 12) and len(chosen) == 4
    assert np.array_equal(chosen[1:], flat[numbers[1:]])
    assert np.array_equal(chosen[np.array([3, 0])], flat[numbers[[3, 0]]])
    for every, array in ((rows, flat), (chosen, flat[numbers]), (flat, flat)):
        parts = list(chunks(every))
        assert max(len(p) for p in parts) == 2 and np.array_equal(np.concatenate(parts), array)
    assert [len(p) for p in chunks(rows, 30)] == [1] * 20


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


def test_a_header_on_which_numpys_parser_fails_is_refused_in_words(tmp_path):
    """NumPy raises SyntaxError for this dtype; found by fuzzing."""
    np.save(tmp_path / "x.npy", np.zeros((3, 4), np.float32))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes().replace(b"'<f4'", b"',f4'"))
    for read in (RowFile, read_array):
        with pytest.raises(ValueError, match="x.npy is not a NumPy array"):
            read(tmp_path / "x.npy")
