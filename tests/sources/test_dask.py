"""Blocks filled on a Dask cluster: the same bytes as in one process, also when a worker is killed meanwhile."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import psutil
import pytest

from pipeline.app.dask_filling import dask_filler
from pipeline.app.filling import HereFiller, write_filled
from pipeline.estimators.imputer import BigLearnImputer
from pipeline.sources.opening import open_source, read_frame
from pipeline.sources.places import place_of
from tests.helpers.imports import ROOT

TINY = {"steps": 2, "width": 8, "depth": 1, "batch_size": 16, "progress": False}


def gappy(path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"x": rng.normal(size=200).round(2), "n": rng.integers(0, 9, 200), "w": rng.choice(["a", "b"], 200)}
    )
    frame.astype(object).mask(rng.random(frame.shape) < 0.3).to_csv(path, index=False)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_workers_fill_as_one_process_does_and_one_may_die(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.sources.text_tables.BLOCK_ROWS", 10)
    gappy(tmp_path / "in.csv")
    imputer = BigLearnImputer(**TINY).fit(read_frame(tmp_path / "in.csv", tell=str))
    command = [sys.executable, "-m", "tests.helpers.dask_cluster"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cluster:
        address = cluster.stdout.readline().strip()

        def filled(name: str, draws: int, fill) -> bytes:
            with open_source(place_of(tmp_path / "in.csv"), tell=str) as source:
                stamps = ("draw", "row") if draws else None
                write_filled(source, place_of(tmp_path / name), fill, draws=draws, seed=3, force=False, stamps=stamps)
            return (tmp_path / name).read_bytes()

        def with_a_death(pairs):
            """The pairs; before the fifth, a worker is killed."""
            for number, pair in enumerate(pairs):
                if number == 5:
                    workers = psutil.Process(cluster.pid).children(recursive=True)
                    next(p for p in workers if "spawn_main" in " ".join(p.cmdline())).kill()
                yield pair

        try:
            with dask_filler(imputer, address, 0) as there:
                here = HereFiller(imputer)
                assert filled("a.csv", 0, here) == filled("b.csv", 0, there)
                assert filled("c.csv", 2, here) == filled("d.csv", 2, lambda pairs: there(with_a_death(pairs)))
            told = cluster.communicate("end\n", timeout=60)[0]
        finally:
            cluster.kill()
    assert "workers with work: " in told


def test_an_address_without_a_scheduler_is_named():
    with (
        pytest.raises(ValueError, match="--dask-address must be that of a Dask scheduler. Got 'nonsense://x'"),
        dask_filler(None, "nonsense://x", 1),
    ):
        raise AssertionError("never reached")
