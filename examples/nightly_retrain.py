"""Two nights and a quiet one of a scheduled retraining: new data, a gate, promotion of the better model.

    python nightly_retrain.py --out nightly

In a checkout of this repository, with the extra `workflow` (DVC, Prefect) and git. It works in a clone of the checkout,
so your own folder stays as it is. What it starts by hand each night, `python -m flows.retrain`, is what `make serve` starts
at 02:30 (prefect.yaml). The table is made up: sales of a shop, to which each day adds rows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.app.project import with_value

CHECKOUT = Path(__file__).resolve().parent.parent
GATE = {"retrain.metric": "wasserstein_mean", "retrain.tolerance": 0.2}  # distance of drawn columns to held-out rows
WITHOUT_SIMULATIONS = {"simulate.seeds": 1, "simulate.figures": False, "simulate.gmm25_paper": False}


def sales(day: int, rows: int) -> pd.DataFrame:
    """The sales of a day, (rows, 4): some prices were not written down."""
    rng = np.random.default_rng(day)
    goods = rng.choice(["bread", "milk", "cheese"], rows, p=[0.5, 0.3, 0.2])
    price = pd.Series(goods).map({"bread": 3.0, "milk": 1.2, "cheese": 6.5}) * rng.normal(1, 0.05, rows)
    table = pd.DataFrame({"hour": rng.integers(8, 20, rows), "goods": goods, "price": price.round(2)})
    table["paid_by_card"] = rng.random(rows) < 0.3 + 0.4 * (table["price"] > 4)
    return table.mask(rng.random(table.shape) < 0.05)


def shell(folder: Path, *command: str) -> str:
    """What a command prints, run in the clone. Raises RuntimeError with what it said when it fails."""
    environment = {k: v for k, v in os.environ.items() if k != "BIGLEARN_ROOT"} | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def start(folder: Path, table: Path, steps: int) -> None:
    """A clone of the checkout in `folder` that is set for the table; its own commit, as a retraining builds commits."""
    shell(CHECKOUT, "git", "clone", "--quiet", str(CHECKOUT), str(folder))
    shell(folder, "git", "config", "user.name", "nightly")
    shell(folder, "git", "config", "user.email", "nightly@localhost")
    settings = (f"train.steps={steps}", "train.processes=1", "tasks.train_rows=16384")
    command = (sys.executable, "-m", "pipeline.app.cli", "init", str(table))  # the same as: biglearn init sales.csv …
    shell(folder, *command, *(word for setting in settings for word in ("--set", setting)))
    params = (folder / "params.yaml").read_text(encoding="utf8")
    for name, value in {**GATE, **WITHOUT_SIMULATIONS}.items():
        params = with_value(params, name, value)
    (folder / "params.yaml").write_text(params, encoding="utf8")
    shell(folder, "git", "commit", "--quiet", "--all", "--message", "The shop's table")


def main(out: Path, rows: int = 600, steps: int = 600) -> list[str]:
    """What each night decided."""
    out = out.resolve()
    if out.exists() and any(out.iterdir()):
        raise SystemExit(f"--out must be an empty or a new folder. Got {out}.")
    out.mkdir(parents=True, exist_ok=True)
    table, folder = out / "sales.csv", out / "project"
    sales(0, rows).to_csv(table, index=False)
    start(folder, table, steps)
    decisions = []
    for night, news in (("first night", 0), ("second night", rows), ("a night without new sales", 0)):
        if news:
            sales(1, news).to_csv(table, mode="a", header=False, index=False)
        log = shell(folder, sys.executable, "-m", "flows.retrain")
        signs = ("promoted as", "not promoted", "Unchanged")
        decisions.append(next(line for line in reversed(log.splitlines()) if any(sign in line for sign in signs)))
        print(f"{night}: {decisions[-1].partition(' - ')[2] or decisions[-1]}", flush=True)
    print(shell(folder, sys.executable, "-m", "flows.registry"), end="")
    print(f"the model that others load: {folder / 'data' / 'promoted' / 'generator'}")
    return decisions


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("nightly"), help="a new folder; nightly/ if not given")
    parser.add_argument("--rows", type=int, default=600, help="sales a day; 600 if not given")
    parser.add_argument("--steps", type=int, default=600, help="training steps, at most; 600 if not given")
    main(**vars(parser.parse_args()))
