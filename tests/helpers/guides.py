"""What README, landing page and guides tell a reader to type: the steps of a page in order, and their short form.

A command runs as the page has it, but for numbers that only make it long: SHORTER says which, in one table. Files that
a page speaks of without making them are made by `surroundings`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.base.params import merge_params, to_dict
from pipeline.model.generator import Generator
from pipeline.model.sampler import Sampler
from pipeline.rows.image_schema import image_label_schema
from tests.helpers.imports import ROOT

PAGES = [ROOT / "README.md", ROOT / "docs" / "index.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
DIGITS = [str(i) for i in range(10)]
TRAINED_BRIEFLY = (
    "--set train.steps=4 --set train.processes=1 --set tasks.train_rows=512 --set tasks.evaluation_rows=64"
)
SHORTER = [  # (a command, what is typed behind it in a test); the first that fits
    (r"biglearn fit photos/ ", TRAINED_BRIEFLY),
    (r"biglearn evaluate model$", "--set evaluate.classifier_epochs=1 --set evaluate.rows=20 --set evaluate.draws=2"
     " --set evaluate.baselines=false"),
    (r"biglearn fit survey", "--set steps=20"),  # with the forest, which may be chosen alone
    (r"biglearn (fit|impute|evaluate) (?!.*--model )", "--set steps=20 --set model=network"),
    (r"biglearn simulate ", "--set simulate.figures=false --set simulate.gmm25_outer=20 --set simulate.gmm25_paper=false"
     " --set simulate.blem_outer=5 --set simulate.gmm2_grid=10 --set simulate.seeds=1"),
    (r"biglearn demo ", "--port 0"),
]  # fmt: skip


@dataclass(frozen=True)
class Step:
    """python: a block as it stands. command: one line of a shell, continued lines joined. shown: output on the page."""

    kind: str
    text: str


def steps(page: Path) -> list[Step]:
    """The steps of a page, in its order. A shown `$ command` is a command, followed by what it shows."""
    out = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf8"), flags=re.M | re.S):
        if language == "python":
            out.append(Step("python", block))
        elif language == "bash":
            lines = re.sub(r"\\\n\s*", "", block).splitlines()
            out += [Step("command", command) for line in lines if (command := _without_comment(line))]
        elif language == "text":
            first, _, rest = block.partition("\n")
            if first.startswith("$ "):
                out.append(Step("command", first[2:]))
            out.append(Step("shown", rest if first.startswith("$ ") else block))
    return out


def _without_comment(line: str) -> str:
    quoted = r"""(?:[^'"#]|'[^']*'|"[^"]*"|(?<=\S)#)*"""
    return re.match(quoted, line).group().strip()


def commands(page: Path) -> list[str]:
    """Every command of a page."""
    return [step.text for step in steps(page) if step.kind == "command"]


def shortened(command: str) -> str:
    """The command as a test types it: each part between && with what SHORTER puts behind it, steps of training cut."""
    parts = []
    for part in command.split(" && "):
        more = next((more for pattern, more in SHORTER if re.match(pattern, part)), "")
        part = re.sub(
            r"-S network\.width=16,32 -S train\.steps=\d+,\d+", "-S network.width=16,32 -S train.steps=2", part
        )
        parts.append(f"{re.sub(r'(-S train.steps)=[0-9]{3,}', r'-S train.steps=4', part)} {more}".strip())
    return " && ".join(parts)


def shortened_python(block: str) -> str:
    """The block as a test runs it: steps of training cut."""
    return re.sub(r"\bsteps=\d{3,}", "steps=20", block)


# -- what the pages speak of ------------------------------------------------------------------------------------------
def surroundings(page: Path, folder: Path, *, trained: bool = False) -> None:
    """Puts into `folder` what the page presupposes. trained: with the model and the table that its commands make."""
    made = " ".join(commands(page))
    photos(folder / "photos")
    Image.open(folder / "photos" / "one.jpg").save(folder / "photo.png")
    people().to_csv(folder / "people.csv", index=False)
    if trained or page.name != "tables.md":  # which writes it itself
        people().drop(columns=["start", "end"]).to_csv(folder / "survey.csv", index=False)
        people(1).drop(columns=["start", "end"]).to_csv(folder / "new.csv", index=False)
    if not trained:  # a project trains its own
        save_untrained(folder / "data" / "models" / "generator", 8, 2)
    if trained or "-o model" not in made:
        save_untrained(folder / "model" / "data" / "models" / "generator", 16, 4)
    if "data.csv" in made:
        people().to_csv(folder / "data.csv", index=False, sep=";", decimal=",")
        people().to_excel(folder / "book.xlsx", sheet_name="2024", index=False)
        people().to_parquet(folder / "large.parquet", index=False)


def people(seed: int = 0, rows: int = 60) -> pd.DataFrame:
    """A table with a tenth of its cells missing, the name of each person aside."""
    rng = np.random.default_rng(seed)
    start = pd.Series(pd.date_range("2020-01-01", periods=rows))
    age = rng.integers(18, 80, rows)
    frame = pd.DataFrame(
        {
            "start": start.dt.strftime("%Y-%m-%d"),
            "end": (start + pd.to_timedelta(rng.integers(0, 60, rows), unit="D")).dt.strftime("%Y-%m-%d"),
            "age": age,
            "hours": rng.integers(10, 50, rows),
            "state": rng.choice(["CA", "NY", "TX"], rows),
            "income": (age * 800 + rng.normal(0, 5000, rows)).round(1),
        }
    )
    frame = frame.mask(rng.random(frame.shape) < 0.1)
    frame.insert(0, "person", [f"P-{i:04d}" for i in range(rows)])
    return frame


def photos(folder: Path, count: int = 24) -> None:
    """Pictures of a bright square somewhere on a dark ground, of two sizes, one of them one.jpg."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 60, (40, 40 + 8 * (i % 2), 3)).astype(np.uint8)
        top, left = rng.integers(0, 24, 2)
        pixels[top : top + 16, left : left + 16] = 220
        Image.fromarray(pixels).save(folder / ("one.jpg" if i == 0 else f"{i:02d}.png"))


def save_untrained(folder: Path, size_px: int, patch_px: int) -> None:
    """A model of grey digits that has not been trained."""
    params = merge_params({"network": {"width": 16, "depth": 1, "noise_width": 4, "convolution_channels": 0}})
    schema = image_label_schema(size_px, size_px, 1, patch_px, 0.0, 16.0, DIGITS)
    Sampler.save(folder, Generator(schema, params.network), schema, to_dict(params.network), 64)
