"""Task specifications for tests: grids with their label before or after, tables, and any of both."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import strategies as st

from kernels.task_sampling import FAMILIES, TaskSpec, apply_missing, sample_pairs

EVERY = dict.fromkeys(FAMILIES, 1.0)
SHARES = {
    "source_beta": (1.0, 1.0),
    "target_beta": (3.0, 0.5),
    "block_share": (0.25, 0.75),
    "bert_target_share": 0.15,
    "mae_target_share": 0.75,
    "column_missing_share": 0.3,
    "label_to_image_share": 0.5,
    "label_visible_share": 0.5,
}


def some_gaps(n_tokens: int) -> np.ndarray:
    """(60, n_tokens) bool: what rows of some data miss, the first token more often than the others."""
    gaps = np.random.default_rng(n_tokens).random((60, n_tokens)) < np.where(np.arange(n_tokens) == 0, 0.6, 0.25)
    gaps[:1, :1] = True
    return gaps


def make_spec(rows: int, columns: int, labels: int = 1, weights: dict | None = None, first: bool = False, **changes):
    """A rows × columns grid of patches and `labels` label tokens after it, or before it."""
    cells = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1).reshape(-1, 2)
    parts = [cells, np.full((labels, 2), -1)]
    is_label = [np.zeros(len(cells), bool), np.ones(labels, bool)]
    order = slice(None, None, -1 if first else 1)
    grid, label = np.concatenate(parts[order]), np.concatenate(is_label[order])
    changes = {**SHARES, "gaps": some_gaps(len(grid)), **changes}
    return TaskSpec(len(grid), weights or EVERY, grid, label, **changes)


def table_spec(n_tokens: int, labels: int = 0, weights: dict | None = None, **changes):
    """A table: no grid, every column its own group, the last `labels` columns labels."""
    is_label = np.arange(n_tokens) >= n_tokens - labels
    grid = np.full((n_tokens, 2), -1)
    changes = {**SHARES, "group": np.arange(n_tokens), "gaps": some_gaps(n_tokens), **changes}
    return TaskSpec(n_tokens, weights or EVERY, grid, is_label, **changes)


@st.composite
def specs(draw):
    """Grids with the label after, before or missing; tables; sparse grids; 1 … 200 tokens; extreme shares."""
    changes = {name: draw(st.floats(0.0, 1.0)) for name in SHARES if name.endswith("_share") and name != "block_share"}
    changes["block_share"] = tuple(sorted(draw(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)))))
    betas = [(1.0, 1.0), (3.0, 0.5), (0.5, 3.0), (1e-3, 1e-3), (1e3, 1e3)]
    changes |= {name: draw(st.sampled_from(betas)) for name in ("source_beta", "target_beta")}
    changes["causal_prefix_share"] = draw(st.sampled_from([0.0, 0.5, 1.0]))
    kind = draw(st.sampled_from(["grid", "table", "sparse"]))
    if kind == "table":
        n = draw(st.integers(1, 70))
        return table_spec(n, draw(st.integers(0, n)), **changes)
    rows, columns = draw(st.integers(1, 13)), draw(st.integers(1, 13))
    spec = make_spec(rows, columns, draw(st.integers(0, 3)), first=draw(st.booleans()), **changes)
    if kind == "sparse":  # every other patch loses its place: holes in the grid, body not a prefix
        spec.grid[1::2] = -1
    return spec


def digests(long: int) -> list[str]:
    """SHA-256 of pairs and of masked rows: 100 of one word, `long` of two words."""
    out = []
    for spec, rows in ((make_spec(4, 4, causal_prefix_share=0.5), 100), (make_spec(9, 8, first=True), long)):
        with np.errstate(over="ignore"):
            first, second = sample_pairs(spec, rows, seed=9, stream=3, start=7)
            missing = np.random.default_rng(0).random(first.role.shape) < 0.7
            missing[:, 0] = False
            masked = apply_missing(first, missing, seed=5)
        arrays = (first.role, first.rank, first.family, second.role, masked.role)
        out.append(hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest())
    return out
