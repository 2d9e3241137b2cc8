"""Stage simulate: the paper's 2-GMM and 25-GMM, and BigLearn-EM beside plain EM → data/simulations.

Run: python -m pipeline.simulate

Reads no data. Writes arrays and one table a simulation under data/simulations/, pictures, an animation, their
captions and the series that DVC plots under data/plots/simulate/, and data/metrics/simulate.json.
Every table but those with CPU seconds is a function of the parameters alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.base.files import replaced_folder, write_json
from pipeline.base.params import Params
from pipeline.base.paths import Paths
from pipeline.base.result_groups import SimulateParams
from pipeline.base.stage import run_stage
from pipeline.base.streams import progress
from pipeline.simulation.em_comparison import compare
from pipeline.simulation.gallery import FIGURES, write_gallery
from pipeline.simulation.gmm2 import Landscape, Tasks, landscape
from pipeline.simulation.gmm25 import JOINT_ONLY, PAPER, Schedule, run_seeds
from pipeline.simulation.results import METHODS, Course, Results, kept_iterations, metrics, write_results, write_series

SEED_STRIDE = 100_000  # greatest number of seeds: two root seeds share no run


def run(params: Params, where: Paths) -> dict[str, float]:
    """Runs the three simulations and writes what they give; returns the metrics. Nothing changes on failure.

    Raises RuntimeError, naming seed and settings, if a 25-GMM run leaves the finite numbers.
    """
    chosen = params.simulate
    seeds = range(params.seed * SEED_STRIDE, params.seed * SEED_STRIDE + chosen.seeds)
    schedules = {"tuned": tuned_schedule(chosen)}
    if chosen.gmm25_paper:
        schedules |= {"paper": PAPER, "joint": JOINT_ONLY}
    units = 3 + len(seeds) * (len(schedules) + len(METHODS)) + (len(FIGURES) if chosen.figures else 0)
    with progress(total=units, desc="simulate", unit="part") as bar:
        results = simulate(chosen, seeds, schedules, lambda part: _advance(bar, part))
        with replaced_folder(where.simulations) as arrays, replaced_folder(where.plots / "simulate") as plots:
            write_results(arrays, results)
            write_series(plots, results)
            if chosen.figures:
                write_gallery(plots, results, chosen.animation_frames, lambda part: _advance(bar, part))
    found = metrics(results)
    write_json(where.metrics / "simulate.json", found)
    print(_summary(found))
    return found


def _advance(bar: Any, part: str) -> None:
    bar.set_postfix_str(part, refresh=False)
    bar.update()


def tuned_schedule(params: SimulateParams) -> Schedule:
    """The schedule of the gmm25_… parameters."""
    return Schedule(
        outer=params.gmm25_outer,
        inner=params.gmm25_inner,
        samples=params.gmm25_samples,
        lr=params.gmm25_lr,
        lr_final=params.gmm25_lr_final,
        decay_start=params.gmm25_decay_start,
        joint_start=params.gmm25_joint_start,
        joint_probability=params.gmm25_joint_probability,
        scale_floor=params.gmm25_scale_floor,
        gradient_limit=params.gmm25_gradient_limit,
    )


def simulate(
    params: SimulateParams, seeds: Sequence[int], schedules: dict[str, Schedule], on_part: Callable[[str], None]
) -> Results:
    """Every simulation's results; on_part is called with a few words after each part."""
    landscapes, gmm2_cpu_s = _landscapes(params, on_part)
    courses = {}
    for name, schedule in schedules.items():
        at = kept_iterations(schedule, params.animation_frames)
        runs = run_seeds(schedule, seeds, params.threads, at, lambda run, n=name: on_part(f"25-GMM {n} {run.seed}"))
        courses[name] = Course(schedule, runs, at)
    fits = compare(
        seeds,
        params.blem_rows,
        params.blem_outer,
        params.blem_inner,
        params.blem_covariance_prior,
        params.threads,
        METHODS,
        lambda fit: on_part(f"{fit.method} {fit.seed}"),
    )
    return Results(landscapes, courses, fits, gmm2_cpu_s)


def _landscapes(params: SimulateParams, on_part: Callable[[str], None]) -> tuple[dict[str, Landscape], float]:
    """(landscape of each task set, CPU seconds)."""
    variance = params.gmm2_variance
    sets = {
        "joint": Tasks.marginals([0.0]),
        "marginal": Tasks.marginals(params.gmm2_marginal_angles_deg),
        "conditional": Tasks.conditionals(params.gmm2_conditional_angles_deg, params.gmm2_conditional_values, variance),
    }
    landscape(sets["joint"], variance, grid=5, nodes=2)  # loads or compiles the kernels outside the clock
    found, began = {}, time.process_time()
    for name, tasks in sets.items():
        found[name] = landscape(tasks, variance, params.gmm2_grid, params.gmm2_nodes)
        on_part(f"2-GMM {name}")
    return found, time.process_time() - began


def _summary(found: dict[str, float]) -> str:
    return (
        f"simulate: 25-GMM all modes on {found['gmm25_tuned_full_coverage_share']:.0%} of seeds, "
        f"KL(p‖q) median {found['gmm25_tuned_kl_pq_median']:.2g}; "
        f"2-GMM spurious minima joint {found['gmm2_joint_spurious_minima']}, "
        f"conditional {found['gmm2_conditional_spurious_minima']}; "
        f"KL(q‖p) EM {found['em_gmm25_kl_qp']:.3f}, BigLearn-EM {found['blem_gmm25_kl_qp']:.3f}"
    )


def main() -> None:
    """Entry point of the stage."""
    run_stage("simulate", run)


if __name__ == "__main__":
    main()
