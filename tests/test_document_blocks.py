"""The blocks of README and guides run: Python as it stands, in a folder that holds what it presupposes; commands of
`biglearn` are read with their options, without being run."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer.main

from pipeline.app.cli import app
from pipeline.base.params import merge_params, to_dict
from pipeline.datasets import table
from pipeline.model.generator import Generator
from pipeline.model.sampler import Sampler
from pipeline.rows.image_schema import image_label_schema
from tests.test_documents import PAGES, ROOT, blocks

DIGITS = [str(i) for i in range(10)]


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def save_untrained(folder: Path, size_px: int, patch_px: int) -> None:
    params = merge_params({"network": {"width": 16, "depth": 1, "noise_width": 4, "convolution_channels": 0}})
    schema = image_label_schema(size_px, size_px, 1, patch_px, 0.0, 16.0, DIGITS)
    Sampler.save(folder, Generator(schema, params.network), schema, to_dict(params.network), 64)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, with models as `make reproduce` and `biglearn fit` leave them, but untrained, and a table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(table, "FEWEST_STEPS", 10)  # a fit of seconds
    save_untrained(Path("data/models/generator"), 8, 2)
    save_untrained(Path("model/data/models/generator"), 16, 4)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 80, 40), "grade": rng.choice(["junior", "senior"], 40)})
    for name in ("survey.csv", "new.csv"):
        frame.mask(rng.random(frame.shape) < 0.2).to_csv(name, index=False)
    return tmp_path


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=named)
def test_python_blocks_run(page, folder):
    assert folder == Path.cwd()
    for number, block in enumerate(blocks(page, "python")):
        exec(compile(block, f"{named(page)}, block {number}", "exec"), {})


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "bash")], ids=named)
def test_biglearn_commands_are_read(page):
    group, lines = typer.main.get_command(app), []
    for block in blocks(page, "bash"):
        lines += [part.strip() for line in block.replace("\\\n", " ").splitlines() for part in line.split("&&")]
    for line in lines:
        command, *words = shlex.split(line, comments=True) or [""]
        if command == "biglearn":
            with group.commands[words[0]].make_context(words[0], words[1:]) as context:
                assert context.params, line
