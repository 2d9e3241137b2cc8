"""What the simulations found: one structure, its flat metrics, and the files that hold it.

    from pipeline.simulation.results import Results, metrics, write_results, write_series

Legend: S seeds, A tasks of a set, G points of a surface's axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.base.files import write_array, write_text
from pipeline.simulation.em_comparison import Fit
from pipeline.simulation.gmm2 import Landscape
from pipeline.simulation.gmm25 import COMPONENTS, Run, Schedule, divergences

METHODS = ("em", "blem")  # of pipeline/simulation/em_comparison.py; the others are the benchmark's
PANEL_STEPS = tuple(20 * i for i in (*range(0, 2001, 200), 6000))  # SGD steps at the paper's 0, 200, …, 2000, 6000
DECIMALS = 6  # of metrics: the quadrature's own rounding (1e-12) differs between machines
SECTION_MU1 = -1.0  # the section of the 2-GMM surfaces: from the collapsed (−1, −1) to the optimum (−1, 1)


@dataclass(frozen=True)
class Course:
    """One schedule of the 25-GMM: its runs and the outer iterations whose states they kept."""

    schedule: Schedule
    runs: list[Run]
    at: tuple[int, ...]

    def state(self, step: int) -> np.ndarray:
        """(5, 25) parameters of the first seed at the kept iteration nearest to an SGD step."""
        nearest = min(range(len(self.at)), key=lambda i: abs(self.at[i] * self.schedule.inner - step))
        return self.runs[0].frames[nearest]

    def steps(self, wanted: Iterable[int]) -> list[int]:
        """SGD steps of the states that `state` gives for `wanted`."""
        taken = np.array(self.at) * self.schedule.inner
        return [int(taken[np.abs(taken - step).argmin()]) for step in wanted]


@dataclass(frozen=True)
class Results:
    """All that the stage computes. gmm2_cpu_s: CPU seconds of all landscapes."""

    landscapes: dict[str, Landscape]  # joint, marginal, conditional
    courses: dict[str, Course]  # tuned and, with gmm25_paper, paper and joint
    fits: list[Fit]
    gmm2_cpu_s: float


def frame_steps(frames: int, last: int) -> list[int]:
    """SGD steps of the animation's frames, from 0 to `last`: spaced quadratically, for most happens early."""
    return [round(last * (i / (frames - 1)) ** 2) for i in range(frames)]


def kept_iterations(schedule: Schedule, frames: int) -> tuple[int, ...]:
    """Outer iterations whose state the pictures need, ascending."""
    wanted = (*PANEL_STEPS, *frame_steps(frames, schedule.steps))
    return tuple(sorted({min(round(step / schedule.inner), schedule.outer) for step in wanted}))


def metrics(results: Results) -> dict[str, float]:
    """Flat numbers: minima and barriers, summaries over seeds, CPU seconds. What has no value has no key."""
    found: dict[str, float] = {"gmm2_cpu_s": results.gmm2_cpu_s}
    for name, result in results.landscapes.items():
        found[f"gmm2_{name}_spurious_minima"] = len(result.spurious)
        found[f"gmm2_{name}_optimum_value"] = result.minima[0].value if result.minima else float(result.mean.min())
        if result.spurious:
            lowest = result.spurious[0]
            found[f"gmm2_{name}_spurious_value"] = lowest.value
            found[f"gmm2_{name}_spurious_mu1"] = lowest.first
            found[f"gmm2_{name}_spurious_mu2"] = lowest.second
            found[f"gmm2_{name}_barrier"] = min(m.barrier for m in result.spurious)
    for name, course in results.courses.items():
        found |= {f"gmm25_{name}_{key}": value for key, value in _course_metrics(course).items()}
    for method in METHODS:
        fits = [fit for fit in results.fits if fit.method == method]
        divergence = np.array([fit.kl_qp for fit in fits])
        found[f"{method}_gmm25_kl_qp"] = float(divergence.mean())
        found[f"{method}_gmm25_kl_qp_sd"] = float(divergence.std())
        found[f"{method}_gmm25_modes_mean"] = float(np.mean([fit.covered_modes for fit in fits]))
        found[f"{method}_gmm25_cpu_s_mean"] = float(np.mean([fit.cpu_s for fit in fits]))
    return {key: value if isinstance(value, int) else round(value, DECIMALS) for key, value in found.items()}


