"""Two revisions in one page: parameters, metrics with differences, curves overlaid, pictures next to each other.

    biglearn compare HEAD~1 HEAD -o compare.html      # or: python -m pipeline.reporting.compare HEAD~1 HEAD compare.html

A revision is a commit, branch or tag, the name of a DVC experiment, or `workspace`. Files come from git and from
DVC's cache or remote; what neither has is named on the page. The page is self-contained and has no script.
"""

from __future__ import annotations

import csv
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from pipeline.base.files import write_text
from pipeline.base.paths import Paths, default_root
from pipeline.base.revisions import resolve
from pipeline.reporting import charts, page_pictures, sections
from pipeline.reporting.pages import page

NEEDED = ("params.yaml", "data/metrics", "data/plots")
MODELS, PROGRESS = "data/models", "data/models/progress"  # no progress in pictures where rows are no images
PICTURE_FOLDERS = ("evaluate", "simulate", "tasks")
CURVE_POINT = re.compile(r"_s\d\d$")  # completion_rmse_s30: a point of a curve that is drawn, at |S|/L = .3
USAGE = "usage: python -m pipeline.reporting.compare REVISION_A REVISION_B [PAGE.html]"


@dataclass(frozen=True)
class Row:
    """One line of a table: values of both revisions as text (— where absent), difference and relative difference."""

    name: str
    a: str
    b: str
    delta: str = ""
    relative: str = ""
    changed: bool = False


@dataclass(frozen=True)
class Side:
    """name: as the user gave it; commit: 12 digits, empty for the workspace; where: its files; missing: not found."""

    name: str
    commit: str
    where: Paths
    missing: list[str]


def compare(rev_a: str, rev_b: str, out: Path, root: Path | None = None) -> Path:
    """The path of the page, written atomically. Raises ValueError when a revision does not exist."""
    root = Path(root or default_root()).resolve()
    commits = [resolve(root, name, rev) for name, rev in (("rev_a", rev_a), ("rev_b", rev_b))]
    with (
        tempfile.TemporaryDirectory() as scratch,
        side(root, rev_a, commits[0], Path(scratch) / "a") as a,
        side(root, rev_b, commits[1], Path(scratch) / "b") as b,
    ):
        html = render(content(a, b))
    write_text(Path(out), html)
    return Path(out)


@contextmanager
def side(root: Path, name: str, commit: str, folder: Path) -> Iterator[Side]:
    """The files of a revision below `folder`, or the workspace's own."""
    if not commit:
        wanted = NEEDED if (root / MODELS).is_dir() and not (root / PROGRESS).exists() else (*NEEDED, PROGRESS)
        missing = [path for path in wanted if not (root / path).exists()]
        yield Side(name, "", Paths(root), missing)
        return
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    fs = DVCFileSystem(url=str(root), rev=commit)
    missing = []
    for path in (*NEEDED, PROGRESS):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            fs.get(path, str(target), recursive=True)
        except (
            DvcException,
            DataIndexDirError,
            OSError,
        ):  # absent from the revision, or its file from the cache and every remote
            there = _names(fs, MODELS) if path == PROGRESS else None
            if there is None or any(name.endswith(PROGRESS) for name in there):
                missing.append(path)
    yield Side(name, commit[:12], Paths(folder), missing)


def _names(fs: Any, path: str) -> list[str] | None:
    """Paths in a folder of a revision; None: there is none, or neither cache nor remote has the list of its files."""
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    try:
        return fs.ls(path, detail=False)
    except (DvcException, DataIndexDirError, OSError):
        return None


def content(a: Side, b: Side) -> dict[str, Any]:
    """The variables of the template."""
    pairs, same = picture_pairs(a.where, b.where)
    metrics = rows(flat(sections.metrics_of(a.where)), flat(sections.metrics_of(b.where)))
    return {
        "a": a,
        "b": b,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "parameters": rows(flat(_parameters(a)), flat(_parameters(b))),
        "metrics": [row for row in metrics if not CURVE_POINT.search(row.name)],
        "points": [row for row in metrics if CURVE_POINT.search(row.name)],
        "curves": curves(a, b),
        "pairs": pairs,
        "same": same,
    }


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted name → leaf of a nested mapping."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        out |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return out


