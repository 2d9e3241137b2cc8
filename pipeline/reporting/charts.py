"""Charts on a transparent ground with mid-grey text, so that they read on a light page and on a dark one.

    write_bytes(path, png(lines({"loss": {"generator": (steps, values)}}, "step")))

Matplotlib without pyplot: no global state. Equal data give equal files.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import wraps

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

GREY = "#7d848f"
COLOURS = ("#3b82d6", "#e8833a", "#3aa675", "#b45ac2", "#c9a227", "#d1495b", "#5b8e9e", "#8a6d5a")
PANEL_IN = (4.3, 3.1)  # width and height of one panel
STYLE = {
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "axes.titlesize": 11,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "font.size": 10,
    "legend.frameon": False,
    "savefig.transparent": True,
    "savefig.dpi": 130,
    "svg.fonttype": "none",
    "svg.hashsalt": "biglearn",
}

Series = tuple[Sequence[float], Sequence[float]]


def _styled(draw: Callable[..., Figure | bytes]) -> Callable:
    @wraps(draw)
    def inner(*args: object, **kwargs: object) -> Figure | bytes:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return inner


@_styled
def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


@_styled
def svg(figure: Figure) -> bytes:
    """The figure as an SVG file whose text stays text."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


@_styled
def lines(
    panels: dict[str, dict[str, Series]], x_name: str, *, columns: int = 3, marks: bool = True, one_leads: bool = True
) -> Figure:
    """Line charts, `columns` a row. panels: title → name of a line → (x, y); a name has one colour in all panels.

    marks: dots at the points; one_leads: the first name of all is drawn thicker. A legend only where there is more than
    one name.
    """
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    figure, axes = _panels(len(panels), columns)
    for axis, (title, panel) in zip(axes, panels.items(), strict=True):
        for name, (x, y) in panel.items():
            k = names.index(name)
            style = {"marker": "o", "markersize": 3} if marks else {}
            leads = one_leads and k == 0
            width = 2.4 if leads else 1.4 if one_leads else 1.8
            axis.plot(x, y, color=COLOURS[k % len(COLOURS)], linewidth=width, zorder=4 if leads else 3, **style)
        axis.set_title(title)
        axis.set_xlabel(x_name)
    if len(names) > 1:
        handles = [axes[0].plot([], [], color=COLOURS[k % len(COLOURS)], lw=2.4)[0] for k in range(len(names))]
        figure.legend(handles, names, loc="outside lower center", ncols=min(5, len(names)))
    return figure


@_styled
def histograms(panels: dict[str, dict[str, np.ndarray]], bins: int = 30, columns: int = 4) -> Figure:
    """Overlaid histograms, as shares. panels: title → name → values, without NaN."""
    figure, axes = _panels(len(panels), columns, (3.1, 2.2))
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    for axis, (title, panel) in zip(axes, panels.items(), strict=True):
        edges = np.histogram_bin_edges(np.concatenate(list(panel.values())), bins)
        for name, values in panel.items():
            share = np.histogram(values, edges)[0] / max(1, len(values))
            k = names.index(name)
            axis.stairs(share, edges, color=COLOURS[k], fill=k > 0, alpha=0.5 if k else 1.0, linewidth=1.8)
        axis.set_title(title)
    handles = [axes[0].plot([], [], color=COLOURS[k], lw=2.4)[0] for k in range(len(names))]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


@_styled
def bars(categories: Sequence[str], groups: dict[str, Sequence[float]], y_name: str) -> Figure:
    """Bars side by side. groups: name → one value per category."""
    figure = Figure(figsize=(max(4.3, 0.55 * len(categories)), 3.0), layout="constrained")
    axis = figure.subplots()
    width = 0.8 / len(groups)
    for k, (name, values) in enumerate(groups.items()):
        place = np.arange(len(categories)) + (k - (len(groups) - 1) / 2) * width
        axis.bar(place, values, width, color=COLOURS[k], label=name)
    turned = max(map(len, categories), default=0) * len(categories) > 70
    axis.set_xticks(
        range(len(categories)), categories, rotation=60 if turned else 0, ha="right" if turned else "center"
    )
    axis.grid(axis="x", visible=False)
    axis.set_ylabel(y_name)
    figure.legend(loc="outside lower center", ncols=len(groups))
    return figure


@_styled
def matrix(values: np.ndarray, names: Sequence[str], x_name: str, y_name: str) -> Figure:
    """A square matrix of shares 0…1 as shaded cells with their values in percent."""
    edge = max(3.2, 0.42 * len(names) + 1.2)
    figure = Figure(figsize=(edge, edge), layout="constrained")
    axis = figure.subplots()
    axis.imshow(values, cmap="Blues", vmin=0, vmax=1)
    for r, c in np.argwhere(values >= 0.005):
        colour = "white" if values[r, c] > 0.55 else "#1f2937"
        axis.text(c, r, f"{100 * values[r, c]:.0f}", ha="center", va="center", color=colour, fontsize=8)
    turned = max(map(len, names), default=0) > 3
    axis.set_xticks(range(len(names)), names, rotation=60 if turned else 0, ha="right" if turned else "center")
    axis.set_yticks(range(len(names)), names)
    axis.grid(visible=False)
    axis.set_xlabel(x_name)
    axis.set_ylabel(y_name)
    return figure


def _panels(n: int, columns: int, size_in: tuple[float, float] = PANEL_IN) -> tuple[Figure, list]:
    """(figure, its first n axes); unused places stay empty."""
    across = min(columns, n)
    down = -(-n // across)
    figure = Figure(figsize=(size_in[0] * across, size_in[1] * down + 0.3), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for axis in axes[n:]:
        axis.set_axis_off()
    return figure, list(axes[:n])
