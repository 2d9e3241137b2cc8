"""Trees of one column as flat arrays: grown by scikit-learn, read by Numba.

A leaf keeps what the training samples in it had: a bin or category each, or a residual from the Gaussian's guess. The
histogram of a query is the mean over the trees of the histograms of the nodes where it ends. Nodes stand in depth-first
order, so the members of a subtree stand together: a query may stop above the leaves, where a further step would leave it
with fewer members than it asks for. One set of trees thus serves every size of leaf.

Shapes: n samples, I inputs, T trees, M nodes, K choices (bins or categories).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from kernels.task_sampling.threads import in_parallel
from pipeline.forest.endings import WORK_BYTES, Endings, endings_of

ALL_TRIED, MOST_TRIED = 16, 48  # inputs that a split tries: all of so few, half of more, at most so many
ARRAYS = ("roots", "feature", "threshold", "right", "start", "members")


@dataclass(frozen=True)
class Trees:
    """roots: (T,) int64 nodes. feature: (M,) int16 input that a node asks, −1 at a leaf. threshold: (M,) float32; an input
    at most that goes to the next node, another to right (M,) int32. start: (M + 1,) int64 place of the first member of
    each subtree. members: (T·n,) choices uint8 or uint16, or residuals float32 in standard deviations."""

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    right: np.ndarray
    start: np.ndarray
    members: np.ndarray

    @property
    def of_residuals(self) -> bool:
        """Whether members are residuals."""
        return self.members.dtype == np.float32

    def histograms(self, inputs: np.ndarray, width: int, leaf: int, threads: int = 1) -> np.ndarray:
        """(n, width) float64 mean histograms of (n, I) float32 inputs over at least `leaf` members a tree, which are choices."""
        out = np.zeros((len(inputs), width))
        nodes = (self.roots, self.feature, self.threshold, self.right, self.start)

        def count(a: int, b: int) -> None:
            count_choices(inputs[a:b], leaf, *nodes, self.members, out[a:b])

        in_parallel(count, len(inputs), len(self.roots) * WORK_BYTES, threads)
        return out

    def endings(self, width: int, leaf: int) -> Endings:
        """Where questions end that ask for at least `leaf` members a tree, which are choices below `width`; found once."""
        if (width, leaf) not in self._endings:
            nodes = (self.roots, self.feature, self.threshold, self.right, self.start)
            self._endings[width, leaf] = endings_of(nodes, self.members, width, leaf)
        return self._endings[width, leaf]

    @cached_property
    def _endings(self) -> dict[tuple[int, int], Endings]:
        return {}

    def __getstate__(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in ARRAYS}  # endings are found again

    def shifted_histograms(
        self, inputs: np.ndarray, guess: np.ndarray, cuts: np.ndarray, width: int, leaf: int, threads: int = 1
    ) -> np.ndarray:
        """The same where members are residuals: guess (n,) + residual falls between the cuts (width − 1,)."""
        out = np.zeros((len(inputs), width))
        nodes = (self.roots, self.feature, self.threshold, self.right, self.start)

        def count(a: int, b: int) -> None:
            count_shifted(inputs[a:b], guess[a:b], cuts, leaf, *nodes, self.members, out[a:b])

        in_parallel(count, len(inputs), len(self.roots) * WORK_BYTES, threads)
        return out

    def pruned(self, leaf: int) -> Trees:
        """The same trees without nodes that no question reaches which asks for at least `leaf` members."""
        count = sizes(self.roots, self.feature, self.right, self.start)
        kept = reached(self.feature, self.right, count, leaf)
        kept[self.roots] = True
        number = np.cumsum(kept) - 1
        inside = (self.feature >= 0) & (count >= leaf)
        right = np.where(inside, number[np.where(inside, self.right, 0)], 0).astype(np.int32)
        feature = np.where(inside, self.feature, -1).astype(self.feature.dtype)
        start = np.concatenate([self.start[:-1][kept], self.start[-1:]])
        return Trees(number[self.roots], feature[kept], self.threshold[kept], right[kept], start, self.members)


def grow(
    inputs: np.ndarray, aims: np.ndarray, members: np.ndarray, *, trees: int, leaf: int, seed: int, n_jobs: int
) -> Trees:
    """Extremely randomised trees on (n, I) float32 inputs that split (n, A) float numbers or (n,) int categories.

    members: (n,) what leaves keep. leaf: least samples of one. The same trees for a seed, whatever n_jobs.
    """
    classes = aims.dtype.kind == "i"
    model = (ExtraTreesClassifier if classes else ExtraTreesRegressor)(
        n_estimators=trees,
        min_samples_leaf=leaf,
        max_features=tried(inputs.shape[1]),
        random_state=seed,
        n_jobs=n_jobs,
    )
    model.fit(inputs, aims.ravel() if aims.shape[1:] == (1,) else aims)
    parts, roots, base = [], [], 0
    for estimator in model.estimators_:
        tree = estimator.tree_
        inside = tree.children_left != -1
        feature = np.where(inside, tree.feature, -1).astype(np.int16)
        right = np.where(inside, tree.children_right + base, 0).astype(np.int32)
        parts.append((feature, tree.threshold.astype(np.float32), right))
        roots.append(base)
        base += tree.node_count
    feature, threshold, right = (np.concatenate(p) for p in zip(*parts, strict=True))
    roots = np.asarray(roots, np.int64)
    assert all(
        (p.children_left[p.children_left != -1] == np.flatnonzero(p.children_left != -1) + 1).all()
        for p in (e.tree_ for e in model.estimators_[:1])
    )  # depth-first: left is next
    leaves = find_leaves(inputs, roots, feature, threshold, right).ravel()
    order = np.argsort(leaves, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(leaves, minlength=len(feature)))])
    kept = np.tile(members, trees)[order]
    return Trees(roots, feature, threshold, right, start, kept)


def tried(inputs: int) -> int:
    """How many inputs a split tries."""
    return inputs if inputs <= ALL_TRIED else min(max(ALL_TRIED, inputs // 2), MOST_TRIED)


@njit(cache=True)
def sizes(roots, feature, right, start):
    """(M,) int64 members of the subtree of every node."""
    out = np.empty(len(feature), np.int64)
    end = np.empty(len(feature), np.int64)
    for t in range(len(roots)):
        stop = roots[t + 1] if t + 1 < len(roots) else len(feature)
        end[roots[t]] = start[stop]
        for node in range(roots[t], stop):
            out[node] = end[node] - start[node]
            if feature[node] >= 0:
                end[node + 1] = start[right[node]]
                end[right[node]] = end[node]
    return out


@njit(cache=True)
def reached(feature, right, count, leaf):
    """(M,) bool: the nodes, roots aside, whose parent has at least `leaf` members (count) and is reached itself."""
    out = np.zeros(len(feature), np.bool_)
    for node in range(len(feature)):
        if feature[node] >= 0 and count[node] >= leaf:
            out[node + 1] = True
            out[right[node]] = True
    return out


@njit(cache=True)
def leaf_of(row, node, feature, threshold, right):
    """int node of the leaf that row (I,) reaches from `node`."""
    while feature[node] >= 0:
        node = node + 1 if row[feature[node]] <= threshold[node] else right[node]
    return node


@njit(cache=True, nogil=True)
def find_leaves(inputs, roots, feature, threshold, right):
    """(T, n) int64 leaves of the inputs (n, I)."""
    out = np.empty((len(roots), len(inputs)), np.int64)
    for n in range(len(inputs)):
        for t in range(len(roots)):
            out[t, n] = leaf_of(inputs[n], roots[t], feature, threshold, right)
    return out


@njit(cache=True)
def range_of(row, tree, leaf, roots, feature, threshold, right, start):
    """(begin, end) of the members of the last node on the way of row (I,) through tree number `tree` that has `leaf`."""
    node = roots[tree]
    begin, end = start[node], start[roots[tree + 1]] if tree + 1 < len(roots) else start[-1]
    while feature[node] >= 0:
        if row[feature[node]] <= threshold[node]:
            node, first, last = node + 1, begin, start[right[node]]
        else:
            node, first, last = right[node], start[right[node]], end
        if last - first < leaf:
            break
        begin, end = first, last
    return begin, end


@njit(cache=True, nogil=True)
def count_choices(inputs, leaf, roots, feature, threshold, right, start, members, out):
    """Adds to out (n, K) the mean over trees of the shares of each choice where inputs (n, I) end; tree by tree, for one
    tree stays in the cache. A choice adds count × share once a tree, as in endings.py, so that both round alike."""
    count = np.zeros(out.shape[1], np.int32)
    for t in range(len(roots)):
        for n in range(len(inputs)):
            begin, end = range_of(inputs[n], t, leaf, roots, feature, threshold, right, start)
            share = 1.0 / (len(roots) * max(end - begin, 1))
            for i in range(begin, end):
                count[members[i]] += 1
            for i in range(begin, end):
                if count[members[i]] > 0:
                    out[n, members[i]] += count[members[i]] * share
                    count[members[i]] = 0


@njit(cache=True, nogil=True)
def count_shifted(inputs, guess, cuts, leaf, roots, feature, threshold, right, start, members, out):
    """`count_choices` of residuals: each member plus guess (n,) counts in the bin that cuts (K − 1,) give."""
    for t in range(len(roots)):
        for n in range(len(inputs)):
            begin, end = range_of(inputs[n], t, leaf, roots, feature, threshold, right, start)
            share = 1.0 / (len(roots) * max(end - begin, 1))
            for i in range(begin, end):
                out[n, np.searchsorted(cuts, guess[n] + members[i])] += share