def rows(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Row]:
    """One row a name of either side, in the order of `a`, then what only `b` has; numbers get differences."""
    out = []
    for name in dict.fromkeys([*a, *b]):
        x, y = a.get(name), b.get(name)
        delta = relative = ""
        if _is_number(x) and _is_number(y) and x != y:
            delta = f"{y - x:+.4g}"
            relative = f"{(y - x) / abs(x):+.1%}" if x else ""
        out.append(Row(name, _text(name, a), _text(name, b), delta, relative, name not in a or name not in b or x != y))
    return out


def curves(a: Side, b: Side) -> list[dict[str, str]]:
    """Charts with both revisions in each panel: the training log, and completions against |S|/L."""
    both = {"training": ({}, {}), "completion": ({}, {})}
    for place, one in enumerate((a, b)):
        for path in sorted((one.where.plots / "train" / "plots" / "metrics").glob("*.tsv")):
            both["training"][place].update(_columns(path, "\t", "step"))
        path = one.where.plots / "evaluate" / "completion.csv"
        if path.is_file():
            found = _columns(path, ",", "source_share")
            both["completion"][place].update({k: v for k, v in found.items() if k.endswith("_generator")})
    names = (f"A: {a.name}", f"B: {b.name}")
    titles = {"training": ("Training", "step"), "completion": ("Completions of the generator", "|S| / L")}
    out = []
    for key, (left, right) in both.items():
        panels = {}
        for name in sorted(left.keys() | right.keys()):
            lines = {label: found[name] for label, found in zip(names, (left, right), strict=True) if name in found}
            panels[name.removesuffix("_generator").replace("_", " ")] = lines
        if panels:
            title, x_name = titles[key]
            drawn = charts.svg(charts.lines(panels, x_name, marks=key == "completion", one_leads=False))
            out.append({"title": title, "uri": page_pictures.data_uri(drawn, ".svg")})
    return out


def picture_pairs(a: Paths, b: Paths) -> tuple[list[dict[str, Any]], list[str]]:
    """Pictures of both revisions that differ, side by side (None where one has none), and titles of the equal ones."""
    found = []
    for where in (a, b):
        sheets = {}
        for folder in PICTURE_FOLDERS:
            sheets |= {f"{folder}/{k}": v for k, v in page_pictures.pictures(where.plots / folder).items()}
        for sheet in page_pictures.progress(where)[-1:]:
            sheets["progress"] = sheet
        found.append(sheets)
    pairs, same = [], []
    for name in dict.fromkeys([*found[0], *found[1]]):
        left, right = found[0].get(name), found[1].get(name)
        if left is not None and right is not None and left.uri == right.uri:
            same.append(left.title)
        else:
            pairs.append({"title": (left or right).title, "a": left, "b": right})
    return pairs, same


def render(variables: dict[str, Any]) -> str:
    """The page. Raises jinja2.UndefinedError for a variable that the template needs and did not get."""
    return page("compare.html", variables)


def _parameters(one: Side) -> dict[str, Any]:
    path = one.where.params
    return yaml.safe_load(path.read_text(encoding="utf8")) or {} if path.is_file() else {}


def _columns(path: Path, delimiter: str, x_name: str) -> dict[str, charts.Series]:
    """Column name → (x, y) of a table with a header; cells that are not numbers are left out."""
    with open(path, encoding="utf8", newline="") as stream:
        table = list(csv.DictReader(stream, delimiter=delimiter))
    out: dict[str, tuple[list[float], list[float]]] = {}
    for line in table:
        for name, text in line.items():
            if name != x_name and text:
                xs, ys = out.setdefault(name, ([], []))
                xs.append(float(line[x_name]))
                ys.append(float(text))
    return out


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(name: str, values: Mapping[str, Any]) -> str:
    if name not in values:
        return "—"
    value = values[name]
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False).strip('"')


def main() -> None:
    """Entry point: exit code 0, or 1 with one line when a revision does not exist."""
    if len(sys.argv) not in (3, 4):
        sys.exit(USAGE)
    try:
        print(compare(sys.argv[1], sys.argv[2], Path(sys.argv[3] if len(sys.argv) == 4 else "compare.html")))
    except (ValueError, OSError) as error:
        sys.exit(f"compare: {error}")


if __name__ == "__main__":
    main()
