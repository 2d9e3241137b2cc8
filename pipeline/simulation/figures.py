"""Figures and the animation of the simulations; each function writes one file and returns nothing.

Only levels above zero are drawn, and legends lie outside the axes, off the modes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from pipeline.base.files import write_bytes
from pipeline.simulation.gmm2 import Landscape
from pipeline.simulation.gmm25 import MODES, VARIANCE, covariances

EXTENT = (-6.0, 6.0)
GRID = 120
MODEL_COLOUR, TARGET_COLOUR = "#1b7837", "#c51b7d"
LEVEL_SHARES = (0.05, 0.2, 0.4, 0.6, 0.8)  # of the target's peak
LEAST_SHADE = 1e-3  # √nats: a task that does not depend on the means is blank, not its rounding
LINE_STYLES = ("-", "--", "-.")
FRAME_MS, LAST_FRAME_MS = 120, 2500


def density(means: np.ndarray, covariance: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """(GRID, GRID) density of a mixture in the plane, rows x₂; means (K, 2), covariance (K, 2, 2)."""
    line = np.linspace(*EXTENT, GRID)
    share = np.full(len(means), 1 / len(means)) if weights is None else weights
    values = np.zeros((GRID, GRID))
    for w, m, s in zip(share, means.astype(np.float64), covariance, strict=True):
        p = np.linalg.inv(s)
        a, b = line[None, :] - m[0], line[:, None] - m[1]
        form = p[0, 0] * a * a + 2 * p[0, 1] * a * b + p[1, 1] * b * b
        values += w / (2 * math.pi * math.sqrt(np.linalg.det(s))) * np.exp(-0.5 * form)
    return values


def mixture_panels(path: Path, rows: Sequence[tuple[str, Sequence[tuple[str, np.ndarray]]]]) -> None:
    """A grid of contour panels, p over q, to a PNG; rows (title, panels (title, state (5, 25)))."""
    columns = len(rows[0][1])
    figure = _figure(1.75 * columns, 2.05 * len(rows) + 0.4)
    for r, (row_title, panels) in enumerate(rows):
        for c, (title, state) in enumerate(panels):
            axes = figure.add_subplot(len(rows), columns, r * columns + c + 1)
            draw_mixture(axes, state[:2].T, covariances(state), linewidth=0.7)
            axes.set_title(title, fontsize=10)
            axes.set(xticks=[], yticks=[])
            if c == 0:
                axes.set_ylabel(row_title, fontsize=11)
    _legend(figure)
    _save(figure, path, dpi=70)


def final_states(path: Path, panels: Sequence[tuple[str, np.ndarray]]) -> None:
    """One 8×8 in panel for each (title, state (5, 25)), side by side, to a PNG."""
    figure = _figure(8 * len(panels), 9.2)
    for c, (title, state) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), c + 1)
        draw_mixture(axes, state[:2].T, covariances(state))
        axes.set_title(title, fontsize=18)
    _legend(figure, fontsize=16)
    _save(figure, path, dpi=60)


def fitted_mixtures(path: Path, panels: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray]], variance: float):
    """Fitted mixtures (title, weights, means, covariances) side by side, over modes of `variance`, to a PNG."""
    figure = _figure(5 * len(panels), 6.0)
    for c, (title, weights, means, covariance) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), c + 1)
        draw_mixture(axes, means, covariance, weights, variance)
        axes.set_title(title, fontsize=12)
    _legend(figure)
    _save(figure, path)


def draw_mixture(axes, means, covariance, weights=None, variance: float = VARIANCE, linewidth: float = 1.0) -> None:
    """p's density as contours over q's modes (circles of 2σ), and p's means as dots."""
    line = np.linspace(*EXTENT, GRID)
    peak = 1 / (len(MODES) * 2 * math.pi * variance)
    for mode in MODES:
        turn = np.linspace(0, 2 * math.pi, 40)
        radius = 2 * math.sqrt(variance)
        axes.plot(
            mode[0] + radius * np.cos(turn), mode[1] + radius * np.sin(turn), color=TARGET_COLOUR, lw=0.7 * linewidth
        )
    levels = [share * peak for share in LEVEL_SHARES]
    values = density(means, covariance, weights)
    if values.max() > levels[0]:
        axes.contour(line, line, values, levels=levels, colors=MODEL_COLOUR, linewidths=linewidth, alpha=0.8)
    else:  # far flatter than q: levels of its own
        axes.contour(line, line, values, levels=values.max() * np.array(LEVEL_SHARES), colors=MODEL_COLOUR, alpha=0.8)
    axes.plot(means[:, 0], means[:, 1], ".", color=MODEL_COLOUR, ms=3)
    axes.set(xlim=EXTENT, ylim=EXTENT, xticks=[-4, 0, 4], yticks=[-4, 0, 4], aspect="equal")
    axes.tick_params(labelsize=8)


