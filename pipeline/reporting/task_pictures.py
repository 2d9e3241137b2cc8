"""Pictures of the task distribution, drawn by the stage tasks: examples, histograms, visibility (matplotlib, Agg)."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kernels.task_sampling import FAMILIES, HIDDEN, SOURCE, TARGET, Tasks
from pipeline.base.files import write_bytes
from pipeline.rows.schema import Schema

COLOURS = {HIDDEN: "#d9d9d9", SOURCE: "#2b6cb0", TARGET: "#ed8936"}
NAMES = {HIDDEN: "hidden", SOURCE: "source (given)", TARGET: "target (asked for)"}
EMPTY = 3  # a cell of the drawing that is no token
RANKED = [FAMILIES.index("causal"), FAMILIES.index("permutation")]
MAX_TOKENS_DRAWN = 200  # bars of the visibility picture; longer sequences are averaged in runs


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as PNG, atomically and without a date, so that equal pictures are equal files."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def role_legend(figure: Figure, roles: tuple[int, ...] = (SOURCE, TARGET, HIDDEN)) -> None:
    """A legend of the roles, in a strip below the axes."""
    handles = [Patch(facecolor=COLOURS[r], label=NAMES[r]) for r in roles]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(roles), frameon=False)


def layout(schema: Schema) -> np.ndarray:
    """(rows, columns) int: which token is drawn in each cell, −1 for none.

    Patches keep their places; other tokens follow in rows below. Without patches the tokens run in one strip.
    """
    tokens = schema.tokens
    patches = [i for i, t in enumerate(tokens) if t.modality == "patch"]
    others = [i for i, t in enumerate(tokens) if t.modality != "patch"]
    if not patches:
        width = min(len(tokens), 32)
        cells = np.full(-(-len(tokens) // width) * width, -1)
        cells[: len(tokens)] = np.arange(len(tokens))
        return cells.reshape(-1, width)
    place = np.array([tokens[i].position for i in patches])
    place = place - place.min(0)
    height, width = place.max(0) + 1
    below = -(-len(others) // width)
    cells = np.full((height + below, width), -1)
    cells[place[:, 0], place[:, 1]] = patches
    for k, i in enumerate(others):
        cells[height + k // width, k % width] = i
    return cells


def examples_picture(path: Path, tasks: dict[str, Tasks], schema: Schema) -> None:
    """One line of example tasks per family; in causal and permutation the shade of a target is its rank."""
    cells = layout(schema)
    columns = 12 if cells.shape[1] <= 2 * cells.shape[0] else 3
    colours = ListedColormap([COLOURS[HIDDEN], COLOURS[SOURCE], COLOURS[TARGET], "white"])
    line_height = min(0.95, 0.15 + 10.0 / columns * cells.shape[0] / cells.shape[1])  # inches
    figure = Figure(figsize=(11.8, 0.5 + line_height * len(tasks)), layout="constrained")
    axes = figure.subplots(len(tasks), columns, squeeze=False)
    for line, (name, examples) in zip(axes, tasks.items(), strict=True):
        for i, axis in enumerate(line):
            axis.set_axis_off()
            if i < len(examples):
                role = np.append(examples.role[i], EMPTY)[cells]
                axis.imshow(role, cmap=colours, vmin=0, vmax=EMPTY, interpolation="nearest")
                if examples.family[i] in RANKED:
                    _shade(axis, examples.rank[i], examples.role[i], cells)
        line[0].annotate(
            name, (0, 0.5), (-8, 0), xycoords="axes fraction", textcoords="offset points", ha="right", va="center"
        )
    role_legend(figure)
    save(figure, path)


def _shade(axis, rank: np.ndarray, role: np.ndarray, cells: np.ndarray) -> None:
    """Darkens targets by rank: the last predicted are the darkest."""
    strength = np.where(role == TARGET, 0.6 * rank / max(1, rank.max()), 0.0)
    black = np.zeros((*cells.shape, 4))
    black[..., 3] = np.append(strength, 0.0)[cells]
    axis.imshow(black, interpolation="nearest")


def shares_picture(path: Path, histograms: dict[tuple[int, str], np.ndarray]) -> None:
    """One panel per family: histograms of |S|/L and |T|/L over its rows."""
    families = list(dict.fromkeys(f for _, f in histograms))
    columns = min(4, len(families))
    lines = -(-len(families) // columns)
    figure = Figure(figsize=(3.1 * columns, 0.7 + 2.2 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    for axis in axes.ravel()[len(families) :]:
        axis.set_axis_off()
    for axis, family in zip(axes.ravel(), families, strict=False):
        for role in (SOURCE, TARGET):
            bins = histograms[role, family]
            axis.stairs(bins, np.linspace(0, 1, len(bins) + 1), color=COLOURS[role], fill=True, alpha=0.6)
        axis.set_title(family, fontsize=10)
        axis.set_xlim(0, 1)
        axis.set_xlabel("share of the tokens", fontsize=8)
        axis.tick_params(labelsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("share of the rows", fontsize=8)
    role_legend(figure, (SOURCE, TARGET))
    save(figure, path)


def visibility_picture(path: Path, visibility: np.ndarray, schema: Schema) -> None:
    """How often each token is source, target and hidden: stacked bars in token order. visibility: (3, L) shares."""
    n = visibility.shape[1]
    run = -(-n // MAX_TOKENS_DRAWN)
    edges = np.append(np.arange(0, n, run), n)
    means = np.add.reduceat(visibility, edges[:-1], axis=1) / np.diff(edges)
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axis = figure.subplots()
    bottom = np.zeros(means.shape[1])
    for role in (SOURCE, TARGET, HIDDEN):
        axis.bar(np.arange(len(bottom)), means[role], bottom=bottom, width=0.9, color=COLOURS[role])
        bottom += means[role]
    if n <= 40:
        axis.set_xticks(np.arange(n), [t.name for t in schema.tokens], rotation=60, ha="right", fontsize=8)
    else:
        axis.set_xlabel("token" if run == 1 else f"token, averaged in runs of {run}")
    axis.set_xlim(-0.6, len(bottom) - 0.4)
    axis.set_ylim(0, 1)
    axis.set_ylabel("share of the rows")
    role_legend(figure)
    save(figure, path)
