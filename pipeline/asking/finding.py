"""Rules that a table seems to keep: proposals in the language of pipeline.asking.rules, as text for `rules=`.

    found = find_rules(frame)                         # a DataFrame: rule, rows, holds, why; biglearn.find_rules
    BigLearnImputer(rules=list(found["rule"]))      # or rules="learn"

What holds by accident, or only because the columns lie apart, is not proposed: few true rules are worth more than many.

* a <= b of two numbers of like size, or two dates: holds in every row; rows shuffled against one another would break it often;
  and some rows come close to breaking it, so it is a bound and not only a tendency. What follows from two others is left out.
* a + b == total, of two or three columns: to one part in a million, where no part is constant or almost always 0.
* (a, b) seen: each word of one column goes with one word of the other, and all but a few words of it occur often enough to
  tell.

Shapes: N rows, C columns.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from pipeline.asking.rules import Rules, few_values, known_choices
from pipeline.asking.scanner import ConditionError
from pipeline.asking.units import Unit, Units
from pipeline.base.data_groups import TableParams
from pipeline.tables.codec import column_names, fit_codec
from pipeline.tables.containers import to_pandas
from pipeline.tables.inspection import wishes_from

FEWEST_ROWS = 50  # that know all columns of a rule
MOST_COLUMNS = 40  # of numbers, whose sums are tried
LEAST_BROKEN = 0.05  # of shuffled rows; an order that fewer break says nothing
CLOSE, NEAR = 0.02, 0.25  # this share of the rows comes nearer to the bound than NEAR standard deviations
LIKE_SIZE = 30.0  # medians of comparable numbers differ by no more than this factor
TOLERANCE = 1e-6
LEAST_ACTIVE = 0.05  # of the rows in which a part of a sum is not 0
OFTEN, COMMON_SHARE = 5, 0.9  # rows of a word that count as often; share of the rows whose word occurs so often
LEAST_ENTROPY = 0.3  # nats, of a column that another settles


@dataclass(frozen=True)
class Proposal:
    """text: the rule. rows: how many know its columns. holds: share of them that keep it. why: one clause."""

    text: str
    rows: int
    holds: float
    why: str


def proposals(units: Units, values: np.ndarray, rows: np.ndarray, share: float = 1.0, seed: int = 0) -> list[Proposal]:
    """Proposals for a table of (N, C) values in the columns' units and codes `rows` (N, C), NaN where missing.

    share: of the rows that must keep a rule; below 1 some training rows may break it, which `holds` says. Sums first, then
    orders, then combinations. Raises ValueError for a share outside (0.9, 1].
    """
    if not 0.9 < share <= 1.0:
        raise ValueError(f"'share' must lie above 0.9 and be at most 1. Got {share!r}.")
    sums = dict(_sums(units, values, share))
    parts = {(part, places[-1]) for places in sums for part in places[:-1]}  # a part is below its sum as a rule
    orders = _orders(units, values, share, seed)
    found = [
        *sums.values(),
        *(p for pair, p in orders.items() if pair not in parts),
        *_combinations(units, rows, share),
    ]
    return [p for p in found if _readable(p, units)]


def find_rules(
    frame: Any,
    share: float = 1.0,
    *,
    kinds: dict[str, str] | None = None,
    missing: list[Any] | dict[str, list[Any]] | None = None,
    formats: dict[str, str] | None = None,
    text_cells: str | None = None,
    max_categories: int = 256,
) -> pd.DataFrame:
    """Rules that a pandas, polars or Arrow table seems to keep: rule (text for `rules=`), rows (that know its columns), holds
    (share of them that keep it), why. Nothing is fitted.

    share: of the rows that must keep a rule, above 0.9. The others: as BigLearnImputer's. Raises ValueError (TableError).
    """
    table = to_pandas(frame)
    table = table.set_axis(column_names(table), axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is odd about columns `inspect` tells
        codec = fit_codec(table, TableParams(), wishes_from(kinds, missing, formats, text_cells, max_categories))
    units = Units(codec)
    found = proposals(units, units.exact(table), codec.rows(table), share)
    return pd.DataFrame([(p.text, p.rows, p.holds, p.why) for p in found], columns=["rule", "rows", "holds", "why"])


# -- sums ------------------------------------------------------------------------------------------------------
def _sums(units: Units, values: np.ndarray, share: float) -> Iterator[tuple[tuple[int, ...], Proposal]]:
    """(places of the parts and of their sum, proposal)."""
    numbers = [u for u in units.columns if u.words is None and not u.seconds][:MOST_COLUMNS]
    few = values[np.random.default_rng(0).permutation(len(values))[:FEWEST_ROWS]]
    settled: set[int] = set()
    for size in (2, 3):
        for parts in combinations(numbers, size):
            places = [u.column for u in parts]
            total = few[:, places].sum(1)
            for whole in numbers:
                taken = len(settled & {whole.column, *places}) > 1  # what an earlier sum says already
                if whole in parts or taken or not _adds_up(total, few[:, whole.column], 0.9):
                    continue
                proposal = _sum(values, parts, whole, share)
                if proposal is not None:
                    settled |= {whole.column, *places}
                    yield (*places, whole.column), proposal


def _sum(values: np.ndarray, parts: tuple[Unit, ...], whole: Unit, share: float) -> Proposal | None:
    columns = [u.column for u in parts]
    own = values[:, [*columns, whole.column]]
    own = own[~np.isnan(own).any(1)]
    if len(own) < FEWEST_ROWS or (np.ptp(own, axis=0) == 0).any() or ((own != 0).mean(0) < LEAST_ACTIVE).any():
        return None
    right = np.abs(own[:, :-1].sum(1) - own[:, -1]) <= TOLERANCE * np.abs(own).max(1)
    if right.mean() < share:
        return None
    text = f"{' + '.join(_name(u) for u in parts)} == {_name(whole)}"
    return Proposal(text, len(own), float(right.mean()), "the parts add up")


def _adds_up(total: np.ndarray, whole: np.ndarray, share: float) -> bool:
    known = ~np.isnan(total + whole)
    return bool(known.any()) and bool((np.abs(total - whole) <= TOLERANCE * np.abs(whole))[known].mean() >= share)


# -- orders ----------------------------------------------------------------------------------------------------
def _orders(units: Units, values: np.ndarray, share: float, seed: int) -> dict[tuple[int, int], Proposal]:
    """(place of the lower column, of the higher one) → proposal."""
    rng, found = np.random.default_rng([seed, 0x0D]), {}
    ordered = [u for u in units.columns if u.words is None]
    for low in ordered:
        for high in ordered:
            if low is high or bool(low.seconds) != bool(high.seconds) or not _like(units, low, high):
                continue
            proposal = _order(values[:, low.column], values[:, high.column], low, high, share, rng)
            if proposal is not None:
                found[low.column, high.column] = proposal
    both = {(a, b) for a, b in found if (b, a) in found}  # equal columns
    follows = _following(found)
    return {pair: p for pair, p in found.items() if pair not in follows or pair in both}


def _like(units: Units, low: Unit, high: Unit) -> bool:
    """Whether two columns may be compared: of one kind of time, or numbers of which both or neither are whole."""
    kinds = [units.codec.column(u.name).kind for u in (low, high)]
    return kinds[0] == kinds[1]


def _order(
    low: np.ndarray, high: np.ndarray, one: Unit, other: Unit, share: float, rng: np.random.Generator
) -> Proposal | None:
    known = ~np.isnan(low + high)
    low, high = low[known], high[known]
    if len(low) < FEWEST_ROWS:
        return None
    keeps = low <= high + TOLERANCE * np.maximum(np.abs(low), np.abs(high))
    spread = min(low.std(), high.std())
    if keeps.mean() < share or spread == 0:
        return None
    middles = np.abs([np.median(low), np.median(high)])
    if not one.seconds and middles.max() > LIKE_SIZE * max(middles.min(), 1e-300):
        return None
    broken = float((low > high[rng.permutation(len(high))]).mean())
    close = float(np.quantile(high - low, CLOSE)) <= NEAR * spread
    if broken < LEAST_BROKEN or not close:
        return None
    why = f"of rows shuffled against one another {broken:.0%} would break it"
    return Proposal(f"{_name(one)} <= {_name(other)}", len(low), float(keeps.mean()), why)


# -- combinations ----------------------------------------------------------------------------------------------
def _combinations(units: Units, rows: np.ndarray, share: float) -> list[Proposal]:
    choices, found = known_choices(units, rows), {}
    words = [u for u in units.columns if u.words is not None or few_values(u)]
    for one in words:
        for other in words:
            a, b = one.column, other.column
            if one is other or (b, a) in found:
                continue
            known = (choices[:, a] >= 0) & (choices[:, b] >= 0)
            held = _settled_share(choices[known, a], choices[known, b])
            if held is not None and held >= share:
                text = f"({_name(one)}, {_name(other)}) seen"
                found[a, b] = Proposal(text, int(known.sum()), held, f"{one.name} settles {other.name}")
    return [p for pair, p in found.items() if pair not in _following(found)]


def _following(found: dict[tuple[int, int], Proposal]) -> set[tuple[int, int]]:
    """Pairs (a, b) that follow from (a, m) and (m, b)."""
    return {(a, b) for a, b in found if any((a, m) in found and (m, b) in found for m in {x for x, _ in found})}


def _settled_share(a: np.ndarray, b: np.ndarray) -> float | None:
    """Share of rows whose b (n,) is the commonest one of their a (n,); None where too little is there to tell."""
    if len(a) < FEWEST_ROWS:
        return None
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1.0)
    count, shares = table.sum(1), table.sum(0) / len(b)
    entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    often = count >= OFTEN
    if entropy < LEAST_ENTROPY or often.sum() < 3 or count[often].sum() < COMMON_SHARE * len(a):
        return None
    return float(table.max(1).sum() / len(a))


# -- texts -----------------------------------------------------------------------------------------------------
def _name(unit: Unit) -> str:
    """A column's name as a rule writes it: in backticks where it is no plain word."""
    return unit.name if unit.name.isidentifier() else f"`{unit.name}`"


def _readable(proposal: Proposal, units: Units) -> bool:
    """Whether the language has the rule: it has none for names with backticks, or for sums of some kinds."""
    try:
        Rules.read([proposal.text], units)
    except (ConditionError, ValueError):
        return False
    return True
