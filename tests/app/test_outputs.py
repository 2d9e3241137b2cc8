"""Nobody's file is lost: what `--force` replaces, links, rights, the current folder, leftovers, a full disk."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

from pipeline.app.cli import app
from pipeline.app.outputs import output_place
from pipeline.base import ownership
from pipeline.base.model_groups import NetworkParams
from pipeline.base.paths import Paths
from pipeline.model.generator import Generator
from pipeline.model.sampler import Sampler
from pipeline.rows.image_schema import image_label_schema

NETWORK = NetworkParams(width=8, depth=1, heads=1, noise_width=4)
SCHEMA = image_label_schema(8, 8, 1, 4, 0.0, 255.0, ["a", "b"])
TINY = [f"--set={name}" for name in (
    "train.steps=2", "train.batch_size=8", "train.processes=1", "train.warmup_steps=1", "tasks.train_rows=64",
    "tasks.evaluation_rows=64", "network.width=8", "network.depth=1", "network.heads=1", "network.noise_width=4",
    "network.convolution_channels=0", "prepare.image_size_px=8",
)]  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The current folder, with an untrained model in `model`."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    Sampler.save(tmp_path / "model", Generator(SCHEMA, NETWORK), SCHEMA, asdict(NETWORK), 64)
    return tmp_path


def biglearn(*arguments: object) -> tuple[int, str]:
    """(exit code, all that was said) of one command."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout + result.stderr


