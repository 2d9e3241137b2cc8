"""Fields of parameters: a default, a range or choices, and what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any


class ParamsError(ValueError):
    """A parameter is unknown, missing, of the wrong type or out of range."""


def ranged(default: Any, low: float, high: float, what: str) -> Any:
    """A field whose value (or every element, for a list or dict) lies in [low, high]."""
    return _field(default, {"low": low, "high": high, "what": what})


def chosen(default: Any, choices: Sequence[str], what: str) -> Any:
    """A field whose value is one of `choices`."""
    return _field(default, {"choices": tuple(choices), "what": what})


def described(default: Any, what: str) -> Any:
    """A field with no range."""
    return _field(default, {"what": what})


def _field(default: Any, metadata: dict) -> Any:
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)
