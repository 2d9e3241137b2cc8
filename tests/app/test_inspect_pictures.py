"""`biglearn inspect`: what the guide shows, and every kind of data in words."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.helpers.commands import biglearn
from tests.helpers.imports import ROOT
from tests.helpers.random_pictures import mixed


def test_the_guide_shows_what_inspect_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mixed(tmp_path / "photos")
    assert len([p for p in (tmp_path / "photos").rglob("*") if not p.is_dir() or p.is_symlink()]) == 200
    code, out, _ = biglearn("inspect", "photos/")
    guide = (ROOT / "docs" / "guide" / "images.md").read_text(encoding="utf8")
    shown = guide.split("$ biglearn inspect photos/\n", 1)[1].split("```", 1)[0]
    assert code == 0 and out == shown


def test_every_file_that_is_left_out_is_named_on_request(tmp_path):
    mixed(tmp_path / "photos")
    code, out, _ = biglearn("inspect", tmp_path / "photos", "--all")
    assert code == 0 and out.count("left out: dog/IMG_") == 8 and out.count("\nleft out: ") == 16


def test_a_picture_and_an_array_are_told_too(tmp_path):
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).save(tmp_path / "scan.png")
    assert (
        biglearn("inspect", tmp_path / "scan.png")[1]
        == "scan.png: a picture of 8×8 pixels, grey; with 16 bits a channel, scaled to 8.\n"
    )
    np.savez(tmp_path / "a.npz", x=np.arange(9 * 64).reshape(9, 8, 8) % 2 == 0, y=["a", "b", ""] * 3)
    assert biglearn("inspect", tmp_path / "a.npz")[1] == (
        "a.npz: 9 images of 8×8 pixels, grey, bool; black is 0 and white 1; 2 classes: a 3, b 3; class unknown: 3.\n"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [("empty", "empty/ must hold pictures. Got none among 0 files"), ("notes.txt", "inspect takes"), ("a.heic", "HEIC; export it as JPEG"), ("no", "no")],
)  # fmt: skip
def test_what_holds_no_pictures_is_refused(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(60))
    code, _, error = biglearn("inspect", name)
    assert code == 1 and message in error and len(error.splitlines()) == 1
