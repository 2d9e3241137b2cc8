"""Compiles the task sampling once, so that the first `biglearn fit` or `impute` need not: python -m kernels.warm

The compiled code is kept beside the package, or where NUMBA_CACHE_DIR says; `make environment` runs this.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from kernels.task_sampling import FAMILIES, GAP_FAMILIES, TaskBank, TaskSpec, apply_missing, write_bank

ROWS, TOKENS = 64, 5


def warm() -> None:
    """Writes a small bank of every family that needs no rows and reads it as training does: every function is compiled or found."""
    spec = TaskSpec(
        n_tokens=TOKENS,
        weights={name: 1.0 for name in FAMILIES if name not in GAP_FAMILIES},
        grid=np.array([(0, 0), (0, 1), (1, 0), (1, 1), (-1, -1)]),
        is_label=np.arange(TOKENS) == TOKENS - 1,
        source_beta=(1.0, 1.0),
        target_beta=(1.0, 1.0),
        block_share=(0.2, 0.5),
        bert_target_share=0.5,
        mae_target_share=0.5,
        column_missing_share=0.5,
        label_to_image_share=0.5,
        label_visible_share=0.5,
        causal_prefix_share=0.5,
    )
    with tempfile.TemporaryDirectory(prefix="biglearn-warm-") as folder:
        write_bank(Path(folder) / "bank", spec, ROWS, seed=0)
        tasks, _ = TaskBank.open(Path(folder) / "bank").pairs(np.arange(ROWS))
    missing = np.zeros((ROWS, TOKENS), bool)
    missing[:, 0] = True
    apply_missing(tasks, missing, numbers=np.arange(ROWS))


if __name__ == "__main__":
    started = time.perf_counter()
    warm()
    print(f"kernels: task sampling is ready ({time.perf_counter() - started:.1f} s)")
