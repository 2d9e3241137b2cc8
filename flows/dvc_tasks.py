"""DVC as the flows see it: its stages in order, what is stale, one stage run in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

from flows.process import child_command, stream

_BUSY_WAIT_S = 2.0
# DVC's advice to people at a terminal, after every stage; what it says of outs that were never built
_HINTS = (
    "To track the changes with git",
    "git add ",
    "To enable auto staging",
    "dvc config core.autostage",
    "Use `dvc push`",
    "WARNING: No file hash info found for",
)
_BUSY = ("is busy", "Unable to acquire lock", "another process is running the stage")
_IN_PROCESS = threading.Lock()  # DVC's Repo objects are not made for threads


class StageFailed(RuntimeError):
    """A DVC stage ended with an error; the message is the stage's own last word."""


@dataclass
class Output:
    """Lines of a dvc process, passed on to `log` and kept to explain a failure."""

    log: Callable[[str], object]
    lines: list[str] = field(default_factory=list)

    def __call__(self, line: str) -> None:
        if line.lstrip().startswith(_HINTS):
            return
        self.log(line)
        self.lines = [*self.lines[-99:], line]

    @property
    def is_busy(self) -> bool:
        """True when another DVC process holds what this one needs."""
        return any(sign in line for sign in _BUSY for line in self.lines)

    def ending(self, code: int, stage: str) -> str:
        """`was ended by SIGTERM`, or `ended with code 1: <reason>`."""
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with code {code}: {self.reason(stage)}"

    def reason(self, stage: str) -> str:
        """The stage's own message (`<stage>: …`), else DVC's error, else the last line."""
        for start in (f"{stage}: ", "ERROR: "):
            found = [line for line in self.lines if line.startswith(start)]
            if found:
                return found[-1].removeprefix(start)
        return self.lines[-1] if self.lines else "no output"


def stage_order(root: Path) -> dict[str, list[str]]:
    """Stage address → addresses of the stages it needs, in an order in which they can run; read from dvc.yaml.

    An address is a name in the root's dvc.yaml, or `folder/dvc.yaml:name`, or `file.dvc`: a target of `dvc repro`.
    """
    from dvc.repo import Repo

    def address(stage: object) -> str:
        file, name = os.path.relpath(stage.path, repo.root_dir), getattr(stage, "name", None)
        return file if name is None else name if file == "dvc.yaml" else f"{file}:{name}"

    with _IN_PROCESS, Repo(str(root)) as repo:
        graph = repo.index.graph  # an edge runs from a stage to what it needs
        needs = {address(s): sorted(address(p) for p in graph.successors(s)) for s in graph.nodes}
    return {name: needs[name] for name in TopologicalSorter(dict(sorted(needs.items()))).static_order()}


def stale_stages(root: Path, stages: Sequence[str]) -> set[str]:
    """Those of `stages` that `dvc repro` would run now: a dependency, a parameter, the command or an out differs."""
    from dvc.repo import Repo

    def target(address: str) -> str:  # absolute: DVC takes a bare name as one of the current folder's dvc.yaml
        is_file = ":" in address or address.endswith(".dvc")
        return str(root / address) if is_file else f"{root / 'dvc.yaml'}:{address}"

    with _IN_PROCESS, Repo(str(root), _wait_for_lock=True) as repo:
        return {stage for stage in stages if repo.status(targets=[target(stage)])}


def run_dvc(root: Path, arguments: Sequence[str], log: Callable[[str], object], *, timeout_s: float) -> int:
    """Exit code of `dvc <arguments>` in `root`, started so that it dies with this process."""
    command = child_command("dvc", "--wait-for-lock", *arguments)
    return stream(command, root, log, timeout_s=timeout_s, environment=child_environment())


def child_environment() -> dict[str, str]:
    """This process's environment for a dvc child: `python` in dvc.yaml is this interpreter, output is unbuffered,
    the project root is the folder the child runs in."""
    here = {k: v for k, v in os.environ.items() if k != "BIGLEARN_ROOT"}
    package = str(Path(__file__).resolve().parent.parent)
    return here | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), here.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(p for p in (here.get("PYTHONPATH"), package) if p),
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
    }


def run_stage(
    root: Path,
    stage: str,
    log: Callable[[str], object],
    *,
    timeout_s: float,
    busy_wait_s: float,
    force: bool = False,
) -> None:
    """Runs one stage through `dvc repro`, waiting up to `busy_wait_s` seconds for another DVC process in `root`.

    Raises StageFailed with the stage's message, DeadlineExceeded after `timeout_s` seconds.
    """
    arguments = ["repro", "--single-item", *(["--force"] if force else []), stage]
    limit = time.monotonic() + busy_wait_s
    while True:
        output = Output(log)
        code = run_dvc(root, arguments, output, timeout_s=timeout_s)
        if code == 0:
            return
        if not (output.is_busy and time.monotonic() < limit):
            raise StageFailed(f"stage '{stage}' {output.ending(code, stage)}")
        log(f"another DVC process works in {root}; trying again in {_BUSY_WAIT_S:g} s")
        time.sleep(_BUSY_WAIT_S)
