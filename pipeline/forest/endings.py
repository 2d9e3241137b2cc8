"""Where questions to trees may end, found once for a size of leaf: many questions then cost a short walk each.

`Trees.histograms` walks with three arrays and counts every member of the node where a question ends. Here a node is one
record, a step into a child of too few members leads straight to its parent's ending, and an ending keeps how often each
choice occurs in it. The answers are those of `Trees.histograms` to the last bit: both add count × share, tree by tree.

Shapes: n questions, I inputs, T trees, M nodes, E endings, H pairs of a choice and its count, K choices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from kernels.task_sampling.threads import in_parallel

WORK_BYTES = 256  # a question to one tree, in the bytes by which work is shared out among threads
NODE = np.dtype([("feature", np.int32), ("threshold", np.float32), ("right", np.int32)])


@dataclass(frozen=True)
class Endings:
    """roots: (T,) int64 nodes. nodes: (M,) NODE: input asked, −1 where a question ends; an input at most the threshold goes
    to the next node, another to `right`, which is the number of the ending at an end. spans: (E, 2) int64 places of its
    members. pairs: (E + 1,) int64 first pair of each; choice: (H,) uint8 or uint16; count: (H,) int32."""

    roots: np.ndarray
    nodes: np.ndarray
    spans: np.ndarray
    pairs: np.ndarray
    choice: np.ndarray
    count: np.ndarray

    def histograms(self, inputs: np.ndarray, width: int, threads: int = 1) -> np.ndarray:
        """(n, width) float64 mean histograms over the trees of (n, I) float32 inputs."""
        out = np.zeros((len(inputs), width))
        arrays = (self.roots, self.nodes, self.spans, self.pairs, self.choice, self.count)

        def add(a: int, b: int) -> None:
            add_counts(inputs[a:b], *arrays, out[a:b])

        in_parallel(add, len(inputs), len(self.roots) * WORK_BYTES, threads)
        return out


def endings_of(nodes: tuple[np.ndarray, ...], members: np.ndarray, width: int, leaf: int) -> Endings:
    """Of trees whose `nodes` are (roots, feature, threshold, right, start) and whose members are choices below `width`,
    for questions that ask for at least `leaf` members a tree."""
    packed = np.empty(len(nodes[1]), NODE)
    spans = ends(leaf, *nodes, packed)
    return Endings(nodes[0], packed, spans, *counted(spans, members, width))


@njit(cache=True, nogil=True)
def ends(leaf, roots, feature, threshold, right, start, packed):
    """(E, 2) places of the members of each ending; fills packed (M,). Parents stand before their children."""
    found, n_ends = np.empty((len(feature), 2), np.int64), 0
    begin, stop = np.empty(len(feature), np.int64), np.empty(len(feature), np.int64)
    reached = np.zeros(len(feature), np.bool_)
    for t in range(len(roots)):
        after = roots[t + 1] if t + 1 < len(roots) else len(feature)
        begin[roots[t]], stop[roots[t]], reached[roots[t]] = start[roots[t]], start[after], True
        for node in range(roots[t], after):
            if not reached[node]:
                continue
            a, b, second = begin[node], stop[node], right[node]
            middle = start[second] if feature[node] >= 0 else a
            left_ends, right_ends = middle - a < leaf, b - middle < leaf
            if feature[node] < 0 or (left_ends and right_ends):
                packed[node].feature, packed[node].threshold, packed[node].right = -1, 0.0, n_ends
                found[n_ends, 0], found[n_ends, 1] = a, b
                n_ends += 1
                continue
            packed[node].feature, packed[node].threshold, packed[node].right = feature[node], threshold[node], second
            begin[node + 1], stop[node + 1], reached[node + 1] = a, middle, not left_ends
            begin[second], stop[second], reached[second] = middle, b, not right_ends
            if left_ends or right_ends:
                small = node + 1 if left_ends else second
                packed[small].feature, packed[small].threshold, packed[small].right = -1, 0.0, n_ends
                found[n_ends, 0], found[n_ends, 1] = a, b
                n_ends += 1
    return found[:n_ends].copy()


@njit(cache=True, nogil=True)
def counted(spans, members, width):
    """((E + 1,) first pair of each ending, (H,) its choices in rising order, (H,) how often each occurs)."""
    pairs, seen = np.zeros(len(spans) + 1, np.int64), np.zeros(width, np.int32)
    for e in range(len(spans)):
        for i in range(spans[e, 0], spans[e, 1]):
            seen[members[i]] = 1
        pairs[e + 1] = pairs[e] + seen.sum()
        seen[:] = 0
    choice, count = np.empty(pairs[-1], members.dtype), np.empty(pairs[-1], np.int32)
    for e in range(len(spans)):
        for i in range(spans[e, 0], spans[e, 1]):
            seen[members[i]] += 1
        place = pairs[e]
        for k in range(width):
            if seen[k] > 0:
                choice[place], count[place] = k, seen[k]
                place += 1
        seen[:] = 0
    return pairs, choice, count


@njit(cache=True, nogil=True)
def add_counts(inputs, roots, nodes, spans, pairs, choice, count, out):
    """Adds to out (n, K) the mean over trees of the shares of each choice where inputs (n, I) end."""
    for t in range(len(roots)):
        for n in range(len(inputs)):
            node = roots[t]
            while nodes[node].feature >= 0:
                node = node + 1 if inputs[n, nodes[node].feature] <= nodes[node].threshold else nodes[node].right
            e = nodes[node].right
            share = 1.0 / (len(roots) * max(spans[e, 1] - spans[e, 0], 1))
            for i in range(pairs[e], pairs[e + 1]):
                out[n, choice[i]] += count[i] * share
