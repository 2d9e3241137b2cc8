"""Rows with some properties: drawn by cutting, not by rejection; the constrained columns first.

Each constrained column is drawn from p(x_j | known, drawn before) cut to its set, and a row's weight is the product of
the masses left. A single constrained column leaves equal weights: exact. With several, candidates are drawn of the
constrained columns alone, and rows are chosen among them by weight (sampling–importance–resampling, Rubin 1987); then
the other columns are drawn. The effective sample size (Σw)²/Σw² of the candidates says how much that costs.

Columns whose condition leaves one value come first: they have the same mass in every candidate. A condition of one number
out of a continuum has no mass; the number then counts as known.

Shapes: N rows, C columns, K candidates a row.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np

from pipeline.asking.allowed import Allowed
from pipeline.asking.drawing import Drawer, Sheet

CANDIDATES = 8  # a row
LEAST_MASS = 1e-6
ROUNDS = 20  # of drawing again what breaks a rule


@dataclass(frozen=True)
class Drawn:
    """sheet: the rows. mass: estimated probability of the conditions (mean over rows that have known cells). candidates:
    how many were weighed. effective_sample_size: of them; the number of rows itself where the draw is exact."""

    sheet: Sheet
    mass: float
    candidates: int
    effective_sample_size: float


def new_rows(drawer: Drawer, n: int, rng: np.random.Generator, candidates: int = CANDIDATES) -> Drawn:
    """`n` rows from the joint distribution under the conditions and rules of `drawer`.

    Cells that must be missing stay NaN. Raises ValueError with the mass when the conditions have almost none, and with
    the rules when rows cannot keep them.
    """
    drawn = constrained_rows(drawer, n, rng, candidates)
    sheet = drawn.sheet
    targets = np.isnan(sheet.rows)
    targets[:, [drawer.units[name].column for name, a in drawer.where.items() if a.missing]] = False
    start = sheet.take(np.arange(n))
    drawer.fill(sheet, targets, rng)
    for _ in range(ROUNDS):
        broken = np.flatnonzero(_breaks(drawer, sheet) | _outside(drawer, sheet))
        if not len(broken):
            return replace(drawn, sheet=sheet)
        again = start.take(broken)
        drawer.fill(again, targets[broken], rng)
        sheet.rows[broken], sheet.values[broken] = again.rows, again.values
    broken = np.flatnonzero(_breaks(drawer, sheet) | _outside(drawer, sheet))
    if len(broken):
        names = list(drawer.rules.texts)
        raise ValueError(f"Every new row must keep the rules. {len(broken)} of {n} could not keep {names[:5]}.")
    return replace(drawn, sheet=sheet)


def constrained_rows(drawer: Drawer, n: int, rng: np.random.Generator, candidates: int) -> Drawn:
    """`n` rows in which the constrained columns are drawn, the others NaN. Raises ValueError as `new_rows` does."""
    columns = len(drawer.units.columns)
    first, points = _in_order(drawer)
    sheet = Sheet.blank(n, columns)
    _set_points(drawer, sheet, points)
    if not first:
        return Drawn(sheet, 1.0, n, float(n))
    exact = sum(not _one_value(drawer.where[drawer.units.columns[c].name]) for c in first) <= 1
    pool = sheet if exact else sheet.take(np.arange(n).repeat(candidates))
    targets = np.zeros((len(pool.rows), columns), bool)
    targets[:, first] = True
    drawer.fill(pool, targets, rng, first)
    weight = np.exp(pool.log_weight)
    mass = float(weight.mean())
    if mass < LEAST_MASS:
        raise ValueError(f"The conditions must hold for at least {LEAST_MASS:g} of the rows. Got a mass of {mass:.3g}.")
    if exact:
        return Drawn(pool, mass, n, float(n))
    chosen = _systematic(weight, n, rng)
    size = float(weight.sum() ** 2 / (weight**2).sum())
    if size < n:
        warnings.warn(
            f"The conditions leave an effective sample of {size:.0f} among {len(weight)} candidates for {n} rows, so "
            f"constrained cells repeat; more candidates (candidates={2 * candidates}) repeat fewer.",
            UserWarning,
            stacklevel=4,
        )
    return Drawn(pool.take(chosen), mass, len(weight), size)


def filled_rows(
    drawer: Drawer,
    sheet: Sheet,
    rng: np.random.Generator,
    candidates: int = CANDIDATES,
    targets: np.ndarray | None = None,
) -> Drawn:
    """`sheet` with its unknown cells drawn (or, of a drawer of best values, guessed) under conditions and rules.

    Known cells stay, those that contradict a condition or rule included. targets: (N, C) bool cells to draw; None: every
    unknown one. Raises ValueError naming the first row whose known cells leave the conditions almost no mass.
    """
    n, columns = sheet.rows.shape
    targets = np.isnan(sheet.rows) if targets is None else targets
    first, points = _in_order(drawer)
    _set_points(drawer, sheet, points)
    targets = targets & np.isnan(sheet.rows)
    targets[:, [drawer.units[name].column for name, a in drawer.where.items() if a.missing]] = False
    held = targets.copy()
    held[:, [c for c in range(columns) if c not in first]] = False
    several = np.flatnonzero(held.sum(1) > 1) if not drawer.best else np.empty(0, np.int64)
    single = np.setdiff1d(np.flatnonzero(held.any(1)), several)
    drawn = sheet.take(single)
    drawer.fill(drawn, held[single], rng, first)
    _put(sheet, single, drawn)
    mass, sizes = np.ones(n), np.full(len(several), np.nan)
    mass[single] = np.exp(drawn.log_weight)
    if len(several):
        pool = sheet.take(several.repeat(candidates))
        drawer.fill(pool, held[several].repeat(candidates, 0), rng, first)
        weight = np.exp(pool.log_weight).reshape(len(several), candidates)
        mass[several] = weight.mean(1)
        upto = np.cumsum(weight, 1)
        pick = np.minimum((upto <= rng.random((len(several), 1)) * upto[:, -1:]).sum(1), candidates - 1)
        _put(sheet, several, pool.take(np.arange(len(several)) * candidates + pick))
        sizes = weight.sum(1) ** 2 / np.maximum((weight**2).sum(1), np.finfo(float).tiny)
    if (mass < LEAST_MASS).any():
        row = int(mass.argmin())
        raise ValueError(
            f"The conditions must have a mass of at least {LEAST_MASS:g} given the known cells of each row. "
            f"Got {mass[row]:.3g} in row {row}."
        )
    start, rest = sheet.take(np.arange(n)), targets & np.isnan(sheet.rows)
    drawer.fill(sheet, rest, rng)
    _redraw(drawer, sheet, start, rest, rng)
    size = float(sizes.mean()) if len(several) else float(candidates)
    return Drawn(sheet, float(mass.mean()), candidates, size)


def _redraw(drawer: Drawer, sheet: Sheet, start: Sheet, targets: np.ndarray, rng: np.random.Generator) -> None:
    """Draws again what breaks a rule in rows whose known cells alone break none; a best guess becomes a draw there."""
    bad = _broken(drawer, sheet)
    bad = bad[targets[bad].any(1) & ~_breaks(drawer, start.take(bad))]
    drawing = replace(drawer, best=False)
    for _ in range(ROUNDS):
        if not len(bad):
            return
        again = start.take(bad)
        drawing.fill(again, targets[bad], rng)
        _put(sheet, bad, again)
        bad = bad[_breaks(drawer, again)]


def _in_order(drawer: Drawer) -> tuple[list[int], dict[int, float]]:
    """(places of the columns to draw first, those with one value left in front; place → number that counts as known)."""
    first, points = [], {}
    for name, allowed in drawer.where.items():
        if allowed.missing:
            continue
        unit = drawer.units[name]
        if _one_value(allowed) and allowed.words is None and not _has_mass(allowed):
            points[unit.column] = float(allowed.intervals[0, 0])
        else:
            first.append(unit.column)
    names = drawer.units.schema.columns
    return sorted(first, key=lambda c: not _one_value(drawer.where[names[c]])), points


def _one_value(allowed: Allowed) -> bool:
    if allowed.words is not None:
        return int(allowed.words.sum()) == 1
    return len(allowed.intervals) == 1 and allowed.intervals[0, 0] == allowed.intervals[0, 1]


def _has_mass(allowed: Allowed) -> bool:
    """Whether a single number can be drawn: it is on a grid, or an atom."""
    edges, point = allowed.unit.edges, allowed.intervals[0, 0]
    return allowed.unit.step > 0 or bool(((edges[:-1] == point) & (edges[1:] == point)).any())


def _set_points(drawer: Drawer, sheet: Sheet, points: dict[int, float]) -> None:
    for column, code in points.items():
        free = np.isnan(sheet.rows[:, column])
        sheet.rows[free, column] = code
        sheet.values[free, column] = drawer.units.columns[column].value(code)


def _systematic(weight: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) places chosen in proportion to weight (K,), in random order; systematic resampling (Kitagawa 1996)."""
    aims = (np.arange(n) + rng.random()) / n * weight.sum()
    places = np.minimum(np.searchsorted(np.cumsum(weight), aims, "right"), len(weight) - 1)
    return rng.permutation(places)


def _put(sheet: Sheet, places: np.ndarray, part: Sheet) -> None:
    sheet.rows[places], sheet.values[places] = part.rows, part.values


def _breaks(drawer: Drawer, sheet: Sheet) -> np.ndarray:
    if drawer.rules is None:
        return np.zeros(len(sheet.rows), bool)
    return drawer.rules.breaks(sheet.values, sheet.rows)


def _broken(drawer: Drawer, sheet: Sheet) -> np.ndarray:
    """Places of the rows that break a rule."""
    return np.flatnonzero(_breaks(drawer, sheet))


def _outside(drawer: Drawer, sheet: Sheet) -> np.ndarray:
    """(N,) bool: rows in which an equality leaves a number beyond the range of its column, which is never written."""
    out = np.zeros(len(sheet.rows), bool)
    for unit in drawer.units.columns:
        if unit.words is None and drawer.rules is not None and drawer.rules.columns[unit.column]:
            slack = 1e-6 * unit.token.scale
            codes = sheet.rows[:, unit.column]
            out |= (codes < unit.edges[0] - slack) | (codes > unit.edges[-1] + slack)
    return out
