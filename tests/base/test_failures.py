"""Every error is one line with what was wrong, what came and what to do: library exceptions, the system's, our own faults."""

from __future__ import annotations

import ast
import csv
import io
import json
import logging
import re
import signal
import sqlite3
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import requests
import safetensors.numpy
import torch
import yaml
from omegaconf import OmegaConf
from PIL import Image

from flows.failure_logs import one_line
from pipeline.app.cli import app
from pipeline.app.demo_answers import answer
from pipeline.base import stage
from pipeline.base.failures import exit_code, line_of
from pipeline.base.fields import ParamsError
from pipeline.base.params import Params, merge_params
from pipeline.base.remedies import OF_SYSTEM, REMEDIES
from pipeline.base.stopping import Stopped
from tests.helpers.imports import ROOT, module_files

HUGE = 1 << 58


def raised(kind: type[BaseException], *arguments: object) -> Callable[[], object]:
    """Something that raises a library's exception, where the real cause would take too long to make."""
    return lambda: exec("raise error", {"error": kind(*arguments)})  # from no file of ours, as a library's


def library(module: str, name: str, *arguments: object) -> Callable[[], object]:
    """The same of a class in a module that is loaded only then."""

    def call() -> None:
        exec("raise error", {"error": getattr(__import__(module, fromlist=[name]), name)(*arguments)})

    return call


def recursion(n: int = 0) -> int:
    return recursion(n + 1) + 1


