"""The files of a user's folder: links followed once, hidden and system files left out, names as text.

A name is only a name: bytes that are no UTF-8 are read as Latin-1, and letters are composed (NFC), as most systems
write them; macOS takes them apart.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.base.ownership import made_folder

SYSTEM_NAMES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin"}


@dataclass
class FolderFiles:
    """names: the regular files below `folder`, name (posix, relative, NFC text) → path, in sorted order of names.

    left_out: (name, why) of what is no file to read. system: number of hidden and system files and folders.
    """

    folder: Path
    names: dict[str, Path] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    system: int = 0


def name_text(name: str) -> str:
    """A file's name as text that every encoding of Unicode can hold."""
    try:
        name.encode("utf8")
    except UnicodeEncodeError:
        name = os.fsencode(name).decode("latin-1")
    return unicodedata.normalize("NFC", name)


def folder_files(folder: Path, own: Path | None = None) -> FolderFiles:
    """What lies below `folder`. A folder is entered once, by its own name rather than by a link; folders that biglearn
    wrote into it are named and left out, and so is `own`, the project. Raises ValueError when it is no folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"A folder of images is needed. Got {name_text(str(folder))}, which is no folder.")
    out = FolderFiles(folder)
    found: list[tuple[str, Path]] = []
    seen = {_identity(place) for place in (folder, own) if place is not None and place.is_dir()}
    _walk(folder, "", seen, found, out)
    for name, path in sorted(found, key=lambda item: (item[0], str(item[1]))):
        out.names[_free_name(name, out.names)] = path
    return out


def _walk(place: Path, prefix: str, seen: set[tuple[int, int]], found: list, out: FolderFiles) -> None:
    try:
        entries = sorted(os.scandir(place), key=lambda e: (e.is_symlink(), e.name))
    except OSError as error:
        out.left_out.append((prefix.rstrip("/") or ".", f"cannot be read: {error.strerror}"))
        return
    for entry in entries:
        name, path = prefix + name_text(entry.name), Path(entry.path)
        if entry.name.startswith(".") or entry.name.lower() in SYSTEM_NAMES:
            out.system += 1
        elif path.is_dir():
            if _identity(path) in seen:
                out.left_out.append((name, "a folder that is read already under another name"))
            elif made_folder(path):
                out.left_out.append((name, "a folder that biglearn wrote"))
            else:
                seen.add(_identity(path))
                _walk(path, f"{name}/", seen, found, out)
        elif path.is_file():
            found.append((name, path))
        else:
            out.left_out.append((name, _what_else(path)))


def _identity(folder: Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _what_else(path: Path) -> str:
    if not path.is_symlink():
        return "a pipe, a socket or a device"
    try:
        os.stat(path)
    except FileNotFoundError:
        return "a link to nothing"
    except OSError as error:  # a link to itself
        return f"a link that leads nowhere: {error.strerror}"
    return "a link to a pipe, a socket or a device"


def _free_name(name: str, taken: dict[str, Path]) -> str:
    """`name`, or with a number before its suffix where two files come to the same name."""
    stem, suffix = os.path.splitext(name)
    number, free = 2, name
    while free in taken:
        free, number = f"{stem}_{number}{suffix}", number + 1
    return free
