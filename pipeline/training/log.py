"""Training curves: means between log lines, written through DVCLive where it is installed, else as TSV files.

Both write <folder>/plots/metrics/<name>.tsv with the columns `step` and `<name>`, so that whatever reads
the curves need not know which wrote them. A resumed run finds the folder as the checkpoint kept it, and goes
on with the sums that the checkpoint kept: its curves are those of a run that was never interrupted.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from kernels.discriminator_losses import FamilyStatistics

Sums = dict[str, tuple[float, int]]


class TrainingLog:
    """Collects device scalars each step without waiting for the device; writes their means at log lines.

    average: averages a tensor over all processes in place; every process calls `write`, the first one, with
    enabled, writes. sums: what `sums` gave when the run was interrupted. last: the values of the newest line.
    Use as a context manager.
    """

    def __init__(
        self,
        folder: Path,
        first_step: int,
        *,
        enabled: bool = True,
        average: Callable[[Tensor], None] = lambda values: None,
        sums: Sums | None = None,
    ) -> None:
        self.last: dict[str, float] = {}
        self._sums: dict[str, tuple[Tensor | float, int]] = dict(sums or {})
        self._average = average
        self._live = _writer(folder, resume=first_step > 0) if enabled else None
        self._clock, self._step = time.perf_counter(), first_step

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.end()

    def sums(self) -> Sums:
        """Name → (sum, number of values) since the last line, the mean over processes, which all must ask for it."""
        totals = self._totals()
        return {k: (totals[k], count) for k, (_, count) in self._sums.items()}

    def collect(self, losses: dict[str, Tensor]) -> None:
        """Adds one step's () tensors."""
        for name, value in losses.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value, count + 1)

    def write(self, step: int, statistics: FamilyStatistics | None, families: tuple[str, ...]) -> dict[str, float]:
        """Writes the means since the last line and returns those worth showing in a progress bar."""
        line = {k: total / self._sums[k][1] for k, total in self._totals().items()}
        if statistics is not None:
            line |= self._accuracies(statistics, families)
        now = time.perf_counter()
        line["steps_per_s"] = (step - self._step) / max(1e-9, now - self._clock)
        self._clock, self._step, self._sums = now, step, {}
        self.last = line
        if self._live is not None:
            self._live.step = step
            for name, value in line.items():
                self._live.log_metric(name, value)
            self._live.make_summary()
        return {k: line[k] for k in ("discriminator_loss", "generator_loss", "cross_entropy") if k in line}

    def _totals(self) -> dict[str, float]:
        if not self._sums:
            return {}
        totals = torch.stack([torch.as_tensor(total, dtype=torch.float64) for total, _ in self._sums.values()])
        self._average(totals)
        return dict(zip(self._sums, totals.tolist(), strict=True))

    def _accuracies(self, statistics: FamilyStatistics, families: tuple[str, ...]) -> dict[str, float]:
        right = torch.stack([statistics.count, statistics.count * statistics.accuracy]).double()
        self._average(right)
        shown = torch.nonzero(right[0] > 0).flatten().tolist()
        return {f"discriminator_accuracy_{families[i]}": float(right[1, i] / right[0, i]) for i in shown}


class _TsvWriter:
    """The part of DVCLive's interface that is used here, for hosts without it."""

    def __init__(self, folder: Path, resume: bool) -> None:
        self.folder, self.resume, self.step = Path(folder) / "plots" / "metrics", resume, 0
        self._seen: set[str] = set()

    def log_metric(self, name: str, value: float) -> None:
        path = self.folder / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = name not in self._seen and not (self.resume and path.exists())
        self._seen.add(name)
        with open(path, "w" if fresh else "a", encoding="utf8") as stream:
            if fresh:
                stream.write(f"step\t{name}\n")
            stream.write(f"{self.step}\t{value}\n")

    def make_summary(self) -> None: ...

    def end(self) -> None: ...


def _writer(folder: Path, resume: bool) -> object:
    if importlib.util.find_spec("dvclive") is None:
        return _TsvWriter(folder, resume)
    from dvclive import Live  # optional: a GPU host may have only torch, numba, numpy and omegaconf

    return Live(str(folder), resume=resume, save_dvc_exp=False, dvcyaml=None, report=None)
