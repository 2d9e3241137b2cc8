"""BigLearnImputer: fills the missing cells of tables with one generator of any part from any other part.

    imputer = BigLearnImputer().fit(frame)          # a DataFrame with missing cells, or an array
    filled = imputer.transform(new_frame)           # best guesses; dtypes, index and observed cells kept
    drawn = imputer.sample(new_frame, draws=10)     # ten DataFrames, each a draw of all missing cells together
    imputer.save("imputer"); BigLearnImputer.load("imputer")

It learns the joint distribution of the columns from whatever cells are there (a missing cell is never read and never
a target), so new rows with any pattern of missing cells need no refitting. Numbers are densities over bins,
categories are probabilities; the missing cells of a row are drawn one after the other in random order, each given
the observed ones and those drawn before it. Only the likelihood route of the training step is used.

Shapes: N rows, C columns, K draws.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from numbers import Integral

import numpy as np
import pandas as pd
import torch
from omegaconf import OmegaConf
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from pipeline.base.params import Params, merge_params
from pipeline.base.streams import progress
from pipeline.datasets.table import RECOMMENDED
from pipeline.estimators.asking import AskingMixin
from pipeline.estimators.files import FilesMixin
from pipeline.estimators.fit_model import fit_model
from pipeline.estimators.frames import Given, back, labels_out, names_of, read
from pipeline.estimators.gap_mixture import with_gap_tokens_read
from pipeline.estimators.presets import SHARPNESS, TASKS, Work, check_choices, work_for
from pipeline.rows.gap_tokens import gaps_of, with_gap_tokens
from pipeline.tables.codec import fit_codec
from pipeline.tables.columns import Column
from pipeline.tables.containers import is_frame
from pipeline.tables.inspection import wishes_from

RECIPE: dict[str, dict] = OmegaConf.to_container(OmegaConf.from_dotlist(list(RECOMMENDED)))
"""The parameters of tables as a mapping of groups."""


class BigLearnImputer(AskingMixin, FilesMixin, TransformerMixin, BaseEstimator):
    """Imputer for tables of numbers, categories, booleans and dates, with scikit-learn's conventions.

    model: "network", "forest", or "auto": both, joined column by column as held-out rows say (report_).
    preset: how much work: "fast", "balanced" or "best". time_limit_s: seconds that a fit may take, about; None: no limit.
    With a limit the clock decides, and a fit no longer repeats itself exactly.
    spread: of draws: "honest" (their mean distance is their mean error), or "sharp": from the central 70 % of that, which
    looks better to a point score and understates uncertainty (report_["spread"] says by how much).
    steps, max_epochs: the network's training ends after so many steps, or passes over the rows if that is sooner, or when
    held-out rows no longer gain. width, depth: of the transformer. batch_size: rows a step. learning_rate: largest step
    size. None: by preset and number of rows.
    bins: of a number, about. max_categories: the commonest of a column are modelled.
    kinds: column → float, integer, boolean, category, date, time, duration, period, id, text or ignore, where the inferred
    kind is wrong. missing: words and numbers that mean a missing cell, for all columns or as column → list; None: the usual
    words ("", "?", "#N/A", …). formats: column → format of its dates, e.g. "%d.%m.%Y". text_cells: None: cells have types;
    else every cell is text, as in a CSV file, and this is how numbers are written: "." or ",", with a mark of thousands
    ".,"; ",.", ", ".
    rules: between columns, as "start <= end", "a + b == total", "(city, country) seen": every generated and filled row keeps
    them; training rows that do not are counted and named. "learn": those that all training rows keep and that
    `find_rules` proposes (found_rules_).
    gaps: model which cells are missing as well, which costs a token for each column with gaps. Then what is missing of a row
    says something of its other cells, and `generate(n, missing="as in the data")` leaves gaps as the table has them.
    strategy: what `transform` fills in: "best" (mean of a number, most probable category) or "draw" (one joint draw).
    validation_share: of the rows, held out to choose the weights that are kept.
    n_jobs: threads; None: 1, −1: all. random_state: of training and of draws. progress: show a bar.

    After `fit`: columns_ (what each column is, pipeline.tables.columns.Column), sampler_
    (pipeline.estimators.mixture.MixtureSampler; with `gaps` pipeline.estimators.gap_mixture.GapSampler), codec_ (pipeline.tables.codec.TableCodec), history_ (of the first network),
    report_ (what was chosen and why), n_features_in_, feature_names_in_ (for text column names).
    """

    def __init__(
        self,
        *,
        model: str = "auto",
        preset: str = "balanced",
        time_limit_s: float | None = None,
        spread: str = "honest",
        steps: int | None = None,
        max_epochs: int | None = None,
        width: int | None = None,
        depth: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        bins: int = 64,
        max_categories: int = 256,
        kinds: dict[str, str] | None = None,
        missing: list | dict[str, list] | None = None,
        formats: dict[str, str] | None = None,
        text_cells: str | None = None,
        rules: list[str] | str | None = None,
        gaps: bool = False,
        strategy: str = "best",
        validation_share: float = 0.1,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
        progress: bool = True,
    ) -> None:
        self.model = model
        self.preset = preset
        self.time_limit_s = time_limit_s
        self.spread = spread
        self.steps = steps
        self.max_epochs = max_epochs
        self.width = width
        self.depth = depth
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.bins = bins
        self.max_categories = max_categories
        self.kinds = kinds
        self.missing = missing
        self.formats = formats
        self.text_cells = text_cells
        self.rules = rules
        self.gaps = gaps
        self.strategy = strategy
        self.validation_share = validation_share
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.progress = progress

    # -- scikit-learn's side ------------------------------------------------------------------------
    def fit(self, X: pd.DataFrame | np.ndarray, y: object = None) -> BigLearnImputer:
        """Itself, trained on the known cells of X (N, C); `y` is not used.

        X: a pandas, polars or Arrow table, or an array of any dtype, masked and structured ones too.
        Raises ValueError (TableError) for a table that cannot be modelled, naming the column.
        """
        if self.strategy not in ("best", "draw"):
            raise ValueError(f"'strategy' must be best or draw. Got {self.strategy!r}.")
        check_choices(self.model, self.preset, self.spread, self.time_limit_s)
        given = read(self, X, reset=True)
        seed = self._seed()
        work = work_for(*given.frame.shape, self.preset, self.validation_share, self.get_params(deep=False))
        params = self._params(work)
        wishes = wishes_from(
            self.kinds, self.missing, self.formats, self.text_cells, max_categories=self.max_categories
        )
        named = given.frame.set_axis(pd.Index(labels_out(self), tupleize_cols=False), axis=1)
        self.codec_ = fit_codec(named, params.prepare.table, wishes)
        rows = self._rows(given)
        self._learn_rules(given, rows)
        schema = self.codec_.schema
        if self.gaps:
            schema = with_gap_tokens(schema, schema.missing(rows))
            rows = gaps_of(rows, schema)
        with _threads(self.n_jobs) as threads:
            sampler, self.history_, self.report_ = fit_model(
                rows,
                schema,
                params,
                work,
                model=self.model,
                seed=seed,
                n_jobs=threads,
                time_limit_s=self.time_limit_s or 0.0,
                progress=self.progress,
            )
        self.sampler_ = with_gap_tokens_read(sampler)
        self.sampler_.sharpness = SHARPNESS[self.spread]
        return self

    def transform(self, X: pd.DataFrame | np.ndarray) -> pd.DataFrame | np.ndarray:
        """X with its missing cells filled as `strategy` says, in X's own library, dtypes and order of columns.

        Observed cells, index and dtypes are kept. Unknown categories count as missing sources, and stay as they are.
        A UserWarning names each column that keeps missing cells, since it is not modelled. Raises ValueError (TableError)
        for columns that `fit` saw and X lacks, or has in addition.
        """
        check_is_fitted(self, "sampler_")
        given = read(self, X, reset=False)
        rows = self._rows(given)
        with _threads(self.n_jobs):
            if self.strategy == "draw":
                filled = self.sampler_.complete(rows, draws=1, seed=self._seed())[0]
            else:
                filled = self.sampler_.expect(rows, seed=self._seed())
            given, filled = self._keep_rules(given, rows, filled, self._seed(), best=self.strategy == "best")
        return self._back(given, filled, self._seed(), means=self.strategy == "best")

    def sample(
        self,
        X: pd.DataFrame | np.ndarray,
        draws: int = 10,
        random_state: int | None = None,
        where: str | list[str] | None = None,
        rules: list[str] | None = None,
        candidates: int = 16,
    ) -> list[pd.DataFrame] | np.ndarray:
        """`draws` copies of X, each with its missing cells drawn together from their distribution given the rest.

        A list of tables for a table, else an array (K, N, C). random_state: of the draws; None: the imputer's.
        where, rules, candidates: of the drawn cells, as in `generate`; known cells stay, and a warning counts those that
        contradict.
        """
        check_is_fitted(self, "sampler_")
        if not isinstance(draws, Integral) or draws < 1:
            raise ValueError(f"'draws' must be a whole number of at least 1. Got {draws!r}.")
        given = read(self, X, reset=False)
        rows = self._rows(given)
        seeds = np.random.SeedSequence(self._seed(random_state)).generate_state(draws)
        if where or rules:
            out = self._sample_where(given, rows, seeds, where, rules, candidates)
            return out if is_frame(X) else np.stack(out)
        out = []
        with _threads(self.n_jobs):
            for seed in progress(seeds, "draw", unit="draw", disable=not self.progress, mininterval=0.5):
                drawn = self.sampler_.complete(rows, draws=1, seed=int(seed))[0]
                out.append(self._back(*self._keep_rules(given, rows, drawn, int(seed), best=False), int(seed)))
        return out if is_frame(X) else np.stack(out)

    def set_spread(self, spread: str) -> BigLearnImputer:
        """Itself, its draws from now on "honest" or "sharp", without refitting; see the class."""
        check_is_fitted(self, "sampler_")
        check_choices(self.model, self.preset, spread, self.time_limit_s)
        self.spread, self.sampler_.sharpness = spread, SHARPNESS[spread]
        return self

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """(C,) names of the columns, which are those of the input."""
        check_is_fitted(self, "sampler_")
        return labels_out(self)

    @property
    def columns_(self) -> tuple[Column, ...]:
        """What each column of the fitted table is."""
        check_is_fitted(self, "sampler_")
        return self.codec_.columns

    # -- inside ----------------------------------------------------------------------------------------
    def _threads(self) -> AbstractContextManager[int]:
        return _threads(self.n_jobs)

    def _params(self, work: Work) -> Params:
        table = {"bins": self.bins, "max_categories": self.max_categories}
        params = {name: dict(group) for name, group in RECIPE.items()}
        params["tasks"] |= TASKS
        params["network"] |= {"width": work.width, "depth": work.depth}
        params["train"] |= {"steps": work.steps, "batch_size": work.batch_size, "generator_lr": work.learning_rate}
        return merge_params(params | {"prepare": {"table": table}})

    def _seed(self, asked: int | None = None) -> int:
        """A seed: `asked`, or else the imputer's own."""
        if asked is not None and (not isinstance(asked, Integral) or isinstance(asked, bool) or asked < 0):
            raise ValueError(f"'random_state' must be None or a whole number of at least 0. Got {asked!r}.")
        if asked is not None:
            return int(asked)
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _rows(self, given: Given) -> np.ndarray:
        return self.codec_.rows(given.frame.set_axis(names_of(self), axis=1))

    def _back(self, given: Given, rows: np.ndarray, seed: int, *, means: bool = False) -> pd.DataFrame | np.ndarray:
        """The table that was given with its missing cells taken from (N, C) `rows`, draws or means."""
        return back(self, given, self.codec_.filled(given.frame, rows, seed, means=means))

    def __sklearn_tags__(self) -> object:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


@contextmanager
def _threads(n_jobs: int | None) -> Iterator[int]:
    """Runs with that many threads of torch, which it gives, and restores their number; the task bank is drawn by as many.

    One thread is the default: a step is small, and threads that wait for one another on a busy machine cost more.
    """
    if n_jobs is not None and (not isinstance(n_jobs, Integral) or n_jobs == 0 or n_jobs < -1):
        raise ValueError(f"'n_jobs' must be None, −1 or a positive whole number. Got {n_jobs!r}.")
    before = torch.get_num_threads()
    threads = 1 if n_jobs is None else (os.cpu_count() or 1) if n_jobs == -1 else int(n_jobs)
    torch.set_num_threads(threads)
    try:
        yield threads
    finally:
        torch.set_num_threads(before)
