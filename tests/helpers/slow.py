"""Which tests are slow: as their marks say, and as tests/SLOW.md lists them with the reason."""

from __future__ import annotations

import ast
import re

from tests.helpers.imports import ROOT

ROW = re.compile(r"\| `(?P<file>[\w/]+\.py)` `(?P<name>\w+)` \| (?P<short>yes)? *\| (?P<why>.+) \|")


def listed() -> dict[tuple[str, str], bool]:
    """(file below tests/, function) → whether the short form runs it, from tests/SLOW.md. Raises: ValueError."""
    out = {}
    for line in (ROOT / "tests" / "SLOW.md").read_text(encoding="utf8").splitlines():
        if line.startswith("| `"):
            found = ROW.fullmatch(line)
            if found is None:
                raise ValueError(f"tests/SLOW.md: a row must be | `file` `test` | yes or nothing | why |. Got {line}")
            out[found["file"], found["name"]] = found["short"] is not None
    return out


def marked() -> dict[tuple[str, str], bool]:
    """(file below tests/, function) → whether short=True, of every test with `pytest.mark.slow` among its decorators.

    Raises: ValueError where the mark stands elsewhere, and would be overlooked here.
    """
    out = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        tree, seen = ast.parse(path.read_text(encoding="utf8")), 0
        name = path.relative_to(ROOT / "tests").as_posix()
        for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
            for node in (n for decorator in function.decorator_list for n in ast.walk(decorator)):
                if _is_mark(node):
                    seen += 1
                    out.setdefault((name, function.name), False)
                elif isinstance(node, ast.Call) and _is_mark(node.func):
                    out[name, function.name] = any(k.arg == "short" for k in node.keywords)
        if seen != sum(map(_is_mark, ast.walk(tree))):
            raise ValueError(f"{name}: pytest.mark.slow must stand among the decorators of a test. Got it elsewhere.")
    return out


def _is_mark(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node) == "pytest.mark.slow"
