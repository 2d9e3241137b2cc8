"""The public ranking of imputers that ForestDiffusion (2309.09968) and UnmaskingTrees (2407.05593) published: MCAR 20 %.

    python -m benchmarks.public_protocol iris yacht my_table.csv --data FOLDER [--methods biglearn sharp miceforest]
        [--seeds 0 1 2] [--published FILE] [--results FILE]

FOLDER holds uci_regression/ and blem/ of the mirror; iris, wine and breast cancer come with scikit-learn. A name that ends
in .csv is a file of one's own, its last column the label (texts are categories).

Protocol: the label is known and an input; rows are split 80/20 (stratified for classes) by seed n; cells of the training
rows are removed where torch.rand < .2 (seed n); rows without a known cell are dropped; a method is fitted on the training
rows and fills those, five draws; cells are scaled by the training minima and maxima, a category is one-hot / 2.

* w_train: exact L1 transport between filled and true rows, mean of the draws (tables of at most 2,000 rows).
* min_mae, avg_mae: best and mean of five draws, per missing cell.
* energy: energy score of a row's gaps, proper for distributions; less is better.
* spread: mean distance of two draws over the mean distance of a draw from the truth; 1 is honest.
* cpu_s: of fit and draws, this process and its children.

miceforest and utrees run in the environment whose python $PEERS_PYTHON names (benchmarks/peers_worker.py). With --published, a
CSV of dataset, method, MinMAE, AvgMAE, W_train, ranks among its methods are printed (1: best).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn import datasets
from sklearn.model_selection import train_test_split

from benchmarks.measure import append, key
from pipeline.estimators.imputer import BigLearnImputer

RESULTS = Path(__file__).parent / "results" / "public_protocol.csv"
DRAWS, MISSING_SHARE, TEST_SHARE = 5, 0.2, 0.2
MOST_TRANSPORT_ROWS = 2000
SCORES = ("w_train", "min_mae", "avg_mae", "energy", "spread", "cpu_s")
Fill = Callable[[np.ndarray, dict[int, str], int], dict[str, np.ndarray]]  # (gaps, kinds, seed) → name → (K, N, C)
PUBLISHED = {"w_train": "W_train", "min_mae": "MinMAE", "avg_mae": "AvgMAE"}
LEFT_OUT = ("oracle", "forest_diffusion_nt51_ycond")  # of the published methods: not imputers of their own
FILES = {
    "concrete_compression": "uci_regression/concrete.csv",
    "yacht_hydrodynamics": "uci_regression/yacht.csv",
    "wine_quality_red": "uci_regression/wine-quality-red.csv",
    "glass": "blem/glass.csv",
}


@dataclass(frozen=True)
class Table:
    """values: (N, C) float64, the label last. kinds: position → "cat" or "int"; other columns are numbers."""

    values: np.ndarray
    kinds: dict[int, str]

    @property
    def classes(self) -> np.ndarray | None:
        """(N,) the label where it is a category."""
        return self.values[:, -1] if self.kinds.get(self.values.shape[1] - 1) == "cat" else None


def load(name: str, folder: Path) -> Table:
    """A table of the ranking, or a file of one's own. Raises SystemExit for a name that is neither."""
    if name in ("iris", "wine", "breast_cancer_diagnostic"):
        raw = getattr(datasets, "load_" + name.replace("_diagnostic", ""))()
        label = 1 - raw.target if name.startswith("breast") else raw.target
        return Table(np.c_[raw.data, label].astype(float), {raw.data.shape[1]: "cat"})
    if name.endswith(".csv"):
        frame, kinds = pd.read_csv(name), {}
        for j, column in enumerate(frame):
            if not pd.api.types.is_numeric_dtype(frame[column]):
                frame[column], kinds[j] = pd.factorize(frame[column], sort=True)[0], "cat"
        return Table(frame.to_numpy(float), kinds)
    if name not in FILES:
        raise SystemExit(f"A table must be a .csv file or one of iris, wine, {', '.join(FILES)}. Got {name!r}.")
    values = pd.read_csv(folder / FILES[name]).to_numpy(float)
    last = values.shape[1] - 1
    if name == "glass":
        return Table(np.c_[values[:, 1:], pd.factorize(values[:, 0], sort=True)[0]], {last: "cat"})
    return Table(values, {"concrete_compression": {7: "int"}, "wine_quality_red": {last: "int"}}.get(name, {}))


