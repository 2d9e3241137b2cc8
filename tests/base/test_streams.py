"""Output on terminals, in log files and in every encoding."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pytest

from pipeline.base import streams
from pipeline.base.streams import Lines, note, progress, ready_streams
from tests.helpers.imports import ROOT


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", "a ? b"), ("latin-1", "a ? b"), ("utf-8", "a → b")])
def test_characters_that_the_encoding_lacks_are_replaced(encoding, shown, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    ready_streams()
    print("a → b", flush=True)
    assert raw.getvalue().decode(encoding) == shown + "\n"


def test_a_file_name_that_is_no_text_can_be_said(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "utf-8"))
    ready_streams()
    print(os.fsdecode(b"caf\xe9.png"), flush=True)
    assert raw.getvalue() == b"caf\\udce9.png\n"


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_a_command_ends_well_in_any_locale(variables, tmp_path):
    """`init` prints arrows after it has changed params.yaml; its exit code is that of the work."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "t.csv").write_text("a,b\n" + "1,u\n2,v\n" * 20)
    here = os.environ | variables | {"PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipeline.app.cli", "init", "t.csv", "--project", "."]
    done = subprocess.run(command, cwd=tmp_path, env=here, capture_output=True, timeout=120)
    assert done.returncode == 0 and b"codec" not in done.stderr and b"dataset.name: digits ? table" in done.stdout


def test_a_log_file_gets_no_bar(capsys):
    """pytest's stderr is no terminal."""
    assert list(progress(range(3), "work")) == [0, 1, 2] == list(progress(np.arange(3), "work"))
    with progress(total=3, desc="work") as bar:
        bar.update(3)
        bar.set_postfix(loss="1.0", refresh=False)
    assert capsys.readouterr().err == ""


def test_a_log_file_gets_a_line_now_and_then(monkeypatch):
    monkeypatch.setattr(streams, "LINE_INTERVAL_S", 0.0)
    out = io.StringIO()
    with progress(range(2), "train", unit="step", file=out) as bar:
        bar.set_postfix({"loss": "0.31"}, refresh=False)
        assert list(bar) == [0, 1]
    lines = out.getvalue().splitlines()
    assert len(lines) == 2 and lines[1].startswith("train: 2/2 step, ") and lines[1].endswith(" step/s, loss=0.31")
    assert "\r" not in out.getvalue()


def test_scaled_units_and_unknown_totals():
    out = io.StringIO()
    bar = progress(desc="get", unit="B", unit_scale=True, file=out)
    assert isinstance(bar, Lines)
    bar.n = 12_345_678
    bar._say()
    assert out.getvalue().startswith("get: 12.3M B, ")


def test_a_terminal_gets_a_bar():
    out = Terminal()
    with progress(total=2, desc="work", file=out, mininterval=0) as bar:
        bar.update(2)
    assert "\r" in out.getvalue() and "100%" in out.getvalue()


def test_a_note_is_a_line(capsys):
    note("evaluate: left out")
    assert capsys.readouterr().err == "evaluate: left out\n"


def test_a_log_file_gets_lines_of_an_array_too():
    """BigLearnImputer.sample goes through an array of seeds, which has no truth value."""
    stream = io.StringIO()
    assert list(progress(np.arange(3), "draw", file=stream)) == [0, 1, 2]
    assert list(progress([], "draw", file=stream)) == [] and list(progress(None, "draw", total=2, file=stream)) == []
