"""Pools that fork after a fit or a draw do not wait for threads that are not there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.helpers.imports import ROOT

DRAW = """
import multiprocessing, sys, tempfile
from dataclasses import asdict
from pathlib import Path
import torch
from pipeline.base.params import NetworkParams
from pipeline.model.generator import Generator
from pipeline.model.sampler import Sampler
from pipeline.rows.image_schema import image_label_schema

torch.set_num_threads(2)
network = NetworkParams(width=8, depth=1, heads=1, noise_width=4)
schema = image_label_schema(8, 8, 1, 4, 0.0, 255.0, ["a", "b"])
sampler = Sampler(Generator(schema, network), schema, batch_size=64)

def draw(seed):
    return float(sampler.sample(512, seed).sum()), torch.get_num_threads()

if __name__ == "__main__":
    large = torch.ones(400, 400)
    (large @ large).sum()  # starts the threads
    own, _ = draw(1)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        (first, threads), _ = pool.map_async(draw, [1, 2]).get(timeout=60)
    assert abs(first - own) <= 1e-4 * abs(own) and threads == 1 and torch.get_num_threads() == 2
"""

FIT = """
import multiprocessing
import numpy as np
from joblib import Parallel, delayed
from pipeline import BigLearnImputer

def fit(seed):
    x = np.random.default_rng(seed).normal(size=(40, 3))
    x[::7, 1] = np.nan
    imputer = BigLearnImputer(steps=4, width=8, depth=1, batch_size=16, progress=False)
    return bool(np.isnan(imputer.fit(x).transform(x)).any())

if __name__ == "__main__":
    assert not fit(0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(fit, [1, 2]).get(timeout=120) == [False, False]
    assert Parallel(2)(delayed(fit)(seed) for seed in (1, 2)) == [False, False]
"""


def run(code: str, folder) -> subprocess.CompletedProcess[str]:
    (folder / "program.py").write_text(code)
    here = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    return subprocess.run(
        [sys.executable, "program.py"], cwd=folder, env=here, capture_output=True, text=True, timeout=400
    )


def test_a_fork_after_a_draw(tmp_path):
    done = run(DRAW, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_fork_and_joblib_after_a_fit(tmp_path):
    done = run(FIT, tmp_path)
    assert done.returncode == 0, done.stderr
