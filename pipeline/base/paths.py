"""Every path below the data folder, named once. All are relative to the repository root.

`BIGLEARN_ROOT` moves the root (tests and experiments use it); the default is the current folder
when it holds a params.yaml, else the repository this file lies in, where it lies in one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Where each stage reads and writes; one property per folder or file."""

    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def raw(self) -> Path:
        """fetch: files as downloaded, checksums verified."""
        return self.data / "raw"

    @property
    def tokens(self) -> Path:
        """prepare: schema.json, train.npy, test.npy, summary.json."""
        return self.data / "tokens"

    @property
    def tasks(self) -> Path:
        """tasks: the training and evaluation banks of q(S, T)."""
        return self.data / "tasks"

    @property
    def simulations(self) -> Path:
        return self.data / "simulations"

    @property
    def models(self) -> Path:
        """train: generator/ (safetensors folder), discriminator/, sample grids."""
        return self.data / "models"

    @property
    def generator(self) -> Path:
        return self.models / "generator"

    @property
    def checkpoints(self) -> Path:
        """Resumable training state. Git-ignored and outside every DVC out, keyed by a hash of
        params, code and data, so that a changed parameter never resumes a stale run."""
        return self.data / "checkpoints"

    @property
    def times(self) -> Path:
        """<stage>.json: wall time of the stage's last run here. Outside every DVC out, like the checkpoints."""
        return self.checkpoints / "times"

    @property
    def metrics(self) -> Path:
        """<stage>.json: flat, numbers only."""
        return self.data / "metrics"

    @property
    def plots(self) -> Path:
        """<stage>/…: CSV series and PNG pictures that DVC plots."""
        return self.data / "plots"

    @property
    def promoted(self) -> Path:
        """flows.retrain: generator/ of the promoted model and promoted.json; not an out of any stage."""
        return self.data / "promoted"

    @property
    def report(self) -> Path:
        return self.data / "report"


def default_root() -> Path:
    """The project root: $BIGLEARN_ROOT, else the current folder if it has a params.yaml, else the repository that holds
    this package, else (the package is installed on its own) the current folder."""
    chosen = os.environ.get("BIGLEARN_ROOT")
    if chosen:
        return Path(chosen).resolve()
    here = Path.cwd()
    if (here / "params.yaml").is_file():
        return here
    repository = Path(__file__).resolve().parents[2]
    return repository if (repository / "params.yaml").is_file() else here


def paths() -> Paths:
    """The paths of the current project root."""
    return Paths(default_root())
