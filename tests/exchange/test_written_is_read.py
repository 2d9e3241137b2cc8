"""What one command writes the others read: classes in arrays, draws, folders, sheets, texts; units are checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import fetch
from pipeline.base.params import merge_params
from pipeline.base.paths import Paths
from pipeline.datasets import SOURCES, RawData
from pipeline.datasets.categories import with_categories
from pipeline.datasets.text import windows
from pipeline.exchange.reading import read_rows
from pipeline.exchange.writing import write_rows
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.schema import Schema

WORDS = {
    "words": ["cat", "dog", "hen"],
    "from 0": ["0", "1", "2"],
    "from 1": ["1", "2", "3"],
    "signed": ["-1", "1", "5"],
    "padded": ["7", "07", "007"],
}


def images(words: list[str], channels: int = 1, high: float = 255.0) -> Schema:
    return image_label_schema(8, 8, channels, 4, 0.0, high, words)


def drawn(schema: Schema, draws: int = 1, n: int = 5, unknown: bool = False) -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (draws, n, len(schema.columns))).astype(np.float32)
    rows[:, :, -1] = rng.integers(0, len(schema.categories[schema.label]), (draws, n))
    if unknown:
        rows[:, 0, -1] = np.nan
    return rows


def fitted(tmp_path: Path, path: Path, name: str = "npz") -> RawData:
    """What `fit` reads in a file."""
    options = {"dataset": {"name": name, "path": str(path)}, "prepare": {"image_size_px": 8}}
    fetch.run(merge_params(options), Paths(tmp_path / "project"))
    return SOURCES[name].load(Paths(tmp_path / "project").raw, merge_params(options))


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("name", WORDS)
def test_classes_of_a_npz_are_its_words(tmp_path, name, unknown, draws):
    """As codes they would be others for a model whose classes do not start at 0."""
    schema = images(WORDS[name])
    rows = drawn(schema, draws, n=12, unknown=unknown)
    write_rows(tmp_path / "a.npz", rows, schema)
    flat = rows.reshape(-1, rows.shape[2])
    np.testing.assert_array_equal(read_rows(tmp_path / "a.npz", schema), flat)
    again = fitted(tmp_path, tmp_path / "a.npz")
    assert again.schema.categories == schema.categories and again.schema.image == schema.image
    np.testing.assert_array_equal(np.asarray(again.train, np.float32), flat)


@pytest.mark.parametrize("suffix", [".npy", ".npz", "", ".csv", ".parquet"])
def test_draws_are_read_one_after_the_other(tmp_path, suffix):
    schema = images(WORDS["words"])
    rows = drawn(schema, draws=2)
    write_rows(tmp_path / f"a{suffix}", rows, schema)
    read = read_rows(tmp_path / f"a{suffix}", schema)
    expected = rows.reshape(10, -1)
    if suffix == "":  # files are sorted by row, then draw
        expected = rows.transpose(1, 0, 2).reshape(10, -1)
    np.testing.assert_array_equal(read, expected)


def test_a_folder_is_fitted_as_it_was_drawn(tmp_path):
    """Classes, attributes and grey values; `draw` and `row` are no attributes."""
    schema = with_categories(images([]), {"hair": ["dark", "fair"], "label": ["a", "b"]}, "attributes", "label")
    rows = drawn(schema, draws=2, n=6)
    rows[..., -2] = rows[..., -1]
    write_rows(tmp_path / "out", rows, schema)
    data = fitted(tmp_path, tmp_path / "out", "image_folder")
    assert data.schema.categories == schema.categories and data.schema.image == (8, 8, 1)
    np.testing.assert_array_equal(data.train, rows.transpose(1, 0, 2).reshape(12, -1))


def test_a_sheet_of_many_pictures_is_not_read_as_one(tmp_path):
    schema = images(WORDS["words"])
    write_rows(tmp_path / "one.png", drawn(schema, n=1), schema)
    assert read_rows(tmp_path / "one.png", schema).shape == (1, 65)
    write_rows(tmp_path / "many.png", drawn(schema, n=9), schema)
    with pytest.raises(
        ValueError, match="many.png: 9 pictures that biglearn wrote on one sheet; write them as a folder"
    ):
        read_rows(tmp_path / "many.png", schema)


UNITS = {
    "divided": (
        np.random.default_rng(0).random((3, 8, 8)),
        255.0,
        r"0 … 255. Got 0\.\d+ … 0\.\d+; multiply them by 255",
    ),
    "16 bits": (
        np.arange(3 * 64, dtype=np.uint16).reshape(3, 8, 8) * 300,
        255.0,
        "0 … 255. Got 0 … 57300; scale them first",
    ),
    "bytes": (np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8), 1.0, "0 … 1. Got 0 … 191; scale them first"),
    "signed": (np.arange(-96, 96.0).reshape(3, 8, 8) * 2, 255.0, "0 … 255. Got -192 … 190; scale them first"),
}


@pytest.mark.parametrize("name", UNITS)
def test_pixels_in_other_units_are_refused(tmp_path, name):
    x, high, message = UNITS[name]
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(ValueError, match=f"must be in the units of the training data, {message}"):
        read_rows(tmp_path / "x.npy", images(["a", "b"], high=high))


RANGES = {
    "bytes": ((np.arange(640) % 256).astype(np.uint8), 0, 255),
    "mask": ((np.arange(640) % 2).astype(np.uint8), 0, 1),
    "digits": ((np.arange(640) % 17).astype(np.uint8), 0, 16),
    "bool": (np.arange(640) % 2 == 0, 0, 1),
    "16 bits": ((np.arange(640) * 100).astype(np.uint16), 0, 63900),
    "half": (np.linspace(-1, 1, 640).astype(np.float16), -1, 1),
    "floats": (np.linspace(0.25, 0.5, 640), 0.25, 0.5),
}


@pytest.mark.parametrize("name", RANGES)
def test_arrays_have_the_range_of_their_pixels(tmp_path, name, capsys):
    x, low, high = RANGES[name]
    np.save(tmp_path / "x.npy", x.reshape(10, 8, 8))
    data = fitted(tmp_path, tmp_path / "x.npy")
    assert data.schema.pixel_range == pytest.approx((low, high))
    said = capsys.readouterr().out
    assert f"10 images of 8×8 pixels, grey, {x.dtype}; black is {low:g} and white {high:g}." in said
    np.testing.assert_allclose(read_rows(tmp_path / "x.npy", data.schema), x.reshape(10, 64), rtol=1e-6)


def test_channels_first_are_refused_with_the_remedy(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 3, 8, 8)))
    with pytest.raises(
        ValueError, match=r"in its last axis. Got 8 in \(4, 3, 8, 8\); move them to the end: x.transpose\(0, 2, 3, 1\)"
    ):
        fitted(tmp_path, tmp_path / "x.npy")
    with pytest.raises(ValueError, match=r"or images \(8, 8, 3\). Got shape \(4, 3, 8, 8\)"):
        read_rows(tmp_path / "x.npy", images(["a", "b"], channels=3))


def test_a_class_that_the_model_does_not_know_is_named(tmp_path, capsys):
    schema = images(["cat", "dog"])
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 8, 8)), y=["cat", "cow"])
    with pytest.raises(ValueError, match="'y' must be one of 'cat', 'dog'. Got 'cow'"):
        read_rows(tmp_path / "a.npz", schema)
    for name in ("cat", "cow"):
        (tmp_path / "in" / name).mkdir(parents=True)
        write_rows(tmp_path / "in" / name / "0.png", drawn(schema, n=1), schema)
    labels = read_rows(tmp_path / "in", schema)[:, -1]
    assert labels[0] == 0 and np.isnan(labels[1])
    assert "no classes of this model, read as unknown: cow; it knows 'cat', 'dog'" in capsys.readouterr().out


# -- text --------------------------------------------------------------------------------------------------------
@settings(deadline=None, max_examples=40)
@given(st.text("ab_□\r\x0b\u2028 \n\t⍰", min_size=24, max_size=60), st.data())
def test_texts_come_back_character_by_character(tmp_path_factory, text, choices):
    """Underscores, carriage returns and the other line breaks of Unicode are characters like any other."""
    data = windows(text, merge_params({"prepare": {"text_length": 8}}))
    rows = np.asarray(data.train, np.float32)
    hidden = np.array(choices.draw(st.lists(st.booleans(), min_size=rows.size, max_size=rows.size))).reshape(rows.shape)
    rows[hidden] = np.nan
    path = tmp_path_factory.mktemp("text") / "a.txt"
    write_rows(path, rows[None], data.schema)
    np.testing.assert_array_equal(read_rows(path, data.schema), rows)


def test_windows_line_ends_and_rare_characters(tmp_path):
    data = windows("abcabcab" * 8 + "zq" * 4, merge_params({"prepare": {"text_length": 8, "text_characters": 4}}))
    (tmp_path / "a.txt").write_bytes(b"abcabcab\r\nab_z\r\n")
    rows = read_rows(tmp_path / "a.txt", data.schema)
    words = data.schema.categories["character_0"]
    assert [words[int(c)] for c in rows[0]] == list("abcabcab")
    assert np.isnan(rows[1]).tolist() == [False, False, True, False, *[True] * 4] and words[int(rows[1, 3])] == "\ufffd"
