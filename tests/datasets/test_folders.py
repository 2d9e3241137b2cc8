"""A folder as people have it: links, loops, odd names, splits, stray files, few pictures; said before anything is trained."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import fetch, prepare
from pipeline.base.fields import ParamsError
from pipeline.base.params import merge_params
from pipeline.base.paths import Paths
from pipeline.datasets import SOURCES, RawData
from pipeline.datasets.folder_files import folder_files
from pipeline.datasets.folder_layout import folder_layout
from pipeline.datasets.inspect_images import inspect_images
from pipeline.exchange.reading import read_rows


def save(path: Path | str, seed: int = 0, grey: bool = False, size: tuple[int, int] = (12, 12)) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if grey else (*size, 3)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def load(tmp_path: Path, **changes: object) -> RawData:
    """What stages fetch and prepare read in tmp_path/in."""
    options = {"dataset": {"name": "image_folder", "path": str(tmp_path / "in")}}
    params = merge_params({**options, "prepare": {"image_size_px": 8, **changes}})
    fetch.run(params, Paths(tmp_path / "project"))
    return SOURCES["image_folder"].load(Paths(tmp_path / "project").raw, params)


def told(tmp_path: Path, **changes: object) -> str:
    return inspect_images(tmp_path / "in", merge_params({"prepare": {"image_size_px": 8, **changes}}), every=True)


# -- files -------------------------------------------------------------------------------------------------------
def test_links_are_followed_once_and_loops_are_named(tmp_path):
    for i in range(4):
        save(tmp_path / "in" / "dogs" / f"{i}.png", i)
    save(tmp_path / "disk" / "cats" / "9.png")
    os.symlink(tmp_path / "disk" / "cats", tmp_path / "in" / "cats")
    os.symlink(".", tmp_path / "in" / "latest")
    os.symlink("..", tmp_path / "in" / "dogs" / "up")
    os.symlink("nothing", tmp_path / "in" / "gone.png")
    os.mkfifo(tmp_path / "in" / "pipe")
    files = folder_files(tmp_path / "in")
    assert list(files.names) == ["cats/9.png", *(f"dogs/{i}.png" for i in range(4))]
    assert dict(files.left_out) == {
        "latest": "a folder that is read already under another name",
        "dogs/up": "a folder that is read already under another name",
        "gone.png": "a link to nothing",
        "pipe": "a pipe, a socket or a device",
    }
    data = load(tmp_path)
    assert data.schema.categories == {"label": ["cats", "dogs"]} and len(data.train) == 5
    assert len(list((tmp_path / "project" / "data" / "raw").rglob("*.png"))) == 5
    assert len(read_rows(tmp_path / "in", data.schema)) == 5


def test_hidden_and_system_files_are_no_pictures(tmp_path):
    save(tmp_path / "in" / "a.png")
    for name in ("._a.png", "__MACOSX/b.png", ".cache/c.png", "Thumbs.db", "desktop.ini", "@eaDir/d.png"):
        save(tmp_path / "in" / "x.png").rename(_made(tmp_path / "in" / name))
    files = folder_files(tmp_path / "in")
    assert list(files.names) == ["a.png"] and files.system == 6 and files.left_out == []


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_names_are_text_whatever_their_bytes(tmp_path):
    """Latin-1 names, and classes that macOS and Linux write in two ways."""
    composed, apart = "caf\u00e9", "cafe\u0301"
    for place in (composed, apart, "bar"):
        for i in range(3):
            save(tmp_path / "in" / place / f"{i}{len(place)}.png", i)
    os.rename(tmp_path / "in" / "bar" / "03.png", os.fsencode(tmp_path / "in" / "bar") + b"/caf\xe9.png")
    data = load(tmp_path)
    assert data.schema.categories == {"label": ["bar", composed]} and len(data.train) == 9
    manifest = json.loads((Paths(tmp_path / "project").raw / "manifest.json").read_text(encoding="utf8"))
    assert "in/bar/café.png" in [f["name"] for f in manifest["files"]]
    labels = data.schema.labels(read_rows(tmp_path / "in", data.schema))
    np.testing.assert_array_equal(np.bincount(labels), [3, 6])


def test_two_files_of_one_name_are_two_pictures(tmp_path):
    for i, name in enumerate(("caf\u00e9.png", "cafe\u0301.png")):
        save(tmp_path / "in" / name, i)
    assert list(folder_files(tmp_path / "in").names) == ["café.png", "café_2.png"] and len(load(tmp_path).train) == 2


def test_a_read_only_share_is_copied_again_and_again(tmp_path):
    """Rights are not copied, so that the copy can be replaced by the next run."""
    for i in range(3):
        save(tmp_path / "in" / "deep" / f"{i}.png", i).chmod(0o444)
    for folder in (tmp_path / "in" / "deep", tmp_path / "in"):
        folder.chmod(0o555)
    try:
        first, second = load(tmp_path), load(tmp_path)
    finally:
        for folder in (tmp_path / "in", tmp_path / "in" / "deep"):
            folder.chmod(0o755)
    np.testing.assert_array_equal(first.train, second.train)
    raw = Paths(tmp_path / "project").raw
    assert all(p.stat().st_mode & 0o200 for p in raw.rglob("*")) and list(raw.parent.glob(".*")) == []


# -- classes and splits ------------------------------------------------------------------------------------------
def test_train_and_val_are_splits(tmp_path):
    for i in range(24):
        save(tmp_path / "in" / ("train" if i % 4 else "Val") / ("cat" if i % 2 else "dog") / f"{i}.png", i)
    save(tmp_path / "in" / "extra" / "x.png")
    data = load(tmp_path)
    assert data.schema.categories == {"label": ["cat", "dog"]}
    assert len(data.train) == 18 and len(data.test) == 6
    said = told(tmp_path)
    assert "Splits, not classes: train/ 18, Val/ 6; Val/ held out." in said and "2 classes: cat 12, dog 12." in said
    assert "left out: extra/x.png: beside the splits" in said
    assert len(read_rows(tmp_path / "in", data.schema)) == 24


LAYOUTS = {
    "splits without training": (["val/a/1", "test/b/2"], ["a", "b"], None, "put together and split anew"),
    "training alone": (["train/a/1", "train/b/2"], ["a", "b"], None, "put together and split anew"),
    "a class called train": (["train/1", "car/2", "bus/3"], ["train", "car", "bus"], None, ""),
    "splits of no classes": (["train/1", "test/2"], [None, None], [False, True], "no classes: no subfolders"),
    "one subfolder": (["cats/1", "cats/2"], [None, None], None, "no classes: one subfolder, cats/, alone"),
    "deep": (["a/x/1", "a/y/2", "b/3"], ["a", "a", "b"], None, ""),
    "mostly beside": (["1", "2", "3", "old/4", "new/5"], [None] * 5, None, "no classes: 3 of 5 lie beside the 2 subfolders"),
    "one beside": (["1", "a/2", "b/3"], [None, "a", "b"], None, "class unknown: 1 (1), beside the class folders"),
    "nothing": ([], [], None, "no classes: no subfolders"),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_subfolders_mean(name):
    names, labels, held_out, sentence = LAYOUTS[name]
    layout = folder_layout(names)
    assert layout.labels == labels and layout.held_out == held_out and sentence in "; ".join(layout.said)


def test_a_stray_picture_keeps_the_labels_of_the_others(tmp_path, capsys):
    for i in range(12):
        save(tmp_path / "in" / ("cat" if i % 2 else "dog") / f"{i}.png", i)
    save(tmp_path / "in" / "contact_sheet.png", 99)
    data = load(tmp_path)
    labels = data.schema.labels(data.train)
    assert sorted(labels) == [-1] + 6 * [0] + 6 * [1]
    assert "Class unknown: 1 (contact_sheet.png), beside the class folders." in capsys.readouterr().out


def test_colour_of_any_picture_is_kept(tmp_path):
    for i in range(70):
        save(tmp_path / "in" / f"a{i:03d}.png", i, grey=True)
    save(tmp_path / "in" / "z.png", 99)
    assert load(tmp_path).schema.image == (8, 8, 3)
    assert "1 in colour and 70 grey, all read in colour." in told(tmp_path)
    assert load(tmp_path, image_colour="grey").schema.image == (8, 8, 1)
    assert "1 in colour, read as grey (prepare.image_colour): their colours are dropped" in told(
        tmp_path, image_colour="grey"
    )
    (tmp_path / "in" / "z.png").unlink()
    assert load(tmp_path).schema.image == (8, 8, 1) and "All grey." in told(tmp_path)


# -- attributes --------------------------------------------------------------------------------------------------
def attributes(tmp_path: Path, text: str, encoding: str = "utf8") -> str:
    for i in range(4):
        save(tmp_path / "in" / "sub" / f"{i}.PNG", i)
    (tmp_path / "in" / "attributes.csv").write_text(text, encoding=encoding)
    return told(tmp_path)


def test_attributes_say_what_matched(tmp_path):
    said = attributes(tmp_path, "file;hair\nsub/0.PNG;dark\nsub/1.PNG;\nsub/9.PNG;fair\n")
    assert (
        "attributes.csv: 2 of 4 pictures have a row; no row: 2 (sub/2.PNG, sub/3.PNG); rows without a picture: 1 (sub/9.PNG)."
        in said
    )
    assert "Attributes: hair (dark)." in said


@pytest.mark.parametrize(
    ("name", "how"),
    [
        (".\\sub\\{}.PNG", ""),
        ("SUB/{}.png", "in any case"),
        ("{}.PNG", "by the file's name alone"),
        ("{}", "without its suffix"),
    ],
)
def test_attributes_of_other_names_for_the_same_files(tmp_path, name, how):
    rows = "".join(f"{name.format(i)},{'ab'[i % 2]}\n" for i in range(4))
    said = attributes(tmp_path, f"\ufefffile,mark\n{rows}")
    assert "4 of 4 pictures have a row" in said and how in said
    data = load(tmp_path)
    np.testing.assert_array_equal(data.train[:, -1], [0, 1, 0, 1])
    np.testing.assert_array_equal(read_rows(tmp_path / "in", data.schema)[:, -1], [0, 1, 0, 1])


def test_attributes_that_name_no_picture_are_refused_with_examples(tmp_path):
    with pytest.raises(
        ValueError, match=r"must name the images of the folder, e.g. 'sub/0.PNG'. Got none of them, e.g. 'x.png'"
    ):
        attributes(tmp_path, "file,hair\nx.png,dark\n")
    with pytest.raises(
        ValueError, match="must have a column 'file' that names each image. Got the columns 'name', 'hair'"
    ):
        attributes(tmp_path, "name,hair\n0.PNG,dark\n")
    with pytest.raises(ValueError, match="names each image once. Got 'sub/0.PNG' twice"):
        attributes(tmp_path, "file,hair\nsub/0.PNG,dark\nsub/0.PNG,fair\n")


# -- limits, before the work -------------------------------------------------------------------------------------
@pytest.fixture
def nothing_is_opened(monkeypatch):
    def opened(path: Path) -> None:
        raise AssertionError(f"{path} was opened before the limit was met")

    monkeypatch.setattr("pipeline.datasets.image_folder.read_picture", opened)


def test_limits_are_met_before_a_picture_is_opened(tmp_path, nothing_is_opened):
    for i in range(300):
        path = tmp_path / "in" / f"class{i}" / "0.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    with pytest.raises(
        ParamsError, match="'label' must have 1 to 255 different words. Got 300; set prepare.label_token=false"
    ):
        load(tmp_path)
    with pytest.raises(
        ParamsError, match=r"'prepare.patch_size_px' must divide the image, 8×8 pixels .*: 1, 2, 4, 8. Got 3"
    ):
        load(tmp_path, patch_size_px=3)
    with pytest.raises(ParamsError, match="'prepare.image_size_px' must have a divisor .* Got 31; 32 has"):
        load(tmp_path, image_size_px=31)
    rows = "".join(f"class{i}/0.png,{i}\n" for i in range(300))
    (tmp_path / "in" / "attributes.csv").write_text(f"file,age\n{rows}")
    with pytest.raises(ParamsError, match="'age' must have 1 to 255 different words. Got 300; set prepare.attributes"):
        load(tmp_path, label_token=False)


def test_more_pictures_than_memory_are_refused_before_the_work(tmp_path, nothing_is_opened, monkeypatch):
    save(tmp_path / "in" / "a.png")
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 100}))
    with pytest.raises(ParamsError, match="'prepare.image_size_px' must leave room for 1 images .* at most 3 fits"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("size", "patch"), [(8, 4), (32, 4), (30, 5), (28, 4), (50, 5), (64, 4), (128, 8), (2, 2), (1, 1)]
)
def test_the_default_patch_divides_the_image(size, patch):
    from pipeline.datasets.image_folder import patch_size_px

    assert patch_size_px(merge_params({"prepare": {"image_size_px": size}})) == patch


# -- few pictures ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("classes", "each", "test_rows"), [(10, 2, 4), (1, 5, 2), (3, 1, 2), (1, 4, 2), (2, 4, 2), (2, 10, 4)]
)
def test_small_classes_survive_the_split(tmp_path, classes, each, test_rows):
    for c in range(classes):
        for i in range(each + (classes == 3)):
            save(tmp_path / "in" / f"person{c}" / f"{i}.png", 10 * c + i)
    options = {"dataset": {"name": "image_folder", "path": str(tmp_path / "in")}, "prepare": {"image_size_px": 8}}
    params, where = merge_params(options), Paths(tmp_path / "project")
    fetch.run(params, where)
    prepare.run(params, where)
    summary = json.loads((where.tokens / "summary.json").read_text())
    assert summary["test_rows"] == test_rows
    counts = [v for k, v in summary.items() if k.startswith("class_")]
    assert all(c >= 1 for c in counts), "every class must be trained on"


def test_too_few_pictures_say_how_many_are_needed(tmp_path):
    for i in range(3):
        save(tmp_path / "in" / f"{i}.png", i)
    data = load(tmp_path)
    with pytest.raises(ValueError, match="must have at least 4 rows or images, 2 to train on and 2 held out .* Got 3"):
        prepare.split(data, merge_params({}))
    assert "Too few to train on: at least 4 pictures are needed. Got 3." in told(tmp_path)
