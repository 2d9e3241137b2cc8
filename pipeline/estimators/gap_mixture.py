"""A mixture that also models which cells are missing: its schema has gap tokens (pipeline/rows/gap_tokens.py).

    outside = GapSampler(inner)              # a model of the columns alone, as MixtureSampler
    outside.complete(rows)                   # the gaps of the rows are read: what is missing says something
    outside.sample(100, seed=0)              # whole rows; gaps are not read
    outside.sample_with_gaps(100, seed=0)    # rows with gaps as in the data, drawn together with the values

A cell and its gap token are drawn in this order, what lies between is random; a cell that is missing is not drawn.
No word about a cell reads the cell's own gap token.

Shapes: N rows, C columns, G gap tokens, F features, K draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kernels.task_sampling import HIDDEN, SOURCE, TARGET
from pipeline.estimators.mixture import MixtureSampler, means
from pipeline.estimators.pool import Pool
from pipeline.estimators.questions import Questions
from pipeline.forest.forest import Forest
from pipeline.model.sampler import Sampler
from pipeline.rows.gap_tokens import pairs_of, without_gap_tokens
from pipeline.rows.schema import Schema


class GapMixture(MixtureSampler):
    """Rows are (N, C + G): the cells, then 0 (known) or 1 (missing) for each column that has a gap token, NaN where that is
    not said. One column a token, in order."""

    def _draw(self, rows: np.ndarray, observed: np.ndarray, targets: np.ndarray, chance: np.ndarray) -> np.ndarray:
        chance = chance.copy()
        for cell, gap in pairs_of(self.schema):
            both = chance[0][:, [cell, gap]]
            chance[0, :, cell], chance[0, :, gap] = both.max(1), both.min(1)
        return super()._draw(rows, observed, targets, chance)

    def _asked(
        self, rows: np.ndarray, known: np.ndarray, left: np.ndarray, column: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray]:
        return self.words(rows, known, column)

    def words(self, rows: np.ndarray, known: np.ndarray, column: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
        """((n, F) words of the networks about `column` (n,) of rows of which `known` (n, C + G) is read, (n, C + G) what the
        forest may read). In the place of another cell that is not known stands the question whether it is missing: to ask
        for the cell would say that it is not."""
        role, seen = np.where(known, SOURCE, TARGET), known.copy()
        for cell, gap in pairs_of(self.schema):
            there, said, asked = known[:, cell], known[:, gap], column == cell
            lost = said & (rows[:, gap] == 1)
            away = lost & ~there & ~asked  # missing, and left so
            open_ = ~said & ~there & ~asked
            role[:, gap] = np.where(open_, TARGET, np.where(away | (said & ~lost & there), SOURCE, HIDDEN))
            role[away | open_, cell] = HIDDEN
            seen[lost & there, gap] = False  # in training no cell is shown that is missing
        observed, targets = role == SOURCE, role == TARGET
        return self._network(np.where(observed, rows, np.float32(np.nan)), observed, targets), seen

    def _settle(self, rows: np.ndarray, left: np.ndarray, index: np.ndarray, column: np.ndarray) -> None:
        for cell, gap in pairs_of(self.schema):
            drawn = index[column == gap]
            left[drawn[rows[drawn, gap] == 1], cell] = False

    def of_column(self, rows: np.ndarray, known: np.ndarray, column: int) -> np.ndarray:
        """(n, W) probabilities of one column, or gap, given the cells and gaps `known` (n, C + G)."""
        self._share_threads()
        words, seen = self.words(rows, known, np.full(len(rows), column))
        own = slice(self.schema.offsets[column], self.schema.offsets[column + 1])
        told = None
        if self.forest is not None:
            told = self.forest.answer(self.forest.view(rows, seen), np.arange(len(rows)), column)
        return self.pool.joined(None if words is None else words[:, own], told, column)

    def probabilities(self, rows: np.ndarray, observed: np.ndarray | None = None) -> np.ndarray:
        """(N, F) as MixtureSampler's, at every cell not observed; of the gap tokens 0. A pass a column."""
        rows, observed = self._checked(rows, observed)
        out = np.zeros((len(rows), self.schema.n_features))
        for column in [i for i, t in enumerate(self.schema.tokens) if not t.gap_of]:
            index = np.flatnonzero(~observed[:, column])
            own = slice(self.schema.offsets[column], self.schema.offsets[column + 1])
            if len(index):
                out[index, own] = self.of_column(rows[index], observed[index], column)
        return out


