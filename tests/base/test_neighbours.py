"""Our top-level packages beside others of the same names: the door opens, and a word says which one is hidden."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.imports import ROOT


def run_beside(folder: Path, code: str) -> subprocess.CompletedProcess:
    """Python running `code` in `folder`, whose modules stand before ours on the path."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["pipeline", "kernels"])
@pytest.mark.parametrize("kind", ["file", "package"])
def test_ours_is_loaded_and_the_other_one_named(tmp_path, name, kind):
    file = tmp_path / f"{name}.py" if kind == "file" else tmp_path / name / "__init__.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text("print('theirs')\n")
    found = run_beside(tmp_path, "import biglearn; print(biglearn.load_params.__module__, biglearn.Schema.__module__)")
    assert found.stdout == "pipeline.base.params pipeline.rows.schema\n", found.stderr
    assert f"package '{name}' hides {file if kind == 'file' else file.parent}" in found.stderr
    assert "environment of its own" in found.stderr


def test_a_module_that_was_imported_before_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "kernels.py").write_text("MINE = 1\n")
    found = run_beside(tmp_path, "import kernels, biglearn")
    assert found.returncode == 1
    assert f"ImportError: biglearn must load its own package 'kernels'. Got {tmp_path}/kernels.py" in found.stderr
    assert "rename the other one" in found.stderr


def test_a_package_that_overwrote_ours_is_an_error_with_a_remedy(tmp_path):
    from pipeline.base.neighbours import own_package

    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("")
    with pytest.raises(ImportError, match="own package 'kernels' at .* Got another one there. Install biglearn in an"):
        own_package("kernels", tmp_path)


def test_doctor_names_the_others(tmp_path):
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").write_text("")
    found = run_beside(tmp_path, "import sys; sys.argv[1:] = ['doctor']; import biglearn; biglearn.main()")
    assert f"package names      'flows' is {tmp_path}/flows" in " ".join(found.stdout.split(" "))
    assert "rename the other one" in found.stdout


def test_the_door_hands_on_the_public_names_and_loads_nothing_heavy():
    code = (
        "import sys, biglearn\n"
        "heavy = {'torch', 'pandas', 'numpy', 'numba', 'sklearn'} & set(sys.modules)\n"
        "import pipeline\n"
        "print(sorted(heavy), biglearn.__all__ == pipeline.__all__, biglearn.__version__)\n"
        "from biglearn import BigLearnEM, BigLearnImputer, Sampler, masked_attention\n"
        "biglearn.nothing\n"
    )
    found = run_beside(ROOT, code)
    assert found.stdout.startswith("[] True 0."), found.stderr
    assert "module 'biglearn' has no attribute 'nothing'; it has BigLearnEM" in found.stderr
