"""Forest: p(any token | any other tokens) of a table by trees, with the Sampler's `probabilities`.

    forest = grow_forest(rows, schema, spec, seed=0)        # pipeline/forest/growing.py
    p = forest.probabilities(rows, observed)                # (N, F), as pipeline.model.sampler.Sampler gives it
    forest.save(folder); Forest.load(folder)

Every column has trees of up to three kinds, grown on masked copies of the rows:

* raw: they read the other tokens, hidden ones marked.
* guided: they also read the conditional mean of the column under a Gaussian of all (pipeline/forest/gaussian.py).
* residual: they tell what the column leaves of that mean; numbers only.

What the trees of a column say is the mean over its trees, after which a small share of the column's own shares is mixed
in: no choice that occurs is impossible.

Shapes: N rows, C columns, L tokens, F features, n questions (row, token), K choices.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from pipeline.base.files import check_sha256, replaced_folder, sha256, write_bytes, write_json, write_text
from pipeline.forest.gaussian import Gaussian
from pipeline.forest.inputs import inputs_of, places, without_own
from pipeline.forest.trees import ARRAYS, Trees
from pipeline.rows.schema import Schema

KINDS = ("raw", "guided", "residual")
SMOOTHING = 0.02  # share of the marginal in every answer
CHUNK = 4096  # questions of one token answered at a time
MANY = 256  # questions of one token from which it pays to find first where its questions end
LARGEST_LEAF = 2**31


@dataclass(frozen=True)
class Column:
    """The trees of one token. orders: (L,) of each category among its inputs, None for a number. trees: kind → Trees.
    shares: kind → weight of what they say; they add up to 1. leaf: least members of a node where a question ends."""

    orders: list[np.ndarray | None]
    trees: dict[str, Trees]
    shares: dict[str, float]
    leaf: int


@dataclass
class Forest:
    """Trees for every token of `schema`, whose tokens must all be choices of one column each. batch_size: rows at a time.
    threads: that answer; no answer depends on it."""

    schema: Schema
    columns: tuple[Column, ...]
    gaussian: Gaussian | None
    batch_size: int = 4096
    threads: int = 1

    def probabilities(self, rows: np.ndarray, observed: np.ndarray | None = None) -> np.ndarray:
        """(N, F) float64 p(choice of a token | observed cells), at every token not observed, 0 elsewhere.

        rows: (N, C) in source units, NaN where unknown. observed: (N, C) bool; None: every cell that is not NaN.
        Raises ValueError for shapes that do not match and for observed cells that are NaN.
        """
        rows, seen = self._checked(rows, observed)
        out = np.zeros((len(rows), self.schema.n_features))
        for start in range(0, len(rows), self.batch_size):
            part = slice(start, start + self.batch_size)
            view = self.view(rows[part], seen[part])
            for token in range(self.schema.n_tokens):
                open_rows = np.flatnonzero(~seen[part][:, token])
                own = slice(self.schema.offsets[token], self.schema.offsets[token + 1])
                out[start + open_rows, own] = self.answer(view, open_rows, token)
        return out

    def limited_to(self, choices: list[tuple[tuple[str, ...], int]]) -> Forest:
        """The same forest with, per token, those kinds of trees alone, of those it has, alike, and that size of leaf."""
        columns = []
        for column, (kinds, leaf) in zip(self.columns, choices, strict=True):
            kept = [k for k in kinds if k in column.trees] or ["raw"]
            trees = {k: column.trees[k].pruned(leaf) for k in kept}
            columns.append(Column(column.orders, trees, dict.fromkeys(kept, 1.0 / len(kept)), leaf))
        return Forest(self.schema, tuple(columns), self.gaussian, self.batch_size, self.threads)

    def view(self, rows: np.ndarray, seen: np.ndarray) -> View:
        """What questions about (n, C) rows need: places, and the Gaussian's means given the tokens seen (n, L)."""
        means = None
        if self.gaussian is not None:
            means = self.gaussian.means(self.gaussian.read(rows, self.schema), seen, self.threads)
        return View(places(rows, self.schema), seen, means)

    def answer(self, view: View, index: np.ndarray, token: int) -> np.ndarray:
        """(n, K) float64 probabilities of `token` in the rows `index` (n,) of a view, given the tokens seen there."""
        mass = np.asarray(self.schema.tokens[token].mass or np.ones(self.schema.tokens[token].width))
        column, own = self.columns[token], np.zeros((len(index), len(mass)))
        lasting = len(index) >= MANY
        for (kind, _), told in self.by_kind(view, index, token, list(column.shares), (column.leaf,), lasting).items():
            own += column.shares[kind] * told
        return smoothed(own, mass)

    def reads_means(self, token: int) -> bool:
        """Whether trees of `token` read the Gaussian's means."""
        return any(kind != "raw" for kind in self.columns[token].shares)

    def by_kind(
        self,
        view: View,
        index: np.ndarray,
        token: int,
        kinds: list[str],
        leaves: tuple[int, ...],
        lasting: bool = False,
    ) -> dict[tuple[str, int], np.ndarray]:
        """What each kind of trees says of `token` at each size of leaf, before the marginal is mixed in: → (n, K).

        lasting: finds where questions end at these sizes once and for all; the answers are the same."""
        width, column = self.schema.tokens[token].width, self.columns[token]
        out = {(kind, leaf): np.empty((len(index), width)) for kind in kinds for leaf in leaves}
        cuts = cuts_of(self.schema, token)
        for start in range(0, len(index), CHUNK):
            part = index[start : start + CHUNK]
            visible = without_own(view.seen[part], self.schema, token)
            guesses = None if view.means is None else self._guesses(view.means[part], token)
            plain = inputs_of(view.place[part], visible, column.orders, None)
            wide = plain if guesses is None else np.concatenate([plain, guesses.astype(np.float32)], 1)
            for kind, leaf in out:
                trees, inputs = column.trees[kind], plain if kind == "raw" else wide
                if trees.of_residuals:
                    told = trees.shifted_histograms(inputs, guesses[:, 0], cuts, width, leaf, self.threads)
                elif lasting:
                    told = trees.endings(width, leaf).histograms(inputs, width, self.threads)
                else:
                    told = trees.histograms(inputs, width, leaf, self.threads)
                out[kind, leaf][start : start + CHUNK] = told
        return out

    def _guesses(self, means: np.ndarray, token: int) -> np.ndarray | None:
        own = means[:, self.gaussian.start[token] : self.gaussian.start[token + 1]]
        return own if own.shape[1] else None

    def _checked(self, rows: np.ndarray, observed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        rows = self.schema.check_rows(rows).astype(np.float32)
        known = ~np.isnan(rows)
        observed = known if observed is None else np.asarray(observed)
        if observed.shape != rows.shape or observed.dtype != bool:
            raise ValueError(
                f"'observed' must be bool of shape {rows.shape}. Got {observed.dtype} of shape {observed.shape}."
            )
        if (observed & ~known).any():
            raise ValueError("'observed' must be False where 'rows' is NaN. Got observed cells without a value.")
        return rows, self.schema.observed_tokens(observed)

    # -- files -------------------------------------------------------------------------------------
    def save(self, folder: Path | str) -> None:
        """Writes forest.safetensors, forest.json and schema.json to `folder`, atomically; no pickle."""
        arrays = {}
        for i, column in enumerate(self.columns):
            arrays |= {f"{i}.order.{k}": order for k, order in enumerate(column.orders) if order is not None}
            arrays |= {f"{i}.{kind}.{n}": getattr(t, n) for kind, t in column.trees.items() for n in ARRAYS}
        if self.gaussian is not None:
            arrays |= {f"gaussian.{n}": getattr(self.gaussian, n) for n in ("mean", "precision", "start")}
        described = [{"shares": column.shares, "leaf": column.leaf} for column in self.columns]
        with replaced_folder(Path(folder)) as fresh:
            write_bytes(
                fresh / "forest.safetensors", save_arrays({k: np.ascontiguousarray(v) for k, v in arrays.items()})
            )
            write_text(fresh / "schema.json", self.schema.to_json())
            digest = sha256(fresh / "forest.safetensors")
            written = {"columns": described, "forest_sha256": digest, "batch_size": self.batch_size}
            write_json(fresh / "forest.json", written)

    @staticmethod
    def load(folder: Path | str) -> Forest:
        """The forest that `save` wrote. Raises ValueError naming a file that is missing, damaged or does not fit."""
        folder = Path(folder)
        for name in ("forest.safetensors", "forest.json", "schema.json"):
            if not (folder / name).is_file():
                raise ValueError(f"'folder' must hold a saved forest. Got {folder}, which has no {name}.")
        schema = Schema.load(folder / "schema.json")
        try:
            raw = json.loads((folder / "forest.json").read_text(encoding="utf8"))
            check_sha256(folder / "forest.safetensors", raw["forest_sha256"])
            arrays = load_arrays((folder / "forest.safetensors").read_bytes())
            columns = tuple(_column(arrays, i, s, schema) for i, s in enumerate(raw["columns"]))
            size = int(raw["batch_size"])
            gaussian = None
            if "gaussian.mean" in arrays:
                gaussian = Gaussian(*(arrays[f"gaussian.{n}"] for n in ("mean", "precision", "start")))
        except SafetensorError as error:
            raise ValueError(f"{folder / 'forest.safetensors'} is not a valid safetensors file: {error}.") from error
        except (KeyError, TypeError, AttributeError, OverflowError, json.JSONDecodeError) as error:
            raise ValueError(f"{folder / 'forest.json'} does not describe a forest: {error!r}.") from error
        if len(columns) != schema.n_tokens or size < 1:
            raise ValueError(f"{folder / 'forest.json'} must describe {schema.n_tokens} columns. Got {len(columns)}.")
        return Forest(schema, columns, gaussian, size)


@dataclass(frozen=True)
class View:
    """Rows as the trees read them. place: (n, L) float32; seen: (n, L) bool; means: (n, D) of the Gaussian, or None."""

    place: np.ndarray
    seen: np.ndarray
    means: np.ndarray | None


def cuts_of(schema: Schema, token: int) -> np.ndarray:
    """(K − 1,) float64 cuts between the bins of a number in standard deviations.

    Bins that hold no training value, the gaps between atoms, get nothing: both cuts of one are its middle."""
    t = schema.tokens[token]
    if not t.binned:
        return np.empty(0)
    edges = (np.asarray(t.edges) - t.center) / t.scale
    held = np.flatnonzero(np.asarray(t.mass or np.ones(t.width)) > 0)
    place = np.searchsorted(held, np.arange(1, t.width), "left")  # of the first held bin after each cut
    last, following = held[(place - 1).clip(0)], held[place.clip(max=len(held) - 1)]
    return (edges[last + 1] + edges[following]) / 2


def smoothed(told: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """(n, K) probabilities: what was told (n, K), with SMOOTHING of the marginal mass (K,); a choice without mass has none."""
    told = told * (mass > 0)
    total = told.sum(1, keepdims=True)
    share = mass / mass.sum()
    told = np.where(total > 0, told / np.where(total > 0, total, 1.0), share)
    return (1 - SMOOTHING) * told + SMOOTHING * share


def _column(arrays: dict[str, np.ndarray], i: int, described: dict, schema: Schema) -> Column:
    shares, leaf = described["shares"], int(described["leaf"])
    orders = [arrays.get(f"{i}.order.{k}") for k in range(schema.n_tokens)]
    trees = {kind: Trees(*(arrays[f"{i}.{kind}.{n}"] for n in ARRAYS)) for kind in shares}
    if not shares or not set(shares) <= set(KINDS):
        raise KeyError(f"column {i} needs kinds among {', '.join(KINDS)}")
    if not 1 <= leaf <= LARGEST_LEAF or not all(np.isfinite(float(v)) for v in shares.values()):
        raise KeyError(f"column {i} needs finite shares and a leaf of 1 to {LARGEST_LEAF}")
    return Column(orders, trees, {k: float(v) for k, v in shares.items()}, leaf)
