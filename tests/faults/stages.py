"""A small workspace in which every stage has run: what faults are injected into."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from tests.helpers.workspace import SMALL, Workspace

STAGES = ("fetch", "prepare", "tasks", "train", "evaluate", "report")


def small_workspace(root: Path) -> Workspace:
    """A workspace on 300 digits in a user's own file, so that fetch has something to copy; nothing has run yet."""
    root.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    np.savez(root / "own.npz", x=digits.images[:300].astype(np.uint8) * 15, y=digits.target[:300])
    changes = {
        "dataset": {"name": "npz", "path": str(root / "own.npz")},
        "prepare": {"patch_size_px": 2},
        "train": {**SMALL["train"], "steps": 30, "batch_size": 16, "sample_interval": 10},
        "evaluate": {"draws": 2, "rows": 16, "source_shares": [0.5], "classifier_epochs": 1, "baselines": False},
    }
    return Workspace(root, changes)
