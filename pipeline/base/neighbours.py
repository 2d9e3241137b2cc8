"""Our top-level packages beside others of the same name: `pipeline`, `kernels` and `flows` are ordinary words.

A folder `kernels` next to somebody's script, or another installed package of that name, stands before ours on Python's
path. `own_package` then loads ours and says which one it hides; where the other has been imported already, it ends in
an error with the remedy. The module imports nothing of ours, so that biglearn.py can load it by its file.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path

PACKAGES = ("pipeline", "kernels", "flows")
# A file of each: a folder of that name without it is not ours, or has been overwritten by another package.
SIGNS = {"pipeline": "base/params.py", "kernels": "masked_attention/api.py", "flows": "reproduce.py"}
REMEDY = "Install biglearn in an environment of its own (python -m venv …), or rename the other one"


def own_package(name: str, home: Path) -> None:
    """Makes `import name` find the package below the folder `home`, where ours lies.

    Warns when that hides another module of the name. Raises ImportError naming the other's place when it is imported
    already, or when the package below `home` is not ours.
    """
    ours = Path(home) / name
    if not (ours / SIGNS[name]).is_file():
        raise ImportError(f"biglearn must find its own package {name!r} at {ours}. Got another one there. {REMEDY}.")
    if name in sys.modules:
        place = _place(sys.modules[name].__spec__)
        if place != ours:
            raise ImportError(f"biglearn must load its own package {name!r}. Got {place} imported before it. {REMEDY}.")
        return
    other = found_instead(name, home)
    if not other:
        return
    warnings.warn(
        f"biglearn's own package {name!r} hides {other}, which `import {name}` would load. {REMEDY}.", stacklevel=2
    )
    spec = importlib.util.spec_from_file_location(name, ours / "__init__.py", submodule_search_locations=[str(ours)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def found_instead(name: str, home: Path) -> str:
    """The place of the module that `import name` would load instead of the package below `home`; "" where it is ours."""
    try:  # asked of the finders: importlib.util.find_spec would name what is loaded already
        specs = (finder.find_spec(name, None) for finder in sys.meta_path if hasattr(finder, "find_spec"))
        place = next((_place(spec) for spec in specs if spec is not None), None)
    except (ImportError, ValueError):
        return "a module that cannot be loaded"
    ours = Path(home) / name
    if place == ours:
        return "" if (ours / SIGNS[name]).is_file() else str(place)
    return str(place) if place else "nothing"


def _place(spec: object) -> Path | None:
    """The folder of a package or the file of a module."""
    locations = list(getattr(spec, "submodule_search_locations", None) or [])
    place = locations[0] if locations else getattr(spec, "origin", None)
    return Path(place).resolve() if place else None
