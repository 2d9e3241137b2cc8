"""The imputers that benchmarks/imputation.py compares; one interface, DataFrames in and out.

    method = METHODS["missforest"](seed)
    method.fit(seen_train)
    best = method.best(seen_test)              # DataFrame
    draws = method.draw(seen_test, draws=10)   # list of DataFrames; one for methods that do not sample

The peers are in pipeline/peers.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  (makes the next import possible)
from sklearn.impute import IterativeImputer, KNNImputer

from pipeline.imputer import BigLearnImputer
from pipeline.peers import Encoded, boosting, mean_fill, missforest


class BigLearn:
    """Ours, with default settings for every table."""

    def __init__(self, seed: int) -> None:
        self.imputer = BigLearnImputer(random_state=seed, progress=False)

    def fit(self, frame: pd.DataFrame) -> None:
        self.imputer.fit(frame)

    def best(self, frame: pd.DataFrame) -> pd.DataFrame:
        return self.imputer.transform(frame)

    def draw(self, frame: pd.DataFrame, draws: int) -> list[pd.DataFrame]:
        return self.imputer.sample(frame, draws)


METHODS: dict[str, Callable[[int], object]] = {
    "biglearn": BigLearn,
    "missforest": missforest,
    "boosting": boosting,
    "iterative": lambda seed: Encoded(IterativeImputer(random_state=seed, max_iter=10, n_nearest_features=20)),
    "iterative_draw": lambda seed: Encoded(
        IterativeImputer(random_state=seed, max_iter=10, n_nearest_features=20, sample_posterior=True), sampled=True
    ),
    "knn": lambda seed: Encoded(KNNImputer(n_neighbors=5)),
    "mean": lambda seed: mean_fill(),
}
