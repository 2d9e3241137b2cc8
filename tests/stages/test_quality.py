"""make reproduce QUALITY=long: parameters that exist, longer than the default; any other word is refused before work."""

from __future__ import annotations

import re
import subprocess

import pytest

from pipeline.base.params import load_params
from tests.helpers.imports import ROOT


def dry_run(quality: str) -> subprocess.CompletedProcess:
    command = ["make", "-n", "reproduce", f"QUALITY={quality}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_long_overrides_are_parameters():
    done = dry_run("long")
    assert done.returncode == 0 and "dvc exp run" in done.stdout
    overrides = re.findall(r"-S (\S+)", done.stdout)
    assert load_params(overrides=overrides).train.steps >= 4 * load_params().train.steps


@pytest.mark.parametrize("quality", ["default", "best"])
def test_the_default_is_repro_and_another_word_an_error(quality):
    done = dry_run(quality)
    if quality == "default":
        assert done.returncode == 0 and "dvc repro" in done.stdout
    else:
        assert done.returncode != 0 and "QUALITY must be default or long. Got best" in done.stderr
