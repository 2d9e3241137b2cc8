"""The 25-Gaussian simulation (paper §4.1): schedules, many seeds in threads, noise-free metrics.

    from pipeline.simulation.gmm25 import PAPER, run_seeds
    runs = run_seeds(PAPER, seeds=range(8), threads=2)

A seed's result depends on (seed, schedule) alone: draws are keyed by seed and step, so neither the number
of threads nor the frames recorded on the way change it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from kernels.gmm import descend, kl_divergence_2d, standard_normal_nodes, start_parameters

COMPONENTS = 25
AXIS = np.array([-4.0, -2.0, 0.0, 2.0, 4.0])
VARIANCE = 0.05
MODES = np.stack(np.meshgrid(AXIS, AXIS, indexing="ij"), axis=-1).reshape(-1, 2)  # (25, 2)
COVER_RADIUS = 3 * math.sqrt(VARIANCE)
START_MEAN, START_SPREAD = -5.0, 0.1
SHAPE_RATIO = 2.0  # a component is misshapen if an eigenvalue of Σ_k/0.05 is outside [1/2, 2]
QUADRATURE_NODES = 24
SCALE_CEILING = 1e3  # greatest diagonal entry of a Cholesky factor: far beyond the data


@dataclass(frozen=True)
class Schedule:
    """A course of SGD. An outer iteration draws one task and takes `inner` steps of it.

    Up to `decay_start` (share of the tasks) the step size is `lr`, then it falls exponentially to `lr_final`;
    from `joint_start` on a task is joint with `joint_probability`, else the marginal of a random direction.
    scale_floor: least diagonal entry of a Cholesky factor. gradient_limit: each entry is cut at ± this.
    """

    outer: int
    inner: int
    samples: int
    lr: float
    lr_final: float
    decay_start: float
    joint_start: float
    joint_probability: float
    scale_floor: float
    gradient_limit: float

    @property
    def steps(self) -> int:
        return self.outer * self.inner

    def learning_rates(self) -> np.ndarray:
        """(outer,) float32 step sizes."""
        progress = np.arange(self.outer) / max(self.outer - 1, 1)
        fall = np.clip((progress - self.decay_start) / max(1 - self.decay_start, 1e-9), 0, 1)
        return (self.lr * (self.lr_final / self.lr) ** fall).astype(np.float32)

    def joint_probabilities(self) -> np.ndarray:
        """(outer,) float32 probability of a joint task."""
        late = np.arange(self.outer) >= self.joint_start * self.outer
        return np.where(late, self.joint_probability, 0.0).astype(np.float32)


# The authors' default (§4.1): no decay, no limits. The floor is far below any scale it reaches.
PAPER = Schedule(
    outer=10_000,
    inner=20,
    samples=100,
    lr=0.1,
    lr_final=0.1,
    decay_start=1.0,
    joint_start=0.5,
    joint_probability=0.1,
    scale_floor=1e-4,
    gradient_limit=math.inf,
)
JOINT_ONLY = replace(PAPER, joint_start=0.0, joint_probability=1.0)


@dataclass(frozen=True)
class Run:
    """One seed's end state and metrics. Divergences in nats; cpu_s: CPU seconds of its thread."""

    seed: int
    parameters: np.ndarray  # (5, 25) float32
    frames: np.ndarray  # (F, 5, 25) float32, at the iterations asked for
    covered_modes: int
    misshapen: int
    kl_pq: float
    kl_qp: float
    joint_tasks: int
    limited_entries: int
    cpu_s: float


def run_seeds(
    schedule: Schedule,
    seeds: Sequence[int],
    threads: int = 1,
    frames_at: Iterable[int] = (),
    on_done: Callable[[Run], None] = lambda run: None,
) -> list[Run]:
    """The runs of `seeds`, in order. frames_at: outer iterations whose state is kept. on_done: called per run.

    Raises RuntimeError, naming seed and schedule, if a run leaves the finite numbers.
    """
    at = sorted(set(frames_at))
    _compile()

    def one(seed: int) -> Run:
        run = run_seed(schedule, seed, at)
        on_done(run)
        return run

    if threads == 1:
        return [one(seed) for seed in seeds]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, seeds))


def _compile() -> None:
    """Loads or compiles the kernels, so that no run's CPU time holds their compilation."""
    parameters = start_parameters(0, COMPONENTS, np.float32(START_MEAN), np.float32(START_SPREAD))
    descend(parameters, 0, *_kernel_arguments(PAPER, 0, 0))
    divergences(parameters, nodes=2)


