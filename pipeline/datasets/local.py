"""A file of the user's own that is read where it lies, because it must not be copied."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.base.fields import ParamsError
from pipeline.base.files import sha256
from pipeline.base.params import Params


def local_path(params: Params, mirrored: str, notice: str) -> Path:
    """The file in dataset.path (or in the folder that it names), else `mirrored` below $DATA_MIRROR.

    mirrored: "<dataset>/<file>". notice: what to tell who has no such file. Raises ParamsError when there is none.
    """
    mirror = os.environ.get("DATA_MIRROR", "")
    if params.dataset.path:
        path = Path(params.dataset.path).expanduser()
        path = path / Path(mirrored).name if path.is_dir() else path
    elif mirror and "://" not in mirror:
        path = Path(mirror) / mirrored
    else:
        raise ParamsError(f"Parameter 'dataset.path' must name a file for {params.dataset.name}. Got ''. {notice}")
    if not path.is_file():
        raise ParamsError(f"Parameter 'dataset.path' must name a file that exists. Got {str(path)!r}. {notice}")
    return path


def fingerprint(path: Path) -> dict[str, object]:
    """name, size in bytes and SHA-256 of a file."""
    return {"name": path.name, "size": path.stat().st_size, "sha256": sha256(path)}
