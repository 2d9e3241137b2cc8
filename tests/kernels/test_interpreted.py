"""Runs interpreted.py and interpreted_attention.py in processes of their own: Triton must be told to interpret before it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(marks: str, name: str = "interpreted.py") -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", str(HERE / name), "-m", marks, "-p", "no:cacheprovider", "--tb=short"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parents[1], env=environment, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout


def test_kernels_in_the_interpreter():
    run("not slow")


def test_attention_in_the_interpreter():
    run("not slow", "interpreted_attention.py")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sweep_of_shapes_in_the_interpreter():
    run("slow")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_more_shapes_of_attention_in_the_interpreter():
    run("slow", "interpreted_attention.py")
