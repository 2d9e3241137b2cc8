"""Simple completions to compare with: mean fill, nearest neighbours, IterativeImputer; and what an SVM attains.

    fill = NearestNeighbours(schema, train_rows)
    draws = fill.complete(rows, observed, draws=1, seed=0)        # (K, N, C), as Sampler.complete

Shapes: N rows, M training rows, C columns, F features, K draws.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  (makes the next import possible)
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC

from pipeline.rows.row_file import chunk_rows
from pipeline.rows.schema import Schema

ROUNDS = 5  # of IterativeImputer, each a regression per feature
REGRESSORS = 64  # features that each regression reads, at most: the most correlated ones
FOLDS = 5  # of the cross-validation that fits the SVM's temperature
NEIGHBOURS = 5  # that `NearestNeighbours` draws from when asked for several draws


class MeanFill:
    """Training mean of each number, most frequent code of each category; one draw, the same for every row."""

    def __init__(self, schema: Schema, train_rows: np.ndarray) -> None:
        known = np.asarray(train_rows, np.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a column with no value at all keeps NaN
            self.fill = np.nanmean(known, 0)
        for i in schema.tokens_of("categorical"):
            codes = known[:, schema.tokens[i].columns[0]]
            counts = np.bincount(codes[~np.isnan(codes)].astype(int), minlength=schema.tokens[i].width)
            self.fill[schema.tokens[i].columns[0]] = counts.argmax()

    def complete(self, rows: np.ndarray, observed: np.ndarray, draws: int = 1, seed: int = 0) -> np.ndarray:
        """(1, N, C) float32; `draws` and `seed` change nothing."""
        return np.where(observed, rows, self.fill)[None].astype(np.float32)


class NearestNeighbours:
    """The hidden cells of training rows that are near in the observed cells (features, Euclidean).

    One draw copies the nearest row; more draws copy a random one of the NEIGHBOURS nearest each, which samples
    x_T | x_S without any model. Training cells that are missing count nothing and are filled with the mean.
    """

    def __init__(self, schema: Schema, train_rows: np.ndarray) -> None:
        self.schema, self.rows = schema, np.asarray(train_rows, np.float32)
        self.mean = MeanFill(schema, train_rows)
        self.known = _feature_mask(schema, ~np.isnan(self.rows))
        self.features = schema.encode(self.rows).astype(np.float64)

    def complete(self, rows: np.ndarray, observed: np.ndarray, draws: int = 1, seed: int = 0) -> np.ndarray:
        """(draws, N, C) float32 completions of rows (N, C) given the cells observed (N, C)."""
        near = self._nearest(np.asarray(rows, np.float32), observed, 1 if draws == 1 else NEIGHBOURS)
        choice = np.random.default_rng(seed).integers(0, near.shape[1], (draws, len(rows)))
        copied = self.rows[near[np.arange(len(rows)), choice]]
        copied = np.where(np.isnan(copied), self.mean.fill, copied)
        return np.where(observed, rows, copied).astype(np.float32)

    def _nearest(self, rows: np.ndarray, observed: np.ndarray, k: int) -> np.ndarray:
        """(N, k) training rows in rising mean squared distance over the features known on both sides."""
        size = chunk_rows(len(self.rows))  # all distances of a chunk are in memory
        starts = range(0, max(1, len(rows)), size)
        return np.concatenate([self._nearest_of_some(rows[i : i + size], observed[i : i + size], k) for i in starts])

    def _nearest_of_some(self, rows: np.ndarray, observed: np.ndarray, k: int) -> np.ndarray:
        mask = _feature_mask(self.schema, observed)
        x = self.schema.encode(np.where(observed, rows, np.nan)).astype(np.float64)
        squares = (mask * x**2) @ self.known.T - 2 * x @ self.features.T + mask @ (self.features**2).T
        shared = mask @ self.known.T
        distance = np.where(shared > 0, squares / np.maximum(shared, 1), np.inf)
        return np.argsort(distance, axis=1, kind="stable")[:, : min(k, len(self.rows))]


class Iterative:
    """scikit-learn's IterativeImputer (chained Bayesian ridge regressions) on the features; one draw, the mean.

    It is fitted on the training rows and a copy of them with random cells removed, since it learns to fill only what
    it has seen missing. A hidden category is predicted by a logistic regression on the filled numbers: the chain
    itself cannot, because the one-hot features of a category, all missing together, predict one another.
    """

    def __init__(self, schema: Schema, train_rows: np.ndarray, seed: int = 0) -> None:
        self.schema, self.mean = schema, MeanFill(schema, train_rows)
        rows = np.asarray(train_rows, np.float32)
        rng = np.random.default_rng(seed)
        removed = rng.random(rows.shape) < rng.random((len(rows), 1))
        both = np.concatenate([rows, np.where(removed, np.nan, rows)])
        self.imputer = IterativeImputer(
            max_iter=ROUNDS,
            n_nearest_features=min(REGRESSORS, schema.n_features),
            random_state=seed,
            keep_empty_features=True,
        )
        self.numbers = np.array([schema.tokens[i].modality != "categorical" for i in schema.token_of_feature])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the rounds are bounded on purpose
            filled = self.imputer.fit_transform(self._features(both, ~np.isnan(both)))[: len(rows)]
            self.categories = {i: self._category(i, rows, filled) for i in schema.tokens_of("categorical")}

    def complete(self, rows: np.ndarray, observed: np.ndarray, draws: int = 1, seed: int = 0) -> np.ndarray:
        """(1, N, C) float32; `draws` and `seed` change nothing."""
        filled = self.imputer.transform(self._features(np.asarray(rows, np.float32), observed))
        out = self.schema.decode(filled)
        for i, model in self.categories.items():
            column = self.schema.tokens[i].columns[0]
            out[:, column] = self.mean.fill[column] if model is None else model.predict(filled[:, self.numbers])
        return np.where(observed, rows, out)[None].astype(np.float32)

    def _category(self, token: int, rows: np.ndarray, filled: np.ndarray) -> LogisticRegression | None:
        """The regression of one category on the numbers; None when there is nothing to learn: the mode is used."""
        codes = rows[:, self.schema.tokens[token].columns[0]]
        known = ~np.isnan(codes)
        if not self.numbers.any() or len(np.unique(codes[known])) < 2:
            return None
        return LogisticRegression(max_iter=200).fit(filled[known][:, self.numbers], codes[known])

    def _features(self, rows: np.ndarray, observed: np.ndarray) -> np.ndarray:
        features = self.schema.encode(np.where(observed, rows, np.nan)).astype(np.float64)
        return np.where(_feature_mask(self.schema, observed) > 0, features, np.nan)


def svm_posterior(
    train_inputs: np.ndarray, train_codes: np.ndarray, test_inputs: np.ndarray, test_codes: np.ndarray
) -> dict[str, float]:
    """What a strong classifier attains from the same inputs (N, D): argmax_accuracy, and draw_accuracy, the share of
    labels drawn from its calibrated posterior that are true (their expectation, not a simulation).

    A sampler of x_T | x_S that draws the class from the true posterior has draw_accuracy, not argmax_accuracy.
    One-against-rest RBF machines; softmax of their margins over a temperature with the least cross-validated log loss
    (Guo et al. 2017). Raises ValueError without two classes that have FOLDS training rows each.
    """
    classes, index, counts = np.unique(train_codes, return_inverse=True, return_counts=True)
    if len(classes) < 2 or counts.min() < FOLDS:
        raise ValueError(f"'train_codes' must hold at least 2 classes of {FOLDS} rows. Got counts {counts.tolist()}.")
    machines = OneVsRestClassifier(SVC(C=10.0))
    margins = _both_margins(
        cross_val_predict(machines, train_inputs, index, cv=StratifiedKFold(FOLDS), method="decision_function")
    )

    def log_loss(log_scale: float) -> float:
        return -float(log_softmax(margins * np.exp(log_scale), 1)[np.arange(len(index)), index].mean())

    scale = np.exp(minimize_scalar(log_loss, bounds=(-3, 4), method="bounded").x)
    tested = _both_margins(machines.fit(train_inputs, index).decision_function(test_inputs))
    true = classes[None] == np.asarray(test_codes)[:, None]
    return {
        "draw_accuracy": float((softmax(tested * scale, 1) * true).sum(1).mean()),
        "argmax_accuracy": float((classes[tested.argmax(1)] == test_codes).mean()),
    }


def _both_margins(margins: np.ndarray) -> np.ndarray:
    """(N, K) margins; scikit-learn gives (N,) for two classes."""
    return margins if margins.ndim == 2 else np.stack([-margins, margins], 1)


def _feature_mask(schema: Schema, cells: np.ndarray) -> np.ndarray:
    """(N, F) float64: 1 at the features of chosen cells (N, C)."""
    out = np.empty((len(cells), schema.n_features))
    for i, token in enumerate(schema.tokens):
        chosen = cells[:, list(token.columns)]
        out[:, schema.offsets[i] : schema.offsets[i + 1]] = chosen  # a category's one column covers its features
    return out
