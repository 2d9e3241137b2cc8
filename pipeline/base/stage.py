"""What every stage's main does: read the parameters, run, and end with one clear line when it cannot.

A stage dies with the dvc process that started it (Linux), and holds a lock on its output, so that a killed
`dvc repro` leaves no orphan that a second one would run beside.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from pipeline.base.failures import one_line_errors
from pipeline.base.files import remove_leftovers, write_json
from pipeline.base.params import Params, load_params
from pipeline.base.parent import die_with_parent
from pipeline.base.paths import Paths, paths
from pipeline.base.streams import ready_streams


def run_stage(name: str, run: Callable[[Params, Paths], object]) -> None:
    """Runs `run(params, paths)` as the stage `name` and exits: 0, 2 for bad parameters, 1 for bad input or a full
    disk, 130 for Ctrl-C, 143 for SIGTERM, after saving where a stage can. Command-line arguments are dotted
    overrides, e.g. `train.steps=100`.

    A stage that ends well leaves its wall time beside the checkpoints, for the report."""
    ready_streams()
    if "DVC_STAGE" in os.environ:  # DVC's child; one that a person started with nohup goes on without its shell
        die_with_parent()
    started = time.perf_counter()
    with one_line_errors(name):
        params = load_params(overrides=sys.argv[1:])
        where = paths()
        with stage_lock(name, where):
            remove_leftovers(where.data)
            run(params, where)
        ended = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        write_json(where.times / f"{name}.json", {"wall_s": round(time.perf_counter() - started, 2), "ended": ended})


@contextmanager
def stage_lock(name: str, where: Paths) -> Iterator[None]:
    """Holds the stage's lock file; of a torchrun group the first process holds it for all.

    Raises ValueError when another process runs the same stage here.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    folder = where.data / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f".{name}.lock", "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another process is running the stage '{name}' in {where.root}") from error
        yield
