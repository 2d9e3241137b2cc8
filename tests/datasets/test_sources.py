"""Data of the user's own: folders of images, arrays, text, faces; and files that are not what they should be."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline import fetch, prepare
from pipeline.base.fields import ParamsError
from pipeline.base.files import write_bytes
from pipeline.base.params import merge_params
from pipeline.base.paths import Paths
from pipeline.datasets import SOURCES
from pipeline.datasets.faces import CROP_BOX
from pipeline.datasets.image_files import NotAnImage, fit_pixels, middle_box, open_image
from pipeline.datasets.npz import default_patch_size_px, read_array
from pipeline.datasets.source import RawData
from pipeline.datasets.text import OTHER
from pipeline.rows.schema import Schema


def load(root: Path, name: str, path: Path | str = "", **prepare_params) -> RawData:
    """What the stages fetch and prepare read for `dataset.name=name dataset.path=path`."""
    params = merge_params({"dataset": {"name": name, "path": str(path)}, "prepare": prepare_params})
    fetch.run(params, Paths(root))
    return SOURCES[name].load(Paths(root).raw, params)


def save_image(path: Path, size: tuple[int, int] = (20, 12), mode: str = "RGB", seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], len(mode)) if len(mode) > 1 else (size[1], size[0])
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels, mode=None).save(path)
    return path


# -- folders of images -------------------------------------------------------------------------------------------
def test_folder_with_classes(tmp_path, capsys):
    """Subfolders are classes, the middle square is resized, what is no image is named and left out."""
    for i in range(6):
        save_image(tmp_path / "in" / ("cat" if i % 2 else "dog") / f"{i}.png", seed=i)
    (tmp_path / "in" / "dog" / "notes.txt").write_text("no image")
    data = load(tmp_path, "image_folder", tmp_path / "in", image_size_px=8, patch_size_px=4)
    assert data.schema.image == (8, 8, 3) and data.schema.label == "label"
    assert data.schema.categories == {"label": ["cat", "dog"]}
    assert data.train.shape == (6, 193) and data.train.dtype == np.uint8
    assert data.train[:, -1].tolist() == [0, 0, 0, 1, 1, 1]
    assert "left out" in capsys.readouterr().out
    first = Image.open(tmp_path / "in" / "cat" / "1.png").resize((8, 8), Image.Resampling.LANCZOS, box=(4, 0, 16, 12))
    np.testing.assert_array_equal(data.train[0, :192].reshape(8, 8, 3), np.asarray(first))


def test_folder_with_attributes_and_missing_cells(tmp_path):
    for i in range(4):
        save_image(tmp_path / "in" / f"{i}.png", mode="L", seed=i)
    (tmp_path / "in" / "attributes.csv").write_text("file,smile,hair\n0.png,yes,dark\n1.png,no,\n3.png,no,fair\n")
    data = load(tmp_path, "image_folder", tmp_path / "in", image_size_px=8)
    assert data.schema.image == (8, 8, 1) and data.schema.label == ""
    assert [t.name for t in data.schema.tokens[-2:]] == ["smile", "hair"]
    assert data.schema.categories == {"smile": ["no", "yes"], "hair": ["dark", "fair"]}
    np.testing.assert_array_equal(data.train[:, -2:], [[1, 0], [0, np.nan], [np.nan, np.nan], [0, 1]])
    chosen = load(tmp_path, "image_folder", tmp_path / "in", image_size_px=8, attributes=["hair"])
    assert [t.name for t in chosen.schema.tokens if t.modality == "categorical"] == ["hair"]
    with pytest.raises(
        ParamsError, match=r"'prepare.attributes' must name attributes among smile, hair. Got \['hat'\]"
    ):
        load(tmp_path, "image_folder", tmp_path / "in", attributes=["hat"])


def test_whole_stages_on_a_folder(tmp_path):
    for i in range(20):
        save_image(tmp_path / "in" / "ab"[i % 2] / f"{i}.png", seed=i)
    options = {"name": "image_folder", "path": str(tmp_path / "in")}
    params = merge_params({"dataset": options, "prepare": {"image_size_px": 8, "image_colour": "grey"}})
    fetch.run(params, Paths(tmp_path))
    prepare.run(params, Paths(tmp_path))
    summary = json.loads((Paths(tmp_path).tokens / "summary.json").read_text())
    assert summary["train_rows"] == 16 and summary["test_rows"] == 4 and summary["tokens"] == 5
    assert summary["class_a"] == summary["class_b"] == 8
    assert Schema.load(Paths(tmp_path).tokens / "schema.json").image == (8, 8, 1)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([1, 3]), st.booleans())
def test_any_image_becomes_any_shape(width, height, channels, alpha):
    image = Image.new("RGBA" if alpha else "RGB", (width, height), (10, 200, 30, 0) if alpha else (10, 200, 30))
    pixels, known = fit_pixels(image, 8, 6, channels)
    assert pixels.shape == (8, 6, channels) and pixels.dtype == np.uint8 and known.shape == (8, 6)
    assert known.all() != alpha and (pixels == 255).all() == alpha
    left, upper, right, lower = middle_box(width, height, 0.75)
    assert right - left == pytest.approx(0.75 * (lower - upper)) and left >= 0 and right <= width + 1e-9


def huge_png() -> bytes:
    """A PNG whose header promises 60,000 × 60,000 pixels in a hundred bytes."""

    def chunk(kind: bytes, payload: bytes) -> bytes:
        return len(payload).to_bytes(4, "big") + kind + payload + zlib.crc32(kind + payload).to_bytes(4, "big")

    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 50)) + chunk(b"IEND", b"")
    )


def png_bytes(cut: int = 0, flip: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(buffer, "PNG")
    body = bytearray(buffer.getvalue()[: len(buffer.getvalue()) - cut])
    if flip:
        body[flip] ^= 0xFF
    return bytes(body)


BAD_IMAGES = {
    "empty file": (b"", "not an image that can be read"),
    "text": (b"hello, I am no image", "not an image that can be read"),
    "cut short": (png_bytes(cut=2500), "damaged image"),
    "flipped byte": (png_bytes(flip=200), "damaged image"),
    "huge header": (huge_png(), "at most 64000000 pixels"),
    "array": (b"\x93NUMPY\x01\x00", "not an image that can be read"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_image_is_named_and_left_out(tmp_path, capsys, name):
    payload, message = BAD_IMAGES[name]
    write_bytes(tmp_path / "in" / "bad.png", payload)
    with pytest.raises(NotAnImage, match=f"bad.png: {message}"):
        open_image(tmp_path / "in" / "bad.png")
    for i in range(3):
        save_image(tmp_path / "in" / f"good{i}.png", seed=i)
    assert len(load(tmp_path, "image_folder", tmp_path / "in", image_size_px=8).train) == 3
    out = capsys.readouterr().out
    assert "image_folder: left out" in out and "bad.png" in out and message in out


# -- arrays ------------------------------------------------------------------------------------------------------
def test_images_and_words_of_a_npz(tmp_path):
    x = np.random.default_rng(0).random((10, 6, 4, 3)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=x, y=np.array(["sun", "rain"] * 5))
    data = load(tmp_path, "npz", tmp_path / "a.npz")
    assert data.schema.image == (6, 4, 3) and data.schema.categories == {"label": ["rain", "sun"]}
    np.testing.assert_array_equal(data.schema.images(data.train), x)
    np.testing.assert_array_equal(data.schema.labels(data.train), [1, 0] * 5)
    low, high = data.schema.pixel_range
    assert low == pytest.approx(x.min()) and high == pytest.approx(x.max())


def test_vectors_of_a_npy_keep_missing_cells(tmp_path):
    x = np.random.default_rng(0).normal(5, 2, (30, 4))
    x[3, 2] = np.nan
    np.save(tmp_path / "a.npy", x)
    data = load(tmp_path, "npz", tmp_path / "a.npy")
    np.testing.assert_allclose(data.train, x.astype(np.float32))
    assert [t.modality for t in data.schema.tokens] == ["numeric"] * 4
    assert abs(np.nanmean(data.schema.encode(data.train)[:, 0])) < 1e-5


@pytest.mark.parametrize(("edges", "patch"), [((28, 28), 4), ((8, 8), 1), ((32, 32), 4), ((7, 7), 1), ((64, 48), 8)])
def test_default_patch_gives_at_most_64_tokens(edges, patch):
    assert default_patch_size_px(*edges) == patch


def lying_header() -> bytes:
    """64 bytes of numbers under a header that promises 40 TB."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (99999999, 99999)})
    return buffer.getvalue() + bytes(64)


