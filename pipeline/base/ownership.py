"""Which files and folders biglearn made: only these may take part in `--force`, and only as long as nobody changed them.

A folder of outputs holds RECORD with the SHA-256 of each of its files. A single file bears its SHA-256 as an extended
attribute, which no reader sees; where the file system has none, RECORD in the same folder names the file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import yaml

from pipeline.base.files import sha256, write_json

RECORD = ".biglearn.json"
ATTRIBUTE = "user.biglearn.sha256"
GROUPS_OF_A_PROJECT = ("dataset", "prepare", "tasks", "network", "train", "sample")


def record_folder(folder: Path) -> None:
    """Notes that every file which `folder` holds now is biglearn's."""
    folder = Path(folder)
    files = {p.relative_to(folder).as_posix(): sha256(p) for p in _files(folder)}
    write_json(folder / RECORD, {"made_by": "biglearn", "files": files})


def record_file(path: Path) -> None:
    """Notes that the file `path` is biglearn's, as it is now."""
    path, digest = Path(path), sha256(path)
    try:
        os.setxattr(path, ATTRIBUTE, digest.encode())
    except (AttributeError, OSError):  # macOS, or a file system without such attributes
        made = _recorded(path.parent)
        write_json(path.parent / RECORD, {"made_by": "biglearn", "files": {**made, path.name: digest}})


def made_file(path: Path) -> bool:
    """Whether biglearn wrote the file `path` and nobody has changed it since."""
    path = Path(path)
    try:
        noted = os.getxattr(path, ATTRIBUTE).decode()
    except (AttributeError, OSError):
        noted = _recorded(path.parent).get(path.name, "")
    return noted == sha256(path)


def foreign_file(folder: Path) -> str:
    """Name of a file in `folder` that biglearn did not write, or that was changed since; "" when there is none."""
    folder = Path(folder)
    made = _recorded(folder)
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file() or made.get(name) != sha256(path):
            return name
    return ""


def made_folder(folder: Path) -> bool:
    """Whether `folder` is what biglearn writes: outputs, a model, or the project of a fit."""
    folder = Path(folder)
    if "made_by" in _record(folder) or all((folder / n).is_file() for n in ("model.safetensors", "schema.json")):
        return True
    return made_project(folder)


def made_project(folder: Path) -> bool:
    """Whether `folder` holds a params.yaml that `biglearn fit` wrote: every group of it, and no comment."""
    try:
        text = (Path(folder) / "params.yaml").read_text(encoding="utf8")
        groups = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return (
        isinstance(groups, dict)
        and set(GROUPS_OF_A_PROJECT) <= set(groups)
        and "\n#" not in f"\n{text}"
        and " # " not in text
    )


def _files(folder: Path) -> list[Path]:
    """Everything in `folder` but folders and its record, in sorted order."""
    return sorted(p for p in folder.rglob("*") if (p.is_symlink() or not p.is_dir()) and p != folder / RECORD)


def _record(folder: Path) -> dict:
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _recorded(folder: Path) -> dict:
    files = _record(folder).get("files", {})
    return files if isinstance(files, dict) else {}
