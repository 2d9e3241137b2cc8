"""The two-Gaussian simulation (paper §3.3): noise-free loss surfaces, their local minima and barriers.

    from pipeline.simulation.gmm2 import Tasks, landscape
    result = landscape(Tasks.conditionals(angles, values, variance), variance, grid=100, nodes=32)

p has free means (μ₁, 0), (μ₂, 0); a surface is the mean KL(p‖q) of a set of tasks over (μ₁, μ₂). Exchanging
the components changes nothing, so minima are counted once per unordered pair.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from kernels.gmm import mean_divergence, standard_normal_nodes, surface

HALF_WIDTH = 2.0  # surfaces cover [−2, 2]²
SPURIOUS_ABOVE = 1e-3  # a minimum of at least this many nats above the optimum (0) is spurious


class Tasks:
    """(A, 4) arrays of rotated tasks, rows as kernels/gmm/surfaces.py reads them: cosine, sine, given, conditional."""

    @staticmethod
    def marginals(angles_deg: Sequence[float]) -> np.ndarray:
        """The marginals of y₁ after rotating by each angle; angle 0 is also the joint task."""
        angles = np.radians(np.asarray(angles_deg, dtype=np.float64))
        if not angles.size:
            raise ValueError("'angles_deg' must hold at least one angle. Got none.")
        nothing = np.zeros_like(angles)
        return np.stack([np.cos(angles), np.sin(angles), nothing, nothing], axis=1)

    @staticmethod
    def conditionals(angles_deg: Sequence[float], values: Sequence[float], variance: float) -> np.ndarray:
        """y₁ given y₂ = value·reach for every angle and value.

        reach: how far q extends along the rotated y₂, 3σ beyond its means: (1 + 3σ)|sin| + 3σ|cos|.
        """
        rotations = Tasks.marginals(angles_deg)
        if not len(values):
            raise ValueError("'values' must hold at least one conditioning value. Got none.")
        sigma = math.sqrt(variance)
        reach = (1 + 3 * sigma) * np.abs(rotations[:, 1]) + 3 * sigma * np.abs(rotations[:, 0])
        tasks = np.repeat(rotations, len(values), axis=0)
        tasks[:, 2] = np.outer(reach, values).ravel()
        tasks[:, 3] = 1.0
        return tasks


@dataclass(frozen=True)
class Minimum:
    """A local minimum at μ₁ ≤ μ₂, its value, and the barrier on the lowest way to the optimum, both in nats."""

    first: float
    second: float
    value: float
    barrier: float


@dataclass(frozen=True)
class Landscape:
    """Surfaces of a set of tasks and what they hold."""

    tasks: np.ndarray  # (A, 4), see Tasks
    axis: np.ndarray  # (G,)
    surfaces: np.ndarray  # (A, G, G)
    mean: np.ndarray  # (G, G)
    minima: tuple[Minimum, ...]  # the optimum first, then by value

    @property
    def angles_deg(self) -> np.ndarray:
        """(A,) rotation of each task."""
        return np.degrees(np.arctan2(self.tasks[:, 1], self.tasks[:, 0]))

    @property
    def given(self) -> np.ndarray:
        """(A,) y₂ of each conditional task; 0 for marginals."""
        return self.tasks[:, 2]

    @property
    def spurious(self) -> tuple[Minimum, ...]:
        return tuple(m for m in self.minima if m.value > SPURIOUS_ABOVE)


def landscape(tasks: np.ndarray, variance: float, grid: int, nodes: int) -> Landscape:
    """The surfaces of tasks (A, 4) on grid×grid points, and the minima of their mean.

    nodes: Gauss–Hermite nodes a component.
    """
    axis = np.linspace(-HALF_WIDTH, HALF_WIDTH, grid)
    quadrature = standard_normal_nodes(nodes)
    surfaces = surface(axis, tasks, variance, *quadrature)
    mean = surfaces.mean(axis=0)
    return Landscape(tasks, axis, surfaces, mean, _minima(axis, mean, tasks, variance, quadrature))


def _minima(axis, mean, tasks, variance, quadrature) -> tuple[Minimum, ...]:
    """Grid minima refined on the exact loss, one per unordered pair, with barriers found by flooding the grid."""
    step = axis[1] - axis[0]
    found: list[tuple[float, float, float]] = []
    for i, j in np.argwhere(_grid_minima(mean)):
        if axis[i] > axis[j]:
            continue
        result = minimize(
            lambda m: mean_divergence(m[0], m[1], tasks, variance, *quadrature),
            (axis[i], axis[j]),
            method="Nelder-Mead",
            options={"xatol": 1e-7, "fatol": 1e-12, "initial_simplex": _simplex(axis[i], axis[j], step / 2)},
        )
        first, second = sorted(float(x) for x in result.x)
        inside = max(abs(first), abs(second)) <= HALF_WIDTH
        if inside and all(math.dist((first, second), other[:2]) > step for other in found):
            found.append((first, second, max(0.0, float(result.fun))))
    found.sort(key=lambda m: m[2])
    passes = _lowest_passes(axis, mean, found)
    return tuple(Minimum(*m, barrier=max(0.0, p - m[2])) for m, p in zip(found, passes, strict=True))


def _simplex(first: float, second: float, size: float) -> np.ndarray:
    return np.array([[first, second], [first + size, second], [first, second + size]])


def _grid_minima(values: np.ndarray) -> np.ndarray:
    """(G, G) bool: strictly below all eight neighbours, edges excluded."""
    centre = values[1:-1, 1:-1]
    low = np.ones_like(centre, dtype=bool)
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            if di or dj:
                low &= centre < values[1 + di : values.shape[0] - 1 + di, 1 + dj : values.shape[1] - 1 + dj]
    return np.pad(low, 1)


def _lowest_passes(axis: np.ndarray, values: np.ndarray, minima: Sequence[tuple[float, float, float]]) -> list[float]:
    """For each minimum, the least possible maximum of the grid surface along a path to the first (the optimum).

    Water rises from the optimum: cells are reached in the order of the highest value they cost (Dijkstra).
    The optimum itself costs its own value.
    """
    if not minima:
        return []
    nearest = [(int(np.abs(axis - m[0]).argmin()), int(np.abs(axis - m[1]).argmin())) for m in minima]
    cost = np.full(values.shape, np.inf)
    start = nearest[0]
    cost[start] = values[start]
    queue = [(values[start], start)]
    while queue:
        height, (i, j) = heapq.heappop(queue)
        if height > cost[i, j]:
            continue
        for a in range(max(i - 1, 0), min(i + 2, len(axis))):
            for b in range(max(j - 1, 0), min(j + 2, len(axis))):
                through = max(height, values[a, b])
                if through < cost[a, b]:
                    cost[a, b] = through
                    heapq.heappush(queue, (through, (a, b)))
    return [minima[0][2], *(float(cost[cell]) for cell in nearest[1:])]
