"""Stage prepare writes in chunks what it would write whole; splits are disjoint, stratified and reproducible."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline import prepare
from pipeline.base.files import sha256, write_array, write_rows
from pipeline.base.params import merge_params
from pipeline.base.paths import Paths
from pipeline.datasets import RawData
from pipeline.rows import row_file
from pipeline.rows.schema import Schema
from tests.helpers import evaluation_case as case


def splits(schema: Schema, rows: np.ndarray, **changes: object) -> list[np.ndarray]:
    parts = prepare.split(RawData(schema, rows), merge_params({"prepare": changes}))
    assert [len(p) for p in parts] == [sum(len(c) for c in p.chunks()) for p in parts]
    return [np.concatenate(list(p.chunks())) for p in parts]


def as_set(rows: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in rows}


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("labelled", [True, False])
def test_train_and_test_share_out_the_rows(monkeypatch, labelled, long):
    """Long: by the order that is never written down."""
    if long:
        monkeypatch.setattr(prepare, "IN_MEMORY_ROWS", 10)
    schema, rows = case.digits(label=labelled)
    train, test = splits(schema, rows, test_share=0.3)
    assert as_set(train) | as_set(test) == as_set(rows) and not as_set(train) & as_set(test)
    assert len(train) + len(test) == len(rows) and len(test) == pytest.approx(60, abs=5)
    if labelled:
        shares = np.bincount(schema.labels(test), minlength=10) / np.bincount(schema.labels(rows), minlength=10)
        assert (abs(shares - 0.3) < 0.05).all()
    assert not np.array_equal(train, rows[: len(train)])
    assert np.array_equal(splits(schema, rows, test_share=0.3, limit_rows=17)[0], train[:17])


def test_mirrored_images_follow_the_training_rows():
    schema, rows = case.attributes()
    plain, mirrored = splits(schema, rows, limit_rows=17), splits(schema, rows, limit_rows=17, mirror=True)
    assert np.array_equal(mirrored[0][:17], plain[0]) and np.array_equal(mirrored[1], plain[1])
    assert np.array_equal(schema.images(mirrored[0][17:]), schema.images(plain[0])[:, :, ::-1])
    assert np.array_equal(mirrored[0][17:, 64:], plain[0][:, 64:])
    with pytest.raises(ValueError, match="'prepare.mirror' must be false where there is no image"):
        splits(*case.table(), mirror=True)


def test_chunks_change_nothing(tmp_path, monkeypatch):
    params = merge_params({"prepare": {"limit_rows": 1000}})
    found = []
    for name, values in (("whole", row_file.CHUNK_VALUES), ("chunked", 65 * 11)):
        monkeypatch.setattr(row_file, "CHUNK_VALUES", values)
        where = Paths(tmp_path / name)
        prepare.run(params, where)
        found.append({p.name: sha256(p) for p in where.tokens.iterdir()})
    assert found[0] == found[1] and len(found[0]) == 4


@pytest.mark.parametrize("kind", ["images", "vectors"])
def test_an_array_file_is_read_in_chunks(tmp_path, monkeypatch, kind):
    """float32 with missing cells in a .npy file gives the tokens of the same array in a .npz file."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(60, 4, 4)) * 3 + 1).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    x = x if kind == "images" else x.reshape(60, 16)
    tokens = []
    for name in ("x.npy", "x.npz"):
        where = Paths(tmp_path / name.replace(".", "_"))
        where.raw.mkdir(parents=True)
        np.save(where.raw / name, x) if name == "x.npy" else np.savez(where.raw / name, x=x)
        monkeypatch.setattr(row_file, "CHUNK_VALUES", 16 * 7 if name == "x.npy" else 1 << 22)
        prepare.run(merge_params({"dataset": {"name": "npz", "path": name}}), where)
        tokens.append(where.tokens)
    for file in ("train.npy", "test.npy"):
        assert sha256(tokens[0] / file) == sha256(tokens[1] / file)
    own, other = (json.loads((t / "schema.json").read_text("utf8"))["tokens"] for t in tokens)
    assert len(own) == len(other)
    for a, b in zip(own, other, strict=True):
        assert a["center"] == pytest.approx(b["center"]) and a["scale"] == pytest.approx(b["scale"])


def test_rows_are_written_as_numpy_writes_them(tmp_path):
    array = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    np.save(tmp_path / "theirs.npy", array)
    write_rows(tmp_path / "ours.npy", array.shape, array.dtype, (array[i : i + 8] for i in range(0, 50, 8)))
    assert sha256(tmp_path / "ours.npy") == sha256(tmp_path / "theirs.npy")
    with pytest.raises(ValueError, match="'parts' must hold 350 values for ours.npy. Got 70."):
        write_rows(tmp_path / "ours.npy", array.shape, array.dtype, [array[:10]])
    assert sha256(tmp_path / "ours.npy") == sha256(tmp_path / "theirs.npy") and len(list(tmp_path.iterdir())) == 2
    for strange in (array.T, array[0, 0], array[:0]):
        write_array(tmp_path / "ours.npy", strange)
        assert np.array_equal(np.load(tmp_path / "ours.npy"), np.atleast_1d(strange))
