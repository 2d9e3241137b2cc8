"""A command answers at once: it loads what it uses, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.helpers.imports import ROOT

HEAVY = (
    "torch",
    "numba",
    "scipy",
    "sklearn",
    "pandas",
    "pyarrow",
    "PIL",
    "matplotlib",
    "omegaconf",
    "requests",
    "psutil",
)
NOT_FOR_SAMPLES = ("sklearn", "scipy.stats", "pandas", "numba", "matplotlib", "torch._dynamo", "requests", "psutil")


def loaded(code: str, folder=ROOT) -> set[str]:
    """Modules that are loaded after `code` in a fresh process."""
    show = "\nimport json, sys; print(json.dumps([name for name in sys.modules]))"
    here = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code + show], cwd=folder, env=here, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import biglearn, pipeline, kernels",
        "from pipeline.app.cli import app\ntry:\n    app(['--help'])\nexcept SystemExit:\n    pass",
        "import pipeline.datasets",
    ],
)
def test_the_doors_load_nothing_heavy(code):
    heavy = set(HEAVY) - ({"omegaconf"} if "datasets" in code else set())
    assert not loaded(code) & heavy


def test_the_sampler_loads_torch_and_little_else():
    """Neither scikit-learn nor SciPy's statistics nor pandas nor Numba comes along, nor PyTorch's compiler."""
    found = loaded("from pipeline import Sampler")
    assert "torch" in found and not found & set(NOT_FOR_SAMPLES)


def test_a_drawn_row_loads_no_numba(tmp_path):
    code = (
        "from dataclasses import asdict; from pathlib import Path\n"
        "from pipeline.base.params import NetworkParams\n"
        "from pipeline.model.generator import Generator\n"
        "from pipeline.model.sampler import Sampler\n"
        "from pipeline.rows.image_schema import image_label_schema\n"
        "network = NetworkParams(width=8, depth=1, heads=1, noise_width=4)\n"
        "schema = image_label_schema(4, 4, 1, 2, 0.0, 1.0, ['a', 'b'])\n"
        "Sampler.save(Path('model'), Generator(schema, network), schema, asdict(network), 64)\n"
        "Sampler.load('model').sample(3)"
    )
    assert not loaded(code, tmp_path) & set(NOT_FOR_SAMPLES)


def test_a_step_of_training_does_not_load_the_compiler():
    """torch.optim's classes would: two seconds of every `fit` and `impute`."""
    code = (
        "import torch; from pipeline.training.flat import FlatParameters\n"
        "flat = FlatParameters(torch.nn.Linear(3, 2)); adam = flat.adam(0.1, 0.99)\n"
        "flat.gradients.fill_(1.0); adam.step()"
    )
    assert "torch._dynamo" not in loaded(code)