ROWS: dict[str, tuple[Callable[[], object], str]] = {  # what raises, a part of the value that must be said
    "struct": (lambda: struct.unpack("I", b"ab"), "unpack requires a buffer of 4 bytes"),
    "zlib": (lambda: zlib.decompress(b"no"), "Error -3"),
    "zip": (lambda: zipfile.ZipFile(io.BytesIO(b"no")), "not a zip file"),
    "json": (lambda: json.loads("{"), "line 1 column 2"),
    "utf8": (lambda: b"\xff\xfe".decode("utf8"), "0xff"),
    "ascii": (lambda: "é".encode("ascii"), "ascii"),
    "csv": (lambda: list(csv.reader(['"a'], strict=True)), "unexpected end of data"),
    "yaml": (lambda: yaml.safe_load("a: [1"), "line 1"),
    "parquet": (lambda: pyarrow.parquet.read_table(io.BytesIO(b"no parquet")), "arquet"),
    "empty table": (lambda: pd.read_csv(io.StringIO("")), "No columns"),
    "ragged table": (lambda: pd.read_csv(io.StringIO("a,b\n1,2\n1,2,3\n")), "line 3"),
    "safetensors": (lambda: safetensors.numpy.load(b"\xff" * 20), "SafetensorError"),
    "picture": (lambda: Image.open(io.BytesIO(b"no picture")), "cannot identify"),
    "bomb": (raised(Image.DecompressionBombError, "Image size (3600000000 pixels) exceeds limit"), "3600000000"),
    "omegaconf": (lambda: OmegaConf.create({"a": "${b}"}).a, "'b'"),
    "memory": (lambda: np.empty(HUGE), "Unable to allocate"),
    "torch memory": (lambda: torch.empty(HUGE), "memory"),
    "recursion": (recursion, "recursion"),
    "end of file": (raised(EOFError, "ends after 12 bytes"), "12"),
    "singular": (lambda: np.linalg.inv(np.zeros((2, 2))), "Singular"),
    "sqlite": (lambda: sqlite3.connect("/no/such/folder/x.db"), "unable to open"),
    "network": (raised(requests.ConnectionError, "host example.invalid"), "example.invalid"),
    "command": (lambda: subprocess.run([sys.executable, "-c", "exit(3)"], check=True), "exit status 3"),
    "command in time": (raised(subprocess.TimeoutExpired, "git status", 5), "git status"),
    "module": (lambda: __import__("no_such_module_at_all"), "no_such_module_at_all"),
    "dvc": (library("dvc.exceptions", "DvcException", "output 'data/raw' is no file"), "data/raw"),
    "prefect": (library("prefect.exceptions", "MissingFlowError", "flow nightly"), "nightly"),
    "prefect's server": (library("httpx", "ConnectError", "All connection attempts failed"), "attempts failed"),
    "missing file": (lambda: Path("/no/such/file.csv").read_bytes(), "/no/such/file.csv"),
    "a folder": (lambda: Path("/").read_bytes(), "'/'"),
    "long name": (lambda: Path("/" + "x" * 300).read_bytes(), "File name too long"),
    "host": (lambda: __import__("socket").create_server(("no.such.host.invalid", 0)), ""),
    "type": (lambda: 1 + "a", "unsupported operand"),
    "index": (lambda: [][3], "out of range"),
    "key": (lambda: {}["label"], "label"),
    "attribute": (lambda: None.shape, "shape"),
    "division": (lambda: 1 // 0, "zero"),
    "shapes": (lambda: np.ones(2) + np.ones(3), "broadcast"),
    "torch": (lambda: torch.ones(2) @ torch.ones(3), "size"),
    "assertion": (raised(AssertionError), "without a message"),
    "stop": (lambda: next(iter(())), "StopIteration"),
} | {f"errno {code}": (raised(OSError, code, "the system's words", "/a/b"), "/a/b") for code in OF_SYSTEM}


def thrown(name: str) -> BaseException:
    with pytest.raises(BaseException) as caught:
        ROWS[name][0]()
    return caught.value


def check(text: str, name: str) -> None:
    """One line, with the value, ending in a remedy."""
    value = ROWS[name][1]
    assert "\n" not in text and "Traceback" not in text and value in text, text
    known = [
        *REMEDIES.values(),
        *OF_SYSTEM.values(),
        "Check path, rights and disk.",
        "BIGLEARN_TRACEBACK=1 shows more.",
    ]
    assert text.endswith(tuple(known)), text


@pytest.mark.parametrize("name", ROWS)
def test_an_exception_becomes_a_line(name):
    check(line_of(thrown(name)), name)


def body_that_throws(name: str) -> Callable[..., None]:
    def body(*_: object, **__: object) -> None:
        ROWS[name][0]()
        raise AssertionError(f"{name} did not raise")

    return body


@pytest.mark.parametrize("name", ROWS)
def test_a_command_ends_in_it(name, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.app.doctor.examine", body_that_throws(name))
    with pytest.raises(SystemExit) as end:
        app(["doctor"], prog_name="biglearn")
    out, err = capsys.readouterr()
    assert end.value.code == 1 and out == "" and err.startswith("biglearn: ") and err.count("\n") == 1
    check(err.strip(), name)


@pytest.mark.parametrize("name", ROWS)
def test_a_stage_ends_in_it(name, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(stage, "load_params", lambda overrides: Params())
    monkeypatch.setenv("BIGLEARN_ROOT", str(tmp_path))
    with pytest.raises(SystemExit) as end:
        stage.run_stage("prepare", body_that_throws(name))
    err = capsys.readouterr().err
    assert end.value.code == 1 and err.startswith("prepare: ") and err.count("\n") == 1
    check(err.strip(), name)


@pytest.mark.parametrize("name", ROWS)
def test_a_flow_logs_it(name):
    error = thrown(name)
    record = logging.LogRecord("prefect.flow_runs", 40, "", 0, "Encountered exception", (), (type(error), error, None))
    assert one_line(record)
    text = logging.Formatter().format(record)
    assert text.startswith("failed: ")
    check(text, name)


@pytest.mark.parametrize("name", ROWS)
def test_the_page_answers_it(name, capsys):
    reply = answer(thrown(name))
    assert reply.status_code in (400, 500)
    check(json.loads(reply.body)["error"], name)
    assert "Traceback" not in capsys.readouterr().err


def test_our_own_messages_stay_as_they_are():
    with pytest.raises(ParamsError) as caught:
        merge_params({"train": {"steps": -1}})
    assert line_of(caught.value) == str(caught.value) and exit_code(caught.value) == 2


def test_the_file_at_hand_is_named(tmp_path):
    """A library's error that names no file: the file that our code was reading is said."""
    from pipeline.base.files import sha256
    from pipeline.rows.schema import Schema

    file = tmp_path / "schema.json"
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises((ValueError, UnicodeDecodeError)) as caught:
        Schema.load(file)
    assert str(file) in line_of(caught.value)
    with pytest.raises(OSError) as caught:
        sha256(tmp_path)
    assert str(tmp_path) in line_of(caught.value) and "Name a file" in line_of(caught.value)


def test_a_long_message_is_cut():
    assert len(line_of(RuntimeError("x" * 10_000))) < 1000


def test_stopped_and_interrupted_have_their_own_codes(capsys):
    assert exit_code(Stopped("saved at step 7", signal.SIGTERM)) == 143 and exit_code(KeyboardInterrupt()) == 130
    assert line_of(KeyboardInterrupt()) == "interrupted; what was saved is intact"


def test_the_traceback_is_there_for_who_asks(monkeypatch):
    monkeypatch.setenv("BIGLEARN_TRACEBACK", "1")
    monkeypatch.setattr("pipeline.app.doctor.examine", body_that_throws("type"))
    with pytest.raises(TypeError):
        app(["doctor"], prog_name="biglearn")


def test_bad_usage_has_code_2_and_names_the_help(capsys):
    with pytest.raises(SystemExit) as end:
        app(["sample", "model", "many", "-o", "x.npy"], prog_name="biglearn")
    err = capsys.readouterr().err
    assert end.value.code == 2 and err.count("\n") == 1 and "see biglearn sample --help" in err


def test_nobody_reads_the_output():
    """`biglearn … | head -1` ends without a word."""
    command = f"{sys.executable} -m pipeline.app.cli --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stderr == "" and done.returncode in (141, 1, 0)  # 1: Click's own, of a help text


STATES = re.compile(r"\{|Got |must |needs |give |has no third|do not fit|does not match|one process|Fit ")
COMPLETED = {"no object", "something follows the object"}  # by the reader of lines, which names the line


def test_every_message_of_ours_says_what_came_or_what_to_do():
    """Each `raise` with a message written out: it holds a value, or states the requirement."""
    bare = []
    for module, path in module_files().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args):
                continue
            message = node.exc.args[0]
            if (
                isinstance(message, ast.Constant)
                and isinstance(message.value, str)
                and not STATES.search(message.value)
                and message.value not in COMPLETED
            ):
                bare.append(f"{module}:{node.lineno}: {message.value}")
    assert bare == []


def test_names_of_kinds_are_right():
    """A library that moves a class would make its remedy unreachable."""
    optional = {kind for kind in REMEDIES if kind.startswith(("safetensors", "torch.multi", "csv.", "_csv."))}
    for kind in REMEDIES.keys() - optional:
        module, _, name = kind.rpartition(".")
        found = getattr(__import__(module, fromlist=[name]), name)
        assert f"{found.__module__}.{found.__qualname__}" == kind
    kind = safetensors.SafetensorError
    assert f"{kind.__module__}.{kind.__qualname__}" in REMEDIES
