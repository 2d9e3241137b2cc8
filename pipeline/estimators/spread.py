"""Honest spread: of calibrated draws, the mean distance between two is the mean distance of one from the truth.

Held-out rows get gaps as other rows have them and are drawn several times by models that have not seen them. Where draws
lie too far apart, numbers are drawn from the central share of each distribution at which the ratio is 1.

Shapes: N rows, n held-out rows, C columns, K draws.
"""

from __future__ import annotations

import numpy as np

from kernels.task_sampling import TARGET, TaskSpec, sample_tasks
from pipeline.estimators.mixture import MixtureSampler
from pipeline.rows.gap_tokens import with_missing

SPREAD_STREAM = 6
DRAWS, MOST_ROWS, FEWEST_ROWS = 3, 240, 120  # a row is asked several times where there are few
MOST_CELLS, LEAST_ASKED = 12_000, 24  # a wide table has fewer rows asked: each draw passes once for every gap of a row
LEAST_SHARE, STEPS = 0.3, 3
SHARP = 0.7  # of the share, what `spread="sharp"` draws from


class Spread:
    """The ratio of mean distance between draws to mean error on held-out rows, for any central share.

    parts: (sampler, (n, C) rows that it has not seen) pairs; spec: the tasks whose targets become gaps. The half of the
    rows with the fewest gaps of their own is asked: with gaps added, those are nearest to what rows to fill look like.
    """

    def __init__(self, parts: list[tuple[MixtureSampler, np.ndarray]], spec: TaskSpec, seed: int) -> None:
        self.seed, self.cases = seed, []
        for i, (sampler, rows) in enumerate(parts):
            most = int(np.clip(MOST_CELLS // rows.shape[1], LEAST_ASKED, MOST_ROWS))
            rows = rows[np.argsort(np.isnan(rows).sum(1), kind="stable")][: -(-len(rows) // 2)]
            times = max(1, -(-min(FEWEST_ROWS, most) // max(1, len(rows) * len(parts))))
            rows = np.repeat(rows[: most // len(parts)], times, axis=0)
            tasks = sample_tasks(spec, len(rows), seed=seed + i, stream=SPREAD_STREAM)
            role = with_missing(tasks, sampler.schema.missing(rows), sampler.schema, seed=seed).role
            gap = (role == TARGET)[:, sampler.schema.token_of_column]
            self.cases.append((sampler, rows, gap))

    def distances(self, share: float) -> np.ndarray:
        """(2, n) mean distance between draws and from the truth of every row with a gap in a number, draws from `share`."""
        out = []
        for sampler, rows, gap in self.cases:
            binned = [t for t in sampler.schema.tokens if t.binned]
            column = np.array([t.columns[0] for t in binned], np.int64)
            scale = np.array([t.scale for t in binned])
            asked = gap[:, column].any(1)
            if not asked.any():
                continue
            sampler.sharpness = 1.0 - share
            seen = np.where(gap, np.float32(np.nan), rows)[asked]
            drawn = sampler.complete(seen, targets=gap[asked], draws=DRAWS, seed=self.seed)[..., column] / scale
            truth, own = rows[asked][:, column] / scale, gap[asked][:, column]

            def norm(difference: np.ndarray, own: np.ndarray = own) -> np.ndarray:
                return np.sqrt((np.where(own, difference, 0.0) ** 2).sum(-1) / own.sum(-1))

            near = np.mean([norm(d - truth) for d in drawn], 0)
            apart = np.mean([norm(drawn[i] - drawn[j]) for i in range(DRAWS) for j in range(i)], 0)
            out.append(np.stack([apart, near]))
        return np.concatenate(out, 1) if out else np.empty((2, 0))


def calibrated_share(spread: Spread) -> tuple[float, dict[str, float]]:
    """(central share at which the ratio is 1, what was found); 1 where the ratio does not exceed 1 by its own error.

    Draws that are too narrow are left alone: the power of the pool has widened them where held-out scores gained."""
    apart, near = spread.distances(1.0)
    if not len(near) or near.sum() <= 0:
        return 1.0, {"central_share": 1.0}
    before = apart.sum() / near.sum()
    error = (apart - before * near).std() / (near.mean() * np.sqrt(len(near)))
    share, ratio = 1.0, before
    low, low_ratio = 0.0, 0.0
    if before - error > 1.0:
        high, high_ratio = 1.0, before
        for _ in range(STEPS):  # regula falsi: the ratio grows with the share
            share = low + (high - low) * (1.0 - low_ratio) / max(high_ratio - low_ratio, 1e-9)
            share = float(np.clip(share, max(LEAST_SHARE, low), high))
            apart, near = spread.distances(share)
            ratio = apart.sum() / max(near.sum(), 1e-12)
            if abs(ratio - 1.0) < 0.01 or share <= LEAST_SHARE:
                break
            if ratio > 1.0:
                high, high_ratio = share, ratio
            else:
                low, low_ratio = share, ratio
    apart, near = spread.distances(SHARP * share)
    found = {"ratio_of_all": before, "error": error, "central_share": share, "ratio": ratio}
    found["ratio_sharp"] = apart.sum() / max(near.sum(), 1e-12)
    return share, {k: round(float(v), 4) for k, v in found.items()}
