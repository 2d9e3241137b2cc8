"""Atomic file writing and hashing: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import ctypes
import errno
import glob
import hashlib
import io
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_CANNOT_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def write_bytes(path: Path, payload: bytes) -> None:
    """Writes `payload` to `path` atomically (temporary file in the same folder, fsync, rename).

    When the disk is full the old file stays and the temporary one is removed.
    """
    with replaced_file(path) as stream:
        stream.write(payload)


@contextmanager
def replaced_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when it is whole; on failure `path` stays as it was."""
    with replaced_path(path) as name, open(name, "wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def replaced_path(path: Path) -> Iterator[Path]:
    """The name of an empty file to write, which takes the place of `path` at the end; on failure `path` stays."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_temporary(path), suffix=".tmp")
    os.close(descriptor)
    try:
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    write_bytes(path, text.encode("utf8"))


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON with sorted keys, atomically. Raises ValueError on NaN or infinity."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def write_array(path: Path, array: np.ndarray) -> None:
    """Writes a .npy file atomically, without pickle."""
    array = np.ascontiguousarray(array)
    write_rows(path, array.shape, array.dtype, [array])


def write_rows(path: Path, shape: tuple[int, ...], dtype: np.dtype, parts: Iterable[np.ndarray]) -> None:
    """Writes the .npy file of an array of that shape and dtype atomically, its rows coming in `parts`.

    Raises ValueError when they are not as many as the shape says.
    """
    header = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(header, described)
    written = 0
    with replaced_file(path) as stream:
        stream.write(header.getvalue())
        for part in parts:
            part = np.ascontiguousarray(part, dtype)
            stream.write(part.reshape(-1).view(np.uint8).data)
            written += part.size
        if written != math.prod(shape):
            raise ValueError(f"'parts' must hold {math.prod(shape)} values for {path.name}. Got {written}.")


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill; on success it takes the place of `path`, on failure `path` stays as it was.

    The exchange is one system call on Linux file systems that have it; elsewhere two renames, between which a reader
    finds no folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=path.parent, prefix=_temporary(path), suffix=".tmp"))
    try:
        yield fresh
        os.chmod(fresh, 0o755)
        if not path.exists():
            os.replace(fresh, path)
            return
        if not _exchange(fresh, path):
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=_temporary(path), suffix=".tmp"))
            os.replace(path, old / path.name)
            os.replace(fresh, path)
            fresh = old
        shutil.rmtree(fresh)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files and folders, up to two levels below `folder`, of processes that were killed."""
    for pattern in (".*.*.*.tmp", "*/.*.*.*.tmp", "*/*/.*.*.*.tmp"):
        for name in glob.glob(pattern, root_dir=folder):  # unlike Path.glob, it bears folders that vanish meanwhile
            owner, path = name.split(".")[-3], Path(folder) / name
            if owner.startswith("pid") and owner[3:].isdecimal() and not _is_running(int(owner[3:])):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _temporary(path: Path) -> str:
    """Start of a temporary name beside `path`: it says who writes it, so that others can tell a leftover."""
    return f".{path.name}.pid{os.getpid()}."


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True


def _exchange(one: Path, other: Path) -> bool:
    """True when the names `one` and `other` have changed places, at one moment; False where that is not possible."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def check_sha256(path: Path, expected: str) -> None:
    """Raises ValueError when the file is not the one that was written."""
    found = sha256(path)
    if found != expected:
        raise ValueError(f"{path} is damaged: its SHA-256 is {found}, not {expected}.")


def sha256(path: Path, chunk_bytes: int = 1 << 20) -> str:
    """Hex SHA-256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(chunk_bytes):
            digest.update(chunk)
    return digest.hexdigest()
