"""The pictures of the stage simulate with their titles and captions, and captions.json that the report reads.

from pipeline.simulation.gallery import FIGURES, write_gallery
write_gallery(folder, results, frames=40)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.files import write_json
from pipeline.simulation import figures as draw
from pipeline.simulation.em_comparison import VARIANCE as BLEM_VARIANCE
from pipeline.simulation.em_comparison import Fit
from pipeline.simulation.results import METHODS, PANEL_STEPS, SECTION_MU1, Results, frame_steps, sections

COURSE_NAMES = {
    "joint": "joint matching only",
    "paper": "big learning, paper's schedule",
    "tuned": "big learning, tuned",
}
TASK_NAMES = {"joint": "joint", "marginal": "mean of marginals", "conditional": "mean of conditionals"}
METHOD_NAMES = {"em": "EM", "blem": "BigLearn-EM"}


@dataclass(frozen=True)
class Picture:
    """One file of the gallery. draw(path, results, frames) writes it; frames: of animations."""

    title: str
    caption: str
    draw: Callable[[Path, Results, int], None]


def write_gallery(folder: Path, results: Results, frames: int, on_part: Callable[[str], None] = lambda part: None):
    """Draws every figure and writes captions.json: file name → title, caption, in the order of FIGURES."""
    for name, figure in FIGURES.items():
        figure.draw(folder / name, results, frames)
        on_part(name)
    captions = {
        name: {"title": figure.title, "caption": figure.caption, "order": order}
        for order, (name, figure) in enumerate(FIGURES.items())
    }
    write_json(folder / "captions.json", captions)


def _courses(results: Results) -> list[str]:
    """Names of the courses that were run, joint matching first."""
    return [name for name in COURSE_NAMES if name in results.courses]


def _nats(divergence: float) -> str:
    """Three decimals; what they cannot show is said so."""
    return f"{divergence:.3f}" if divergence >= 0.0005 else "below 0.001"


def _final_states(path: Path, results: Results, _frames: int) -> None:
    panels = []
    for name in _courses(results):
        first = results.courses[name].runs[0]
        title = f"{COURSE_NAMES[name]}\n{first.covered_modes} of 25 modes, KL(p‖q) {_nats(first.kl_pq)}"
        panels.append((title, first.parameters))
    draw.final_states(path, panels)


def _course_panels(path: Path, results: Results, _frames: int) -> None:
    names = _courses(results)
    rows = [
        (
            COURSE_NAMES[name].replace(", ", ",\n"),
            [
                (f"step {step:,}", results.courses[name].state(step))
                for step in results.courses[name].steps(PANEL_STEPS)
            ],
        )
        for name in names
    ]
    draw.mixture_panels(path, rows)


def _animation(path: Path, results: Results, frames: int) -> None:
    panels = []
    for name in _courses(results):
        course = results.courses[name]
        steps = course.steps(frame_steps(frames, course.schedule.steps))
        panels.append((COURSE_NAMES[name], [course.state(step) for step in steps], steps))
    draw.animation(path, panels)


def _covered_modes(path: Path, results: Results, _frames: int) -> None:
    names = _courses(results)
    values = [[run.covered_modes for run in results.courses[name].runs] for name in names]
    draw.dots(path, [COURSE_NAMES[n].replace(", ", ",\n") for n in names], values, "covered modes of 25")


def _mean_surfaces(path: Path, results: Results, _frames: int) -> None:
    draw.loss_surfaces(path, [(TASK_NAMES[name], result) for name, result in results.landscapes.items()])


def _meshes(path: Path, results: Results, _frames: int) -> None:
    draw.surface_meshes(path, [(TASK_NAMES[name], result) for name, result in results.landscapes.items()])


def _section(path: Path, results: Results, _frames: int) -> None:
    lines = list(zip(TASK_NAMES.values(), sections(results), strict=True))
    draw.curves(path, results.landscapes["joint"].axis, lines, "μ₂", f"KL(p‖q) at μ₁ = {SECTION_MU1:g}, nats")


def _marginal_sheet(path: Path, results: Results, _frames: int) -> None:
    result = results.landscapes["marginal"]
    draw.surface_sheet(path, result, [f"{angle:.0f}°" for angle in result.angles_deg], columns=6)


def _conditional_sheet(path: Path, results: Results, _frames: int) -> None:
    result = results.landscapes["conditional"]
    titles = [f"{a:.0f}°, y₂ = {g:.2f}" for a, g in zip(result.angles_deg, result.given, strict=True)]
    values = int((result.angles_deg == result.angles_deg[0]).sum())
    draw.surface_sheet(path, result, titles, columns=values)


def _fits(path: Path, results: Results, _frames: int) -> None:
    panels = []
    for method in METHODS:
        fit: Fit = next(fit for fit in results.fits if fit.method == method)
        title = f"{METHOD_NAMES[method]}\n{fit.covered_modes} of 25 modes, KL(q‖p) {_nats(fit.kl_qp)}"
        panels.append((title, fit.weights, fit.means, fit.covariances))
    draw.fitted_mixtures(path, panels, BLEM_VARIANCE)


def _fit_divergences(path: Path, results: Results, _frames: int) -> None:
    values = [[fit.kl_qp for fit in results.fits if fit.method == method] for method in METHODS]
    draw.dots(path, [METHOD_NAMES[m] for m in METHODS], values, "KL(q‖p), nats")


FIGURES = {
    "gmm25_final.png": Picture(
        "25-GMM: where each schedule ends",
        "The model p of the first seed (contours and dots) over the 25 modes of q (circles of 2σ) after the last step.",
        _final_states,
    ),
    "gmm25_course.png": Picture(
        "25-GMM: how it gets there",
        "The first seed at equal numbers of SGD steps (the paper's iterations 0, 200, …, 2000, 6000 of 20 steps each; "
        "a schedule that has ended shows its last state).",
        _course_panels,
    ),
    "gmm25.gif": Picture(
        "25-GMM: the whole run",
        "The density of p on the first seed from the first to the last step of each schedule, early steps slower.",
        _animation,
    ),
    "gmm25_covered_modes.png": Picture(
        "25-GMM: covered modes over seeds",
        "One dot a seed and their mean; a mode is covered if a component's mean lies within 3σ of it.",
        _covered_modes,
    ),
    "gmm2_surfaces.png": Picture(
        "2-GMM: mean loss of each task set",
        "Star: the optimum; cross: a spurious local minimum; colours show √KL(p‖q) over the two free means.",
        _mean_surfaces,
    ),
    "gmm2_section.png": Picture(
        "2-GMM: the way out of the collapse",
        "The mean losses along the line from both means at −1 (collapsed) to the optimum at μ₂ = 1.",
        _section,
    ),
    "gmm2_meshes.png": Picture(
        "2-GMM: the same losses as meshes",
        "KL(p‖q) over the two free means, in nats.",
        _meshes,
    ),
    "gmm2_marginals.png": Picture(
        "2-GMM: every marginal task",
        "√KL(p‖q) of the marginal of y₁ after rotating the plane by each angle.",
        _marginal_sheet,
    ),
    "gmm2_conditionals.png": Picture(
        "2-GMM: every conditional task",
        "√KL(p‖q) of y₁ given y₂ after rotating the plane: one row an angle, one column a value of y₂.",
        _conditional_sheet,
    ),
    "blem_fits.png": Picture(
        "BigLearn-EM beside EM: fitted mixtures",
        "Both after the same number of EM steps from the same start on the first seed's rows, last iterate.",
        _fits,
    ),
    "blem_kl_qp.png": Picture(
        "BigLearn-EM beside EM: divergence over seeds",
        "KL(q‖p) of the last iterate against the known density by quadrature; one dot a seed and their mean.",
        _fit_divergences,
    ),
}
