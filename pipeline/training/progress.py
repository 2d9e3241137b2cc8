"""What a generator can do during training, as a sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.model.sampler import Sampler
from pipeline.reporting.sheets import save_sheet, tiles
from pipeline.rows.cells import upper_half_columns


def save_progress_grid(sampler: Sampler, rows: np.ndarray, path: Path, seed: int) -> None:
    """Writes what a generator can do now: four lines of joint samples; then real images, their given upper half
    and two completions of it, each line as long as `rows` (N, C)."""
    schema, n = sampler.schema, len(rows)
    lines = [*tiles(schema, sampler.sample(4 * n, seed=seed)).reshape(4, n, *schema.image[:2], 3), tiles(schema, rows)]
    upper = upper_half_columns(schema)
    if upper is not None:
        observed = np.broadcast_to(upper, rows.shape) & ~np.isnan(rows)
        lines.append(tiles(schema, rows, observed))
        lines += [tiles(schema, d) for d in sampler.complete(rows, observed=observed, draws=2, seed=seed)]
    save_sheet(path, np.stack(lines))
