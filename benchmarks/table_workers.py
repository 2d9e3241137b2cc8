"""How much sooner two Dask workers fill a table than one, where filling is computing.

    python -m benchmarks.table_workers [--rows 12288] [--rounds 2] [--model auto]

Every row of the made table (benchmarks/large_table.py) has gaps; a model fitted on 1,000 rows of it draws them. Rounds
alternate between one and two workers of one thread each, on a cluster of this machine that is started before the clock;
the client reads and writes, as always. The least time of a kind counts. Both must write the same bytes.

Prints one JSON object as its last line: `ratio`, seconds of one worker over those of two. Appends to
benchmarks/results/table_workers.csv.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.large_table import write_table
from benchmarks.measure import append, key
from pipeline.app.dask_filling import dask_filler
from pipeline.app.filling import write_filled
from pipeline.base.files import sha256
from pipeline.estimators.filling import fill_frame
from pipeline.estimators.imputer import BigLearnImputer
from pipeline.sources.blocks import sampled
from pipeline.sources.opening import open_source
from pipeline.sources.places import place_of

RESULTS = Path(__file__).parent / "results" / "table_workers.csv"
BLOCK_ROWS = 1024  # of a row group, so that there are enough to share out
FIT_ROWS = 1000


def fitted(path: Path, model: str) -> BigLearnImputer:
    """A model of the table, of some rows."""
    with open_source(place_of(path), tell=str) as source:
        frame = sampled(source, FIT_ROWS, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return BigLearnImputer(model=model, preset="fast", steps=100, progress=False).fit(frame)


def _warm(dask_worker: Any, name: str, frame: pd.DataFrame) -> None:
    """Fills a few rows on a worker: what it imports and compiles the first time is not in the clock."""
    fill_frame(dask_worker.plugins[name].imputer, frame, 0)


def filled_s(path: Path, out: Path, imputer: BigLearnImputer, workers: int) -> float:
    """Seconds from the first block to the last, on a cluster that is up and has the model."""
    with dask_filler(imputer, None, workers) as fill, open_source(place_of(path), tell=str) as source:
        fill.client.wait_for_workers(workers)
        fill.client.run(_warm, name=fill.name, frame=next(source.blocks()).frame.head(8))
        started = time.perf_counter()
        options: dict[str, Any] = {"draws": 1, "seed": 0, "force": True, "stamps": None}
        write_filled(source, place_of(out), fill, **options)
        return time.perf_counter() - started


def main() -> None:
    """Measures, prints, appends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=12_288)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default="auto", choices=["auto", "network", "forest"])
    options = parser.parse_args()
    best: dict[int, float] = {}
    digests = set()
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "table.parquet", Path(folder) / "filled.parquet"
        rows = write_table(path, 0, 1.0, BLOCK_ROWS, pieces=-(-options.rows // BLOCK_ROWS))
        imputer = fitted(path, options.model)
        for _ in range(options.rounds):
            for workers in (1, 2):
                seconds = filled_s(path, out, imputer, workers)
                digests.add(sha256(out))
                print(f"{workers} workers: {seconds:.1f} s", flush=True)
                best[workers] = min(seconds, best.get(workers, seconds))
    if len(digests) != 1:
        raise RuntimeError("one and two workers must write the same bytes")
    found = {"model": options.model, "rows": rows, "one_s": round(best[1], 2), "two_s": round(best[2], 2)}
    found["ratio"] = round(best[1] / best[2], 3)
    append(RESULTS, [key() | found])
    print(json.dumps({"benchmark": "table_workers"} | key() | found))


if __name__ == "__main__":
    main()