def tree(folder: Path) -> dict[str, str]:
    """Relative path → SHA-256 of a file, target of a link, or what else it is."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"→ {os.readlink(path)}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder" if path.is_dir() else "else"
    return found


# -- --force -----------------------------------------------------------------------------------------------------
def test_force_never_removes_a_folder_that_holds_anything_else(place):
    (place / "Pictures").mkdir()
    (place / "Pictures" / "thesis.txt").write_text("ten days of work")
    assert biglearn("sample", "model", 2, "-o", "out")[0] == 0
    before = tree(place)
    code, said = biglearn("sample", "model", 2, "-o", "Pictures", "--force")
    assert code == 1 and "Pictures holds 'thesis.txt', which biglearn did not write; --force replaces only" in said
    assert biglearn("sample", "model", 2, "-o", "model", "--force")[0] == 1
    assert tree(place) == before
    assert (
        biglearn("sample", "model", 3, "-o", "out", "--force")[0] == 0 and len(list((place / "out").glob("*.png"))) == 3
    )
    (place / "out" / "notes" / "deep").mkdir(parents=True)
    (place / "out" / "notes" / "deep" / "a.txt").write_text("mine")
    code, said = biglearn("sample", "model", 2, "-o", "out", "--force")
    assert code == 1 and "'notes/deep/a.txt'" in said and len(list((place / "out").glob("*.png"))) == 3


def test_an_output_that_somebody_changed_is_theirs(place):
    assert biglearn("sample", "model", 2, "-o", "out")[0] == biglearn("sample", "model", 2, "-o", "x.csv")[0] == 0
    Image.new("L", (8, 8), 7).save(place / "out" / "00001.png")
    with open(place / "x.csv", "a") as stream:
        stream.write("mine\n")
    before = tree(place)
    for output, said in (("out", "holds '00001.png', which biglearn did not write"), ("x.csv", "or was changed since")):
        code, error = biglearn("sample", "model", 3, "-o", output, "--force")
        assert code == 1 and said in error
    assert tree(place) == before


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.csv", "x.parquet", "x.png"])
@pytest.mark.parametrize("attributes", [True, False])
def test_files_are_replaced_when_biglearn_wrote_them(place, monkeypatch, name, attributes):
    """Also where the file system keeps no attributes of files."""
    if not attributes:
        monkeypatch.delattr(os, "setxattr")
        monkeypatch.delattr(os, "getxattr")
    (place / name).write_text("old")
    code, said = biglearn("sample", "model", 2, "-o", name, "--force")
    assert code == 1 and f"{name} was not written by biglearn" in said and (place / name).read_text() == "old"
    (place / name).unlink()
    assert biglearn("sample", "model", 2, "-o", name)[0] == 0
    first = (place / name).read_bytes()
    assert biglearn("sample", "model", 2, "-o", name)[0] == 1
    assert biglearn("sample", "model", 2, "-o", name, "--seed", 1, "--force")[0] == 0
    assert (place / name).read_bytes() != first
    assert (place / ownership.RECORD).exists() != attributes


def test_an_empty_folder_is_as_good_as_none(place):
    (place / "out").mkdir()
    assert biglearn("sample", "model", 2, "-o", "out")[0] == 0 and len(list((place / "out").glob("*.png"))) == 2


@pytest.mark.parametrize("output", [".", "..", "", "../../..", "model/..", "/"])
def test_the_current_folder_and_those_above_are_never_an_output(place, output):
    before = tree(place)
    for force in ([], ["--force"]):
        code, said = biglearn("sample", "model", 2, "-o", output, *force)
        assert code == 1 and "must not be the current folder or one above it" in said
    assert tree(place) == before


def test_places_that_are_no_file_or_cannot_be_written(place):
    os.mkfifo(place / "pipe.npy")
    (place / "file").write_text("")
    (place / "folder.csv").mkdir()
    for output, said in (
        ("pipe.npy", "must be a file or a folder. Got a device, a pipe or a socket."),
        ("/dev/null", "must be a file or a folder. Got a device"),
        ("file", "must be a folder. Got a file."),
        ("folder.csv", "must be a file. Got a folder."),
        ("file/x.npy", "must lie in a folder. Got"),
    ):
        code, error = biglearn("sample", "model", 2, "-o", output, "--force")
        assert code == 1 and said in error, output
    assert biglearn("sample", "model", 1, "-o", "x.npy")[0] == 0
    (place / "x.npy").chmod(0o444)
    code, error = biglearn("sample", "model", 1, "-o", "x.npy", "--force")
    assert code == 1 and "must be writable. Got a file that its owner has made read-only." in error


def test_a_place_without_the_right_to_write_is_refused_before_the_work(place, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(ValueError, match=f"new/x.npy must lie where you may write. Got {place}"):
        output_place(Path("new/x.npy"), False)


# -- links and rights --------------------------------------------------------------------------------------------
def test_a_link_is_written_through_and_stays(place):
    (place / "big").mkdir()
    os.symlink("big/x.npy", place / "x.npy")
    os.symlink("big/out", place / "out")
    for seed in (0, 1):
        assert biglearn("sample", "model", 2, "-o", "x.npy", "--seed", seed, "--force")[0] == 0
        assert biglearn("sample", "model", 2, "-o", "out", "--seed", seed, "--force")[0] == 0
    assert (place / "x.npy").is_symlink() and not (place / "big" / "x.npy").is_symlink()
    assert (place / "out").is_symlink() and len(list((place / "big" / "out").glob("*.png"))) == 2
    (place / "big" / "y.npy").write_text("old")
    os.symlink("big/y.npy", place / "y.npy")
    assert (
        biglearn("sample", "model", 2, "-o", "y.npy", "--force")[0] == 1
        and (place / "big" / "y.npy").read_text() == "old"
    )


def test_the_umask_is_respected_and_what_is_private_stays_so(place):
    before = os.umask(0o027)
    try:
        assert biglearn("sample", "model", 2, "-o", "out")[0] == biglearn("sample", "model", 2, "-o", "x.npy")[0] == 0
        assert (place / "out").stat().st_mode & 0o777 == 0o750
        assert (place / "out" / "00000.png").stat().st_mode & 0o777 == (place / "x.npy").stat().st_mode & 0o777 == 0o640
        (place / "x.npy").chmod(0o600)
        (place / "out").chmod(0o700)
        os.umask(0o000)
        for output in ("x.npy", "out"):
            assert biglearn("sample", "model", 2, "-o", output, "--force")[0] == 0
        assert (place / "x.npy").stat().st_mode & 0o777 == 0o600 and (place / "out").stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)


# -- leftovers and full disks ------------------------------------------------------------------------------------
def dead() -> int:
    gone = subprocess.Popen(["true"])
    gone.wait()
    return gone.pid


def test_leftovers_of_the_same_output_go_and_all_else_stays(place):
    kept = [f".x.npy.pid{os.getpid()}.ab.tmp", f".y.npy.pid{dead()}.ab.tmp", ".x.npy.tmp", "x.npy.pid1.ab.tmp"]
    gone = [f".x.npy.pid{dead()}.ab.tmp", f".x.npy.pid{dead()}.cd.tmp"]
    for name in kept + gone:
        (place / name).write_text("half")
    assert biglearn("sample", "model", 1, "-o", "x.npy")[0] == 0
    assert {p.name for p in place.iterdir()} == {"model", "x.npy", *kept}


@pytest.mark.parametrize("output", ["out", "x.npy", "x.csv"])
def test_a_full_disk_loses_nothing_and_leaves_nothing(place, output):
    """A limit on the size of files stands for the disk: the write fails half-way."""
    assert biglearn("sample", "model", 2, "-o", output)[0] == 0
    before = tree(place)
    command = [sys.executable, "-m", "pipeline.app.cli", "sample", "model", "4000", "-o", output, "--force"]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    done = subprocess.run(
        command, capture_output=True, text=True, preexec_fn=limit, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    )
    assert done.returncode == 1 and "File too large" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert tree(place) == before


# -- projects ----------------------------------------------------------------------------------------------------
def photos(folder: Path, n: int = 12) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


def test_a_model_inside_the_photos_is_no_photo(place, monkeypatch):
    """`cd photos; biglearn fit . -o model`, twice, with drawn pictures beside it."""
    monkeypatch.chdir(photos(place / "photos"))
    before = {k: v for k, v in tree(Path()).items() if k.endswith(".png")}
    assert biglearn("fit", ".", "-o", "model", *TINY)[0] == 0
    assert biglearn("sample", "model", 5, "-o", "drawn")[0] == 0
    code, said = biglearn("fit", ".", "-o", "model", "--force", *TINY)
    assert code == 0 and "left out drawn: a folder that biglearn wrote" in said and "12 pictures in photos/." in said
    assert len(list(Paths(Path("model")).raw.rglob("*.png"))) == 12
    assert {k: v for k, v in tree(Path()).items() if k in before} == before


def test_a_folder_of_another_project_is_left_alone(place):
    np.savez(place / "d.npz", x=np.random.default_rng(0).integers(0, 256, (64, 8, 8), dtype=np.uint8))
    thesis = place / "thesis"
    thesis.mkdir()
    (thesis / "params.yaml").write_text("featurize:\n  max_features: 100  # tuned for a week\n")
    own = place / "checkout"
    own.mkdir()
    (own / "params.yaml").write_text((Path(__file__).resolve().parents[2] / "params.yaml").read_text(encoding="utf8"))
    before = tree(place)
    for folder, message in (
        ("thesis", "Got a params.yaml that is not its own"),
        ("checkout", "Got a params.yaml that is not its own"),
        (".", "must not hold the data"),
        ("model", "must be empty or a BigLearn project. Got a folder without params.yaml."),
    ):
        for force in ([], ["--force"]):
            code, said = biglearn("fit", "d.npz", "-o", folder, *TINY, *force)
            assert code == 1 and message in said, said
    pd.DataFrame({"a": [1.0, 2, 3]}).to_csv(place / "t.csv", index=False)
    assert biglearn("fit", "t.csv", "-o", "thesis", "--force")[0] == 1
    (place / "t.csv").unlink()
    assert tree(place) == before


def test_a_fit_removes_what_dead_processes_left_in_its_project(place):
    np.savez(place / "d.npz", x=np.random.default_rng(0).integers(0, 256, (64, 8, 8), dtype=np.uint8))
    assert biglearn("fit", "d.npz", "-o", "new", *TINY)[0] == 0
    left = place / "new" / "data" / f".raw.pid{dead()}.abcd1234.tmp"
    left.mkdir()
    (left / "part.bin").write_bytes(bytes(1000))
    assert biglearn("fit", "d.npz", "-o", "new", "--force", *TINY)[0] == 0 and not left.exists()


def test_a_fit_says_which_parameters_changed_and_clears_tries_that_it_ended(place):
    np.savez(place / "d.npz", x=np.random.default_rng(0).integers(0, 256, (64, 8, 8), dtype=np.uint8))
    assert biglearn("fit", "d.npz", "-o", "new", *TINY)[0] == 0
    old = place / "new" / "data" / "checkpoints" / ("0" * 16) / "step-00000005"
    old.mkdir(parents=True)
    (old / "state.json").write_text("{}")
    code, said = biglearn("fit", "d.npz", "-o", "new", "--force", *TINY, "--set", "train.lr=0.0007")
    assert code == 0 and "fit: train.lr was " in said and ", is 0.0007" in said
    assert "train: starts anew at step 0. The checkpoint of step 5 from" in said
    assert "fit: removed the checkpoints of 1 unfinished tries (step 5;" in said and not old.parent.exists()
    assert yaml.safe_load((place / "new" / "params.yaml").read_text())["train"]["lr"] == 0.0007
