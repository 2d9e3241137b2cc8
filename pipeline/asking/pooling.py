"""One estimate with an honest error from K filled tables: Rubin's rules.

    pool(draws, mean_of("income"))                                  # a DataFrame, one line a number
    pool(draws, linear_model("income", ["age", "hours"]))
    pool(draws, lambda table: smf.ols("income ~ age", table).fit())  # results of statsmodels as they are

With estimates q_k and variances u_k of K tables, the pooled estimate is the mean q̄, and its variance T = ū + (1 + 1/K) b,
with ū the mean of u_k and b the variance of q_k (Rubin 1987). Degrees of freedom after Barnard and Rubin (1999), which
stay below those of the complete data. The share of information lost to the gaps is (1 + 1/K) b / T, with their
correction for few tables.

Shapes: K tables, P numbers that are estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

Estimate = Callable[[pd.DataFrame], Any]


def pool(draws: Sequence[pd.DataFrame], estimate: Estimate, level: float = 0.95) -> pd.DataFrame:
    """A DataFrame with a line a number: estimate, std_error, low, high, degrees, lost.

    estimate: of one filled table, either (values, variances), scalars, arrays or Series of P, or (values, variances,
    degrees of freedom of the complete data), or an object with `params` and `bse` as statsmodels has. low, high: ends of
    the interval at `level`. lost: share of the information that the gaps cost, 0 to 1.

    Raises ValueError for fewer than two tables, and for values and variances that do not fit together.
    """
    if len(draws) < 2:
        raise ValueError(f"'draws' must hold at least two filled tables, as sample(draws=10) gives. Got {len(draws)}.")
    if not 0 < level < 1:
        raise ValueError(f"'level' must lie between 0 and 1. Got {level}.")
    found = [_read(estimate(table), k) for k, table in enumerate(draws)]
    names = found[0][0]
    if any(len(f[1]) != len(names) for f in found):
        raise ValueError("'estimate' must give as many numbers for every table. Got different numbers.")
    values, variances = np.array([f[1] for f in found]), np.array([f[2] for f in found])
    return _pooled(values, variances, found[0][3], level).set_index(pd.Index(names, name="of"))


def _pooled(values: np.ndarray, variances: np.ndarray, complete: float, level: float) -> pd.DataFrame:
    """Rubin's rules for (K, P) values and variances; complete: degrees of freedom without gaps, infinite if not known."""
    k = len(values)
    within, between = variances.mean(0), values.var(0, ddof=1)
    extra = (1 + 1 / k) * between
    total = within + extra
    share = np.divide(extra, total, out=np.zeros_like(total), where=total > 0)
    with np.errstate(divide="ignore"):
        rubin = np.where(share > 0, (k - 1) / share**2, np.inf)
    degrees = rubin
    if np.isfinite(complete):
        observed = (complete + 1) / (complete + 3) * complete * (1 - share)
        degrees = np.where(
            np.isinf(rubin), observed, rubin * observed / np.where(np.isinf(rubin), 1.0, rubin + observed)
        )
    ratio = np.divide(extra, within, out=np.full_like(total, np.inf), where=within > 0)
    lost = np.where(np.isinf(ratio), 1.0, (ratio + 2 / (degrees + 3)) / (np.where(np.isinf(ratio), 0.0, ratio) + 1))
    half = stats.t.ppf((1 + level) / 2, np.maximum(degrees, 1e-6)) * np.sqrt(total)
    middle = values.mean(0)
    columns = {"estimate": middle, "std_error": np.sqrt(total), "low": middle - half, "high": middle + half}
    return pd.DataFrame(columns | {"degrees": degrees, "lost": np.where(share > 0, lost.clip(0, 1), 0.0)})


def _read(result: Any, k: int) -> tuple[list, np.ndarray, np.ndarray, float]:
    """(names, values, variances, degrees of freedom of the complete data) of what `estimate` gave for table `k`."""
    if hasattr(result, "params") and hasattr(result, "bse"):
        result = (result.params, np.asarray(result.bse) ** 2, float(getattr(result, "df_resid", np.inf)))
    if not isinstance(result, tuple) or len(result) not in (2, 3):
        raise ValueError(f"'estimate' must give (values, variances), or results of statsmodels. Got {type(result)}.")
    values, variances = (np.atleast_1d(np.asarray(part, np.float64)) for part in result[:2])
    names = list(result[0].index) if isinstance(result[0], pd.Series) else [f"value {i}" for i in range(len(values))]
    if values.ndim != 1 or values.shape != variances.shape:
        raise ValueError(f"Values and variances must have one shape (P,). Got {values.shape} and {variances.shape}.")
    if not (np.isfinite(values).all() and np.isfinite(variances).all() and (variances >= 0).all()):
        raise ValueError(f"Values and variances must be finite, variances at least 0. Got others for table {k}.")
    return names, values, variances, float(result[2]) if len(result) == 3 else np.inf


