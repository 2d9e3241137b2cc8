"""A small network and its batches for steps of fixed shapes, on a CPU and on a card."""

from __future__ import annotations

import numpy as np

from kernels.task_sampling import TaskBank, write_bank
from pipeline.base.data_groups import TasksParams
from pipeline.base.model_groups import NetworkParams
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.training.batches import BatchReader

SCHEMA = image_label_schema(8, 8, 1, 2, 0.0, 16.0, list("abcd"))
NETWORK = NetworkParams(width=16, depth=2, heads=2, noise_width=4)
EARLIER = {"mismatch_weight": 1.0, "mismatch_final_weight": 0.01, "lr": 1e-3, "generator_lr": 1e-3}
MIXTURE = {"joint": 1.0, "modality": 1.0, "beta_random": 1.0}


def make_reader(tmp_path, weights: dict[str, float], pairs: bool = False) -> BatchReader:
    bank = tmp_path / "bank"
    write_bank(bank, spec_from_schema(TasksParams(weights=weights, target_beta=[1.0, 1.0]), SCHEMA), 512, 3, 0)
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.integers(0, 17, (64, 64)), rng.integers(0, 4, (64, 1))], 1).astype(np.float32)
    return BatchReader(rows, SCHEMA, TaskBank.open(bank), 16, seed=1, minibatch_group=4, pairs=pairs)
