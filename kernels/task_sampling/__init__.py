"""The task distribution q(S, T): which tokens are given, which are asked for, drawn millions of rows a second.

The names load on first use: drawing with a trained model needs the codes of the roles alone, and not Numba.
"""

from __future__ import annotations

from importlib import import_module

_HOME = {
    "FAMILIES": "spec",
    "GAP_FAMILIES": "spec",
    "HIDDEN": "spec",
    "SOURCE": "spec",
    "TARGET": "spec",
    "TaskBank": "bank",
    "TaskSpec": "spec",
    "Tasks": "spec",
    "apply_missing": "api",
    "pack_roles": "packing",
    "sample_pairs": "api",
    "sample_tasks": "api",
    "unpack_roles": "packing",
    "write_bank": "bank",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'kernels.task_sampling' has no attribute {name!r}; it has {', '.join(__all__)}.")
    return getattr(import_module(f"kernels.task_sampling.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
