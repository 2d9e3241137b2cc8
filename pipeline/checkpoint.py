"""Resumable training state: atomic save, verified load, the last two kept.

A checkpoint is a folder step-NNNNNNNN with state.safetensors (weights, average, optimisers) and
state.json (step, SHA-256). Random streams are functions of (seed, step), so no generator state is
needed. Checkpoints of one run lie below a folder named by a hash of params, code and data: a run with
another parameter never resumes them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import torch
from torch import Tensor

from pipeline.files import replaced_folder, sha256, write_bytes, write_json
from pipeline.model_files import tensors_from_file, tensors_to_bytes
from pipeline.step import TrainingStep

KEPT = 2


def run_key(params: dict, data_sha256: str, code: list[Path]) -> str:
    """16 hex digits that name a run: equal params, data and code give equal keys."""
    digest = hashlib.sha256(json.dumps([params, data_sha256], sort_keys=True).encode())
    for path in sorted(code):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Checkpoints:
    """Saves and restores a TrainingStep below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def save(self, step: int, state: TrainingStep) -> None:
        """Writes the state after `step` finished steps, then removes all but the last two."""
        with replaced_folder(self.folder / f"step-{step:08d}") as fresh:
            write_bytes(fresh / "state.safetensors", tensors_to_bytes(_tensors(state)))
            record = {"step": step, "sha256": sha256(fresh / "state.safetensors"), "non_finite": state.non_finite}
            write_json(fresh / "state.json", record)
        for old in self._folders()[:-KEPT]:
            shutil.rmtree(old)

    def restore(self, state: TrainingStep) -> int:
        """Finished steps of the newest intact checkpoint, loaded into `state`; 0 when there is none.

        A damaged checkpoint is named on standard error and the one before it is used.
        """
        for folder in reversed(self._folders()):
            try:
                record = json.loads((folder / "state.json").read_text(encoding="utf8"))
                if sha256(folder / "state.safetensors") != record["sha256"]:
                    raise ValueError("its SHA-256 does not match")
                saved = tensors_from_file(folder / "state.safetensors")
                _load(_tensors(state), saved)
            except (OSError, ValueError, KeyError) as error:
                print(f"checkpoint {folder.name} is damaged ({error}); trying an older one", file=sys.stderr)
                continue
            state.non_finite = int(record["non_finite"])
            return int(record["step"])
        return 0

    def clear(self) -> None:
        """Removes this run's checkpoints: the finished model is elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _folders(self) -> list[Path]:
        return sorted(self.folder.glob("step-????????")) if self.folder.is_dir() else []


def _tensors(state: TrainingStep) -> dict[str, Tensor]:
    out = {"generator": state.flat_g.values, "discriminator": state.flat_d.values, "average": state.flat_average.values}
    for name, adam, flat in (("adam_g", state.adam_g, state.flat_g), ("adam_d", state.adam_d, state.flat_d)):
        moments = adam.state[flat.leaf]
        if not moments:  # Adam makes its state at the first step; a checkpoint needs the same keys before it
            zeros = torch.zeros_like(flat.values)
            moments.update(step=torch.zeros((), device=flat.values.device), exp_avg=zeros, exp_avg_sq=zeros.clone())
        out |= {f"{name}.{k}": v for k, v in moments.items()}
    return out


def _load(own: dict[str, Tensor], saved: dict[str, Tensor]) -> None:
    if own.keys() != saved.keys() or any(own[k].shape != saved[k].shape for k in own):
        raise ValueError("its tensors do not fit the networks")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(saved[name])
