"""Questions to a forest about a few tokens of many rows, which are read once; the numbers of `Forest.probabilities`.

Shapes: N rows, n rows of a question, L tokens, K choices of a token.
"""

from __future__ import annotations

import numpy as np

from pipeline.forest.forest import Forest, View
from pipeline.forest.inputs import places


class Questions:
    """rows: (N, C) in source units, NaN where missing."""

    def __init__(self, forest: Forest, rows: np.ndarray) -> None:
        self.forest, self.place = forest, places(rows, forest.schema)
        self.values = None if forest.gaussian is None else forest.gaussian.read(rows, forest.schema)

    def told(self, index: np.ndarray, seen: np.ndarray, tokens: tuple[int, ...]) -> list[np.ndarray]:
        """(n, K) float64 probabilities of each of `tokens` in the rows `index` (n,), given the tokens seen (n, L) there."""
        means, forest = None, self.forest
        if forest.gaussian is not None and any(forest.reads_means(t) for t in tokens):
            means = forest.gaussian.means(self.values[index], seen, forest.threads)
        view, every = View(self.place[index], seen, means), np.arange(len(index))
        return [forest.answer(view, every, t) for t in tokens]