def _kernel_arguments(schedule: Schedule, first: int, last: int) -> tuple:
    """What `descend` takes after the parameters and the seed."""
    floor, ceiling = math.log(schedule.scale_floor), math.log(SCALE_CEILING)
    bounds = np.array([schedule.gradient_limit, floor, ceiling], dtype=np.float32)
    rates, joint = schedule.learning_rates(), schedule.joint_probabilities()
    axis, precision = AXIS.astype(np.float32), np.float32(1 / VARIANCE)
    return rates, joint, first, last, schedule.inner, schedule.samples, axis, precision, bounds


def run_seed(schedule: Schedule, seed: int, frames_at: Sequence[int] = ()) -> Run:
    """One run; see run_seeds."""
    began = time.thread_time()
    parameters = start_parameters(seed, COMPONENTS, np.float32(START_MEAN), np.float32(START_SPREAD))
    frames, limited, joint_tasks = [], 0, 0
    stops = [*(i for i in frames_at if i <= schedule.outer), schedule.outer]
    first = 0
    for position, stop in enumerate(stops):
        counts = descend(parameters, seed, *_kernel_arguments(schedule, first, stop))
        limited, joint_tasks, first = limited + counts[0], joint_tasks + counts[1], stop
        if not np.isfinite(parameters).all():
            raise RuntimeError(
                f"25-GMM run of seed {seed} left the finite numbers before task {stop} "
                f"(lr {schedule.lr}, scale_floor {schedule.scale_floor}, gradient_limit {schedule.gradient_limit}): "
                "lower 'simulate.gmm25_lr' or raise 'simulate.gmm25_scale_floor'."
            )
        if position < len(stops) - 1:
            frames.append(parameters.copy())
    descent_s = time.thread_time() - began
    kl_pq, kl_qp = divergences(parameters)
    return Run(
        seed=seed,
        parameters=parameters,
        frames=np.array(frames, dtype=np.float32).reshape(-1, 5, COMPONENTS),
        covered_modes=covered_modes(parameters),
        misshapen=misshapen_components(parameters),
        kl_pq=kl_pq,
        kl_qp=kl_qp,
        joint_tasks=int(joint_tasks),
        limited_entries=int(limited),
        cpu_s=descent_s,
    )


def covered_modes(parameters: np.ndarray) -> int:
    """How many of the 25 modes have a component mean within 3√0.05; parameters (5, K)."""
    distance = np.linalg.norm(parameters[:2].T[:, None].astype(np.float64) - MODES, axis=-1)
    return int((distance.min(axis=0) <= COVER_RADIUS).sum())


def misshapen_components(parameters: np.ndarray) -> int:
    """How many components have an eigenvalue of Σ_k/0.05 outside [1/2, 2]; parameters (5, K)."""
    eigenvalues = np.linalg.eigvalsh(covariances(parameters)) / VARIANCE
    return int(((eigenvalues > SHAPE_RATIO) | (eigenvalues < 1 / SHAPE_RATIO)).any(axis=1).sum())


def covariances(parameters: np.ndarray) -> np.ndarray:
    """(K, 2, 2) float64 Σ_k = L_k L_kᵀ of parameters (5, K)."""
    lower = np.zeros((parameters.shape[1], 2, 2))
    lower[:, 0, 0], lower[:, 1, 1] = np.exp(parameters[2], dtype=np.float64), np.exp(parameters[3], dtype=np.float64)
    lower[:, 1, 0] = parameters[4]
    return lower @ lower.transpose(0, 2, 1)


def divergences(parameters: np.ndarray, nodes: int = QUADRATURE_NODES) -> tuple[float, float]:
    """(KL(p‖q), KL(q‖p)) in nats, by nodes² points a component (24: error below 1e-4); never below zero."""
    p = parameters.astype(np.float64)
    log_weights = np.full(COMPONENTS, -math.log(COMPONENTS))
    model = log_weights, p[:2].T.copy(), np.stack([np.exp(p[2]), p[4], np.exp(p[3])], axis=1)
    scale = math.sqrt(VARIANCE)
    target = log_weights, MODES, np.tile([scale, 0.0, scale], (COMPONENTS, 1))
    quadrature = standard_normal_nodes(nodes)
    return (
        max(0.0, kl_divergence_2d(*model, *target, *quadrature)),
        max(0.0, kl_divergence_2d(*target, *model, *quadrature)),
    )
