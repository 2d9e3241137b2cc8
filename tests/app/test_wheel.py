"""The wheel, installed without a checkout and used from an empty folder, does what the README says of `biglearn`."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.helpers.imports import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The `bin` of a new environment that holds the wheel alone; what it depends on is seen in this environment."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in tracked.decode().split("\0"):
        if name.startswith(("pipeline/", "kernels/", "flows/")) or name in (
            "biglearn.py",
            "pyproject.toml",
            "README.md",
        ):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(place), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(place / "environment", with_pip=False)
    python = place / "environment" / "bin" / "python"
    (wheel,) = place.glob("*.whl")
    install = [*pip, "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (library,) = (place / "environment" / "lib").glob("python*/site-packages")
    (library / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python.parent


def run(installed: Path, folder: Path, program: str, *arguments: object) -> str:
    """What an installed program prints; it must end well and without a traceback."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "BIGLEARN_ROOT", "VIRTUAL_ENV")}
    command = [str(installed / program), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow(short=True)  # an environment, a build and five processes that load torch
def test_the_wheel_works_without_a_checkout(installed, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"height": rng.normal(170, 9, 60).round(1), "group": rng.choice(list("abc"), 60)})
    frame.loc[::7, "height"] = np.nan
    frame.to_csv(tmp_path / "survey.csv", index=False)
    assert " 0 failures" in run(installed, tmp_path, "biglearn", "doctor")
    settings = ("--set", "steps=3", "--set", "width=8", "--set", "depth=1")
    run(installed, tmp_path, "biglearn", "fit", "survey.csv", "-o", "model", *settings)
    run(installed, tmp_path, "biglearn", "sample", "model", 5, "-o", "new.csv")
    run(installed, tmp_path, "biglearn", "impute", "survey.csv", "--model", "model", "-o", "filled.csv")
    assert len(pd.read_csv(tmp_path / "new.csv")) == 5
    filled = pd.read_csv(tmp_path / "filled.csv")
    assert not filled.isna().any().any() and filled.loc[1:6].equals(frame.loc[1:6])
    where = run(installed, tmp_path, "python", "-c", "import biglearn; print(biglearn.__file__)")
    assert str(installed.parent) in where and not (tmp_path / "data").exists()
