"""What a token is, and the way rows become features and come back.

Three layouts of the same sample, N rows each:

* rows     (N, C) float32: one column per scalar of the source in its own units (a pixel 0…16 or 0…255,
           a category code 0…K−1, a number); NaN marks a missing cell.
* tokens   L per row: a token owns some columns (an image patch its pixels, a label its one code).
* features (N, F) float32: what networks read. Token i owns features [offset_i, offset_i + width_i):
           patches scaled to [−1, 1], numbers standardised or binned, categories one-hot.

A binned number is read as how far it has come through its bins: 1 for each bin below it, the share of its own bin
that lies below it, 0 for each bin above (the piecewise-linear encoding of 2203.05556). It is drawn as a bin and a
uniform place inside: a density with any number of modes. A bin of width 0 is an atom, a value drawn exactly.

Shapes: N rows, C columns, L tokens, F features.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.rows.bins import encode_bins
from pipeline.rows.schema_checks import check_types
from pipeline.rows.tokens import Group, Token, weights_of

TEXT_GROUP = "text"  # group of the tokens that are characters
MAX_FEATURES = 2**24  # of a row; a schema that says more is not believed


@dataclass(frozen=True)
class Continuous:
    """Numbers and pixels, n of them in the order of their features. columns, features: (n,) int64. order: (n,) that
    sorts columns. numbers: (4, n) float32 center, scale, lowest and highest value."""

    columns: np.ndarray
    features: np.ndarray
    order: np.ndarray
    numbers: np.ndarray


@dataclass(frozen=True)
class Schema:
    """The tokens of a dataset, in order, with what is needed to show rows to people.

    image: (height_px, width_px, channels) when the first height·width·channels columns are an
    image, row-major; else None. patch_size_px: edge of a patch. label: name of the token that
    names the class, or "". categories: token name → the words behind its codes.
    columns: one name per row column. table: what each column of a user's table is, those left out of the rows too, as
    pipeline.tables.columns writes and reads it; empty for data that is no user's table.
    """

    tokens: tuple[Token, ...]
    columns: tuple[str, ...]
    image: tuple[int, int, int] | None = None
    patch_size_px: int = 0
    label: str = ""
    categories: dict[str, list[str]] = field(default_factory=dict)
    table: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        owned = sorted(c for t in self.tokens for c in t.columns)
        if owned != list(range(len(self.columns))):
            raise ValueError(
                f"Schema: every column must belong to exactly one token. Got {len(owned)} owned of {len(self.columns)}."
            )
        names = [t.name for t in self.tokens]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"Schema: token names must be unique. Got {twice[:5]} more than once.")
        if sum(t.width for t in self.tokens) > MAX_FEATURES:
            raise ValueError(f"Schema: its tokens must have at most {MAX_FEATURES} features.")
        if self.image is not None and not 0 < math.prod(self.image) <= len(self.columns):
            raise ValueError(f"Schema: 'image' must have 1 to {len(self.columns)} pixels. Got {self.image}.")
        strange = {t.gap_of for t in self.tokens if t.gap_of} - {t.name for t in self.tokens if not t.gap_of}
        if strange:
            raise ValueError(f"Schema: 'gap_of' must name a token that is no gap itself. Got {sorted(strange)[:5]}.")
        if self.label and self.label not in {t.name for t in self.tokens}:
            raise ValueError(f"Schema: 'label' must name a token. Got {self.label!r}.")

    # -- sizes and look-ups ------------------------------------------------------------------
    @property
    def n_tokens(self) -> int:
        return len(self.tokens)

    @cached_property
    def offsets(self) -> np.ndarray:
        """(L+1,) int64: token i owns features [offsets[i], offsets[i+1])."""
        return np.concatenate([[0], np.cumsum([t.width for t in self.tokens])]).astype(np.int64)

    @property
    def n_features(self) -> int:
        return int(self.offsets[-1])

    @cached_property
    def token_of_column(self) -> np.ndarray:
        """(C,) int64: the token that owns each column."""
        out = np.empty(len(self.columns), np.int64)
        for i, t in enumerate(self.tokens):
            out[list(t.columns)] = i
        return out

    @cached_property
    def token_of_feature(self) -> np.ndarray:
        """(F,) int64: the token that owns each feature."""
        return np.repeat(np.arange(self.n_tokens), [t.width for t in self.tokens])

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Maximal runs of neighbouring tokens with the same group, modality and width."""
        runs: list[list[int]] = []
        for i, t in enumerate(self.tokens):
            previous = self.tokens[runs[-1][-1]] if runs else None
            if previous and weights_of(previous) == weights_of(t):
                runs[-1].append(i)
            else:
                runs.append([i])
        return tuple(
            Group(
                self.tokens[r[0]].group,
                self.tokens[r[0]].modality,
                self.tokens[r[0]].width,
                tuple(r),
                slice(int(self.offsets[r[0]]), int(self.offsets[r[-1] + 1])),
                self.tokens[r[0]].binned,
            )
            for r in runs
        )

    def index(self, name: str) -> int:
        """Index of the token called `name`. Raises KeyError that lists the names."""
        for i, t in enumerate(self.tokens):
            if t.name == name:
                return i
        raise KeyError(f"No token {name!r}; the schema has {[t.name for t in self.tokens][:20]}.")

    @cached_property
    def gap_tokens(self) -> np.ndarray:
        """(L,) int64: of each token, the one that says whether its cell is missing; −1 where none does."""
        out = np.full(self.n_tokens, -1, np.int64)
        for i, t in enumerate(self.tokens):
            if t.gap_of:
                out[self.index(t.gap_of)] = i
        return out

    @property
    def label_token(self) -> int | None:
        """Index of the label token, or None."""
        return self.index(self.label) if self.label else None

    def tokens_of(self, modality: str) -> np.ndarray:
        """(k,) int64 indices of the tokens of that modality."""
        return np.array([i for i, t in enumerate(self.tokens) if t.modality == modality], np.int64)

    # -- rows ↔ features ---------------------------------------------------------------------
    @cached_property
    def _continuous(self) -> Continuous:
        own = [t for t in self.tokens if not t.discrete]
        reach = [t.scale if t.modality == "patch" else np.inf for t in own]
        table = [(t.center, t.scale, t.center - r, t.center + r) for t, r in zip(own, reach, strict=True)]
        wide = np.repeat(np.array(table, np.float32).reshape(-1, 4), [t.width for t in own], axis=0)
        columns = np.array([c for t in own for c in t.columns], np.int64)
        features = np.flatnonzero(~np.array([t.discrete for t in self.tokens])[self.token_of_feature])
        return Continuous(columns, features, np.argsort(columns), wide.T.copy())

    @cached_property
    def _binned(self) -> tuple[int, ...]:
        return tuple(i for i, t in enumerate(self.tokens) if t.binned)

    def check_rows(self, rows: np.ndarray) -> np.ndarray:
        """`rows` as (N, C), any real dtype. Raises ValueError naming shape and category faults."""
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.shape[1] != len(self.columns):
            raise ValueError(f"'rows' must have shape (N, {len(self.columns)}). Got {rows.shape}.")
        if np.isinf(rows).any() if rows.dtype.kind == "f" else False:
            raise ValueError("'rows' must be finite or NaN (missing). Got an infinity.")
        for i in self.tokens_of("categorical"):
            t = self.tokens[i]
            codes = rows[:, t.columns[0]]
            known = codes[~np.isnan(codes)] if codes.dtype.kind == "f" else codes
            if known.size and (known.min() < 0 or known.max() >= t.width or (known != np.floor(known)).any()):
                raise ValueError(
                    f"'rows': column {self.columns[t.columns[0]]!r} must hold whole codes 0…{t.width - 1}. "
                    f"Got values in [{known.min()}, {known.max()}]."
                )
        return rows

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """(N, L) bool: a token with any NaN column is missing."""
        out = np.zeros((len(rows), self.n_tokens), bool)
        if rows.dtype.kind == "f":
            n, c = np.nonzero(np.isnan(rows))
            out[n, self.token_of_column[c]] = True
        return out

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """(N, F) float32 features of (N, C) rows; features of missing cells are 0."""
        rows = np.asarray(rows)
        out = np.zeros((len(rows), self.n_features), np.float32)
        own = self._continuous
        if len(own.columns):
            center, scale, _, _ = own.numbers
            place = _as_slice(own.features)
            out[:, place] = np.take(rows, own.columns, 1)
            out[:, place] -= center
            out[:, place] /= scale
        for i in self.tokens_of("categorical"):
            codes = rows[:, self.tokens[i].columns[0]].astype(np.float32)
            known = np.flatnonzero(~np.isnan(codes))
            out[known, self.offsets[i] + codes[known].astype(np.int64)] = 1.0
        for i in self._binned:
            out[:, self.offsets[i] : self.offsets[i + 1]] = encode_bins(
                rows[:, self.tokens[i].columns[0]], np.asarray(self.tokens[i].edges)
            )
        return np.nan_to_num(out, copy=False) if rows.dtype.kind == "f" else out

    def decode(self, features: np.ndarray) -> np.ndarray:
        """(N, C) float32 rows of (N, F) features: patches clipped to their range, category = argmax."""
        features = np.asarray(features, np.float32)
        out = np.empty((len(features), len(self.columns)), np.float32)
        own = self._continuous
        if len(own.columns):
            center, scale, low, high = own.numbers[:, own.order]
            values = np.take(features, own.features[own.order], 1)
            values *= scale
            values += center
            out[:, _as_slice(own.columns[own.order])] = np.clip(values, low, high, out=values)
        for i, t in enumerate(self.tokens):
            if t.modality == "categorical":
                out[:, t.columns[0]] = features[:, self.offsets[i] : self.offsets[i + 1]].argmax(1)
            elif t.binned:
                place = features[:, self.offsets[i] : self.offsets[i + 1]].sum(1, dtype=np.float64)
                out[:, t.columns[0]] = np.interp(place, np.arange(t.width + 1), t.edges)
        return out

    # -- views for people ----------------------------------------------------------------------
    def images(self, rows: np.ndarray) -> np.ndarray:
        """(N, height, width, channels) pixels in the source's units. Raises when there is no image."""
        if self.image is None:
            raise ValueError(f"A schema with an image is needed. Got columns {list(self.columns[:5])}.")
        size = int(np.prod(self.image))
        return np.asarray(rows)[:, :size].reshape(len(rows), *self.image)

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """(N,) int64 class codes (−1 where missing). Raises when there is no label token."""
        i = self.label_token
        if i is None:
            raise ValueError(f"A schema with a label token is needed. Got tokens {[t.name for t in self.tokens[:5]]}.")
        codes = np.asarray(rows)[:, self.tokens[i].columns[0]].astype(np.float32)
        return np.where(np.isnan(codes), -1, codes).astype(np.int64)

    @property
    def pixel_range(self) -> tuple[float, float]:
        """(lowest, highest) pixel value of the source."""
        first = self.tokens[int(self.tokens_of("patch")[0])]
        return first.center - first.scale, first.center + first.scale

    def observed_tokens(self, observed: np.ndarray) -> np.ndarray:
        """(N, L) bool from a column mask (N, C): a token counts as observed when all its columns are."""
        observed = np.asarray(observed, bool)
        out = np.ones((len(observed), self.n_tokens), bool)
        n, c = np.nonzero(~observed)
        out[n, self.token_of_column[c]] = False
        return out

    # -- files -----------------------------------------------------------------------------------
    def to_json(self) -> str:
        raw = asdict(self)
        for token in raw["tokens"]:
            if not token["gap_of"]:
                del token["gap_of"]
        return json.dumps(raw, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Schema:
        """The schema written by `to_json`. Raises ValueError on malformed text."""
        try:
            raw = json.loads(text)
            check_types(raw)
            tokens = tuple(
                Token(**{k: tuple(v) if isinstance(v, list) else v for k, v in t.items()}) for t in raw["tokens"]
            )
            return Schema(
                tokens=tokens,
                columns=tuple(raw["columns"]),
                image=tuple(raw["image"]) if raw["image"] else None,
                patch_size_px=raw["patch_size_px"],
                label=raw["label"],
                categories=raw["categories"],
                table=tuple(raw.get("table", ())),
            )
        except (KeyError, TypeError, AttributeError, OverflowError, RecursionError, json.JSONDecodeError) as error:
            raise ValueError(f"Not a schema: {error!r}.") from error

    @staticmethod
    def load(path: Path) -> Schema:
        return Schema.from_json(Path(path).read_text(encoding="utf8"))


def _as_slice(index: np.ndarray) -> np.ndarray | slice:
    """`index`, as a slice where it is one: copying to a slice is several times as fast."""
    first = int(index[0])
    return slice(first, first + len(index)) if (np.diff(index) == 1).all() else index
