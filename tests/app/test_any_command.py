"""No file that biglearn did not make changes or disappears, whatever the command line: 20 here, 200 marked slow."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from pipeline.app.cli import app
from pipeline.base.model_groups import NetworkParams
from pipeline.model.generator import Generator
from pipeline.model.sampler import Sampler
from pipeline.rows.image_schema import image_label_schema
from tests.helpers.random_pictures import make
from tests.helpers.small_presets import shrink

NETWORK = NetworkParams(width=8, depth=1, heads=1, noise_width=4)
PICTURES = [f"--set={name}" for name in (
    "train.steps=1", "train.batch_size=8", "train.processes=1", "train.warmup_steps=1", "tasks.train_rows=64",
    "tasks.evaluation_rows=64", "network.width=8", "network.depth=1", "network.heads=1", "network.noise_width=4",
    "network.convolution_channels=0", "prepare.image_size_px=8",
)]  # fmt: skip
TABLE = ["--set=steps=2", "--set=width=8"]
THINGS = (
    *("photos", "photos/000.txt", "notes.txt", "table.csv", "array.npz", "rows.npy", "thesis", "thesis/params.yaml"),
    *(
        "link",
        "link.csv",
        "loop",
        "locked.csv",
        "mixed",
        "mixed/00000.png",
        "model",
        "pipe",
        "nowhere",
        ".",
        "..",
        "",
        "empty",
    ),
)
OUTPUTS = (
    "new",
    "new.npy",
    "new.png",
    "new.csv",
    "new.npz",
    "photos/new",
    "photos/new.png",
    "deep/er/new.parquet",
    "odd.gif",
)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The current folder, full of a user's things and a model."""
    shrink(monkeypatch)
    home = tmp_path / "home"
    make(home / "photos", 1, fewest=6, most=9)
    for name in ("thesis", "mixed", "empty"):
        (home / name).mkdir()
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=40), "b": rng.choice(["u", "v"], 40)})
    table.to_csv(home / "table.csv", index=False)
    table.to_csv(home / "locked.csv", index=False)
    (home / "locked.csv").chmod(0o444)
    np.savez(home / "array.npz", x=rng.integers(0, 256, (40, 8, 8), dtype=np.uint8), y=rng.integers(0, 2, 40))
    np.save(home / "rows.npy", rng.integers(0, 256, (3, 64)))
    (home / "notes.txt").write_text("some words of mine " * 40)
    (home / "thesis" / "params.yaml").write_text("a: 1  # mine\n")
    (home / "mixed" / "00000.png").write_bytes(b"mine")
    os.symlink("photos", home / "link")
    os.symlink("table.csv", home / "link.csv")
    os.symlink(".", home / "loop")
    os.mkfifo(home / "pipe")
    monkeypatch.chdir(home)
    monkeypatch.setenv("BIGLEARN_ROOT", str(home / "thesis"))
    return home


def save_model(home: Path) -> None:
    schema = image_label_schema(8, 8, 1, 4, 0.0, 255.0, ["0", "1"])
    torch.manual_seed(0)
    Sampler.save(home / "model", Generator(schema, NETWORK), schema, asdict(NETWORK), 64)


def tree(folder: Path) -> dict[str, str]:
    """Relative path → rights and SHA-256 of a file, target of a link, or the rights of what else it is."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name, mode = path.relative_to(folder).as_posix(), oct(path.lstat().st_mode)
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = mode + (hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
    return found


def command_line(rng: np.random.Generator) -> list[str]:
    """A command with arguments that may or may not make sense."""

    def thing() -> str:
        return str(rng.choice(THINGS))

    def output() -> str:
        return str(rng.choice(OUTPUTS)) if rng.random() < 0.6 else thing()

    model = "model" if rng.random() < 0.7 else thing()
    force = ["--force"] if rng.random() < 0.6 else []
    kind = rng.choice(["sample", "complete", "inspect", "fit", "fit-table", "impute", "evaluate", "init", "report"],
                      p=[0.3, 0.25, 0.1, 0.06, 0.04, 0.08, 0.05, 0.06, 0.06])  # fmt: skip
    return {
        "sample": ["sample", model, "2", "-o", output(), *force],
        "complete": ["complete", model, thing(), "-o", output(), *force],
        "inspect": ["inspect", thing(), "--set", "prepare.image_size_px=8"],
        "fit": ["fit", str(rng.choice(["photos", "array.npz", ".", "link"])), "-o", output(), *PICTURES, *force],
        "fit-table": ["fit", str(rng.choice(["table.csv", "link.csv"])), "-o", output(), *TABLE, *force],
        "impute": ["impute", thing(), "-o", output(), "--model", thing(), *force],
        "evaluate": ["evaluate", thing(), "--data", thing()] if rng.random() < 0.5 else ["evaluate", "thesis"],
        "init": ["init", thing(), "--project", thing()],
        "report": ["report", "--project", thing()],
    }[str(kind)]  # fmt: skip


def test_no_file_of_the_user_is_touched(place):
    check(place, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 10))
def test_no_file_of_the_user_is_touched_in_the_long_run(place, seed):
    check(place, seed)


def check(place: Path, seed: int) -> None:
    """20 lines one after the other, so that later ones meet what earlier ones wrote."""
    before = tree(place)
    save_model(place)
    rng, codes = np.random.default_rng(seed), []
    for _ in range(20):
        line = command_line(rng)
        result = CliRunner().invoke(app, line, catch_exceptions=False)
        codes.append(result.exit_code)
        assert result.exit_code in (0, 1, 2) and "Traceback" not in result.stderr, line
        after = tree(place)
        changed = [name for name, what in before.items() if after.get(name) != what]
        assert changed == [], f"biglearn {' '.join(line)}: {changed}"
    left = list(place.rglob(".*.tmp"))
    assert left == [] and 0 in codes and 1 in codes
