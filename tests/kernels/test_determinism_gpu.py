"""Stage train on a card with `train.deterministic: true`: two runs end with the same bits, for images and for tables."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline import fetch, train
from pipeline.estimators.imputer import RECIPE
from tests.helpers.frames import mixed_frame
from tests.helpers.workspace import SMALL, Workspace

pytestmark = pytest.mark.gpu
STEPS = 20


@pytest.fixture
def settings_restored(monkeypatch):
    """What the stage sets for its whole process is put back."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision(precision)
    torch.set_num_threads(threads)


def images() -> dict:
    """The default objective on digits with everything that draws or sums: both penalties, dropout, communication."""
    train_changes = {"penalty_interval": 2, "communication_weight": 0.5, "continuous_likelihood_weight": 0.5}
    return {"network": {"width": 32, "depth": 2, "heads": 2, "dropout": 0.1}, "train": train_changes}


def table(folder: Path) -> dict:
    """The recipe of tables: binned numbers, cross-entropy and the ranked probability score."""
    path = folder / "mine.csv"
    mixed_frame(300).to_csv(path, index=False)
    return {**RECIPE, "dataset": {"name": "table", "path": str(path)}}


def weights(root: Path, changes: dict, device: str, seed_offset: int = 0) -> dict[str, bytes]:
    """Name → saved weights of both networks after a few steps of stage train."""
    how = {"steps": STEPS, "batch_size": 64, "sample_interval": STEPS, "checkpoint_interval": 10**6, "processes": 1}
    how |= {"device": device, "deterministic": True, "seed_offset": seed_offset}
    tasks = changes.get("tasks", {}) | SMALL["tasks"]
    work = Workspace(root, {**changes, "train": changes["train"] | how, "tasks": tasks})
    fetch.run(work.params, work.where)
    train.run(work.prepared().params, work.where)
    networks = ("generator", "discriminator")
    return {name: (work.where.models / name / "model.safetensors").read_bytes() for name in networks}


@pytest.mark.parametrize("kind", ["images", "table"])
def test_two_deterministic_trainings_end_with_the_same_weights(tmp_path, settings_restored, kind):
    changes = images() if kind == "images" else table(tmp_path)
    first, second = (weights(tmp_path / name, changes, "cuda") for name in ("first", "second"))
    assert first == second
    assert weights(tmp_path / "other", changes, "cuda", seed_offset=1)["generator"] != first["generator"]
