"""Coverage of pooled intervals on a linear model with cells missing at random, beside complete rows and mean fill.

    python -m benchmarks.pooled_intervals            # 500 repetitions, a table for docs/results/asking.md

y = 1 + 2x + e of n rows, x and e standard normal; 30 % of all cells are missing, each by itself. Draws of a missing cell
come from its exact distribution given the other cell under parameters drawn from their posterior, so what is tested is
the pooling; intervals at nominal .95.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from pipeline.asking.pooling import linear_model, pool

TRUTH = pd.Series({"intercept": 1.0, "slope": 2.0})
MISSING_SHARE, LEVEL = 0.3, 0.95


def coverage(repetitions: int, seed: int = 0, n: int = 100, draws: int = 10) -> pd.DataFrame:
    """Method → share of the repetitions whose interval holds the truth, for intercept and slope, and mean widths."""
    rng = np.random.default_rng(seed)
    found = {"pooled draws": [], "complete rows": [], "mean fill": [], "one draw as if true": []}
    for _ in range(repetitions):
        x = rng.normal(size=n)
        table = pd.DataFrame({"x": x, "y": 1 + 2 * x + rng.normal(size=n)})
        gaps = table.mask(rng.random(table.shape) < MISSING_SHARE)
        filled = exact_draws(gaps, draws, rng)
        found["pooled draws"].append(pool(filled, linear_model("y", ["x"]), LEVEL))
        for name, one in (
            ("complete rows", gaps.dropna()),
            ("mean fill", gaps.fillna(gaps.mean())),
            ("one draw as if true", filled[0]),
        ):
            found[name].append(pool([one, one], linear_model("y", ["x"]), LEVEL))
    return pd.DataFrame({name: _summary(tables) for name, tables in found.items()}).T


def _summary(tables: list[pd.DataFrame]) -> dict[str, float]:
    out = {}
    for place, (name, truth) in enumerate(TRUTH.items()):
        low, high = (np.array([t[end].iloc[place] for t in tables]) for end in ("low", "high"))
        out |= {name: float(((low <= truth) & (truth <= high)).mean()), f"{name} width": float((high - low).mean())}
    return out


def exact_draws(gaps: pd.DataFrame, draws: int, rng: np.random.Generator, sweeps: int = 15) -> list[pd.DataFrame]:
    """Filled tables from the posterior of a bivariate normal (data augmentation, Tanner & Wong 1987)."""
    values, missing = gaps.to_numpy(), gaps.isna().to_numpy()
    now = np.repeat(np.where(missing, np.nanmean(values, 0), values)[None], draws, 0)
    for _ in range(sweeps):
        mean, covariance = _posterior(now, rng)
        for own, other in ((0, 1), (1, 0)):
            slope = (covariance[:, own, other] / covariance[:, other, other])[:, None]
            rest = np.sqrt(covariance[:, own, own] - slope[:, 0] * covariance[:, own, other])[:, None]
            alone = missing[:, own] & missing[:, other] & (own == 0)
            noise = rng.normal(size=now.shape[:2])
            fill = mean[:, [own]] + slope * (now[..., other] - mean[:, [other]]) + rest * noise
            whole = mean[:, [own]] + np.sqrt(covariance[:, own, own])[:, None] * noise
            now[..., own] = np.where(alone, whole, np.where(missing[:, own], fill, now[..., own]))
    return [pd.DataFrame(table, columns=gaps.columns) for table in now]


def _posterior(values: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(K, 2) means and (K, 2, 2) covariances drawn from their posterior under a flat prior, of (K, n, 2) whole tables."""
    tables, n, _ = values.shape
    centre = values.mean(1)
    away = values - centre[:, None]
    scatter = away.transpose(0, 2, 1) @ away
    root = np.linalg.cholesky(np.linalg.inv(scatter)) @ rng.normal(size=(tables, 2, n - 1))
    covariance = np.linalg.inv(root @ root.transpose(0, 2, 1))
    return centre + (np.linalg.cholesky(covariance / n) @ rng.normal(size=(tables, 2, 1)))[..., 0], covariance


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(coverage(args.repetitions, args.seed).round(3).to_string())


if __name__ == "__main__":
    main()
