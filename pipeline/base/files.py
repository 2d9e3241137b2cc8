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
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
NAME_CHARACTERS = 40  # of a file's name in the name of its temporary file: names have at most 255 bytes
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
    """The name of an empty file to write, which takes the place of `path` at the end; on failure `path` stays.

    Its rights are those that the umask leaves.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    name = _temporary(path)
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    try:
        yield name
        _keep_private(name, path)
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
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
    finds no folder. Where `path` is a link, the folder that it leads to is replaced, and the link stays.
    """
    path = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = _temporary(path)
    fresh.mkdir()
    try:
        yield fresh
        _keep_private(fresh, path)
        if not path.exists():
            os.replace(fresh, path)
            return
        if not _exchange(fresh, path):
            old = _temporary(path)
            old.mkdir()
            os.replace(path, old / path.name)
            os.replace(fresh, path)
            fresh = old
        remove_tree(fresh)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def remove_tree(folder: Path) -> None:
    """Removes a folder of our own and all that is in it, folders without the right to write too."""
    try:
        shutil.rmtree(folder)
    except PermissionError:
        os.chmod(folder, 0o700)
        for place, inner, _ in os.walk(folder):
            for name in inner:
                if not os.path.islink(os.path.join(place, name)):
                    os.chmod(os.path.join(place, name), 0o700)
        shutil.rmtree(folder)


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files and folders, up to two levels below `folder`, of processes that were killed."""
    for pattern in (".*.*.*.tmp", "*/.*.*.*.tmp", "*/*/.*.*.*.tmp"):
        for name in glob.glob(pattern, root_dir=folder):  # unlike Path.glob, it bears folders that vanish meanwhile
            _remove_if_dead(Path(folder) / name)


def remove_leftovers_of(path: Path) -> None:
    """Removes what killed processes left of `path` in the folder that holds it, and nothing else there."""
    path = Path(path)
    if path.parent.is_dir():
        for entry in os.scandir(path.parent):
            if entry.name.startswith(f".{path.name[:NAME_CHARACTERS]}.pid") and entry.name.endswith(".tmp"):
                _remove_if_dead(Path(entry.path))


def _remove_if_dead(path: Path) -> None:
    owner = path.name.split(".")[-3]
    if owner.startswith("pid") and owner[3:].isdecimal() and not _is_running(int(owner[3:])):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    """A new name beside `path`: it says who writes it, so that others can tell a leftover."""
    return path.parent / f".{path.name[:NAME_CHARACTERS]}.pid{os.getpid()}.{secrets.token_hex(4)}.tmp"


def _keep_private(fresh: Path, path: Path) -> None:
    """Takes from group and others the rights to `fresh` that they have not to `path`, whose place it will take."""
    if path.exists():
        mode = fresh.stat().st_mode & 0o777
        if mode & ~(path.stat().st_mode | 0o700):
            os.chmod(fresh, mode & (path.stat().st_mode | 0o700))


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
