"""What a command of `biglearn` must leave behind and say: held for every command of the guides, whatever its numbers.

One function a command, called with its parsed options, what it printed, and the folder it ran in.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import typer.main
from PIL import Image

from pipeline.app.cli import app
from pipeline.reporting.sheets import GAP_PX
from pipeline.sources.opening import read_frame
from pipeline.sources.places import is_table

COMMANDS = typer.main.get_command(app).commands


def options(words: list[str]) -> dict[str, Any]:
    """Name → value of the options and arguments of a command. words: behind `biglearn`."""
    with COMMANDS[words[0]].make_context(words[0], words[1:]) as context:
        return context.params


def check(words: list[str], printed: str, folder: Path) -> None:
    """Raises AssertionError when the command did not do what it is for."""
    kept = PROMISES[words[0]]
    kept(options(words), printed, folder)


def _fit(asked: dict, printed: str, folder: Path) -> None:
    model = folder / asked["output"]
    assert (model / "schema.json").is_file() or (model / "data" / "models" / "generator" / "schema.json").is_file()
    assert printed.splitlines()[-1].startswith("fit: model in ")


def _sample(asked: dict, printed: str, folder: Path) -> None:
    output, count = folder / asked["output"], asked["count"]
    assert printed.splitlines()[-1].startswith(f"sample: {count} rows in {asked['output']}")
    if is_table(output):
        assert len(read_frame(output)) == count
    elif output.suffix == ".png":
        _holds_tiles(output, count)
    else:
        told = pd.read_csv(output / "attributes.csv", dtype=str)
        assert sorted(told["file"]) == sorted(p.name for p in output.glob("*.png")) and len(told) == count
        for text in asked["known"] or []:
            name, value = text.split("=")
            assert set(told[name]) == {value}


def _complete(asked: dict, printed: str, folder: Path) -> None:
    output, draws = folder / asked["output"], asked["draws"]
    said = re.fullmatch(
        rf"complete: {draws} draws of (\d+) rows in .+, \d+% of the cells given", printed.splitlines()[-1]
    )
    assert said, printed
    if output.suffix == ".png":
        _holds_tiles(output, int(said[1]) * (1 + draws))  # each row as it was given, then its draws
    else:
        assert len(read_frame(output)) == draws * int(said[1])


def _holds_tiles(path: Path, count: int) -> None:
    """A sheet of `count` square tiles of one size, with gaps between them."""
    with Image.open(path) as picture:
        width, height = (edge + GAP_PX for edge in picture.size)
    steps = [step for step in range(8 + GAP_PX, height + 1) if width % step == height % step == 0]
    assert any((width // step) * (height // step) == count for step in steps), f"{path.name}: {picture.size}, {count}"


def _impute(asked: dict, printed: str, folder: Path) -> None:
    assert re.fullmatch(r"impute: \d+ missing cells of \d+ rows filled in .+", printed.splitlines()[-1]), printed
    if "://" in asked["output"]:
        return
    given = _table(folder / asked["data"], asked)
    filled = _table(folder / asked["output"], asked)
    copies = max(1, asked["draws"])
    stamps = ["draw", "row"] if asked["draws"] else []
    assert list(filled.columns) == stamps + list(given.columns) and len(filled) == copies * len(given)
    assert not filled.isna().any(axis=None)
    for _, one in filled.drop(columns=stamps).groupby(filled.index // len(given)):
        for name in given.columns:
            known = given[name].notna().to_numpy()
            assert (one[name].to_numpy()[known] == given[name].to_numpy()[known]).all(), f"{name}: known cells changed"


def _table(path: Path, asked: dict) -> pd.DataFrame:
    """The cells of a file, of a text file as they stand."""
    if path.suffix == ".csv":
        return pd.read_csv(path, dtype=str, sep=asked.get("separator") or ",")
    return read_frame(path)


def _evaluate(asked: dict, printed: str, folder: Path) -> None:
    scores = json.loads(printed[printed.index("\n{") if "\n{" in printed else 0 :])
    if is_table(asked["project"]):
        told = scores.get("BigLearn", scores)
        assert "energy_score" in json.dumps(told)
    else:
        assert all(isinstance(value, int | float) for value in scores.values()) and len(scores) > 10


def _score(asked: dict, printed: str, folder: Path) -> None:
    scored, given = read_frame(folder / asked["output"]), read_frame(folder / asked["data"])
    assert list(scored.columns) == [*given.columns, "log_density"] and len(scored) == len(given)
    assert re.search(r"mean -?[\d.e+-]+ nats", printed)


def _check(asked: dict, printed: str, folder: Path) -> None:
    cells = read_frame(folder / asked["output"])
    assert list(cells.columns) == ["row", "column", "value", "surprise", "likely"] and len(cells) == asked["top"]
    assert cells["surprise"].is_monotonic_decreasing


def _pool(asked: dict, printed: str, folder: Path) -> None:
    estimate = read_frame(folder / asked["output"])
    assert {"estimate", "std_error", "low", "high", "degrees", "lost"} <= set(estimate.columns)
    assert (estimate["low"] < estimate["high"]).all() and "std_error" in printed


def _doctor(asked: dict, printed: str, folder: Path) -> None:
    assert re.search(r"\d+ ok, \d+ warnings, 0 failures", printed.splitlines()[-1])


def _simulate(asked: dict, printed: str, folder: Path) -> None:
    assert any((folder / "data" / "simulations").rglob("*")), "data/simulations is empty"
    assert any((folder / "data" / "plots" / "simulate").rglob("*")), "data/plots/simulate is empty"


def _inspect(asked: dict, printed: str, folder: Path) -> None:
    assert "would read" in printed or "columns" in printed


def _init(asked: dict, printed: str, folder: Path) -> None:
    assert "dataset.name: digits → table" in printed and "`dvc repro` runs the stages" in printed


def _compare(asked: dict, printed: str, folder: Path) -> None:
    page = (folder / asked["output"]).read_text(encoding="utf8")
    assert asked["first"] in page and asked["second"] in page and "train.lr" in page


PROMISES = {
    "fit": _fit, "sample": _sample, "complete": _complete, "impute": _impute, "evaluate": _evaluate, "score": _score,
    "check": _check, "pool": _pool, "doctor": _doctor, "simulate": _simulate, "inspect": _inspect, "init": _init,
    "compare": _compare,
}  # fmt: skip