def with_gaps(table: Table, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """((N, C) true training rows, (N, C) bool of removed cells) of a seed, as the published runs drew them."""
    torch.manual_seed(seed)
    train, _ = train_test_split(table.values, test_size=TEST_SHARE, random_state=seed, stratify=table.classes)
    mask = (torch.rand(train[:, :-1].shape, dtype=torch.float64) < MISSING_SHARE).numpy()
    kept = ~mask.all(1)
    return train[kept], np.c_[mask[kept], np.zeros(kept.sum(), bool)]


def as_frame(values: np.ndarray, kinds: dict[int, str]) -> pd.DataFrame:
    """A DataFrame whose categories say so."""
    frame = pd.DataFrame(values, columns=[f"c{j}" for j in range(values.shape[1])])
    for j, kind in kinds.items():
        if kind == "cat":
            frame[f"c{j}"] = frame[f"c{j}"].astype("Int64").astype("category")
    return frame


def biglearn(name: str, *, sharp: bool = False, **settings: object) -> Fill:
    """BigLearnImputer with these settings, the same for every table; sharp: with the sharper draws of the same fit."""

    def fill(gaps: np.ndarray, kinds: dict[int, str], seed: int) -> dict[str, np.ndarray]:
        frame = as_frame(gaps, kinds)
        imputer = BigLearnImputer(random_state=seed, progress=False, **settings).fit(frame)
        print("  " + json.dumps({k: imputer.report_[k] for k in ("scores", "spread", "steps", "seconds")}), flush=True)
        out = {}
        for spread in ("honest", "sharp")[: 1 + sharp]:
            imputer.set_spread(spread)
            drawn = imputer.sample(frame, draws=DRAWS)
            out[name if spread == "honest" else f"{name}_sharp"] = np.stack(
                [np.asarray(d.astype(float)) for d in drawn]
            )
        return out

    return fill


def peer(name: str) -> Fill:
    """A peer in the environment of $PEERS_PYTHON."""

    def fill(gaps: np.ndarray, kinds: dict[int, str], seed: int) -> dict[str, np.ndarray]:
        python = os.environ.get("PEERS_PYTHON", "")
        if not python:
            raise SystemExit("PEERS_PYTHON must name a python that holds the packages of benchmarks/peers_worker.py.")
        with tempfile.TemporaryDirectory(prefix="biglearn-peer-") as folder:
            source, described, target = (Path(folder) / n for n in ("gaps.csv", "kinds.json", "drawn.npz"))
            pd.DataFrame(gaps).to_csv(source, index=False)
            described.write_text(json.dumps(kinds), encoding="utf8")
            worker = Path(__file__).parent / "peers_worker.py"
            command = [python, str(worker), name, str(source), str(described), str(target), str(DRAWS), str(seed)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
            print(f"  {name}: {done.stdout.strip().splitlines()[-1]}", flush=True)
            return {name: np.load(target, allow_pickle=False)["drawn"]}

    return fill


METHODS: dict[str, Fill] = {
    "biglearn": biglearn("biglearn", sharp=True),
    "network": biglearn("network", model="network"),
    "forest": biglearn("forest", model="forest"),
    "fast": biglearn("fast", preset="fast"),
    "best": biglearn("best", preset="best"),
    "miceforest": peer("miceforest"),
    "utrees": peer("utrees"),
}


def scaled(train: np.ndarray, values: np.ndarray, kinds: dict[int, str]) -> np.ndarray:
    """(N, D) of (N, C) values: by the minima and maxima of train; a category one-hot / 2."""
    parts = []
    for j in range(train.shape[1]):
        if kinds.get(j) == "cat":
            parts.append((values[:, j, None] == np.unique(train[:, j])) / 2.0)
        else:
            low, high = train[:, j].min(), train[:, j].max()
            parts.append(((values[:, j] - low) / max(high - low, 1e-12))[:, None])
    return np.concatenate(parts, 1)


def score(true: np.ndarray, mask: np.ndarray, drawn: np.ndarray, kinds: dict[int, str]) -> dict[str, float]:
    """Every score but the time, of (K, N, C) draws."""
    truth, fills = scaled(true, true, kinds), np.stack([scaled(true, d, kinds) for d in drawn])
    rows = mask.any(1)
    each = np.abs(fills - truth)[:, rows].sum(2)

    def norm(a: np.ndarray) -> np.ndarray:
        return np.sqrt((a[rows] ** 2).sum(1) / mask.sum(1)[rows])

    near = np.mean([norm(f - truth) for f in fills], 0)
    pairs = [(i, j) for i in range(len(fills)) for j in range(i)]
    apart = np.mean([norm(fills[i] - fills[j]) for i, j in pairs], 0)
    out = {
        "min_mae": each.min(0).sum() / mask.sum(),
        "avg_mae": each.mean(0).sum() / mask.sum(),
        "energy": (near - apart / 2).mean(),
        "spread": apart.mean() / near.mean(),
    }
    if len(truth) <= MOST_TRANSPORT_ROWS:
        out["w_train"] = np.mean([transport(f, truth) for f in fills])
    return {k: float(v) for k, v in out.items()}


def transport(a: np.ndarray, b: np.ndarray) -> float:
    """L1 transport cost between as many rows a and b of equal weight: the best assignment is the best plan."""
    cost = cdist(a, b, "cityblock")
    return float(cost[linear_sum_assignment(cost)].mean())


def run(name: str, method: str, seed: int, table: Table) -> list[dict[str, object]]:
    """The scores of a method on one table and seed; two rows where one fit gives two kinds of draws."""
    true, mask = with_gaps(table, seed)
    before = os.times()
    filled = METHODS[method](np.where(mask, np.nan, true), table.kinds, seed)
    after = os.times()
    used = sum(after[:4]) - sum(before[:4])
    shape, out = {"rows": len(true), "columns": true.shape[1]}, []
    for own, drawn in filled.items():
        scores = score(true, mask, drawn, table.kinds) | {"cpu_s": used}
        stamp = {"table": Path(name).stem, "method": own, "seed": seed}
        out.append(stamp | shape | {k: round(scores[k], 5) for k in SCORES if k in scores})
    return out


def write_row(path: Path, row: dict[str, object]) -> None:
    """Appends one result."""
    names = [*key(), "table", "method", "seed", "rows", "columns", *SCORES]
    append(path, [row], names)


def ranks(rows: list[dict[str, object]], published: Path) -> dict[str, dict[str, float]]:
    """Method → score → mean rank among the published methods over the tables (1: best), by the means of the seeds."""
    with open(published, newline="", encoding="utf8") as stream:
        known = [r for r in csv.DictReader(stream) if not r["method"].lower().startswith(LEFT_OUT[0])]
    found = pd.DataFrame(rows)
    out: dict[str, dict[str, float]] = {}
    for method, own in found.groupby("method"):
        means = own.groupby("table")[list(PUBLISHED)].mean()
        out[method] = {}
        for score_name, column in PUBLISHED.items():
            place = [
                1 + sum(float(r[column]) < means.loc[t, score_name] for r in known
                        if r["dataset"] == t and r["method"] != LEFT_OUT[1])
                for t in means.index
            ]  # fmt: skip
            out[method][score_name] = round(float(np.mean(place)), 2)
    return out


def main() -> None:
    """Runs table after table, prints means of the seeds and, where the published figures are given, ranks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DATA_MIRROR", ".")) / "tabular")
    parser.add_argument("--methods", nargs="+", default=["biglearn"], choices=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--published", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    stamp, rows = key(), []
    for name in options.tables:
        table = load(name, options.data)
        for method in options.methods:
            new = [row for seed in options.seeds for row in run(name, method, seed, table)]
            for row in new:
                write_row(options.results, stamp | row)
            rows += new
            for own, part in pd.DataFrame(new).groupby("method", sort=False):
                found = part.reindex(columns=list(SCORES)).mean().round(4).to_dict()
                print(f"{Path(name).stem} {own} {found}", flush=True)
    last = {"benchmark": "public_protocol", "ranks": ranks(rows, options.published) if options.published else {}}
    print(json.dumps(last | key()))


if __name__ == "__main__":
    main()
