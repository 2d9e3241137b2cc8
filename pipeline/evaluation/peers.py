"""Imputers that ours is compared with; DataFrames in and out.

    forest = missforest(seed)
    forest.fit(train)
    best = forest.best(test)                   # DataFrame
    draws = forest.draw(test, draws=10)        # list of DataFrames; one for methods that do not sample

Numbers are read standardised and categories one-hot by Encoded, as codes by Chain.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer

from pipeline.tables.kinds import holds_words


class Encoded:
    """A scikit-learn imputer on standardised numbers and one-hot categories."""

    def __init__(self, imputer: object, sampled: bool = False) -> None:
        self.imputer, self.sampled = imputer, sampled

    def fit(self, frame: pd.DataFrame) -> None:
        self.words = {c: sorted(frame[c].dropna().unique()) for c in frame if _is_category(frame[c])}
        numbers = [c for c in frame if c not in self.words]
        self.center = frame[numbers].astype(float).mean()
        self.scale = frame[numbers].astype(float).std(ddof=0).replace(0.0, 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the rounds are bounded on purpose
            self.imputer.fit(self._matrix(frame))

    def best(self, frame: pd.DataFrame) -> pd.DataFrame:
        return self._frame(frame, self.imputer.transform(self._matrix(frame)))

    def draw(self, frame: pd.DataFrame, draws: int) -> list[pd.DataFrame]:
        return [self.best(frame) for _ in range(draws if self.sampled else 1)]

    def _matrix(self, frame: pd.DataFrame) -> np.ndarray:
        parts = []
        for c in frame:
            if c in self.words:
                known = frame[c].notna().to_numpy()[:, None]
                parts.append(np.where(known, frame[c].to_numpy()[:, None] == np.array(self.words[c])[None], np.nan))
            else:
                parts.append(((frame[c].astype(float) - self.center[c]) / self.scale[c]).to_numpy()[:, None])
        return np.concatenate(parts, 1).astype(float)

    def _frame(self, frame: pd.DataFrame, matrix: np.ndarray) -> pd.DataFrame:
        out, at = frame.copy(), 0
        for c in frame:
            gap = frame[c].isna().to_numpy()
            if c in self.words:
                width = len(self.words[c])
                value = np.array(self.words[c], dtype=object)[matrix[:, at : at + width].argmax(1)]
            else:
                width, value = 1, matrix[:, at] * self.scale[c] + self.center[c]
            out.loc[gap, c] = value[gap]
            at += width
        return out


class Chain:
    """MissForest-style: every column predicted from the others by `regressor` or `classifier`, in rounds.

    Starts from means and modes; columns in the order of their missing cells. The models of every round are kept and
    applied in turn to new rows. Categories are read as codes. Source: Stekhoven & Bühlmann 2012.
    """

    def __init__(self, regressor: Callable, classifier: Callable, rounds: int) -> None:
        self.regressor, self.classifier, self.rounds = regressor, classifier, rounds

    def fit(self, frame: pd.DataFrame) -> None:
        self.words = {c: sorted(frame[c].dropna().unique()) for c in frame if _is_category(frame[c])}
        codes = self._codes(frame)
        known = ~np.isnan(codes)
        self.start = np.array(
            [self._mode(codes[:, j]) if c in self.words else np.nanmean(codes[:, j]) for j, c in enumerate(frame)]
        )
        filled = np.where(known, codes, self.start)
        self.models = []
        for _ in range(self.rounds):
            for j in np.argsort((~known).sum(0), kind="stable"):
                if known[:, j].all():
                    continue
                others = np.delete(filled, j, 1)
                targets = codes[known[:, j], j]
                make = self.classifier if frame.columns[j] in self.words else self.regressor
                model = make().fit(others[known[:, j]], targets) if len(np.unique(targets)) > 1 else None
                self.models.append((j, model))
                if model is not None:
                    filled[~known[:, j], j] = model.predict(others[~known[:, j]])

    def best(self, frame: pd.DataFrame) -> pd.DataFrame:
        codes = self._codes(frame)
        gap = np.isnan(codes)
        filled = np.where(gap, self.start, codes)
        for j, model in self.models:
            if model is not None and gap[:, j].any():
                filled[gap[:, j], j] = model.predict(np.delete(filled, j, 1)[gap[:, j]])
        out = frame.copy()
        for j, c in enumerate(frame):
            values = filled[:, j]
            value = np.array(self.words[c], dtype=object)[values.astype(int)] if c in self.words else values
            out.loc[gap[:, j], c] = value[gap[:, j]]
        return out

    def draw(self, frame: pd.DataFrame, draws: int) -> list[pd.DataFrame]:
        return [self.best(frame)]

    def _codes(self, frame: pd.DataFrame) -> np.ndarray:
        columns = []
        for c in frame:
            if c in self.words:
                code = {w: i for i, w in enumerate(self.words[c])}
                columns.append(frame[c].map(code, na_action="ignore").to_numpy(float))
            else:
                columns.append(frame[c].to_numpy(float))
        return np.stack(columns, 1)

    @staticmethod
    def _mode(codes: np.ndarray) -> float:
        return float(np.bincount(codes[~np.isnan(codes)].astype(int)).argmax())


def _is_category(column: pd.Series) -> bool:
    return holds_words(column)


def missforest(seed: int) -> Chain:
    """A chain of forests of 100 extremely randomised trees, in five rounds."""
    settings = {"n_estimators": 100, "random_state": seed, "n_jobs": 1}
    return Chain(
        lambda: ExtraTreesRegressor(min_samples_leaf=2, **settings),
        lambda: ExtraTreesClassifier(min_samples_leaf=2, **settings),
        rounds=5,
    )


def boosting(seed: int) -> Chain:
    """A chain of boosted trees, in three rounds."""
    return Chain(
        lambda: HistGradientBoostingRegressor(random_state=seed),
        lambda: HistGradientBoostingClassifier(random_state=seed),
        rounds=3,
    )


def mean_fill() -> Encoded:
    """Means of numbers, most frequent categories."""
    return Encoded(SimpleImputer())
