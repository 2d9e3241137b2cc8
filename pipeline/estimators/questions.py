"""Questions to a mixture about a few tokens of many rows, which networks and forest have read once.

    p, q = mixture.questions(rows).told(index, seen, (3, 5))

The numbers of `MixtureSampler.probabilities` up to rounding, from the passes that the asked tokens need.

Shapes: N rows, n rows of a question, L tokens, K choices of a token.
"""

from __future__ import annotations

import numpy as np

from pipeline.estimators.pool import LEAST, Pool
from pipeline.forest.forest import Forest
from pipeline.forest.questions import Questions as ForestQuestions
from pipeline.model.questions import Questions as NetworkQuestions
from pipeline.model.sampler import Sampler


class Questions:
    """rows: (N, C) in source units, NaN where missing; networks, forest, pool: those of the mixture."""

    def __init__(self, networks: tuple[Sampler, ...], forest: Forest | None, pool: Pool, rows: np.ndarray) -> None:
        self.pool = pool
        self.networks = [NetworkQuestions(network, rows) for network in networks]
        self.forest = None if forest is None else ForestQuestions(forest, rows)

    def told(self, index: np.ndarray, seen: np.ndarray, tokens: tuple[int, ...]) -> list[np.ndarray]:
        """(n, K) float64 probabilities of each of `tokens` in the rows `index` (n,), given the tokens seen (n, L) there."""
        needs_network = tuple(t for t in tokens if self.forest is None or self.pool.weight[t] > 0)
        needs_forest = tuple(t for t in tokens if not self.networks or self.pool.weight[t] < 1)
        network, forest = {}, {}
        if self.networks and needs_network:
            words = zip(*(n.told(index, seen, needs_network) for n in self.networks), strict=True)
            network = dict(zip(needs_network, map(_mean, words), strict=True))
        if self.forest is not None and needs_forest:
            forest = dict(zip(needs_forest, self.forest.told(index, seen, needs_forest), strict=True))
        return [self.pool.joined(network.get(t), forest.get(t), t) for t in tokens]


def _mean(words: tuple[np.ndarray, ...]) -> np.ndarray:
    """(n, K) geometric mean of what several networks say, normalised."""
    if len(words) == 1:
        return words[0]
    p = np.exp(np.mean([np.log(w.clip(LEAST)) for w in words], axis=0))
    return p / p.sum(1, keepdims=True)