def _course_metrics(course: Course) -> dict[str, float]:
    modes = np.array([run.covered_modes for run in course.runs])
    kl_pq, kl_qp = (np.array([getattr(run, name) for run in course.runs]) for name in ("kl_pq", "kl_qp"))
    return {
        "steps": course.schedule.steps,
        "full_coverage_share": float((modes == COMPONENTS).mean()),
        "modes_mean": float(modes.mean()),
        "modes_min": int(modes.min()),
        "misshapen_mean": float(np.mean([run.misshapen for run in course.runs])),
        "kl_pq_median": float(np.median(kl_pq)),
        "kl_pq_max": float(kl_pq.max()),
        "kl_qp_median": float(np.median(kl_qp)),
        "cpu_s_mean": float(np.mean([run.cpu_s for run in course.runs])),
    }


def write_results(folder: Path, results: Results) -> None:
    """Arrays (.npy) and tables with a row per seed, CPU seconds included.

    gmm25_<schedule>.npy (S, 5, 25) parameters, gmm2_<tasks>.npy (A, G, G) surfaces, blem_<method>_{weights (S, 25),
    means (S, 25, 2), covariances (S, 25, 2, 2)}.npy.
    """
    for name, result in results.landscapes.items():
        write_array(folder / f"gmm2_{name}.npy", result.surfaces)
    rows = []
    for name, course in results.courses.items():
        write_array(folder / f"gmm25_{name}.npy", np.stack([run.parameters for run in course.runs]))
        fields = ("seed", "covered_modes", "misshapen", "kl_pq", "kl_qp", "joint_tasks", "limited_entries", "cpu_s")
        rows += [(name, *(getattr(run, field) for field in fields)) for run in course.runs]
    _table(folder / "gmm25.csv", ("schedule", *fields), rows)
    for method in METHODS:
        fits = [fit for fit in results.fits if fit.method == method]
        for field in ("weights", "means", "covariances"):
            write_array(folder / f"blem_{method}_{field}.npy", np.stack([getattr(fit, field) for fit in fits]))
    fields = ("method", "seed", "kl_qp", "covered_modes", "cpu_s")
    _table(folder / "blem.csv", fields, [[getattr(fit, field) for field in fields] for fit in results.fits])


def write_series(folder: Path, results: Results) -> None:
    """The CSV series that `dvc plots` draws and compares: one column a schedule, method or task set.

    A schedule that was not run has an empty column, so that versions with and without it compare.
    """
    courses = {name: results.courses.get(name) for name in ("tuned", "paper", "joint")}
    seeds = [run.seed for run in results.courses["tuned"].runs]
    for field in ("covered_modes", "kl_pq", "kl_qp"):
        columns = [[getattr(r, field) for r in c.runs] if c else [""] * len(seeds) for c in courses.values()]
        _table(folder / f"gmm25_{field}.csv", ("seed", *courses), zip(seeds, *columns, strict=True))
    course = results.courses["tuned"]
    rows = [
        (at * course.schedule.inner, *divergences(state))
        for at, state in zip(course.at, course.runs[0].frames, strict=True)
    ]
    _table(folder / "gmm25_course.csv", ("step", "kl_pq", "kl_qp"), rows)
    axis = results.landscapes["joint"].axis
    _table(folder / "gmm2_section.csv", ("mu2", *results.landscapes), zip(axis, *sections(results), strict=True))
    minima = [(name, m.first, m.second, m.value, m.barrier) for name, r in results.landscapes.items() for m in r.minima]
    _table(folder / "gmm2_minima.csv", ("tasks", "mu1", "mu2", "value", "barrier"), minima)
    by_method = [[fit.kl_qp for fit in results.fits if fit.method == method] for method in METHODS]
    _table(folder / "blem_kl_qp.csv", ("seed", *METHODS), zip(seeds, *by_method, strict=True))


def sections(results: Results) -> list[np.ndarray]:
    """(G,) mean loss over μ₂ at the grid's μ₁ nearest to SECTION_MU1, of each task set."""
    return [r.mean[np.abs(r.axis - SECTION_MU1).argmin()] for r in results.landscapes.values()]


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV file; floats with six significant digits."""
    lines = [",".join(header)]
    lines += [",".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in row) for row in rows]
    write_text(path, "\n".join(lines) + "\n")
