"""Groups of parameters that make results: evaluate, simulate, report, and the flows."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.base.fields import chosen, described, ranged


@dataclass
class EvaluateParams:
    """evaluate → data/metrics/evaluate.json."""

    draws: int = ranged(10, 2, 1000, "draws per row for conditional metrics")
    rows: int = ranged(360, 16, 10**6, "test rows of conditional metrics, at most")
    source_shares: list[float] = ranged(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], 0.0, 1.0, "|S|/L of the completion curves"
    )
    classifier_epochs: int = ranged(60, 1, 1000, "epochs of the classifier whose features measure FID")
    joint_samples: int = ranged(
        0,
        0,
        10**6,
        "joint samples for FID, and real rows beside them, at most half the training rows; 0: at most 5,000",
    )
    baselines: bool = described(True, "mean fill, nearest-neighbour fill and IterativeImputer in the same run")
    baseline_rows: int = ranged(1500, 16, 10**6, "training rows that the baselines see, at most")


@dataclass
class SimulateParams:
    """simulate → data/simulations: the paper's 25-GMM, 2-GMM and BigLearn-EM."""

    seeds: int = ranged(4, 1, 100000, "independent runs")
    threads: int = ranged(2, 1, 1024, "runs at a time; no result depends on it")
    figures: bool = described(True, "draw the figures and the animation")
    animation_frames: int = ranged(24, 2, 1000, "frames of the 25-GMM animation")
    gmm25_paper: bool = described(True, "also run the paper's schedule and joint-only matching, the baselines")
    gmm25_outer: int = ranged(1000, 1, 10**6, "tuned schedule: tasks, each with one random direction")
    gmm25_inner: int = ranged(100, 1, 10**5, "tuned schedule: steps per task")
    gmm25_samples: int = ranged(100, 1, 65536, "samples of the model a step")
    gmm25_lr: float = ranged(0.5, 1e-4, 2.0, "tuned schedule: SGD step size until decay_start")
    gmm25_lr_final: float = ranged(0.01, 1e-6, 2.0, "tuned schedule: step size of the last task, reached exponentially")
    gmm25_decay_start: float = ranged(
        0.7, 0.0, 1.0, "tuned schedule: share of the tasks after which the step size falls"
    )
    gmm25_joint_start: float = ranged(0.7, 0.0, 1.0, "tuned schedule: share of the tasks after which joint ones occur")
    gmm25_joint_probability: float = ranged(0.1, 0.0, 1.0, "tuned schedule: probability of a joint task from then on")
    gmm25_scale_floor: float = ranged(0.05, 0.01, 0.2, "least diagonal entry of a component's Cholesky factor")
    gmm25_gradient_limit: float = ranged(4.0, 0.01, 20.0, "each gradient entry is cut at ± this")
    gmm2_grid: int = ranged(100, 5, 1000, "points an axis of the loss surfaces over [−2, 2]²")
    gmm2_nodes: int = ranged(32, 8, 128, "Gauss–Hermite nodes a component")
    gmm2_variance: float = ranged(0.1, 0.02, 1.0, "variance of every component")
    gmm2_marginal_angles_deg: list[float] = ranged(
        [15.0 * i for i in range(12)], -360.0, 360.0, "rotations of the marginal tasks"
    )
    gmm2_conditional_angles_deg: list[float] = ranged(
        [15.0 * i for i in range(7)], -360.0, 360.0, "rotations of the conditional tasks"
    )
    gmm2_conditional_values: list[float] = ranged(
        [i / 3 - 1 for i in range(7)],
        -10.0,
        10.0,
        "y₂ of the conditional tasks, in units of the data's 3σ reach along y₂",
    )
    blem_outer: int = ranged(600, 1, 10**6, "BigLearn-EM: tasks a run on the 25-GMM data")
    blem_inner: int = ranged(5, 1, 1000, "BigLearn-EM: EM steps a task; EM gets outer × inner steps")
    blem_rows: int = ranged(2000, 50, 10**6, "BigLearn-EM: training rows of the 25-GMM data")
    blem_covariance_prior: float = ranged(
        40.0, 0.0, 10**6, "pseudo-rows that pull each covariance to the pooled one, in BigLearn-EM"
    )


@dataclass
class ReportParams:
    """report → data/report/index.html."""

    title: str = described("BigLearn report", "heading of the page")


@dataclass
class ReproduceParams:
    """flows/reproduce.py: how stages are run; no result depends on it."""

    fetch_retries: int = ranged(3, 0, 100, "further tries of the stage that needs a network")
    fetch_retry_delay_s: float = ranged(10.0, 0.0, 3600.0, "seconds before the first of them; doubles each time")
    stage_timeout_s: float = ranged(86400.0, 0.1, 1e7, "seconds after which a stage is ended and fails")
    busy_wait_s: float = ranged(3600.0, 0.0, 1e7, "seconds to wait for another DVC process in the same folder")


@dataclass
class RetrainParams:
    """flows/retrain.py: the gate a new model passes before it is promoted."""

    metric: str = described("fid", "key of data/metrics/evaluate.json that decides")
    direction: str = chosen("lower", ("lower", "higher"), "which way is better")
    tolerance: float = ranged(0.05, 0.0, 10.0, "how much worse a new model may be, share of the promoted one's value")