class GapSampler:
    """`inner` as a model of the columns alone, with the interface of MixtureSampler. reads_gaps: whether `complete` and
    `expect` take a cell that is not there as missing, which says something; else as not known."""

    def __init__(self, inner: GapMixture) -> None:
        self.reads_gaps = True
        self.inner, self.schema = inner, without_gap_tokens(inner.schema)
        self.pairs = pairs_of(inner.schema)
        self.networks, self.forest, self.pool, self.generator = (
            inner.networks, inner.forest, inner.pool, inner.generator
        )  # fmt: skip

    @property
    def sharpness(self) -> float:
        """See MixtureSampler."""
        return self.inner.sharpness

    @sharpness.setter
    def sharpness(self, value: float) -> None:
        self.inner.sharpness = value

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """(n, C) float32 whole rows; which cells the data miss is not read."""
        if n < 1:
            raise ValueError(f"'n' must be at least 1. Got {n}.")
        rows, wanted = self._with_gaps(np.full((n, len(self.schema.columns)), np.nan, np.float32), read=False)
        wanted[:] = np.arange(wanted.shape[1]) < len(self.schema.columns)
        return self.inner.complete(rows, np.zeros(rows.shape, bool), 1, seed, wanted)[0][:, : len(self.schema.columns)]

    def sample_with_gaps(
        self, n: int, seed: int = 0, rows: np.ndarray | None = None, gaps: dict[int, bool] | None = None
    ) -> np.ndarray:
        """(n, C) float32 rows drawn together with their gaps, which are NaN.

        rows: (n, C) cells that are given, NaN where not; they are known. gaps: column → whether it is missing, in every row.
        """
        width = len(self.schema.columns)
        rows = np.full((n, width), np.nan, np.float32) if rows is None else rows
        given = ~np.isnan(rows)
        whole, wanted = self._with_gaps(rows, read=False)
        for cell, gap in self.pairs:
            if cell in (gaps or {}):
                whole[:, gap] = gaps[cell]
            else:
                whole[given[:, cell], gap] = 0
        wanted[:] = np.isnan(whole)
        for cell, gap in self.pairs:
            wanted[whole[:, gap] == 1, cell] = False
        return self.inner.complete(whole, ~np.isnan(whole), 1, seed, wanted)[0][:, :width]

    def complete(
        self,
        rows: np.ndarray,
        observed: np.ndarray | None = None,
        draws: int = 1,
        seed: int = 0,
        targets: np.ndarray | None = None,
        progress: Callable[[int], object] = lambda rows: None,
    ) -> np.ndarray:
        """(draws, N, C) as MixtureSampler.complete; NaN in `rows` is read as missing, by the gap tokens of other columns."""
        rows = self.schema.check_rows(rows).astype(np.float32)
        observed = ~np.isnan(rows) if observed is None else np.asarray(observed)
        targets = ~observed if targets is None else np.asarray(targets)
        whole, wanted = self._with_gaps(rows, read=self.reads_gaps)
        said = np.full((len(rows), len(self.pairs)), self.reads_gaps)
        wanted[:, : rows.shape[1]] = targets & ~observed
        seen = np.concatenate([observed, said], 1)
        return self.inner.complete(whole, seen, draws, seed, wanted, progress)[..., : rows.shape[1]]

    def expect(
        self, rows: np.ndarray, observed: np.ndarray | None = None, draws: int = 10, seed: int = 0
    ) -> np.ndarray:
        """(N, C) as MixtureSampler.expect; gaps are read as in `complete`."""
        rows = self.schema.check_rows(rows).astype(np.float32)
        observed = ~np.isnan(rows) if observed is None else np.asarray(observed)
        whole, _ = self._with_gaps(rows, read=self.reads_gaps)
        known, out = ~np.isnan(whole), rows.copy()
        known[:, : rows.shape[1]] &= observed
        for column in np.flatnonzero(~observed.all(0)):
            index = np.flatnonzero(~observed[:, column])
            for start in range(0, len(index), self.inner.batch_size):
                part = index[start : start + self.inner.batch_size]
                p = np.zeros((len(part), self.schema.n_features))
                own = slice(self.schema.offsets[column], self.schema.offsets[column + 1])
                p[:, own] = self.inner.of_column(whole[part], known[part], int(column))
                out[part, column] = means(self.schema, p)[:, column]
        return out

    def probabilities(self, rows: np.ndarray, observed: np.ndarray | None = None) -> np.ndarray:
        """(N, F) as MixtureSampler.probabilities; which cells are missing is not read."""
        return self.given({}).probabilities(rows, observed)

    def questions(self, rows: np.ndarray) -> WithoutGaps:
        """As MixtureSampler.questions; which cells are missing is not read."""
        self.inner._share_threads()
        whole, _ = self._with_gaps(rows, read=False)
        return WithoutGaps(Questions(self.networks, self.forest, self.pool, whole), len(self.pairs))

    def networks_alone(self) -> GapSampler:
        """As that of MixtureSampler."""
        return GapSampler(self.inner.networks_alone())

    def given(self, gaps: dict[int, bool]) -> GivenGaps:
        """The model of rows in which the columns of `gaps` are missing (True) or known (False)."""
        return GivenGaps(self, gaps)

    def gap_mass(self, gaps: dict[int, bool]) -> float:
        """The probability that these columns are missing (True) or known (False) in a row; 0 or 1 where a column has no gap
        token, for it was never or always known."""
        row, _ = self._with_gaps(np.full((1, len(self.schema.columns)), np.nan, np.float32), read=False)
        mass, place = 1.0, dict(self.pairs)
        for column, lost in gaps.items():
            if column not in place:
                mass *= float(not lost)
                continue
            gap = place[column]
            mass *= float(self.inner.of_column(row, ~np.isnan(row), gap)[0, int(lost)])
            row[:, gap] = lost
        return mass

    def save(self, folder: Path | str, more: dict[str, object] | None = None) -> None:
        """Writes what MixtureSampler.load reads, atomically."""
        self.inner.save(folder, more)

    def _with_gaps(self, rows: np.ndarray, *, read: bool) -> tuple[np.ndarray, np.ndarray]:
        """((N, C + G) rows with their gaps said, or not where they are not to be read; (N, C + G) bool, all False)."""
        said = np.isnan(rows[:, [cell for cell, _ in self.pairs]]).astype(np.float32)
        whole = np.concatenate([rows, said if read else np.full_like(said, np.nan)], 1).astype(np.float32)
        return whole, np.zeros(whole.shape, bool)


