"""Blocks filled by the workers of a Dask cluster, a few in flight, in the order of the table.

Each worker, also one that joins later or replaces one that died, loads the model once (a worker plugin). Dask gives a
block of a worker that died to another one; a block that ends several workers ends the run.
"""

from __future__ import annotations

import logging
import tempfile
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.estimators.filling import fill_frame

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.sources.blocks import Block

AHEAD = 3  # blocks in flight for each worker
JOIN_S = 60  # wait for a first worker


@contextmanager
def dask_filler(imputer: Any, address: str | None, workers: int) -> Iterator[Any]:
    """A filler on the cluster at `address`, or on one of `workers` processes on this machine that ends with it.

    Raises ValueError without the package or without a cluster that answers.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ValueError("--runner dask needs the package distributed: pip install 'biglearn[dask]'.") from error
    logging.getLogger("distributed").setLevel(logging.ERROR)  # else it tells how each connection closes
    if address:
        try:
            client = Client(address, timeout=15)
        except (OSError, TimeoutError, ValueError) as error:
            raise ValueError(f"--dask-address must be that of a Dask scheduler. Got {address!r} ({error}).") from error
        with client:
            yield _DaskFiller(client, imputer)
        return
    local = {"n_workers": workers, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with LocalCluster(**local, silence_logs=logging.ERROR) as cluster, Client(cluster) as client:
        yield _DaskFiller(client, imputer)


class _DaskFiller:
    def __init__(self, client: Any, imputer: Any) -> None:
        self.client, self.name = client, f"biglearn-{uuid.uuid4().hex}"
        client.wait_for_workers(1, timeout=JOIN_S)
        client.register_plugin(_model_plugin(imputer, self.name))

    def __call__(self, pairs: Iterator[tuple[Block, int | None]]) -> Iterator[tuple[Block, pd.DataFrame]]:
        from distributed.scheduler import KilledWorker

        flying: deque = deque()
        try:
            for block, seed in pairs:
                flying.append((block, self.client.submit(_fill, self.name, block.frame, seed, pure=False)))
                while len(flying) >= AHEAD * max(1, len(self.client.scheduler_info(n_workers=-1)["workers"])):
                    yield self._landed(flying)
            while flying:
                yield self._landed(flying)
        except KilledWorker as error:
            raise RuntimeError(f"rows {flying[0][0].first} and following ended several workers: {error}") from error

    @staticmethod
    def _landed(flying: deque) -> tuple[Block, pd.DataFrame]:
        block, future = flying[0]
        filled = future.result()
        flying.popleft()
        future.release()
        return block, filled


def _model_plugin(imputer: Any, name: str) -> Any:
    """A worker plugin that carries the files of the saved model."""
    from distributed import WorkerPlugin

    class ModelPlugin(WorkerPlugin):
        def __init__(self, files: dict[str, bytes]) -> None:
            self.files, self.name, self.imputer = files, name, None

        def setup(self, worker: Any) -> None:
            from pipeline.estimators.imputer import BigLearnImputer

            with tempfile.TemporaryDirectory(prefix="biglearn-model-") as folder:
                for file, payload in self.files.items():
                    (Path(folder) / file).parent.mkdir(parents=True, exist_ok=True)
                    (Path(folder) / file).write_bytes(payload)
                self.imputer = BigLearnImputer.load(folder)
            self.imputer.progress = False

    with tempfile.TemporaryDirectory(prefix="biglearn-model-") as folder:
        imputer.save(Path(folder) / "model")
        root = Path(folder) / "model"
        return ModelPlugin({str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file()})


def _fill(name: str, frame: pd.DataFrame, seed: int | None) -> pd.DataFrame:
    from distributed import get_worker

    return fill_frame(get_worker().plugins[name].imputer, frame, seed)
