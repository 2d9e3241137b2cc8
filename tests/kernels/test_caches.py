"""Compiled code is kept where it can be written, and nowhere that somebody else could have filled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from kernels import caches
from kernels.task_sampling.threads import LEAST_BYTES, in_parallel
from tests.helpers.imports import ROOT


def test_the_nearest_folder_that_is_there_is_asked(tmp_path):
    assert caches.is_writable(tmp_path / "not" / "yet") and not (tmp_path / "not").exists()
    (tmp_path / "file").write_text("")
    assert not caches.is_writable(tmp_path / "file" / "below")
    assert not caches.is_writable(caches.Path("/proc/nobody"))


def test_the_own_folder_is_private(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first = caches.own_folder("numba")
    assert first == caches.own_folder("numba") and first.parent.stat().st_mode & 0o077 == 0
    first.parent.chmod(0o777)  # somebody else may have put code there
    assert caches.own_folder("numba") not in (None, first)


def test_a_link_in_its_place_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"biglearn-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    found = caches.own_folder("numba")
    assert found is not None and not list((tmp_path / "elsewhere").iterdir())


def test_no_temporary_folder_is_no_error(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/proc/nobody")
    assert caches.own_folder("numba") is None


@pytest.fixture
def site(tmp_path):
    """`kernels` where it cannot be written: a file stands where Numba wants a folder; even root is stopped by that."""
    shutil.copytree(ROOT / "kernels", tmp_path / "site" / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("task_sampling", "gmm"):
        (tmp_path / "site" / "kernels" / name / "__pycache__").write_text("")
    return tmp_path / "site"


def importing(site, home: str, **variables: str) -> list[str]:
    """[NUMBA_CACHE_DIR, TRITON_CACHE_DIR, what was said] after `import kernels` with that home."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA", "TRITON", "XDG", "TORCHINDUCTOR"))}
    code = "import os, kernels; print(*(os.environ.get(k, '-') for k in ('NUMBA_CACHE_DIR', 'TRITON_CACHE_DIR')))"
    here = keep | {"HOME": home, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"} | variables
    done = subprocess.run([sys.executable, "-c", code], cwd="/", env=here, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [*done.stdout.split(), done.stderr]


def test_an_unwritable_home_and_package(site, tmp_path):
    (tmp_path / "temporary").mkdir()
    numba, triton, said = importing(site, "/proc/nobody", TMPDIR=str(tmp_path / "temporary"))
    assert numba.startswith(str(tmp_path)) and triton.startswith(str(tmp_path))
    assert said.count("\n") == 1 and "Set NUMBA_CACHE_DIR" in said and numba in said


def test_what_can_be_written_stays(site, tmp_path):
    assert importing(site, str(tmp_path)) == ["-", "-", ""]  # the user's own cache serves
    chosen = str(tmp_path / "chosen")
    assert importing(site, "/proc/nobody", NUMBA_CACHE_DIR=chosen, TRITON_CACHE_DIR=chosen) == [chosen, chosen, ""]


def test_parts_cover_all_rows_once():
    rows, seen = 10, []
    in_parallel(lambda first, end: seen.append((first, end)), rows, LEAST_BYTES, threads=4)
    covered = sorted(n for first, end in seen for n in range(first, end))
    assert len(seen) == 4 and covered == list(range(rows))
    seen.clear()
    in_parallel(lambda first, end: seen.append((first, end)), rows, 1, threads=4)  # too few bytes for a second thread
    assert seen == [(0, rows)]


def test_an_error_in_a_thread_is_raised():
    with pytest.raises(ZeroDivisionError):
        in_parallel(lambda first, end: 1 // 0, 4, LEAST_BYTES, threads=2)
