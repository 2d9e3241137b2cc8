"""A bank of tasks on disk: roles packed two bits a token, memory-mapped, read by index.

A bank is a folder: bank.json (specification, seed, stream, sizes, SHA-256 of the arrays and of itself), roles.npy (N, ⌈L/4⌉)
uint8 and families.npy (N,) uint8. Ranks and second tasks are functions of (seed, stream, row) and are drawn
again when they are read, so they take no room.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kernels.task_sampling.api import check_rows, ranks_of, sample_roles, second_of
from kernels.task_sampling.packing import pack_roles, unpack_roles
from kernels.task_sampling.spec import Tasks, TaskSpec

FORMAT = 2
ARRAYS = ("families", "roles")
CHUNK_BYTES = 1 << 22  # roles drawn at a time, before packing


@dataclass(frozen=True, eq=False)
class TaskBank:
    """A bank opened for reading. `len(bank)` is its number of rows N."""

    spec: TaskSpec
    seed: int
    stream: int
    packed: np.ndarray  # (N, ⌈L/4⌉) uint8, memory-mapped
    families: np.ndarray  # (N,) uint8, memory-mapped

    @staticmethod
    def open(folder: Path | str) -> TaskBank:
        """The bank in `folder`. Raises FileNotFoundError without bank.json, ValueError when its parts disagree."""
        folder = Path(folder)
        raw = _read_json(folder / "bank.json")
        spec = TaskSpec.from_json(json.dumps(raw["spec"]))
        packed = np.load(folder / "roles.npy", mmap_mode="r", allow_pickle=False)
        families = np.load(folder / "families.npy", mmap_mode="r", allow_pickle=False)
        wanted = (raw["rows"], (spec.n_tokens + 3) // 4)
        if packed.shape != wanted or families.shape != wanted[:1] or {packed.dtype, families.dtype} != {np.dtype("u1")}:
            raise ValueError(
                f"{folder}: roles.npy must be uint8 of shape {wanted} and families.npy of {wanted[:1]}. "
                f"Got {packed.dtype} {packed.shape} and {families.dtype} {families.shape}."
            )
        return TaskBank(spec, raw["seed"], raw["stream"], packed, families)

    @staticmethod
    def verify(folder: Path | str) -> None:
        """Raises ValueError when an array is not what was written. It reads the whole bank once."""
        folder = Path(folder)
        for name, expected in _read_json(folder / "bank.json")["sha256"].items():
            found = _sha256(folder / f"{name}.npy")
            if found != expected:
                raise ValueError(f"{folder / name}.npy is damaged: its SHA-256 is {found}, not {expected}.")

    def __len__(self) -> int:
        return len(self.packed)

    def tasks(self, rows: slice | np.ndarray) -> Tasks:
        """The tasks of a slice or of an index array (n,). Raises IndexError beyond the bank."""
        numbers = self._numbers(rows)
        role = unpack_roles(self.packed[rows], self.spec.n_tokens)
        family = np.array(self.families[rows])
        return Tasks(role, ranks_of(role, family, numbers, seed=self.seed, stream=self.stream), family)

    def pairs(self, rows: slice | np.ndarray) -> tuple[Tasks, Tasks]:
        """The communication pairs of a slice or of an index array; the first are `tasks(rows)`."""
        first = self.tasks(rows)
        return first, second_of(self.spec, first.role, self._numbers(rows), seed=self.seed, stream=self.stream)

    def _numbers(self, rows: slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            return np.arange(*rows.indices(len(self)))
        rows = np.asarray(rows)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise ValueError(f"'rows' must be a slice or a 1-D integer array. Got {rows.dtype} of shape {rows.shape}.")
        return np.where(rows < 0, rows + len(self), rows)


def write_bank(
    folder: Path | str,
    spec: TaskSpec,
    rows: int,
    seed: int,
    stream: int = 0,
    progress: Callable[[int], None] | None = None,
    threads: int | None = None,
) -> TaskBank:
    """The bank of rows 0 … rows of a stream, written to `folder`, which it replaces only when complete.

    Memory use is bounded by CHUNK_BYTES, whatever `rows`. progress: called with the rows of each chunk.
    threads: at most; None: as many as this process may use.
    """
    check_rows(rows, seed, stream, 0)
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".tmp"))
    try:
        _fill(fresh, spec, rows, (seed, stream), progress or (lambda n: None), threads)
        os.chmod(fresh, 0o755)
        _replace(folder, fresh)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return TaskBank.open(folder)


def _fill(
    folder: Path,
    spec: TaskSpec,
    rows: int,
    key: tuple[int, int],
    progress: Callable[[int], None],
    threads: int | None,
) -> None:
    (seed, stream), width = key, (spec.n_tokens + 3) // 4
    new = np.lib.format.open_memmap
    packed = new(folder / "roles.npy", mode="w+", dtype=np.uint8, shape=(rows, width))
    families = new(folder / "families.npy", mode="w+", dtype=np.uint8, shape=(rows,))
    chunk = max(1, CHUNK_BYTES // spec.n_tokens)
    for start in range(0, rows, chunk):
        n = min(chunk, rows - start)
        role, families[start : start + n] = sample_roles(
            spec, n, seed=seed, stream=stream, start=start, threads=threads
        )
        packed[start : start + n] = pack_roles(role)
        progress(n)
    packed.flush()
    families.flush()
    raw = {"format": FORMAT, "rows": rows, "seed": seed, "stream": stream, "spec": json.loads(spec.to_json())}
    raw["sha256"] = {name: _sha256(folder / f"{name}.npy") for name in ARRAYS}
    raw["own_sha256"] = _own_sha256(raw)
    (folder / "bank.json").write_text(json.dumps(raw, sort_keys=True, indent=2) + "\n", encoding="utf8")


def _read_json(path: Path) -> dict:
    """bank.json with its numbers checked. Raises FileNotFoundError, and ValueError when it is not one."""
    try:
        raw = json.loads(path.read_text(encoding="utf8"))
        if raw["format"] != FORMAT:
            raise ValueError(f"{path} must have format {FORMAT}. Got {raw['format']!r}.")
        check_rows(raw["rows"], raw["seed"], raw["stream"], 0)
        if raw["own_sha256"] != _own_sha256(raw):
            raise ValueError(f"{path} is damaged: its own SHA-256 does not match.")
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} does not describe a task bank: {error!r}.") from error
    return raw


def _own_sha256(raw: dict) -> str:
    """Hex SHA-256 of what bank.json says, apart from this entry."""
    said = {k: v for k, v in raw.items() if k != "own_sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _replace(folder: Path, fresh: Path) -> None:
    """Puts `fresh` in the place of `folder`."""
    if not folder.exists():
        os.replace(fresh, folder)
        return
    old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old.", suffix=".tmp"))
    os.replace(folder, old / folder.name)
    os.replace(fresh, folder)
    shutil.rmtree(old)
