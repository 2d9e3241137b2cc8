"""What a sentence for Python says, for the shell: missing={'a': ['x']} is --missing a=x there."""

from __future__ import annotations

import ast
import json
import re
import shlex

import yaml

_ARGUMENT = re.compile(r"\b(missing|kinds)=(\{(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^{}'\"])*\})")


def in_shell_words(text: str) -> str:
    """The text with the arguments `missing` and `kinds`, as a fit's warnings write them, as options of the commands.

    A list may end in …; what else is no literal of Python stays as it is.
    """
    return _ARGUMENT.sub(_option, text)


def _option(found: re.Match) -> str:
    name, written = found.groups()
    try:
        more = ", …" * written.endswith(", …}")
        value = ast.literal_eval(written.replace(", …}", "}"))
        if name == "missing":
            return " ".join(
                f"--missing {shlex.quote(f'{column}={mark}')}" for column, marks in value.items() for mark in marks
            )
        setting = ", ".join(f"{_word(column)}: {kind}" for column, kind in value.items())
        return f"--set {shlex.quote(f'kinds={{{setting}{more}}}')}"
    except (ValueError, SyntaxError, TypeError, AttributeError):
        return found[0]


def _word(column: str) -> str:
    """The name as YAML reads it back as a text: "no" would be False."""
    plain = re.fullmatch(r"[^\W\d_](?:[\w .()]*[\w)])?", column) and yaml.safe_load(column) == column
    return column if plain else json.dumps(column, ensure_ascii=False)
