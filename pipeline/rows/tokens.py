"""What a token is, and runs of tokens that share weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MODALITIES = ("patch", "categorical", "numeric")


@dataclass(frozen=True)
class Token:
    """One token of a sample.

    name: unique in its schema. modality: one of MODALITIES.
    group: tokens of one group share their embedding and output weights (all patches of an image).
    columns: indices of the row columns it owns, in feature order.
    width: number of features (patch, numeric: len(columns); categorical: number of categories; binned: of bins).
    position: (row, column) on the group's grid; (0, i) where there is no grid.
    center, scale: feature = (value − center) / scale; the unit of errors where binned, unused for categories.
    edges: width + 1 bin edges of a binned number, not decreasing, in the source's units; else empty.
    mass: share of the training values in each bin or category; what has none is never drawn. Empty: not known.
    gap_of: name of the token whose cell this one says to be known (0) or missing (1); "" for any other token.
    """

    name: str
    modality: str
    group: str
    columns: tuple[int, ...]
    width: int
    position: tuple[int, int] = (0, 0)
    center: float = 0.0
    scale: float = 1.0
    edges: tuple[float, ...] = ()
    mass: tuple[float, ...] = ()
    gap_of: str = ""

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ValueError(f"Token {self.name!r}: 'modality' must be one of {MODALITIES}. Got {self.modality!r}.")
        if self.modality == "categorical" and len(self.columns) != 1:
            raise ValueError(f"Token {self.name!r}: a categorical token owns one column. Got {len(self.columns)}.")
        if self.gap_of and (self.modality, self.width) != ("categorical", 2):
            raise ValueError(f"Token {self.name!r}: 'gap_of' needs two categories. Got {self.modality}, {self.width}.")
        if self.edges:
            self._check_edges()
        elif self.modality != "categorical" and self.width != len(self.columns):
            raise ValueError(
                f"Token {self.name!r}: 'width' must equal its number of columns ({len(self.columns)}). Got {self.width}."
            )
        if self.width < 1 or not self.scale > 0:
            raise ValueError(
                f"Token {self.name!r}: 'width' must be ≥ 1 and 'scale' > 0. Got {self.width}, {self.scale}."
            )
        if self.mass and (len(self.mass) != self.width or min(self.mass) < 0 or not sum(self.mass) > 0):
            raise ValueError(f"Token {self.name!r}: 'mass' must hold {self.width} shares ≥ 0, not all 0.")

    @property
    def binned(self) -> bool:
        """Whether it is a number read and drawn through bins."""
        return bool(self.edges)

    @property
    def discrete(self) -> bool:
        """Whether its `width` features are choices with probabilities: categories or bins."""
        return self.modality == "categorical" or self.binned

    def _check_edges(self) -> None:
        edges = np.asarray(self.edges)
        if self.modality != "numeric" or len(self.columns) != 1:
            raise ValueError(f"Token {self.name!r}: 'edges' need a numeric token of one column.")
        if len(edges) != self.width + 1 or not np.isfinite(edges).all() or (np.diff(edges) < 0).any():
            raise ValueError(
                f"Token {self.name!r}: 'edges' must be {self.width + 1} finite numbers that do not decrease. "
                f"Got {len(edges)}."
            )


@dataclass(frozen=True)
class Group:
    """A run of tokens that share weights: `tokens` are their indices, `features` the slice they own."""

    name: str
    modality: str
    width: int
    tokens: tuple[int, ...]
    features: slice
    binned: bool = False

    @property
    def discrete(self) -> bool:
        """Whether its features are choices with probabilities: categories or bins."""
        return self.modality == "categorical" or self.binned


def weights_of(token: Token) -> tuple[str, str, int, bool]:
    return token.group, token.modality, token.width, token.binned