# -- estimates ----------------------------------------------------------------------------------------------------
def mean_of(column: str) -> Estimate:
    """The mean of a column of numbers."""

    def estimate(table: pd.DataFrame) -> tuple[pd.Series, np.ndarray, float]:
        cells = _numbers(table, [column])[column]
        n = len(cells)
        return pd.Series({f"mean of {column}": cells.mean()}), np.array([cells.var(ddof=1) / n]), n - 1.0

    return estimate


def share_of(column: str, value: Any) -> Estimate:
    """The share of the rows whose cell in a column is `value`; texts are compared where the cells are no numbers."""

    def estimate(table: pd.DataFrame) -> tuple[pd.Series, np.ndarray, float]:
        cells = _column(table, column)
        same = (cells == value) | (cells.astype(str) == str(value))
        share, n = float(same.mean()), len(cells)
        return pd.Series({f"share of {column} = {value}": share}), np.array([share * (1 - share) / n]), n - 1.0

    return estimate


def linear_model(target: str, columns: Sequence[str]) -> Estimate:
    """Intercept and slopes of least squares; a column of words becomes one of 0 and 1 a word but the first."""

    def estimate(table: pd.DataFrame) -> tuple[pd.Series, np.ndarray, float]:
        y = _numbers(table, [target])[target].to_numpy()
        design = pd.get_dummies(pd.concat([_column(table, c) for c in columns], axis=1), drop_first=True, dtype=float)
        x = np.column_stack([np.ones(len(y)), design.to_numpy(float)])
        inverse = np.linalg.pinv(x.T @ x)
        slopes = inverse @ x.T @ y
        degrees = len(y) - np.linalg.matrix_rank(x)
        variance = ((y - x @ slopes) ** 2).sum() / max(degrees, 1)
        return pd.Series(slopes, ["intercept", *map(str, design.columns)]), variance * np.diag(inverse), float(degrees)

    return estimate


def sklearn_linear(model: Any, target: str, columns: Sequence[str]) -> Estimate:
    """Intercept and coefficients of a fitted LinearRegression of scikit-learn, with the variances of least squares.

    Raises ValueError for another model: penalised coefficients have no such variances.
    """
    if type(model).__name__ != "LinearRegression":
        raise ValueError(f"'model' must be scikit-learn's LinearRegression. Got {type(model).__name__}.")

    def estimate(table: pd.DataFrame) -> tuple[pd.Series, np.ndarray, float]:
        x, y = _numbers(table, columns), _numbers(table, [target])[target]
        fitted = model.fit(x, y)
        names, coefficients = list(columns), np.asarray(fitted.coef_, np.float64)
        design = x.to_numpy()
        if fitted.fit_intercept:
            names, coefficients = ["intercept", *names], np.append(fitted.intercept_, coefficients)
            design = np.column_stack([np.ones(len(y)), design])
        degrees = len(y) - design.shape[1]
        variance = ((y - fitted.predict(x)) ** 2).sum() / max(degrees, 1)
        return pd.Series(coefficients, names), variance * np.diag(np.linalg.pinv(design.T @ design)), float(degrees)

    return estimate


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    if name not in table.columns:
        raise ValueError(f"There must be a column {name!r}. The tables have {list(table.columns)[:30]}.")
    if table[name].isna().any():
        raise ValueError(f"Column {name!r} must be filled in every table. Got missing cells.")
    return table[name]


def _numbers(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    out = pd.DataFrame({name: _column(table, name) for name in names})
    wrong = [name for name in names if not pd.api.types.is_numeric_dtype(out[name].dtype)]
    if wrong:
        raise ValueError(f"Columns must hold numbers to be averaged or fitted. Got {wrong}.")
    return out.astype(np.float64)