def animation(path: Path, panels: Sequence[tuple[str, np.ndarray, Sequence[int]]]) -> None:
    """A GIF of (title, states (F, 5, 25), steps (F,)) side by side: p's density under q's modes."""
    figure = Figure(figsize=(3.2 * len(panels), 3.5), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    peak = 1 / (len(MODES) * 2 * math.pi * VARIANCE)
    images, titles = [], []
    for c, (_title, _states, _steps) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), c + 1)
        blank = np.zeros((GRID, GRID))
        images.append(
            axes.imshow(blank, extent=(*EXTENT, *EXTENT), origin="lower", cmap="Greens", vmin=0, vmax=math.sqrt(peak))
        )
        axes.plot(MODES[:, 0], MODES[:, 1], "o", mfc="none", mec=TARGET_COLOUR, ms=11, mew=0.7)
        axes.set(xticks=[-4, 0, 4], yticks=[-4, 0, 4])
        titles.append(axes.set_title(" \n ", fontsize=9))
    frames = []
    for f in range(len(panels[0][1])):
        for (title, states, steps), image, label in zip(panels, images, titles, strict=True):
            image.set_data(np.sqrt(density(states[f][:2].T, covariances(states[f]))))
            label.set_text(f"{title}\n{steps[f]:,} steps")
        canvas.draw()
        figure.set_layout_engine("none")  # laid out once: it costs more than drawing
        frame = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
        frames.append(frame.quantize(64, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))
    buffer = io.BytesIO()
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=False)
    write_bytes(path, buffer.getvalue())


def loss_surfaces(path: Path, panels: Sequence[tuple[str, Landscape]]) -> None:
    """Heat maps of mean losses with their minima: white star the optimum, black cross a spurious minimum."""
    figure = _figure(4.6 * len(panels), 4.6)
    for c, (title, result) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), c + 1)
        _heat_map(axes, result.axis, result.mean)
        for m in result.minima:
            mark = {"marker": "X", "c": "black"} if m in result.spurious else {"marker": "*", "c": "white"}
            for point in {(m.first, m.second), (m.second, m.first)}:
                axes.scatter(*point, s=90, edgecolors="grey", linewidths=0.6, zorder=3, **mark)
        axes.set_title(f"{title}\n{len(result.spurious)} spurious minima", fontsize=12)
        axes.set(xlabel="μ₁", ylabel="μ₂")
    _save(figure, path)


def surface_sheet(path: Path, result: Landscape, titles: Sequence[str], columns: int) -> None:
    """Small multiples of every task's surface, `columns` a row."""
    rows = math.ceil(len(result.surfaces) / columns)
    figure = _figure(1.5 * columns, 1.65 * rows)
    for i, values in enumerate(result.surfaces):
        axes = figure.add_subplot(rows, columns, i + 1)
        _heat_map(axes, result.axis, values, bar=False)
        axes.set_title(titles[i], fontsize=7)
        axes.set(xticks=[], yticks=[])
    _save(figure, path)


def surface_meshes(path: Path, panels: Sequence[tuple[str, Landscape]]) -> None:
    """The mean losses as meshes in three dimensions."""
    figure = _figure(4.6 * len(panels), 4.4)
    for c, (title, result) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), c + 1, projection="3d")
        first, second = np.meshgrid(result.axis, result.axis, indexing="ij")
        axes.plot_surface(first, second, result.mean, cmap="coolwarm", rcount=40, ccount=40, linewidth=0)
        axes.set(xlabel="μ₁", ylabel="μ₂", title=title)
    _save(figure, path)


def dots(path: Path, groups: Sequence[str], values: Sequence[Sequence[float]], label: str) -> None:
    """One dot per seed and the mean of each group, to a PNG."""
    figure = _figure(1.9 * len(groups) + 1.2, 3.6)
    axes = figure.add_subplot()
    for g, points in enumerate(values):
        spread = np.linspace(-0.15, 0.15, len(points)) if len(points) > 1 else [0.0]
        axes.plot(g + np.asarray(spread), points, "o", color=MODEL_COLOUR, ms=5, alpha=0.7)
        axes.hlines(np.mean(points), g - 0.25, g + 0.25, color="black")
        axes.annotate(f"{np.mean(points):.3g}", (g + 0.27, np.mean(points)), va="center", fontsize=9)
    axes.set_xticks(range(len(groups)), groups, fontsize=9)
    axes.set(ylabel=label, xlim=(-0.5, len(groups) - 0.3))
    axes.set_ylim(0, 1.08 * max(max(points) for points in values))
    _save(figure, path)


def curves(path: Path, x: np.ndarray, lines: Sequence[tuple[str, np.ndarray]], x_label: str, y_label: str) -> None:
    """Lines (title, values) over x, to a PNG."""
    figure = _figure(6.5, 3.8)
    axes = figure.add_subplot()
    for (title, values), style in zip(lines, LINE_STYLES, strict=True):
        axes.plot(x, values, style, label=title)
    axes.set(xlabel=x_label, ylabel=y_label, xlim=(x[0], x[-1]), ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=len(lines))
    _save(figure, path)


def _heat_map(axes, axis: np.ndarray, values: np.ndarray, bar: bool = True) -> None:
    """Loss over (μ₁, μ₂), square-root colours so that small differences show."""
    extent = (axis[0], axis[-1], axis[0], axis[-1])
    shades = np.sqrt(np.maximum(values, 0)).T
    limit = max(shades.max(), LEAST_SHADE)
    shown = axes.imshow(shades, extent=extent, origin="lower", cmap="coolwarm", vmin=0, vmax=limit)
    if bar:
        axes.figure.colorbar(shown, ax=axes, shrink=0.8, label="√KL (nats½)")


def _legend(figure: Figure, fontsize: int = 10) -> None:
    entries = [Line2D([], [], color=MODEL_COLOUR), Line2D([], [], color=TARGET_COLOUR)]
    figure.legend(entries, ["p (model)", "q (target)"], loc="outside lower center", ncols=2, fontsize=fontsize)


def _figure(width_in: float, height_in: float) -> Figure:
    return Figure(figsize=(width_in, height_in), layout="compressed")


def _save(figure: Figure, path: Path, dpi: int = 80) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    write_bytes(path, buffer.getvalue())
