"""How long until a command answers: imports and whole commands in fresh processes, beside the bare import of torch.

    python -m benchmarks.start_up                        # this tree
    python -m benchmarks.start_up --before cdaaf9a       # and another revision, in alternation: before and after

CPU seconds and wall seconds are the least of the rounds; compiled Numba code is there (one round is not counted). Rows go
to results/start_up.csv; `ratio` is to `import torch` of the same run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.measure import append, key
from pipeline.base.params import NetworkParams
from pipeline.model.generator import Generator
from pipeline.model.sampler import Sampler
from pipeline.rows.image_schema import image_label_schema

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results" / "start_up.csv"
BASE = "import torch"
CLI = ("-m", "pipeline.app.cli")
CASES = {
    BASE: ("-c", "import torch"),
    "import pipeline": ("-c", "import pipeline"),
    "from pipeline import Sampler": ("-c", "from pipeline import Sampler"),
    "from pipeline import BigLearnImputer": ("-c", "from pipeline import BigLearnImputer"),
    "biglearn --help": (*CLI, "--help"),
    "biglearn sample, 64 rows": (*CLI, "sample", "model", "64", "-o", "rows.npy", "--force"),
    "biglearn impute, 150 rows": (*CLI, "impute", "table.csv", "-o", "filled.csv", "--force"),
}


def make_data(folder: Path) -> None:
    """A model of 8×8 images with the default network, and a table of 150 rows, 6 columns, a tenth of the cells missing."""
    torch.manual_seed(0)
    network = NetworkParams()
    schema = image_label_schema(8, 8, 1, 2, 0.0, 16.0, [str(i) for i in range(10)])
    Sampler.save(folder / "model", Generator(schema, network), schema, asdict(network), 512)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(150, 5)).round(2), columns=list("abcde"))
    frame["word"] = rng.choice(["x", "y", "z"], 150)
    frame.mask(rng.random(frame.shape) < 0.1).to_csv(folder / "table.csv", index=False)


def measure(tree: Path, case: str, folder: Path) -> tuple[float, float]:
    """(CPU, wall) seconds of one fresh process with the code of `tree`."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}
    began = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *CASES[case]],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"'{case}' with {tree} must end with 0. Got {child.returncode}.")
    return used.ru_utime + used.ru_stime, time.perf_counter() - began


@contextmanager
def trees(before: str | None) -> Iterator[dict[str, Path]]:
    """ "after" → this tree; "before" → a worktree of that revision, while the context lasts."""
    if before is None:
        yield {"after": ROOT}
        return
    with tempfile.TemporaryDirectory(prefix="biglearn-before-") as folder:
        other = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(other), before], cwd=ROOT, check=True)
        try:
            yield {"before": other, "after": ROOT}
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(other)], cwd=ROOT, check=True)


def main() -> None:
    """Measures, prints the table and appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", help="a revision to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    best: dict[tuple[str, str], tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(prefix="biglearn-start-") as name, trees(options.before) as sides:
        folder = Path(name)
        make_data(folder)
        jobs = [(case, side) for _ in range(options.rounds + 1) for case in CASES for side in sides]
        for i, (case, side) in enumerate(tqdm(jobs, unit="process")):
            found = measure(sides[side], case, folder)
            if i >= len(CASES) * len(sides):  # the first round compiles
                best[case, side] = tuple(map(min, found, best.get((case, side), found)))
    rows = []
    for (case, side), (cpu, wall) in sorted(best.items(), key=lambda item: list(CASES).index(item[0][0])):
        base = best[BASE, side]
        ratios = {"cpu_ratio": f"{cpu / base[0]:.2f}", "wall_ratio": f"{wall / base[1]:.2f}"}
        rows.append(key() | {"case": case, "side": side, "cpu_s": f"{cpu:.2f}", "wall_s": f"{wall:.2f}"} | ratios)
        print(f"{case:38} {side:6} {cpu:6.2f} CPU s  {wall:6.2f} s  × {ratios['cpu_ratio']} of torch's CPU")
    append(RESULTS, rows)


if __name__ == "__main__":
    main()
