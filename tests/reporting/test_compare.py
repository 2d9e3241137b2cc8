"""The page that compares two revisions."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.base.files import write_bytes, write_json, write_text
from pipeline.base.revisions import resolve
from pipeline.reporting.compare import Row, compare, flat, rows
from pipeline.reporting.sheets import png

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # inside DVC


class Resources(HTMLParser):
    """Addresses that the page loads, and texts of its cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources, self.alts, self.cells = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "img":
            self.sources.append(values["src"])
            self.alts.append(values["alt"])
        assert tag != "script"

    def handle_data(self, data):
        self.cells.append(data.strip())


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def write_results(root: Path, lr: float, fid: float) -> None:
    """What stages would leave: parameters, metrics, a curve, two pictures, one of them always the same."""
    write_text(root / "params.yaml", yaml.safe_dump({"seed": 0, "train": {"lr": lr, "steps": 5}}))
    write_json(root / "data" / "metrics" / "evaluate.json", {"fid": fid, "kid": 0.5, "completion_rmse_s30": fid / 4})
    curve = "step\tgenerator_loss\n" + "".join(f"{i}\t{fid / (i + 1)}\n" for i in range(4))
    write_text(root / "data" / "plots" / "train" / "plots" / "metrics" / "generator_loss.tsv", curve)
    for name, shade in (("joint", int(fid * 10)), ("real", 7)):
        picture = np.full((8, 8, 4), shade, np.uint8)
        write_bytes(root / "data" / "plots" / "evaluate" / f"{name}.png", png(picture))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Two commits; the plots of both are in DVC's cache, metrics in git."""
    root = tmp_path_factory.mktemp("project")
    run(root, "git", "init", "--quiet", "--initial-branch=main")
    run(root, "git", "config", "user.name", "test")
    run(root, "git", "config", "user.email", "test@localhost")
    run(root, sys.executable, "-m", "dvc", "init", "--quiet")
    for tag, lr, fid in (("first", 0.1, 2.0), ("second", 0.2, 1.5)):
        write_results(root, lr, fid)
        run(root, sys.executable, "-m", "dvc", "add", "--quiet", "data/plots")
        run(root, "git", "add", "-A")
        run(root, "git", "commit", "--quiet", "-m", tag)
        run(root, "git", "tag", tag)
    run(root, "git", "update-ref", "refs/exps/ab/cdef/bold-try", "second")
    return root


def test_page_shows_what_differs_and_loads_nothing(project, tmp_path):
    page = compare("first", "second", tmp_path / "page.html", project)
    read = Resources(page.read_text(encoding="utf8"))
    assert all(source.startswith("data:") for source in read.sources)
    assert all(read.alts)
    for text in ("train.lr", "0.1", "0.2", "+0.1", "evaluate.fid", "-0.5", "-25.0%"):
        assert text in read.cells
    assert "1 point of the completion curves below" in read.cells
    assert read.cells.index("evaluate.fid") < read.cells.index("evaluate.completion_rmse_s30")
    assert "2 equal in both" in read.cells  # seed and train.steps
    assert len(read.sources) == 3  # one chart, the joint samples of both; real images are equal
    assert any(cell.startswith("The same in both: Real images") for cell in read.cells)


def test_workspace_and_experiments_are_revisions(project, tmp_path):
    write_results(project, 0.3, 1.0)
    page = compare("bold-try", "workspace", tmp_path / "page.html", project).read_text(encoding="utf8")
    assert "bold-try" in page and "0.3" in page
    assert json.loads((project / "data" / "metrics" / "evaluate.json").read_text())["fid"] == 1.0


def test_what_the_cache_lacks_is_named(project, tmp_path):
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(project), str(clone))
    read = Resources(compare("first", "second", tmp_path / "page.html", clone).read_text(encoding="utf8"))
    assert sum("data/plots" in cell for cell in read.cells) == 2
    assert "evaluate.fid" in read.cells


@pytest.mark.parametrize("revision", ["nowhere", "--all", ""])
def test_unknown_revisions_are_told_and_nothing_is_written(project, tmp_path, revision):
    with pytest.raises(ValueError, match=r"'rev_b' must be a git revision, .* Got "):
        compare("first", revision, tmp_path / "page.html", project)
    assert not (tmp_path / "page.html").exists()


def test_rows_and_flat():
    assert flat({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}
    found = rows({"x": 1, "y": "s", "z": 0.0, "t": True}, {"x": 1, "y": "u", "z": 2.0, "w": 3})
    assert found == [
        Row("x", "1", "1"),
        Row("y", "s", "u", changed=True),
        Row("z", "0", "2", "+2", "", True),
        Row("t", "true", "—", changed=True),
        Row("w", "—", "3", changed=True),
    ]


def test_resolve_gives_commits(project):
    assert resolve(project, "rev_a", "workspace") == ""
    assert resolve(project, "rev_a", "HEAD~1") == run(project, "git", "rev-parse", "first")
    assert resolve(project, "rev_a", "bold-try") == run(project, "git", "rev-parse", "second")