class GivenGaps:
    """A GapSampler's probabilities where some columns are known to be missing, or known, in every row."""

    def __init__(self, sampler: GapSampler, gaps: dict[int, bool]) -> None:
        self.sampler, self.gaps, self.schema = sampler, gaps, sampler.schema

    def probabilities(self, rows: np.ndarray, observed: np.ndarray | None = None) -> np.ndarray:
        """(N, F) p(choice of a column | observed cells, gaps), as MixtureSampler's."""
        rows = np.asarray(rows, np.float32)
        observed = ~np.isnan(rows) if observed is None else observed
        return self.sampler.inner.probabilities(*self._said(rows, observed))[:, : self.schema.n_features]

    def questions(self, rows: np.ndarray) -> GivenGapsRead:
        """The rows, to be asked about a few columns at a time."""
        return GivenGapsRead(self, np.asarray(rows, np.float32))

    def _said(self, rows: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """((n, C + G) rows with the gaps that are given, (n, C + G) bool: what is read of them)."""
        whole, known = self.sampler._with_gaps(rows, read=False)
        known[:, : rows.shape[1]] = observed
        for cell, gap in self.sampler.pairs:
            if cell in self.gaps:
                whole[:, gap], known[:, gap] = self.gaps[cell], True
        return whole, known


@dataclass(frozen=True)
class GivenGapsRead:
    """Rows (N, C) of GivenGaps.questions."""

    model: GivenGaps
    rows: np.ndarray

    def told(self, index: np.ndarray, seen: np.ndarray, tokens: tuple[int, ...]) -> list[np.ndarray]:
        """See pipeline.asking.passes.Told."""
        whole, known = self.model._said(self.rows[index], seen)
        return [self.model.sampler.inner.of_column(whole, known, t) for t in tokens]


class WithoutGaps:
    """Questions to the inner model in which no gap token is seen."""

    def __init__(self, inner: Questions, gaps: int) -> None:
        self.inner, self.gaps = inner, gaps

    def told(self, index: np.ndarray, seen: np.ndarray, tokens: tuple[int, ...]) -> list[np.ndarray]:
        """See pipeline.asking.passes.Told."""
        unsaid = np.zeros((len(seen), self.gaps), bool)
        return self.inner.told(index, np.concatenate([seen, unsaid], 1), tokens)


def mixture_of(
    schema: Schema, networks: tuple[Sampler, ...], forest: Forest | None, pool: Pool, **more: object
) -> MixtureSampler:
    """The mixture that fits the schema, with gap tokens or without; arguments as those of MixtureSampler."""
    kind = GapMixture if pairs_of(schema) else MixtureSampler
    return kind(schema, networks, forest, pool, **more)


def with_gap_tokens_read(sampler: MixtureSampler) -> MixtureSampler | GapSampler:
    """`sampler` as it answers outside: the same where its schema has no gap tokens."""
    if not pairs_of(sampler.schema):
        return sampler
    s = sampler
    inner = mixture_of(s.schema, s.networks, s.forest, s.pool, network=s.network, batch_size=s.batch_size)
    return GapSampler(inner)
