"""The imputers that benchmarks/imputation.py compares; one interface, DataFrames in and out.

    method = METHODS["missforest"](seed)
    method.fit(seen_train)
    best = method.best(seen_test)              # DataFrame
    draws = method.draw(seen_test, draws=10)   # list of DataFrames; one for methods that do not sample

The peers are in pipeline/evaluation/peers.py.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  (makes the next import possible)
from sklearn.impute import IterativeImputer, KNNImputer

from pipeline.estimators.imputer import BigLearnImputer
from pipeline.evaluation.peers import Encoded, boosting, mean_fill, missforest


class BigLearn:
    """Ours, with the same settings for every table; the default ones where none are given."""

    def __init__(self, seed: int, **settings: object) -> None:
        self.imputer = BigLearnImputer(random_state=seed, progress=False, **settings)

    def fit(self, frame: pd.DataFrame) -> None:
        self.imputer.fit(frame)

    def best(self, frame: pd.DataFrame) -> pd.DataFrame:
        return self.imputer.transform(frame)

    def draw(self, frame: pd.DataFrame, draws: int) -> list[pd.DataFrame]:
        return self.imputer.sample(frame, draws)


class HyperImpute:
    """Jarrett et al. 2022, default settings, in the environment whose python $HYPERIMPUTE_PYTHON names.

    It fits anew for every table that it fills, so it is given the training and the held-out rows together, and all of
    its time counts as best_s. Tables of numbers only.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.python = os.environ.get("HYPERIMPUTE_PYTHON", "")
        if not self.python:
            raise SystemExit("HYPERIMPUTE_PYTHON must name a python with hyperimpute and pandas < 3.")

    def fit(self, frame: pd.DataFrame) -> None:
        self.train = frame

    def best(self, frame: pd.DataFrame) -> pd.DataFrame:
        worker = Path(__file__).parent / "hyperimpute_worker.py"
        with tempfile.TemporaryDirectory(prefix="biglearn-hyperimpute-") as folder:
            source, target = Path(folder) / "gaps.csv", Path(folder) / "filled.csv"
            pd.concat([self.train, frame]).to_csv(source, index=False)
            command = [self.python, str(worker), str(source), str(target), str(self.seed)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"hyperimpute ended with {done.returncode}: {done.stderr.strip()[-500:]}")
            print(f"hyperimpute: {done.stdout.strip().splitlines()[-1]}")
            filled = pd.read_csv(target).iloc[len(self.train) :].reset_index(drop=True)
        self.filled = filled.set_axis(frame.index)
        return self.filled

    def draw(self, frame: pd.DataFrame, draws: int) -> list[pd.DataFrame]:
        return [self.filled]


METHODS: dict[str, Callable[[int], object]] = {
    "biglearn": BigLearn,
    "network": lambda seed: BigLearn(seed, model="network"),
    "forest": lambda seed: BigLearn(seed, model="forest"),
    "missforest": missforest,
    "boosting": boosting,
    "iterative": lambda seed: Encoded(IterativeImputer(random_state=seed, max_iter=10, n_nearest_features=20)),
    "iterative_draw": lambda seed: Encoded(
        IterativeImputer(random_state=seed, max_iter=10, n_nearest_features=20, sample_posterior=True), sampled=True
    ),
    "knn": lambda seed: Encoded(KNNImputer(n_neighbors=5)),
    "mean": lambda seed: mean_fill(),
    "hyperimpute": HyperImpute,
}