def objects() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def array(*shape: int, value: float = 0.0) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.full(shape, value, np.float32))
    return buffer.getvalue()


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name, payload in members.items():
            out.writestr(f"{name}.npy", payload)
    return buffer.getvalue()


BAD_ARRAYS = {
    "empty.npy": (b"", "is not a NumPy array"),
    "text.npy": (b"1,2,3\n4,5,6\n" * 20, "is not a NumPy array"),
    "objects.npy": (objects(), "must hold numbers. Got Python objects, which are never loaded."),
    "huge.npy": (lying_header(), "its header says"),
    "short.npy": (array(50, 8)[:-100], "its header says (50, 8) of float32, 1600 bytes."),
    "scalar.npy": (array(), "'x' must be numbers of shape"),
    "cube.npy": (array(2, 2, 2, 2, 2), "'x' must be numbers of shape"),
    "rows.npy": (array(0, 5), "'x' must be numbers of shape"),
    "infinite.npy": (array(3, 3, value=np.inf), "'x' must be finite or NaN (missing). Got an infinity."),
    "missing.npy": (array(3, 3, value=np.nan), "'x' must have a known cell in every column."),
    "flat.npy": (array(3, 4, 4), "'x' must have pixels that differ. Got 0.0 everywhere."),
    "channels.npy": (array(3, 4, 4, 5), "'x' must have 1 or 3 channels in its last axis. Got 5"),
    "no_zip.npz": (b"PK\x03\x04 no zip", "is not a readable .npz file"),
    "other_names.npz": (archive(data=array(3, 3)), "must have an array named 'x'."),
    "labels.npz": (archive(x=array(3, 3), y=array(2)), "'y' must be 3 whole numbers or words."),
    "bomb.npz": (archive(x=lying_header()), "its header says"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_array_is_a_clear_error(tmp_path, name):
    payload, message = BAD_ARRAYS[name]
    (tmp_path / name).write_bytes(payload)
    with pytest.raises(ValueError) as error:
        load(tmp_path, "npz", tmp_path / name)
    assert message in str(error.value)
    if "never loaded" in message:
        with pytest.raises(ValueError, match="never loaded"):
            read_array(tmp_path / name)


# -- text --------------------------------------------------------------------------------------------------------
@settings(deadline=None, max_examples=30)
@given(st.text(st.characters(codec="utf-8"), min_size=20, max_size=200), st.integers(2, 10), st.integers(2, 12))
def test_windows_hold_the_text(tmp_path_factory, text, length, characters):
    from pipeline.datasets.text import windows

    params = merge_params({"prepare": {"text_length": length, "text_characters": characters}})
    data = windows(text, params)
    words = data.schema.categories["character_0"]
    assert len(words) <= characters and data.train.shape == (len(text) // length, length)
    assert len(data.schema.groups) == 1 and data.schema.groups[0].name == "text"
    back = "".join(words[c] for c in data.train.ravel())
    assert all(a in (b, OTHER) for a, b in zip(back, text, strict=False))
    if len(set(text)) <= characters:
        assert back == text[: data.train.size]


def test_text_file_through_the_stages(tmp_path):
    (tmp_path / "a.txt").write_text("to be, or not to be: that is the question\n" * 10, encoding="utf8")
    data = load(tmp_path, "text", tmp_path / "a.txt", text_length=8)
    assert data.schema.n_tokens == 8 and data.train.dtype == np.uint8
    (tmp_path / "b.txt").write_bytes(b"caf\xe9 " * 100)
    with pytest.raises(ValueError, match="b.txt must be UTF-8 text. Got the byte 0xe9 at 3."):
        load(tmp_path, "text", tmp_path / "b.txt")
    (tmp_path / "c.txt").write_text("short", encoding="utf8")
    with pytest.raises(ValueError, match="must have at least 16 characters"):
        load(tmp_path, "text", tmp_path / "c.txt", text_length=8)


# -- faces -------------------------------------------------------------------------------------------------------
def faces_file(path: Path, n: int = 6) -> Path:
    """A file laid out as the real one, with noise for faces."""
    jpegs = []
    for i in range(n):
        buffer = io.BytesIO()
        noise = np.random.default_rng(i).integers(0, 256, (109, 89, 3), dtype=np.uint8)
        Image.fromarray(noise).save(buffer, "JPEG")
        jpegs.append(np.frombuffer(buffer.getvalue(), np.uint8))
    attr = np.random.default_rng(0).integers(0, 2, (n, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        jpeg=np.concatenate(jpegs),
        offset=np.cumsum([0, *map(len, jpegs)]),
        attr=attr,
        attr_names=np.array(["Male", "Smiling", "Young"]),
        file_id=np.arange(n),
    )
    return path


def test_faces_with_chosen_attributes(tmp_path, monkeypatch):
    file = faces_file(tmp_path / "mirror" / "celeba10k" / "celeba10k_jpeg.npz")
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    data = load(tmp_path, "celeba10k", image_size_px=16, attributes=["Young", "Male"])
    assert data.schema.image == (16, 16, 3) and data.train.shape == (6, 16 * 16 * 3 + 2)
    assert [t.group for t in data.schema.tokens[-2:]] == ["attributes", "attributes"]
    arrays = np.load(file)
    np.testing.assert_array_equal(data.train[:, -2:], arrays["attr"][:, [2, 0]])
    first = Image.open(io.BytesIO(arrays["jpeg"][: arrays["offset"][1]].tobytes()))
    expected = np.asarray(first.resize((16, 16), Image.Resampling.LANCZOS, box=CROP_BOX))
    np.testing.assert_array_equal(data.schema.images(data.train)[0], expected)
    assert not list((tmp_path / "data" / "raw").glob("*.npz")), "the faces must not be copied"


def test_faces_without_the_file_say_why_and_where(tmp_path, monkeypatch):
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    for path, got in (("", "''"), (tmp_path / "none.npz", "none.npz")):
        with pytest.raises(ParamsError) as error:
            load(tmp_path, "celeba10k", path)
        assert got in str(error.value) and "CelebA's licence forbids passing it on" in str(error.value)
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="must have the arrays jpeg, offset, attr and attr_names"):
        load(tmp_path, "celeba10k", tmp_path / "other.npz")


@pytest.mark.mirror
def test_shakespeare_of_the_mirror(tmp_path, mirror):
    data = load(tmp_path, "tinyshakespeare")
    words = data.schema.categories["character_0"]
    assert data.train.shape == (1115394 // 32, 32) and len(words) == 65
    assert "".join(words[c] for c in data.train[0]) == "First Citizen:\nBefore we proceed"


@pytest.mark.slow
@pytest.mark.mirror
def test_faces_of_the_mirror(tmp_path, mirror):
    data = load(tmp_path, "celeba10k", image_size_px=32)
    assert data.train.shape == (10_000, 32 * 32 * 3 + 40) and data.train.dtype == np.uint8
    assert 0.3 < data.train[:, data.schema.columns.index("Male")].mean() < 0.5


# -- anything ----------------------------------------------------------------------------------------------------
BAD_PLACES = {
    "empty folder": ("image_folder", "must hold at least 2 readable images. Got 0 among 0 files."),
    "no file": ("npz", "'dataset.path' must name a file or folder that exists. Got"),
    "no folder": ("image_folder", "'dataset.path' must name a file or folder that exists. Got"),
    "a file for a folder": ("image_folder", "A folder of images is needed."),
}


@pytest.mark.parametrize("name", BAD_PLACES)
def test_bad_place_is_a_clear_error(tmp_path, name):
    source, message = BAD_PLACES[name]
    place = tmp_path / "place"
    if name == "empty folder":
        place.mkdir()
    if name == "a file for a folder":
        place.write_text("text")
    with pytest.raises(ValueError) as error:
        load(tmp_path, source, place)
    assert message in str(error.value)
