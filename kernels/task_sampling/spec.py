"""What a task is and what a task distribution needs: role codes, families, TaskSpec, Tasks.

A task of a row of L tokens is a pair (S, T): `role` says for every token whether it is hidden, a
source (in S) or a target (in T), so S ∩ T = ∅ by construction; `rank` says who may attend to whom
(token i sees token j iff both are visible and rank[j] <= rank[i]).

Shapes: N rows, L tokens.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

HIDDEN, SOURCE, TARGET = 0, 1, 2

FAMILIES = (
    "joint",
    "marginal",
    "beta_random",
    "block",
    "half",
    "modality",
    "causal",
    "permutation",
    "bert",
    "mae",
    "column_missing",
    "copied",
    "proportional",
)
GAP_FAMILIES = ("copied", "proportional")  # their targets are gaps that rows of the data have

MAX_TOKENS = 2**15 - 1  # ranks are int16


@dataclass(frozen=True, eq=False)
class TaskSpec:
    """The task distribution q(S, T) of one dataset: a mixture of families over L tokens.

    n_tokens: L, 1 … 32767.
    weights: family → weight ≥ 0, normalised here; a family that is not named has weight 0.
    grid: (L, 2) int, patch (row, column); (−1, −1) for tokens that are not patches.
    is_label: (L,) bool.
    source_beta, target_beta: (a, b) of |S|/L ~ Beta and of |T|/(L−|S|) ~ Beta.
    block_share: smallest and largest edge of a block as a share of the grid.
    bert_target_share, mae_target_share: share of tokens (of patches) that are targets.
    column_missing_share: probability that a token is missing, that is, a target.
    label_to_image_share: share of modality tasks whose target is not the label.
    label_visible_share: probability that the label is visible in block and half.
    group: (L,) int, tokens of one modality group share a number; None: the labels, the patches, the rest.
    causal_prefix_share: probability that a causal task shows a random prefix as source.
    gaps: (G, L) bool, which tokens rows of the data miss, for the families copied (a row's gaps as they are) and
        proportional (each token missing as often as there, independently); None where neither has a weight.
    Raises ValueError naming the field, the requirement and the value received.
    """

    n_tokens: int
    weights: dict[str, float]
    grid: np.ndarray
    is_label: np.ndarray
    source_beta: tuple[float, float]
    target_beta: tuple[float, float]
    block_share: tuple[float, float]
    bert_target_share: float
    mae_target_share: float
    column_missing_share: float
    label_to_image_share: float
    label_visible_share: float
    group: np.ndarray | None = None
    causal_prefix_share: float = 0.0
    gaps: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.n_tokens <= MAX_TOKENS:
            raise ValueError(f"TaskSpec: 'n_tokens' must lie in [1, {MAX_TOKENS}]. Got {self.n_tokens}.")
        self._set("grid", np.ascontiguousarray(self.grid, np.int64))
        self._set("is_label", np.ascontiguousarray(self.is_label, bool))
        if self.group is None:
            self._set("group", np.where(self.is_label, 0, np.where((self.grid >= 0).all(1), 1, 2)))
        self._set("group", np.ascontiguousarray(self.group, np.int64))
        for name, shape in (("grid", (self.n_tokens, 2)), ("is_label", (self.n_tokens,)), ("group", (self.n_tokens,))):
            if getattr(self, name).shape != shape:
                raise ValueError(f"TaskSpec: {name!r} must have shape {shape}. Got {getattr(self, name).shape}.")
        if np.ptp(self.grid, axis=0).max() > MAX_TOKENS:
            raise ValueError(f"TaskSpec: 'grid' must span at most {MAX_TOKENS} cells. Got {np.ptp(self.grid, axis=0)}.")
        _check_weights(self.weights)
        self._check_gaps()
        for name in ("source_beta", "target_beta"):
            _check_pair(name, getattr(self, name), 1e-3, 1e3)
        _check_pair("block_share", self.block_share, 0.0, 1.0)
        if self.block_share[0] > self.block_share[1]:
            raise ValueError(f"TaskSpec: 'block_share' must not decrease. Got {tuple(self.block_share)}.")
        for f in fields(self):
            if f.name.endswith("_share") and f.name != "block_share":
                value = getattr(self, f.name)
                if not (math.isfinite(value) and 0.0 <= value <= 1.0):
                    raise ValueError(f"TaskSpec: {f.name!r} must lie in [0, 1]. Got {value}.")

    def _check_gaps(self) -> None:
        asked = [name for name in GAP_FAMILIES if self.weights.get(name, 0.0) > 0]
        if self.gaps is None:
            if asked:
                raise ValueError(f"TaskSpec: 'gaps' must be given for the families {asked}. Got None.")
            return
        self._set("gaps", np.ascontiguousarray(self.gaps, bool))
        if self.gaps.ndim != 2 or self.gaps.shape[1] != self.n_tokens or not self.gaps.any():
            raise ValueError(
                f"TaskSpec: 'gaps' must have shape (G, {self.n_tokens}) and a missing token. Got {self.gaps.shape}."
            )

    def _set(self, name: str, value: np.ndarray) -> None:
        object.__setattr__(self, name, value)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """(len(FAMILIES),) float64, the normalised weights in the order of FAMILIES."""
        weights = np.array([self.weights.get(name, 0.0) for name in FAMILIES], np.float64)
        return weights / weights.sum()

    def to_json(self) -> str:
        """The specification as JSON text, read back by `from_json`."""
        raw = {f.name: getattr(self, f.name) for f in fields(self)}
        raw |= {name: raw[name].tolist() for name in ("grid", "is_label", "group")}
        if self.gaps is None:
            del raw["gaps"]
        else:
            raw["gaps"] = self.gaps.astype(int).tolist()
        raw |= {name: list(raw[name]) for name in ("source_beta", "target_beta", "block_share")}
        return json.dumps(raw | {"weights": dict(self.weights)}, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> TaskSpec:
        """The specification written by `to_json`. Raises ValueError on malformed text."""
        try:
            raw = json.loads(text)
            grid = np.array(raw.pop("grid"), np.int64).reshape(-1, 2)
            return TaskSpec(**raw, grid=grid)
        except (KeyError, TypeError, AttributeError, OverflowError, RecursionError, json.JSONDecodeError) as error:
            raise ValueError(f"Not a task specification: {error!r}.") from error


@dataclass(frozen=True, eq=False)
class Tasks:
    """N tasks. role: (N, L) uint8 in {HIDDEN, SOURCE, TARGET}; rank: (N, L) int16; family: (N,) uint8 index.

    `rank` may be read-only.
    """

    role: np.ndarray
    rank: np.ndarray
    family: np.ndarray

    def __len__(self) -> int:
        return len(self.role)

    def __getitem__(self, rows: slice | np.ndarray) -> Tasks:
        """The tasks of a slice or an index array."""
        return Tasks(self.role[rows], self.rank[rows], self.family[rows])


def _check_weights(weights: dict[str, float]) -> None:
    unknown = sorted(set(weights) - set(FAMILIES))
    if unknown:
        raise ValueError(f"TaskSpec: 'weights' must name families among {', '.join(FAMILIES)}. Got {unknown}.")
    values = list(weights.values())
    if not all(math.isfinite(v) and v >= 0 for v in values) or not sum(values) > 0:
        raise ValueError(f"TaskSpec: 'weights' must be finite, ≥ 0 and have a positive sum. Got {dict(weights)}.")


def _check_pair(name: str, value: tuple[float, float], low: float, high: float) -> None:
    if len(value) != 2 or not all(math.isfinite(v) and low <= v <= high for v in value):
        raise ValueError(f"TaskSpec: {name!r} must hold two numbers in [{low}, {high}]. Got {value}.")
