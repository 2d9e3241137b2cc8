"""The golden pipeline: tiny data, five steps, CPU, one seed; what it must give is in golden.json. Run: make golden

A change that moves the task banks or the losses shows here. Regenerate only for a change that means to, and explain
the diff. Task banks are integers and compared exactly; losses are float32 sums whose order differs between CPUs, so
they are compared within LOSS_TOLERANCE (the instruction sets of one CPU differed by less than 1e-6).
"""

from __future__ import annotations

import csv
import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np

from kernels.task_sampling.spec import GAP_FAMILIES
from pipeline import fetch, prepare, tasks, train
from pipeline.base.data_groups import TASK_FAMILIES
from pipeline.base.files import write_json
from pipeline.base.params import merge_params
from pipeline.base.paths import Paths

GOLDEN = Path(__file__).parent / "golden.json"
LOSS_TOLERANCE = 1e-4  # relative
STEPS = 5
CHANGES = {
    "seed": 11,
    "prepare": {"limit_rows": 128},
    "tasks": {
        "train_rows": 512,
        "evaluation_rows": 64,
        "weights": dict.fromkeys((f for f in TASK_FAMILIES if f not in GAP_FAMILIES), 1.0),
    },
    "network": {"width": 16, "depth": 2, "heads": 2, "noise_width": 8},
    "train": {
        **{
            "steps": STEPS,
            "batch_size": 32,
            "processes": 1,
            "device": "cpu",
            "attention_backend": "reference",
            "threads": 1,
        },
        **{"communication_weight": 0.5, "continuous_likelihood_weight": 0.5, "penalty_interval": 2},
        **{"body_start": 0.2, "adversarial_start": 0.4},  # a step of the context alone, one without discriminator
        **{"log_interval": 1, "warmup_steps": 2, "sample_interval": 1000},
    },
}


def run(root: Path) -> dict:
    """{banks: array → SHA-256, losses: name → one value a step} of the golden pipeline run in `root`."""
    params, where = merge_params(CHANGES), Paths(root)
    for stage in (fetch, prepare, tasks, train):
        stage.run(params, where)
    return {
        "banks": {
            f"{bank}/{name}": hashlib.sha256(np.load(where.tasks / bank / f"{name}.npy").tobytes()).hexdigest()
            for bank in ("train", "evaluation")
            for name in ("roles", "families")
        },
        "losses": _losses(where.plots / "train" / "plots" / "metrics"),
    }


def _losses(folder: Path) -> dict[str, list[float]]:
    """Every curve but the speed and the accuracies: those are counts over few rows, which jump."""
    out = {}
    for path in sorted(folder.glob("*.tsv")):
        if path.stem != "steps_per_s" and "accuracy" not in path.stem:
            with open(path, encoding="utf8", newline="") as stream:
                out[path.stem] = [float(line[path.stem]) for line in csv.DictReader(stream, delimiter="\t")]
    return out


def main() -> None:
    """Regenerates golden.json."""
    with tempfile.TemporaryDirectory() as folder:
        write_json(GOLDEN, run(Path(folder)))
    print(json.dumps(json.loads(GOLDEN.read_text("utf8"))["losses"], indent=2))


if __name__ == "__main__":
    main()
