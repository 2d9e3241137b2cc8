"""What BigLearnImputer answers about rows and cells: densities, surprise, distributions, predictions, pooled estimates.

Every answer is exact for the model, in passes without draws (pipeline/asking); nothing is refitted.

Shapes: N rows, C columns, W choices of a column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from pipeline.asking.cells import cell_probabilities, deviations, means, quantiles
from pipeline.asking.density import log_density
from pipeline.asking.pooling import pool
from pipeline.asking.surprise import surprise
from pipeline.asking.units import Unit, Units
from pipeline.estimators.frames import Given, names_of, read
from pipeline.estimators.ruled import RuledMixin
from pipeline.tables.coding import known_cells
from pipeline.tables.containers import is_frame, to_pandas

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def _has_categories(imputer: Any) -> bool:
    return hasattr(imputer, "codec_") and any(t.modality == "categorical" for t in imputer.codec_.schema.tokens)


class AskingMixin(RuledMixin):
    """Questions to a fitted imputer. Needs its codec_, sampler_, missing, and the reading of X."""

    def log_density(
        self,
        X: pd.DataFrame | np.ndarray,
        of: str | Sequence[str] | None = None,
        given: str | Sequence[str] | None = None,
        orders: int = 8,
        random_state: int | None = None,
    ) -> np.ndarray:
        """(N,) log p(known cells of the columns `of` | known cells of the columns `given`), nats a row in data units.

        of: None: every column that is not given. given: None: nothing. orders: random orders of the chain rule whose
        densities are averaged. A number counts with its density (per unit of the column, per day for a date), a category
        with its probability, and so does a frequent single value of a column without decimals or steps: compare rows,
        not columns. Missing cells are left out. Raises ValueError for columns that are not there or in both.
        """
        if not isinstance(orders, Integral) or orders < 1:
            raise ValueError(f"'orders' must be a whole number of at least 1. Got {orders!r}.")
        table, rows, units = self._asked(X)
        knowing = self._columns(units, given, "given") if given is not None else np.zeros(rows.shape[1], bool)
        asked = self._columns(units, of, "of") if of is not None else ~knowing
        if (asked & knowing).any():
            both = [u.name for u in units.columns if asked[u.column] and knowing[u.column]]
            raise ValueError(f"'of' and 'given' must name different columns. Got {both} in both.")
        scale, step = np.array([(unit.scale, unit.code_step) for unit in units.columns]).T
        strange = self._strange(table, rows)
        with self._threads():
            return log_density(
                self.sampler_, rows, asked, knowing, int(orders), self._seed(random_state), strange, scale, step
            )

    def surprise(self, X: pd.DataFrame | np.ndarray, against: str = "entropy") -> pd.DataFrame | np.ndarray:
        """(N, C) nats: −log p(a cell | the other known cells of its row) less what is usual.

        against: "entropy": less its expectation, so that 0 is as probable as ever. "column": less −log p of the cell when
        nothing is known of the row: the log-odds that it came from another row, best for swapped cells. Large is
        suspicious; NaN where the cell is missing. Of a number its bin counts, so the unit does not matter. A
        DataFrame for a DataFrame, of the modelled columns. The networks alone are asked, where there are any: trees know
        the rows that they were grown on, wrong cells included.
        """
        given, rows, units = self._asked(X)
        with self._threads():
            found = surprise(self.sampler_.networks_alone(), rows, self._strange(given, rows), against)
        return pd.DataFrame(found, self._index(X), list(units.schema.columns)) if is_frame(X) else found

    def wrong_cells(self, X: pd.DataFrame | np.ndarray, top: int = 20) -> pd.DataFrame:
        """The `top` cells of the largest surprise against their column: row (its label), column, value, surprise in nats, and what is likely there.

        likely: the mean of a number, the most probable category, given the rest of the row.
        """
        if not isinstance(top, Integral) or top < 1:
            raise ValueError(f"'top' must be a whole number of at least 1. Got {top!r}.")
        given, rows, units = self._asked(X)
        frame = given.frame.set_axis(names_of(self), axis=1)
        sampler = self.sampler_.networks_alone()
        with self._threads():
            found = surprise(sampler, rows, self._strange(given, rows), "column")
            found = np.nan_to_num(found, nan=-np.inf)
            worst = np.argsort(-found, axis=None, kind="stable")[:top]
            worst = worst[found.ravel()[worst] > -np.inf]
            lines = []
            for n, c in zip(*np.unravel_index(worst, found.shape), strict=True):
                unit = units.columns[c]
                likely = self._point(unit, cell_probabilities(sampler, rows[[n]], c)).iloc[0]
                lines.append((self._index(X)[n], unit.name, frame[unit.name].iloc[n], found[n, c], likely))
        return pd.DataFrame(lines, columns=["row", "column", "value", "surprise", "likely"])

    def distribution(
        self,
        X: pd.DataFrame | np.ndarray,
        column: str,
        level: float = 0.9,
        quantiles_at: Sequence[float] = QUANTILES,
    ) -> pd.DataFrame:
        """The distribution of a column's cell in each row given the other known cells; its own value is not read.

        A number or date: mean, sd (of dates, times and durations in days), low and high, between which it lies with probability `level` (as much
        below as above), and q05 … for `quantiles_at`. A category: the probability of each word. Index as X.
        """
        levels = np.asarray(list(quantiles_at), np.float64)
        if not 0 < level < 1 or levels.ndim != 1 or ((levels <= 0) | (levels >= 1)).any():
            raise ValueError(
                f"'level' and 'quantiles_at' must lie between 0 and 1. Got {level} and {list(quantiles_at)}."
            )
        _, rows, units = self._asked(X)
        unit = units[column]
        with self._threads():
            p = cell_probabilities(self.sampler_, rows, unit.column)
        if unit.words is not None:
            return pd.DataFrame(p, self._index(X), list(self.classes_[unit.name]))
        ends = quantiles(unit.token, p, np.array([(1 - level) / 2, (1 + level) / 2, *levels]))
        out = {"mean": self._point(unit, p), "sd": deviations(unit.token, p) * unit.scale}
        names = ["low", "high", *(f"q{100 * q:04.1f}".rstrip("0").rstrip(".") for q in levels)]
        out |= {name: self.codec_.values(unit.name, ends[:, i], means=True) for i, name in enumerate(names)}
        return pd.DataFrame(out).set_axis(self._index(X))

    def predict(self, X: pd.DataFrame | np.ndarray, column: str | None = None) -> np.ndarray:
        """(N,) best guess of a column given the others: the mean of a number, the most probable category.

        column: None: the last of the table. The cell's own value is not read.
        """
        _, rows, units = self._asked(X)
        unit = units.columns[-1] if column is None else units[column]
        with self._threads():
            return self._point(unit, cell_probabilities(self.sampler_, rows, unit.column)).to_numpy()

    @available_if(_has_categories)
    def predict_proba(self, X: pd.DataFrame | np.ndarray, column: str | None = None) -> np.ndarray:
        """(N, W) probabilities of a category's words, in the order of `classes_[column]`; column as in `predict`."""
        _, rows, units = self._asked(X)
        unit = units.columns[-1] if column is None else units[column]
        if unit.words is None:
            raise ValueError(f"'column' must hold categories. Got {unit.name!r}; ask for its distribution instead.")
        with self._threads():
            return cell_probabilities(self.sampler_, rows, unit.column)

    @property
    def classes_(self) -> dict[str, np.ndarray]:
        """Column → its words in the dtype of the table, in the order of `predict_proba`."""
        check_is_fitted(self, "sampler_")
        found = {}
        for token in self.codec_.schema.tokens:
            if token.modality == "categorical":
                found[token.name] = self.codec_.values(token.name, np.arange(token.width)).to_numpy()
        return found

    def pool(
        self,
        X: pd.DataFrame,
        estimate: Callable[[pd.DataFrame], Any],
        draws: int = 10,
        level: float = 0.95,
        random_state: int | None = None,
    ) -> pd.DataFrame:
        """An estimate from `draws` filled copies of X by Rubin's rules: estimate, std_error, low, high, degrees, lost.

        estimate: a function of a DataFrame to (values, variances), or to results of statsmodels; mean_of, share_of,
        linear_model and sklearn_linear of pipeline.asking.pooling make some. See pipeline.asking.pooling.pool.
        """
        if not is_frame(X):
            raise ValueError(f"'X' must be a table to be pooled over. Got {type(X).__name__}.")
        return pool([to_pandas(table) for table in self.sample(X, draws, random_state)], estimate, level)

    # -- inside --------------------------------------------------------------------------------------------
    def _asked(self, X: pd.DataFrame | np.ndarray) -> tuple[Given, np.ndarray, Units]:
        """(X as it is read, its rows (N, C), the units). Raises NotFittedError before all else."""
        check_is_fitted(self, "sampler_")
        given = read(self, X, reset=False)
        return given, self._rows(given), Units(self.codec_)

    def _point(self, unit: Unit, p: np.ndarray) -> pd.Series:
        """(N,) mean of a number, most probable category, of p (N, W)."""
        codes = p.argmax(1) if unit.words is not None else means(unit.token, p)
        return self.codec_.values(unit.name, codes, means=True)

    def _strange(self, given: Given, rows: np.ndarray) -> np.ndarray:
        """(N, C) bool: cells whose word `fit` has not met."""
        out = np.isnan(rows)
        names = names_of(self)
        for i, column in enumerate(self.codec_.modelled):
            if out[:, i].any():
                out[:, i] &= known_cells(column, given.frame.iloc[:, names.index(column.name)]).known
        return out

    @staticmethod
    def _columns(units: Units, names: str | Sequence[str], argument: str) -> np.ndarray:
        """(C,) bool: the named columns."""
        out = np.zeros(len(units.columns), bool)
        names = [names] if isinstance(names, str) else list(names)
        if not names:
            raise ValueError(f"'{argument}' must name a column. Got none.")
        out[[units[str(name)].column for name in names]] = True
        return out

    @staticmethod
    def _index(X: pd.DataFrame | np.ndarray) -> pd.Index:
        return X.index if isinstance(X, pd.DataFrame) else pd.RangeIndex(len(X))
