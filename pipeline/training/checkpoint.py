"""Resumable training state: atomic save, verified load, the last two kept.

A checkpoint is a folder step-NNNNNNNN with state.safetensors (weights, average, optimisers), copies of the
outputs that grow while training runs (curves, sample grids) and state.json: the run it belongs to, the step, the
open sums of the curves, and the SHA-256 of every file and of itself. Random streams are functions of (seed, step),
so no generator state is needed. Checkpoints of one run lie below a folder named by a hash of params, code and data:
a run with another parameter never resumes them, and DVC, which clears the outputs of a stage before it runs, leaves
them alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipeline.base.files import replaced_folder, sha256, write_bytes, write_json
from pipeline.base.runs import RUN_FILE, Run, write_run
from pipeline.model.network_files import tensors_from_file, tensors_to_bytes
from pipeline.training.flat import FlatParameters
from pipeline.training.log import Sums
from pipeline.training.step import TrainingStep

KEPT = 2


@dataclass(frozen=True)
class Resumed:
    """step: finished steps. sums: of TrainingLog."""

    step: int = 0
    sums: Sums | None = None


class Checkpoints:
    """Saves and restores a TrainingStep below `folder`, whose name is the run's key.

    outputs: name → folder that grows while training runs; a checkpoint holds a copy of each. run: noted in the folder,
    so that a later run can say what has changed since.
    """

    def __init__(self, folder: Path, outputs: Mapping[str, Path] | None = None, run: Run | None = None) -> None:
        self.folder, self.outputs, self.run = Path(folder), dict(outputs or {}), run

    def save(self, step: int, state: TrainingStep, sums: Sums | None = None, *, write: bool = True) -> None:
        """Writes the state after `step` finished steps, then removes all but the last two.

        write: of several processes, which all call, the first one writes. What they share out is put together, so that
        a checkpoint does not tell how many there were.
        """
        entries = _entries(state)
        tensors = {k: t if flat is None else state.sharing.collect(flat, t) for k, (t, flat) in entries.items()}
        if not write:
            return
        with replaced_folder(self.folder / f"step-{step:08d}") as fresh:
            write_bytes(fresh / "state.safetensors", tensors_to_bytes(tensors))
            for name, output in self.outputs.items():
                if output.is_dir():
                    shutil.copytree(output, fresh / name)
            record = {
                "run": self.folder.name,
                "step": step,
                "non_finite": int(state.non_finite),
                "sums": {k: list(v) for k, v in (sums or {}).items()},
                "files": {p.relative_to(fresh).as_posix(): sha256(p) for p in sorted(fresh.rglob("*")) if p.is_file()},
            }
            write_json(fresh / "state.json", {**record, "sha256": _digest(record)})
        if self.run is not None and not (self.folder / RUN_FILE).is_file():
            write_run(self.folder / RUN_FILE, self.run)
        for old in self._folders()[:-KEPT]:
            shutil.rmtree(old)

    def restore(self, state: TrainingStep, *, put_back: bool = True) -> Resumed:
        """What the newest intact checkpoint holds, its tensors loaded into `state`; step 0 when there is none.

        put_back: also make the outputs what they were then: of several processes, one does it. A damaged
        checkpoint is named on standard error and the one before it is used.
        """
        for folder in reversed(self._folders()):
            try:
                record = self._verified(folder)
                _load(_entries(state), tensors_from_file(folder / "state.safetensors"))
            except (OSError, ValueError) as error:
                print(f"checkpoint {folder.name} is damaged ({error}); trying an older one", file=sys.stderr)
                continue
            if put_back:
                self._put_back(folder)
            state.non_finite.fill_(record["non_finite"])
            return Resumed(record["step"], {k: (v[0], v[1]) for k, v in record["sums"].items()})
        if put_back:
            self._put_back(None)
        return Resumed()

    def clear(self) -> None:
        """Removes this run's checkpoints: the finished model is elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _folders(self) -> list[Path]:
        return sorted(self.folder.glob("step-????????")) if self.folder.is_dir() else []

    def _verified(self, folder: Path) -> dict:
        """state.json of `folder`. Raises ValueError when it or a file it names is not what was saved."""
        record = json.loads((folder / "state.json").read_text(encoding="utf8"))
        if not isinstance(record, dict) or record.pop("sha256", None) != _digest(record):
            raise ValueError("the SHA-256 of state.json does not match")
        if record["run"] != self.folder.name or folder.name != f"step-{record['step']:08d}":
            raise ValueError(f"it belongs to step {record['step']} of run {record['run']}")
        for name, digest in record["files"].items():
            if sha256(folder / name) != digest:
                raise ValueError(f"the SHA-256 of {name} does not match")
        return record

    def _put_back(self, folder: Path | None) -> None:
        for name, output in self.outputs.items():
            if folder is not None and (folder / name).is_dir():
                with replaced_folder(output) as fresh:
                    shutil.copytree(folder / name, fresh, dirs_exist_ok=True)
            elif output.is_dir():
                shutil.rmtree(output)


def _digest(record: dict) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _entries(state: TrainingStep) -> dict[str, tuple[Tensor, FlatParameters | None]]:
    """Name → (tensor, the buffer of whose kind it is this process's part; None: whole in every process)."""
    flat_g, flat_d = state.flat_g, state.flat_d
    out = {"generator": (flat_g.values[: flat_g.count], None), "discriminator": (flat_d.values[: flat_d.count], None)}
    out["average"] = (state.own_average, flat_g)
    for name, adam, flat in (("adam_g", state.adam_g, flat_g), ("adam_d", state.adam_d, flat_d)):
        moments = adam.state[flat.leaf]
        out |= {f"{name}.{k}": (v, flat if v.ndim else None) for k, v in moments.items()}
    return out


def _load(own: dict[str, tuple[Tensor, FlatParameters | None]], saved: dict[str, Tensor]) -> None:
    shapes = {k: t.shape if flat is None else (flat.count,) for k, (t, flat) in own.items()}
    if own.keys() != saved.keys() or any(shapes[k] != saved[k].shape for k in own):
        raise ValueError("its tensors do not fit the networks")
    with torch.no_grad():
        for name, (tensor, flat) in own.items():
            tensor.copy_(saved[name] if flat is None else flat.cut(saved[name]))
