"""BigLearn-EM beside plain EM and scikit-learn's GaussianMixture: held-out likelihood and clusters, last iterate.

    DATA_MIRROR=<folder> python -m benchmarks.biglearn_em [--seeds 10] [--first 0] [--tables glass vehicle …]

Tables: 25 Gaussians (known density), and glass, vehicle, pendigits, letter from $DATA_MIRROR/tabular/blem. Rows are
split 80/20 by class and seed (pendigits: its own test file) and standardised by the training rows. `em` is the
same estimator with joint tasks alone: equal EM steps from an equal start; `em_prior` also keeps BigLearn-EM's
priors on weights and covariances, so that what is left between the two is the tasks. `sklearn` is GaussianMixture with
its defaults and reg_covar = min_eigenvalue, and as many k-means starts (n_init) as BigLearn-EM's CPU seconds
pay for. K is the number of classes; pendigits 12, as in the BigLearn-EM paper.

Log-likelihood: nats a test row in standardised units. NMI, ARI: test rows against classes. kl_qp: by quadrature,
25 Gaussians only. Mean ± sd over seeds. Prints one JSON object as its last line; `ratio` is BigLearn-EM's mean NMI
over plain EM's, averaged over the tables. Appends a row per table, method and seed to
benchmarks/results/biglearn_em.csv.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from tqdm import tqdm

from benchmarks.measure import append, key
from pipeline.simulation.biglearn_em import BigLearnEM
from pipeline.simulation.em_comparison import METHODS, MIN_EIGENVALUE, divergence_from_target, sample_rows
from pipeline.simulation.gmm25 import COMPONENTS, MODES

RESULTS = Path(__file__).parent / "results" / "biglearn_em.csv"
TABLES = ("gmm25", "glass", "vehicle", "pendigits", "letter")
COMPONENTS_OF = {"pendigits": 12}  # where K is not the number of classes
SIMULATION = {"n_outer": 600, "n_inner": 5, "min_eigenvalue": MIN_EIGENVALUE, "covariance_prior": 40.0}
# covariance_prior: chosen among 0, 10, 40 on glass and vehicle, seeds 100–109.
REAL = {"n_outer": 100, "n_inner": 5, "min_eigenvalue": 1e-2, "covariance_prior": 10.0}
PLAIN = {"joint_share": 1.0, "marginal_share": 0.0, "weight_prior": 0.0, "covariance_prior": 0.0}
JOINT = {"joint_share": 1.0, "marginal_share": 0.0}
ARMS = ("em", "em_prior", "blem", "sklearn")


@dataclass(frozen=True)
class Split:
    """Standardised rows (N, D) and classes (N,); shift and scale undo it: x = rows·scale + shift."""

    train: np.ndarray
    test: np.ndarray
    classes: np.ndarray  # of the test rows
    components: int
    shift: np.ndarray
    scale: np.ndarray


def read_table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """(rows (N, D), classes (N,)) of a file below $DATA_MIRROR/tabular/blem; the class is its first column."""
    root = os.environ.get("DATA_MIRROR")
    if not root:
        raise SystemExit("DATA_MIRROR must name the folder that holds tabular/blem. It is not set.")
    folder = Path(root) / "tabular" / "blem"
    plain, packed = folder / f"{name}.csv", folder / f"{name}.csv.gz"
    if not plain.exists() and not packed.exists():
        raise SystemExit(f"No {name}.csv or {name}.csv.gz in {folder}.")
    text = plain.read_text() if plain.exists() else gzip.decompress(packed.read_bytes()).decode()
    values = np.array(list(csv.reader(io.StringIO(text)))[1:], dtype=np.float64)
    return values[:, 1:], values[:, 0].astype(int)


def split(name: str, seed: int) -> Split:
    """The training and test rows of one table for one seed."""
    if name == "gmm25":
        train, test = sample_rows(seed, 2000), sample_rows(seed + 10**6, 10_000)
        classes = ((test[:, None] - MODES) ** 2).sum(-1).argmin(axis=1)
        components = COMPONENTS
    elif name == "pendigits":
        (train, _), (test, classes) = read_table("pendigits_train"), read_table("pendigits_test")
        components = COMPONENTS_OF[name]
    else:
        rows, labels = read_table(name)
        parts = train_test_split(rows, labels, test_size=0.2, stratify=labels, random_state=seed)
        train, test, classes, components = parts[0], parts[1], parts[3], len(set(labels))
    shift, scale = train.mean(axis=0), train.std(axis=0)
    scale[scale == 0] = 1.0
    return Split((train - shift) / scale, (test - shift) / scale, classes, components, shift, scale)


def estimators(name: str, data: Split, seed: int) -> dict[str, Callable]:
    """Method → what fits it; `sklearn` takes the CPU seconds it may spend."""
    base = SIMULATION if name == "gmm25" else REAL
    shares = METHODS["blem"] if name == "gmm25" else {}

    def mixture(budget_s: float):
        options = {"reg_covar": base["min_eigenvalue"], "random_state": seed}
        once, cost_s = timed(lambda: GaussianMixture(data.components, **options).fit(data.train))
        starts = max(1, int(budget_s / cost_s))
        return once if starts == 1 else GaussianMixture(data.components, n_init=starts, **options).fit(data.train)

    return {
        "em": lambda _: BigLearnEM(data.components, random_state=seed, **(base | PLAIN)).fit(data.train),
        "em_prior": lambda _: BigLearnEM(data.components, random_state=seed, **(base | JOINT)).fit(data.train),
        "blem": lambda _: BigLearnEM(data.components, random_state=seed, **(base | shares)).fit(data.train),
        "sklearn": mixture,
    }


def timed(call: Callable):
    """(result, CPU seconds of the process)."""
    began = time.process_time()
    result = call()
    return result, time.process_time() - began


def score(data: Split, model, name: str) -> dict[str, float]:
    """Scores of one fitted model on the test rows."""
    found = model.predict(data.test)
    scores = {
        "test_ll": float(model.score(data.test)),
        "nmi": normalized_mutual_info_score(data.classes, found),
        "ari": adjusted_rand_score(data.classes, found),
    }
    if name == "gmm25":
        means = model.means_ * data.scale + data.shift
        covariances = model.covariances_ * np.outer(data.scale, data.scale)
        scores["kl_qp"] = divergence_from_target(model.weights_, means, covariances)
    return scores


def run_table(name: str, seeds: range, advance: Callable[[], None]) -> list[dict]:
    """A row per seed and method of one table."""
    rows = []
    for seed in seeds:
        data = split(name, seed)
        budget_s = 0.0
        for method, fit in estimators(name, data, seed).items():
            model, cpu_s = timed(lambda fit=fit, budget_s=budget_s: fit(budget_s))
            budget_s = cpu_s if method == "blem" else budget_s
            starts = getattr(model, "n_init", 1)
            line = {"table": name, "method": method, "seed": seed, "n_init": starts, "cpu_s": cpu_s, "kl_qp": ""}
            rows.append(line | score(data, model, name))
            advance()
    return rows


def summarise(rows: list[dict]) -> dict[str, float]:
    """Mean and sd of every score: <table>_<method>_<score> and …_sd."""
    found = {}
    for name, method in dict.fromkeys((row["table"], row["method"]) for row in rows):
        mine = [row for row in rows if (row["table"], row["method"]) == (name, method)]
        for field in ("test_ll", "nmi", "ari", "kl_qp", "cpu_s", "n_init"):
            values = [row[field] for row in mine if row[field] != ""]
            if values:
                found[f"{name}_{method}_{field}"] = round(statistics.mean(values), 4)
                found[f"{name}_{method}_{field}_sd"] = round(statistics.pstdev(values), 4)
    return found


def report(found: dict[str, float], tables: list[str]) -> None:
    """The table for people."""
    print(
        f"{'table':10} {'method':8} {'test log-lik.':>17} {'NMI':>15} {'ARI':>15} {'KL(q‖p)':>15} {'CPU s':>7} {'n_init':>6}"
    )
    for name in tables:
        for method in ARMS:
            cells = []
            for field, width in (("test_ll", 17), ("nmi", 15), ("ari", 15), ("kl_qp", 15)):
                value = found.get(f"{name}_{method}_{field}")
                text = "" if value is None else f"{value:.3f} ± {found[f'{name}_{method}_{field}_sd']:.3f}"
                cells.append(f"{text:>{width}}")
            cost, starts = found[f"{name}_{method}_cpu_s"], found[f"{name}_{method}_n_init"]
            print(f"{name:10} {method:8} {' '.join(cells)} {cost:7.2f} {starts:6.1f}")


def main() -> None:
    """Runs every table, prints the table and the JSON line, appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # scikit-learn stops at 100 steps by default
    seeds, rows = range(options.first, options.first + options.seeds), []
    stamp = key() | {"scikit_learn": sklearn.__version__}
    with tqdm(total=len(ARMS) * len(seeds) * len(options.tables), unit="fit", file=sys.stderr) as bar:
        for name in options.tables:
            rows += run_table(name, seeds, bar.update)
    append(RESULTS, [stamp | {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows])
    found = summarise(rows)
    report(found, options.tables)
    ratios = [found[f"{name}_blem_nmi"] / found[f"{name}_em_nmi"] for name in options.tables]
    print(json.dumps({"benchmark": "biglearn_em", "ratio": round(statistics.mean(ratios), 4)} | stamp | found))


if __name__ == "__main__":
    main()
