"""A small workspace whose stages run as real processes: what the tests of faults, resume and several processes share."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from kernels.task_sampling import write_bank
from pipeline import prepare
from pipeline.base.files import write_text
from pipeline.base.params import Params, merge_params
from pipeline.base.paths import Paths
from pipeline.rows.schema import Schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.tasks import EVALUATION_STREAM, TRAIN_STREAM
from tests.helpers.imports import ROOT

SMALL = {
    "tasks": {"train_rows": 256, "evaluation_rows": 64},
    "network": {"width": 8, "depth": 1, "noise_width": 4},
    "train": {
        "steps": 60,
        "body_start": 0.1,  # so that most steps are of every part
        "adversarial_start": 0.25,
        "batch_size": 32,
        "processes": 1,
        "checkpoint_interval": 5,
        "log_interval": 4,  # not a divisor of the other: a checkpoint must keep the open sums
        "sample_interval": 25,
        "warmup_steps": 3,
    },
}
TIMINGS = {"images_per_s", "steps_per_s", "wall_s", "cpu_s_per_process", "peak_rss_mb", "resumed_at_step"}
PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK")  # of this process in a group


class Workspace:
    """Params and a data folder below `root`, and stages run there as processes of their own."""

    def __init__(self, root: Path, changes: dict | None = None) -> None:
        self.root, self.where = Path(root), Paths(Path(root))
        self.root.mkdir(parents=True, exist_ok=True)
        groups = SMALL.keys() | (changes or {}).keys()
        self.settings = {g: {**SMALL.get(g, {}), **(changes or {}).get(g, {})} for g in groups}
        write_text(self.where.params, yaml.safe_dump(self.settings))

    @property
    def params(self) -> Params:
        """The checked parameters of this workspace."""
        return merge_params(self.settings)

    def prepared(self) -> Workspace:
        """This workspace with tokens and task banks, made in this process; without the pictures of stage tasks."""
        prepare.run(self.params, self.where)
        spec = spec_from_schema(self.params.tasks, Schema.load(self.where.tokens / "schema.json"))
        for name, rows, stream in (
            ("train", self.params.tasks.train_rows, TRAIN_STREAM),
            ("evaluation", self.params.tasks.evaluation_rows, EVALUATION_STREAM),
        ):
            write_bank(self.where.tasks / name, spec, rows, self.params.seed, stream)
        return self

    def command(self, stage: str, *overrides: str, launcher: tuple[str, ...] = ()) -> list[str]:
        """The command line of a stage. launcher: what comes between the interpreter and the module's name."""
        return [sys.executable, *(launcher or ("-m",)), f"pipeline.{stage}", *overrides]

    def environment(self) -> dict[str, str]:
        """The environment of a stage: this workspace as root, one thread, no place in a process group."""
        kept = {k: v for k, v in os.environ.items() if k not in PLACE}
        return {**kept, "BIGLEARN_ROOT": str(self.root), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def start(
        self, stage: str, *overrides: str, launcher: tuple[str, ...] = (), **environment: str
    ) -> subprocess.Popen:
        """The running stage, in a session of its own; its output goes to <stage>.out."""
        with open(self.root / f"{stage}.out", "wb") as out:
            return subprocess.Popen(
                self.command(stage, *overrides, launcher=launcher),
                cwd=self.root,
                env={**self.environment(), **environment},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, stage: str, *overrides: str, timeout_s: float = 120.0, **environment: str) -> tuple[int, str]:
        """(exit code, output) of a stage that ran to its end."""
        process = self.start(stage, *overrides, **environment)
        code = process.wait(timeout_s)
        return code, self.output(stage)

    def output(self, stage: str) -> str:
        """What the last run of the stage printed."""
        return (self.root / f"{stage}.out").read_text(encoding="utf8", errors="replace")

    def results(self) -> dict[str, str]:
        """Relative path → SHA-256 of every result, timings aside."""
        found = {}
        for path in sorted(self.where.data.rglob("*")):
            name = path.relative_to(self.where.data).as_posix()
            if path.is_dir() or name.startswith("checkpoints/") or path.stem == "steps_per_s":
                continue
            found[name] = hashlib.sha256(_without_timings(path)).hexdigest()
        return found


def _without_timings(path: Path) -> bytes:
    if path.suffix != ".json" or path.parent.name not in ("metrics", "train"):
        return path.read_bytes()
    raw = json.loads(path.read_text(encoding="utf8"))
    return json.dumps({k: v for k, v in raw.items() if k not in TIMINGS}, sort_keys=True).encode()


def wait_until(happened: Callable[[], bool], process: subprocess.Popen, timeout_s: float = 120.0) -> bool:
    """True once `happened()`; False when the process ended before. Raises TimeoutError."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if happened():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.003)
    raise TimeoutError(f"nothing happened within {timeout_s} s")


def curve_lines(work: Workspace) -> int:
    """Log lines that the running stage has written."""
    path = work.where.plots / "train" / "plots" / "metrics" / "generator_loss.tsv"
    return path.read_text(encoding="utf8").count("\n") - 1 if path.is_file() else 0


def checkpoint_steps(work: Workspace) -> list[int]:
    return sorted(int(p.name[5:]) for p in work.where.checkpoints.glob("*/step-????????"))


def check_curves(work: Workspace) -> None:
    """Every curve has one line for each log interval, in order; those of the discriminator from its first turn on."""
    train = work.params.train
    wanted = list(range(4, train.steps + 1, 4))
    adversarial = [line for line in wanted if line - 1 >= train.adversarial_start * train.steps]
    for path in (work.where.plots / "train" / "plots" / "metrics").glob("*.tsv"):
        steps = [int(line.split("\t")[0]) for line in path.read_text(encoding="utf8").splitlines()[1:]]
        assert steps == sorted(set(steps)) and set(steps) <= set(wanted), path.name
        if path.stem in ("generator_loss", "discriminator_loss"):
            assert steps == adversarial, path.name
        if path.stem in ("cross_entropy", "energy_score"):
            assert steps == wanted, path.name
