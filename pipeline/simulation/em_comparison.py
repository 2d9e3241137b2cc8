"""BigLearn-EM against plain EM on 25-Gaussian data (the BigLearn-EM paper's simulation): equal EM steps, last iterate.

    from pipeline.simulation.em_comparison import compare
    fits = compare(seeds=range(8), rows=2000, outer=600, inner=5, covariance_prior=40.0)

KL(q‖p) is computed by quadrature against the known density, not estimated from test rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from kernels.gmm import kl_divergence_2d, standard_normal_nodes
from pipeline.simulation.biglearn_em import BigLearnEM
from pipeline.simulation.gmm25 import COMPONENTS, COVER_RADIUS, MODES

VARIANCE = 0.1  # of each mode, as in the BigLearn-EM paper; §4.1's simulation has 0.05
WEIGHT_PRIOR = 1 / math.sqrt(COMPONENTS)  # α of the MAP weights in that paper's simulation
MIN_EIGENVALUE = 1e-5
QUADRATURE_NODES = 24

# Keyword arguments of the estimator, by the name the metrics use.
METHODS = {
    "em": {"joint_share": 1.0, "marginal_share": 0.0, "weight_prior": 0.0, "covariance_prior": 0.0},
    "blem_no_prior": {"weight_prior": WEIGHT_PRIOR, "covariance_prior": 0.0},
    "blem": {"weight_prior": WEIGHT_PRIOR},
}


@dataclass(frozen=True)
class Fit:
    """One fit of one seed's data. kl_qp in nats; cpu_s: CPU seconds of its thread."""

    method: str
    seed: int
    kl_qp: float
    covered_modes: int
    cpu_s: float
    weights: np.ndarray  # (25,)
    means: np.ndarray  # (25, 2)
    covariances: np.ndarray  # (25, 2, 2)


def sample_rows(seed: int, rows: int) -> np.ndarray:
    """(rows, 2) draws of q."""
    random = np.random.default_rng([seed, COMPONENTS])
    return MODES[random.integers(COMPONENTS, size=rows)] + math.sqrt(VARIANCE) * random.standard_normal((rows, 2))


def compare(
    seeds: Sequence[int],
    rows: int,
    outer: int,
    inner: int,
    covariance_prior: float,
    threads: int = 1,
    methods: Sequence[str] = tuple(METHODS),
    on_done: Callable[[Fit], None] = lambda fit: None,
) -> list[Fit]:
    """A fit per method and seed, methods outermost; every method takes outer·inner EM steps from the same start."""
    fit_one(seeds[0], "em", rows=60, outer=1, inner=1, covariance_prior=0.0)  # compiles outside the clock

    def one(job: tuple[str, int]) -> Fit:
        fit = _fit(job[1], job[0], rows, outer, inner, covariance_prior)
        on_done(fit)
        return fit

    jobs = [(method, seed) for method in methods for seed in seeds]
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, jobs))


def fit_one(seed: int, method: str, rows: int, outer: int, inner: int, covariance_prior: float) -> Fit:
    """One fit; see compare. One BLAS thread: products this small gain nothing, and no bit depends on the machine's cores."""
    with threadpool_limits(1):
        return _fit(seed, method, rows, outer, inner, covariance_prior)


def _fit(seed: int, method: str, rows: int, outer: int, inner: int, covariance_prior: float) -> Fit:
    data = sample_rows(seed, rows)
    began = time.thread_time()
    arguments = {"covariance_prior": covariance_prior, **METHODS[method]}
    model = BigLearnEM(
        COMPONENTS,
        n_outer=outer,
        n_inner=inner,
        min_eigenvalue=MIN_EIGENVALUE,
        random_state=seed % 2**32,
        **arguments,
    ).fit(data)
    cpu_s = time.thread_time() - began
    distance = np.linalg.norm(model.means_[:, None] - MODES, axis=-1).min(axis=0)
    return Fit(
        method=method,
        seed=seed,
        kl_qp=divergence_from_target(model.weights_, model.means_, model.covariances_),
        covered_modes=int((distance <= COVER_RADIUS).sum()),
        cpu_s=cpu_s,
        weights=model.weights_,
        means=model.means_,
        covariances=model.covariances_,
    )


def divergence_from_target(weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> float:
    """KL(q‖p) in nats of a mixture p with weights (K,), means (K, 2), covariances (K, 2, 2)."""
    lower = np.linalg.cholesky(covariances)
    factors = np.stack([lower[:, 0, 0], lower[:, 1, 0], lower[:, 1, 1]], axis=1)
    log_weights = np.log(np.maximum(weights, 1e-300))
    scale = math.sqrt(VARIANCE)
    target = np.full(COMPONENTS, -math.log(COMPONENTS)), MODES, np.tile([scale, 0.0, scale], (COMPONENTS, 1))
    nodes = standard_normal_nodes(QUADRATURE_NODES)
    return max(0.0, kl_divergence_2d(*target, log_weights, np.ascontiguousarray(means), factors, *nodes))
