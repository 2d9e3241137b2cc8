"""The documents say what is true of the tree: links and anchors resolve, and files, modules, names, commands and
parameters that they mention exist. Blocks of Python run as they stand, in a folder that holds what they presuppose;
commands of `biglearn` are read with their options. Those of README, landing page and guides run: tests/test_guides.py.

Read are README, CONTRIBUTING, CHANGELOG and every page below docs/, as Markdown.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

import biglearn
from pipeline.app.cli import app
from pipeline.base.params import Params
from pipeline.datasets import table
from tests.helpers.guides import PAGES as GUIDES
from tests.helpers.guides import surroundings
from tests.helpers.promises import options

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
FOLDERS = ("pipeline", "kernels", "flows", "benchmarks", "tests", "docs", "examples")
FILE_ENDINGS = ("json", "npy", "npz", "csv", "html", "py", "md", "png", "jpg", "yaml", "safetensors")


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("page", PAGES, ids=named)


# -- reading -----------------------------------------------------------------------------------------------------
@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf8")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), flags=re.M | re.S)


def without_blocks(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", text_of(page), flags=re.M | re.S)


def links(page: Path) -> list[str]:
    """Targets of the links and pictures of a page that lead into this repository."""
    found = re.findall(r"\]\(([^()\s]+)\)", without_blocks(page))
    return [target for target in found if not target.startswith(("http://", "https://", "mailto:"))]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Anchors of a page's headings, as GitHub makes them: letters, digits, - and _ are kept, spaces become -."""
    seen, out = Counter(), set()
    for title in re.findall(r"^#{1,6} +(.+?) *$", without_blocks(page), flags=re.M):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", title).replace(" ", "-")
        out.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(out)


def module_file(name: str) -> Path | None:
    """The file of a module of this repository by its dotted name; None: there is none."""
    path = ROOT.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def names_in(file: Path) -> frozenset[str]:
    """What a module defines or imports at its top level, or hands on by its table _HOME when it is asked for."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {a.asname or a.name for a in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
            if "_HOME" in found and isinstance(node.value, ast.Dict):
                found |= {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
    return frozenset(found)


def exists(dotted: str) -> bool:
    """Whether a dotted name is a folder, a module, or a name that a module has at its top level."""
    if ROOT.joinpath(*dotted.split(".")).is_dir() or module_file(dotted) is not None:
        return True
    parent, _, name = dotted.rpartition(".")
    file = module_file(parent) if parent else None
    if file is None:
        return bool(parent) and "." in parent and exists(parent)  # a member of a class
    public = biglearn.__all__ if parent == "pipeline" else ()
    return name in names_in(file) or name in public


# -- tests -------------------------------------------------------------------------------------------------------
@every_page
def test_links_resolve(page):
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists() and file.is_relative_to(ROOT), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target} has no such heading, only {sorted(anchors(file))}"


def test_every_page_is_reached_from_the_readme():
    seen, queue = set(), [ROOT / "README.md"]
    while queue:
        page = queue.pop()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            queue += [(page.parent / target.partition("#")[0]).resolve() for target in links(page) if target[0] != "#"]
    assert set(PAGES) <= seen, sorted(p.relative_to(ROOT).as_posix() for p in set(PAGES) - seen)


def test_the_readme_is_short_and_has_one_picture():
    text = text_of(ROOT / "README.md")
    assert text.count("\n") <= 150
    assert text.count("![") == 1


@every_page
def test_files_that_are_named_exist(page):
    for path in re.findall(rf"(?<![\w/.:])(?:{'|'.join(FOLDERS)})/[\w./-]*\w", text_of(page)):
        assert (ROOT / path).exists(), f"{page.name}: {path} is not there"


@every_page
def test_modules_and_names_that_are_mentioned_exist(page):
    for name in re.findall(rf"(?<![\w/.])(?:{'|'.join(FOLDERS[:5])})(?:\.\w+)+", text_of(page)):
        assert exists(name) or name.endswith(FILE_ENDINGS), f"{page.name}: {name}"


@every_page
def test_commands_that_are_mentioned_exist(page):
    text = text_of(page)
    for module in re.findall(r"python -m ([\w.]+\w)", text):
        own = module.split(".")[0] in FOLDERS
        assert module_file(module) if own else find_spec(module), f"{page.name}: python -m {module}"
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf8"), flags=re.M))
    for target in re.findall(r"(?:`|^)make ([a-z-]+)", text, flags=re.M):
        assert target in targets, f"{page.name}: make {target}"
    commands = {c.name or c.callback.__name__ for c in app.registered_commands}
    for command in re.findall(r"(?:`|^|&& )biglearn ([a-z]+)", text, flags=re.M):
        assert command in commands, f"{page.name}: biglearn {command}"


@every_page
def test_parameters_that_are_mentioned_exist(page):
    groups = {name: f.default_factory for name, f in Params.__dataclass_fields__.items() if name != "seed"}
    text = re.sub(r"^```python.*?^```", "", text_of(page), flags=re.M | re.S)
    for group, field in re.findall(rf"(?<![\w./])({'|'.join(groups)})\.([a-z_0-9]*[a-z0-9])\b(?!\()", text):
        known = groups[group]().__dataclass_fields__
        assert field in known or field in FILE_ENDINGS, f"{page.name}: {group}.{field}"


@every_page
def test_python_blocks_import_what_there_is(page):
    """Every block is Python; what it imports from this project exists."""
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "biglearn":
                assert {a.name for a in node.names} <= set(biglearn.__all__), f"{page.name}: {ast.unparse(node)}"
            elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in FOLDERS:
                missing = [a.name for a in node.names if not exists(f"{node.module}.{a.name}")]
                assert not missing, f"{page.name}: {node.module} has no {missing}"


def test_to_change_x_open_y():
    """Every name in a line of CONTRIBUTING's table stands in one of the files or folders that the line names."""
    lines = re.findall(r"^\| ((?:a|an|the) .*) \|$", text_of(ROOT / "CONTRIBUTING.md"), flags=re.M)
    assert len(lines) >= 20
    for line in lines:
        marked = re.findall(r"`([^`]+)`", line)
        places = [ROOT / m for m in marked if (ROOT / m).exists()]
        files = [f for p in places for f in ([p] if p.is_file() else p.glob("*.py"))]
        code = "\n".join(f.read_text(encoding="utf8") for f in files)
        absent = [m for m in marked if re.fullmatch(r"\w+", m) and not re.search(rf"\b{m}\b", code)]
        assert files and not absent, f"{line[:40]}…: {absent}"


# -- blocks run --------------------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # PyTorch's own, at the first dual number
@pytest.mark.parametrize("page", [p for p in PAGES if p not in GUIDES and blocks(p, "python")], ids=named)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    """Of README, landing page and guides with their commands: tests/test_guides.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(table, "FEWEST_STEPS", 10)  # a fit of seconds
    surroundings(page, tmp_path)
    for number, block in enumerate(blocks(page, "python")):
        exec(compile(block, f"{named(page)}, block {number}", "exec"), {})


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "bash")], ids=named)
def test_biglearn_commands_are_read(page):
    lines = []
    for block in blocks(page, "bash"):
        lines += [part.strip() for line in block.replace("\\\n", " ").splitlines() for part in line.split("&&")]
    for line in lines:
        command, *words = shlex.split(line, comments=True) or [""]
        assert command != "biglearn" or options(words), line
