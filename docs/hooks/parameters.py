"""In the API pages each parameter that a docstring explains has a line of its own.

Docstrings say "n: rows, at least 1. seed: of the draws." in running lines; here every `name:` that is a parameter of the
function, or a field of the class, starts an entry of a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import griffe


def listed(text: str, names: Iterable[str]) -> str:
    """The docstring with an entry for every explained name; paragraphs that explain none stay as they are."""
    one = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    start = re.compile(rf"(?:^|(?<=[.;)]))\s*((?:{one})(?:, (?:{one}))*):\s")
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        _entries(" ".join(p.split()), start) if start.search(" ".join(p.split())) else p for p in paragraphs
    )


def _entries(paragraph: str, start: re.Pattern) -> str:
    before, *rest = start.split(paragraph)
    entries = [
        f"- {', '.join(f'`{name}`' for name in names.split(', '))}: {meaning.strip()}"
        for names, meaning in zip(rest[::2], rest[1::2], strict=True)
    ]
    return "\n".join([before.strip(), "", *entries] if before.strip() else entries)


class Parameters(griffe.Extension):
    """Rewrites docstrings while the code is read."""

    def on_function_instance(self, *, func: griffe.Function, **_: object) -> None:
        names = [p.name for p in func.parameters if p.name not in ("self", "cls")]
        if func.docstring and names:
            func.docstring.value = listed(func.docstring.value, names)

    def on_class_members(self, *, cls: griffe.Class, **_: object) -> None:
        made = cls.members.get("__init__")
        names = [p.name for p in made.parameters if p.name != "self"] if isinstance(made, griffe.Function) else []
        names += [name for name, member in cls.members.items() if member.is_attribute and not name.startswith("_")]
        if cls.docstring and names:
            cls.docstring.value = listed(cls.docstring.value, names)
