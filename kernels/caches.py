"""Where compiled code is kept when its usual places cannot be written: a folder of this user's in the temporary folder.

Numba keeps it beside the source, else in the user's cache; Triton below the home; PyTorch's compiler in the temporary
folder under the user's name. A container often has none of these. Importing `kernels` sets what is missing, before Numba
is loaded, and says so once: processes that this one starts inherit it.
"""

from __future__ import annotations

import os
import pwd
import stat
import sys
import tempfile
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_COMPILED = ("task_sampling", "gmm")  # folders of `kernels` with Numba code


def use_writable_caches() -> None:
    """Sets NUMBA_CACHE_DIR, TRITON_CACHE_DIR and TORCHINDUCTOR_CACHE_DIR where the usual place cannot be written."""
    moved = []
    if not _has_numba_place():
        moved += _set("NUMBA_CACHE_DIR", "numba")
        if "numba" in sys.modules and "NUMBA_CACHE_DIR" in os.environ:  # it has read the environment already
            sys.modules["numba"].config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]
    triton_home = os.environ.get("TRITON_HOME") or _home()
    if "TRITON_CACHE_DIR" not in os.environ and not is_writable(Path(triton_home) / ".triton" / "cache"):
        moved += _set("TRITON_CACHE_DIR", "triton")
    if "TORCHINDUCTOR_CACHE_DIR" not in os.environ and not _has_user_name():
        moved += _set("TORCHINDUCTOR_CACHE_DIR", "inductor")
    if "NUMBA_CACHE_DIR" in moved:  # the others matter to few, and cost a second compilation at most
        folder = os.environ["NUMBA_CACHE_DIR"]
        print(f"Compiled code is kept in {folder}: neither {_HERE} nor the home can be written. "
              "Set NUMBA_CACHE_DIR to a folder that stays.", file=sys.stderr)  # fmt: skip


def is_writable(folder: Path) -> bool:
    """Whether files can be written to `folder`, or to the nearest one above it that is there."""
    try:
        while not folder.exists():
            if folder.parent == folder:
                return False
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):  # asking for the rights alone is not enough: root has them all
            return True
    except OSError:
        return False


def own_folder(name: str) -> Path | None:
    """A folder `name` that this user alone can write, in the temporary folder; None where that cannot be written.

    Compiled code is run when it is read, so a folder that somebody else could have filled is not taken.
    """
    try:
        root = Path(tempfile.gettempdir()) / f"biglearn-{os.getuid()}"
        root.mkdir(mode=0o700, exist_ok=True)
        found = root.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            root = Path(tempfile.mkdtemp(prefix="biglearn-"))
        folder = root / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder
    except OSError:
        return None


def _has_numba_place() -> bool:
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen and is_writable(Path(chosen)):
        return True
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path(_home()) / ".cache")
    return all(is_writable(_HERE / name / "__pycache__") for name in _COMPILED) or is_writable(user / "numba")


def _set(variable: str, name: str) -> list[str]:
    """[variable] when it is set now to a folder of our own; [] when there is none."""
    folder = own_folder(name)
    if folder is None:
        return []
    os.environ[variable] = str(folder)
    return [variable]


def _home() -> str:
    return os.path.expanduser("~")


def _has_user_name() -> bool:
    """A user number without a name is usual in containers; PyTorch's compiler asks for the name."""
    if any(os.environ.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        return True
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True
