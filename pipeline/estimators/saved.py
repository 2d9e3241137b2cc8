"""imputer.json: what a saved imputer was asked and what it saw, checked before any of it is believed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from pipeline.estimators.presets import check_choices
from pipeline.tables.values import from_json, to_json

_OPTIONAL = {
    "rules": list | str,
    "gaps": bool,
    "kinds": dict,
    "formats": dict,
    "text_cells": str,
    "n_jobs": int,
    "random_state": int,
    **dict.fromkeys(("steps", "max_epochs", "width", "depth", "batch_size"), int),
    "learning_rate": Real,
}
_NEEDED = {"strategy": str, "progress": bool, "bins": int, "max_categories": int, "validation_share": Real}


@dataclass(frozen=True)
class Saved:
    """settings: arguments of the imputer. labels: names of the columns as the table had them, None for an array.
    axis_names: of the axis of columns. seen: text of a `seen` rule → its combinations. found_rules: those that `fit` has learnt. held_out: (step, score) pairs."""

    settings: dict[str, Any]
    columns: list[str]
    labels: list[Any] | None
    library: str
    axis_names: list[Any]
    seen: dict[str, list]
    found_rules: list[str]
    held_out: list[tuple]
    best_step: int
    report: dict[str, Any]


def read_saved(file: Path) -> Saved:
    """What `BigLearnImputer.save` wrote. Raises ValueError naming the file, and the field that is wrong."""
    try:
        raw = json.loads(file.read_text(encoding="utf8"))
        settings, fitted = dict(raw["settings"]), dict(raw["fitted"])
        settings["missing"] = _marks_from_json(settings["missing"])
        _check_settings(settings)
        columns, labels = [str(c) for c in fitted["columns"]], fitted["labels"]
        labels = None if labels is None else [from_json(label) for label in labels]
        names = [from_json(name) for name in fitted["axis_names"]]
        library, seen, report = fitted["library"], fitted.get("seen", {}), fitted.get("report", {})
        for name, value, kind in (("library", library, str), ("seen", seen, dict), ("report", report, dict)):
            _check(name, value, kind)
        if labels is not None and (len(labels) != len(columns) or len({str(v) for v in labels}) != len(labels)):
            raise ValueError(f"'labels' must name each of {len(columns)} columns")
        found = [str(text) for text in fitted.get("found_rules", [])]
        held_out = [tuple(pair) for pair in fitted["held_out"]]
        return Saved(settings, columns, labels, library, names, seen, found, held_out, fitted["best_step"], report)
    except FileNotFoundError as error:
        raise ValueError(
            f"'folder' must hold a saved imputer. Got {file.parent}, which has no imputer.json."
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{file} does not describe an imputer: {error!r}.") from error


def marks_to_json(missing: object) -> object:
    """The argument `missing` as JSON holds it."""
    if isinstance(missing, dict):
        return {str(name): [to_json(m) for m in marks] for name, marks in missing.items()}
    return None if missing is None else [to_json(m) for m in missing]


def _marks_from_json(raw: object) -> object:
    if isinstance(raw, dict):
        return {name: [from_json(m) for m in marks] for name, marks in raw.items()}
    return None if raw is None else [from_json(m) for m in raw]


def _check_settings(settings: dict[str, Any]) -> None:
    check_choices(*(settings[name] for name in ("model", "preset", "spread", "time_limit_s")))
    for name, kind in (_NEEDED | _OPTIONAL).items():
        if name in _NEEDED or settings.get(name) is not None:
            _check(name, settings[name], kind)
    if not all(isinstance(rule, str) for rule in settings.get("rules") or ()):
        raise TypeError("'rules' must hold texts")


def _check(name: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{name!r} must not be {str(value)[:40]!r}")
