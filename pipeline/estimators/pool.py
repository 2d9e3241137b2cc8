"""How the words of a network and of a forest about one cell become one distribution, and how draws are narrowed.

geometric: p ∝ (p_network^w · p_forest^(1−w))^power; linear: p ∝ (w p_network + (1−w) p_forest)^power.

Shapes: n cells of one token, K choices (bins or categories).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RULES = ("geometric", "linear")
LEAST = 1e-30  # probability whose logarithm is still read


@dataclass(frozen=True)
class Pool:
    """weight: (L,) of the network, in 0 … 1. power: (L,); above 1 it sharpens. rule: of RULES. share: (L,) central share of
    each distribution that draws come from, 1: all of it."""

    weight: np.ndarray
    power: np.ndarray
    share: np.ndarray
    rule: str = "geometric"

    @staticmethod
    def plain(n_tokens: int, weight: float) -> Pool:
        """One weight, nothing sharpened."""
        return Pool(np.full(n_tokens, weight), np.ones(n_tokens), np.ones(n_tokens))

    def unsharpened(self) -> Pool:
        """The same weights; power and share 1. Both were found on gaps beside known cells; whole rows need neither."""
        ones = np.ones(len(self.power))
        return Pool(self.weight, ones, ones, self.rule)

    def joined(self, network: np.ndarray | None, forest: np.ndarray | None, token: int) -> np.ndarray:
        """(n, K) probabilities of two (n, K) words about `token`; None: that one is not there."""
        return joined(network, forest, float(self.weight[token]), float(self.power[token]), self.rule)


def joined(
    network: np.ndarray | None, forest: np.ndarray | None, weight: float, power: float, rule: str = "geometric"
) -> np.ndarray:
    """(n, K) float64; see the head of this file."""
    if network is None or forest is None:
        told = forest if network is None else network
        if power == 1.0:
            return told
        logs = power * np.log(told.clip(LEAST))
    elif rule == "geometric":
        logs = power * (weight * np.log(network.clip(LEAST)) + (1 - weight) * np.log(forest.clip(LEAST)))
    else:
        logs = power * np.log((weight * network + (1 - weight) * forest).clip(LEAST))
    p = np.exp(logs - logs.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def narrowed(p: np.ndarray, share: float, binned: bool) -> np.ndarray:
    """(n, K) probabilities of draws from the central `share` of each distribution p (n, K); categories: p^(1/share).

    The order of bins gives a centre: what lies beyond the quantiles (1 ± share)/2 is cut off."""
    if share >= 1.0:
        return p
    if not binned:
        return joined(p, None, 1.0, 1.0 / share)
    upper = p.cumsum(1)
    low, high = (1 - share) / 2, (1 + share) / 2
    kept = np.minimum(upper, high) - np.maximum(upper - p, low)
    kept = kept.clip(0.0)
    return kept / kept.sum(1, keepdims=True)


def drawn(p: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """(n,) int64 choices of probabilities p (n, K) at uniform (n,) in [0, 1), by the inverse distribution function."""
    total = p.cumsum(1)
    chosen = (total <= uniform[:, None] * total[:, -1:]).sum(1)
    last = p.shape[1] - 1 - (p[:, ::-1] > 0).argmax(1)
    return np.minimum(chosen, last)
