"""Pictures of the report, inlined: what plots folders hold, sample grids, training curves."""

from __future__ import annotations

import base64
import csv
import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pipeline.base.paths import Paths
from pipeline.reporting import charts
from pipeline.reporting.pages import TEMPLATES

MIME = {".png": "image/png", ".gif": "image/gif", ".svg": "image/svg+xml"}


CURVE_POINTS = 400  # of a training curve, at most: more cannot be told apart on a page


PROGRESS_SHOWN = 4  # sample grids of the training, at most


WIDE = 1.8  # width over height from which a picture takes the whole width, where its caption says nothing


@dataclass(frozen=True)
class Picture:
    """A picture to inline. uri: data URI; paper: drawn for a white ground, so it keeps one on a dark page;
    wide: takes the whole width."""

    title: str
    caption: str
    alt: str
    uri: str
    paper: bool = False
    wide: bool = False


# -- pictures ----------------------------------------------------------------------------------------------------
def data_uri(payload: bytes, suffix: str) -> str:
    """The file's bytes as a data URI."""
    return f"data:{MIME[suffix]};base64,{base64.b64encode(payload).decode('ascii')}"


def pictures(folder: Path, paper: bool = False) -> dict[str, Picture]:
    """File name → picture, of every PNG, GIF and SVG of a plots folder.

    Captions come from the folder's captions.json ({file: {title, caption, alt, wide, order}}, all but the title
    optional), else from the table among the templates, else from the file's name. Pictures with a caption come first.
    """
    known = {
        key.split("/", 1)[1]: value
        for key, value in json.loads((TEMPLATES / "captions.json").read_text("utf8")).items()
        if key.startswith(f"{folder.name}/")
    }
    own = folder / "captions.json"
    if own.is_file():
        known |= json.loads(own.read_text("utf8"))
    order = {name: value.get("order", k) for k, (name, value) in enumerate(known.items())}
    found = [p for p in folder.iterdir() if p.suffix in MIME and p.name[0] != "."] if folder.is_dir() else []
    out = {}
    for path in sorted(found, key=lambda p: (order.get(p.name, len(order)), p.name)):
        said = known.get(path.name, {"title": path.stem.replace("_", " ").replace("-", " ")})
        title, caption = said["title"], said.get("caption", "")
        alt = said.get("alt") or (f"{title}. {caption}" if caption else title)
        uri = data_uri(path.read_bytes(), path.suffix)
        wide = said["wide"] if "wide" in said else _is_wide(path)
        out[path.name] = Picture(title, caption, alt, uri, paper, wide)
    return out


def _is_wide(path: Path) -> bool:
    """Whether a picture of several panels side by side would be unreadable in half the width of the page."""
    if path.suffix == ".svg":
        return False
    with Image.open(path) as picture:
        return picture.width > 700 and picture.width > WIDE * picture.height


def progress(where: Paths) -> list[Picture]:
    """Sample grids of the training, evenly chosen, the last one included."""
    found = sorted((where.models / "progress").glob("step-*.png"))
    n = min(PROGRESS_SHOWN, len(found))
    chosen = [found[round((k + 1) * len(found) / n) - 1] for k in range(n)]
    out = []
    for path in chosen:
        step = f"step {int(path.stem.split('-')[1])}"
        alt = f"Samples and completions at {step} of the training"
        out.append(Picture(step, "", alt, data_uri(path.read_bytes(), ".png")))
    return out


def training_curves(where: Paths) -> list[Picture]:
    """Charts of the training log, one per kind of curve."""
    folder = where.plots / "train" / "plots" / "metrics"
    series = {path.stem: _series(path) for path in sorted(folder.glob("*.tsv"))}
    out = []
    for title, chosen in _curve_groups(list(series)).items():
        lines = {short: series[name] for short, name in chosen.items()}
        chart = charts.svg(charts.lines({"": lines}, "step", marks=False))
        out.append(Picture(title, "", f"{title} against training steps", data_uri(chart, ".svg")))
    return out


def _curve_groups(names: list[str]) -> dict[str, dict[str, str]]:
    """Title → {short name: metric}; a metric that fits nowhere has a chart of its own."""
    endings = {"_loss": "Losses", "_gradient_norm": "Gradient norms"}
    groups: dict[str, dict[str, str]] = {
        "Losses": {},
        "Likelihood terms": {},
        "Discriminator accuracy by task family": {},
    }
    for name in names:
        title = short = name.replace("_", " ").capitalize()
        for ending, group in endings.items():
            if name.endswith(ending):
                title, short = group, name.removesuffix(ending).replace("_", " ")
        if name in ("cross_entropy", "absolute_error", "squared_error"):
            title = "Likelihood terms"
        elif name in ("r1", "r2"):
            title, short = "Gradient penalties", name.upper()
        elif name == "steps_per_s":
            title = "Steps a second"
        elif name.startswith("discriminator_accuracy_"):
            title = "Discriminator accuracy by task family"
            short = name.removeprefix("discriminator_accuracy_").replace("_", " ")
        groups.setdefault(title, {})[short] = name
    return {title: group for title, group in groups.items() if group}


def _series(path: Path) -> tuple[list[float], list[float]]:
    with open(path, encoding="utf8", newline="") as stream:
        lines = list(csv.DictReader(stream, delimiter="\t"))
    every = max(1, len(lines) // CURVE_POINTS)
    lines = lines[::every]
    value = path.stem if lines and path.stem in lines[0] else (list(lines[0])[-1] if lines else "")
    return [float(line["step"]) for line in lines], [float(line[value]) for line in lines]
