"""Where a command may write: asked before the work, so that nobody's file is lost and no work is done in vain.

Rules: something that is there is replaced with --force alone, and only when biglearn made it and nobody has changed it
since; a link is written through and stays a link; a device, a pipe, the current folder and those above it are refused.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pipeline.base.files import remove_leftovers_of
from pipeline.base.ownership import foreign_file, made_file, record_file, record_folder

OWN_REMEDY = "--force replaces only what biglearn made: choose another name, or remove it yourself"


def output_place(output: Path, force: bool, *, folder: bool | None = None) -> Path:
    """Where to write `output`: the path itself, or what it leads to when it is a link. Leftovers of dead runs go.

    folder: whether a folder will be written; None: when the name has no suffix. Raises ValueError naming the path for
    what must not be replaced, and for a place that cannot be written.
    """
    said, output = Path(output), Path(output)
    folder = output.suffix == "" if folder is None else folder
    if output.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise ValueError(f"The output must not be the current folder or one above it. Got {said}.")
    if output.is_symlink():
        output = Path(os.path.realpath(output))
    if output.exists():
        _check_kind(said, output, folder)
        if not force and not (folder and not any(output.iterdir())):
            raise ValueError(f"{said} is already there; --force overwrites it.")
        _check_ours(said, output)
    _check_writable(said, output)
    remove_leftovers_of(output)
    return output


def made(output: Path) -> None:
    """Notes that biglearn has just written `output`, so that --force may replace it later."""
    output = Path(os.path.realpath(output))
    if output.is_dir():
        record_folder(output)
    else:
        record_file(output)


def _check_kind(said: Path, output: Path, folder: bool) -> None:
    mode = output.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError(f"{said} must be a file or a folder. Got a device, a pipe or a socket.")
    if stat.S_ISDIR(mode) != folder:
        raise ValueError(f"{said} must be a {'folder. Got a file' if folder else 'file. Got a folder'}.")


def _check_ours(said: Path, output: Path) -> None:
    if output.is_dir():
        foreign = foreign_file(output)
        if foreign:
            raise ValueError(f"{said} holds {foreign!r}, which biglearn did not write; {OWN_REMEDY}.")
    elif not made_file(output):
        raise ValueError(f"{said} was not written by biglearn, or was changed since; {OWN_REMEDY}.")
    elif not output.stat().st_mode & stat.S_IWUSR:
        raise ValueError(f"{said} must be writable. Got a file that its owner has made read-only.")


def _check_writable(said: Path, output: Path) -> None:
    place = next(p for p in output.absolute().parents if p.exists())
    if not place.is_dir():
        raise ValueError(f"{said} must lie in a folder. Got {place}, which is a file.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"{said} must lie where you may write. Got {place}, which you may only read.")
