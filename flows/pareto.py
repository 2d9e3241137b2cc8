"""Quality against compute: which experiments no other beats in both, and the plot of them. Pure but for the file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from pipeline.base.files import write_bytes

FRONT_COLOUR, OTHER_COLOUR = "#0b6fa4", "#9aa3ad"


def front(cost: Sequence[float], quality: Sequence[float], direction: str) -> list[bool]:
    """True for each point that no other equals or betters in both, being better in one.

    Lower cost is better; quality is better as `direction` says, "lower" or "higher".
    """
    if direction not in ("lower", "higher"):
        raise ValueError(f"'direction' must be lower or higher. Got {direction!r}.")
    sign = 1.0 if direction == "lower" else -1.0
    points = [(c, sign * q) for c, q in zip(cost, quality, strict=True)]
    return [not any(o != p and o[0] <= p[0] and o[1] <= p[1] for o in points) for p in points]


def plot(path: Path, rows: Sequence[dict], cost_name: str, quality_name: str, direction: str) -> None:
    """Writes a PNG of `rows` (cost, quality, on_front, label) with the front drawn as a line."""
    from matplotlib.figure import Figure  # no global state, unlike pyplot

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for chosen, colour, name in ((False, OTHER_COLOUR, "beaten in both"), (True, FRONT_COLOUR, "best for its cost")):
        part = sorted((r for r in rows if r["on_front"] == chosen), key=lambda r: r["cost"])
        if part:
            style = "-o" if chosen else "o"
            axes.plot([r["cost"] for r in part], [r["quality"] for r in part], style, color=colour, label=name)
    for row in rows:
        place = {"textcoords": "offset points", "xytext": (6, 5), "fontsize": 8}
        axes.annotate(row["label"], (row["cost"], row["quality"]), color="#3a4149", **place)
    axes.set(xlabel=cost_name, ylabel=f"{quality_name} ({direction} is better)", title="Quality against compute")
    axes.margins(0.15)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    payload = io.BytesIO()
    figure.savefig(payload, format="png")
    write_bytes(path, payload.getvalue())
