"""Finding rare rows: ROC AUC of −log_density beside isolation forest, local outlier factor and a Gaussian mixture.

    DATA_MIRROR=… python -m benchmarks.row_outliers --seeds 5

Tables with a rare class, which is the outlier and is not shown to the methods: glass (class 6, 9 of 214 rows), wine (10 of
class 0 among the others), breast cancer (21 malignant among the benign), vehicle (20 vans among the others). Every method
is fitted on all rows, outliers included, with its defaults, and ranks them.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler

from pipeline.estimators.imputer import BigLearnImputer


def tables(seed: int) -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
    """Name → (numbers, (N,) bool outliers); which rare rows are kept is a function of the seed."""
    rng = np.random.default_rng(seed)
    folder = Path(os.environ.get("DATA_MIRROR", ".")) / "tabular" / "blem"
    out = {}
    wine, cancer = load_wine(as_frame=True), load_breast_cancer(as_frame=True)
    out["wine"] = _rare(wine.data, wine.target == 0, 10, rng)
    out["breast cancer"] = _rare(cancer.data.iloc[:, :10], cancer.target == 0, 21, rng)
    glass, vehicle = pd.read_csv(folder / "glass.csv"), pd.read_csv(folder / "vehicle.csv")
    out["glass"] = _rare(glass.iloc[:, 1:], glass.iloc[:, 0] == sorted(glass.iloc[:, 0].unique())[4], 9, rng)
    out["vehicle"] = _rare(vehicle.iloc[:, 1:], vehicle.iloc[:, 0] == vehicle.iloc[:, 0].min(), 20, rng)
    return out


def _rare(data: pd.DataFrame, rare: pd.Series, keep: int, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    chosen = np.flatnonzero(rare.to_numpy())
    chosen = rng.permutation(chosen)[:keep]
    places = np.sort(np.concatenate([np.flatnonzero(~rare.to_numpy()), chosen]))
    return data.iloc[places].reset_index(drop=True), rare.to_numpy()[places]


def scores(frame: pd.DataFrame, seed: int, steps: int) -> dict[str, np.ndarray]:
    """Method → (N,) how odd each row is."""
    x = StandardScaler().fit_transform(frame)
    mixture = GaussianMixture(3, reg_covar=1e-3, random_state=seed).fit(x)
    imputer = BigLearnImputer(steps=steps, progress=False, random_state=seed).fit(frame)
    whole = imputer.sampler_
    joined = -imputer.log_density(frame, orders=8)
    imputer.sampler_ = whole.networks_alone()
    alone = -imputer.log_density(frame, orders=8)
    return {
        "log_density": joined,
        "log_density, networks alone": alone,
        "mean surprise": imputer.surprise(frame).to_numpy().mean(1),
        "isolation forest": -IsolationForest(random_state=seed).fit(x).score_samples(x),
        "local outlier factor": -LocalOutlierFactor().fit(x).negative_outlier_factor_,
        "Gaussian mixture": -mixture.score_samples(x),
        "ECOD": tail_probabilities(x),
    }


def tail_probabilities(x: np.ndarray) -> np.ndarray:
    """(N,) ECOD (Li et al. 2022) of (N, F) numbers: sums of −log empirical tail probabilities, the larger of left, right, by skewness."""
    ranks = np.apply_along_axis(lambda c: np.searchsorted(np.sort(c), c, "right"), 0, x) / len(x)
    above = np.apply_along_axis(lambda c: np.searchsorted(np.sort(-c), -c, "right"), 0, x) / len(x)
    left, right = -np.log(ranks), -np.log(above)
    skew = ((x - x.mean(0)) ** 3).mean(0)
    return np.max([left.sum(1), right.sum(1), np.where(skew < 0, left, right).sum(1)], 0)


def main() -> None:
    """Prints a line a table and method: mean ROC AUC over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    found: dict[tuple[str, str], list[float]] = {}
    for seed in range(args.seeds):
        for name, (frame, rare) in tables(seed).items():
            for method, odd in scores(frame, seed, args.steps).items():
                found.setdefault((name, method), []).append(roc_auc_score(rare, odd))
            print(f"seed {seed}, {name}: done", flush=True)
        summary = pd.Series({k: f"{np.mean(v):.3f} ± {np.std(v):.3f}" for k, v in found.items()})
        print(summary.unstack(0).to_string(), flush=True)


if __name__ == "__main__":
    main()
