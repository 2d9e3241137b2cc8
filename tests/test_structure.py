"""The shape of the house: imports run one way, and DVC knows every file a stage depends on."""

from __future__ import annotations

import ast

import pytest
import yaml

from pipeline.base.params import Params, load_params
from tests.helpers.imports import ROOT, circles, direct_imports, external_imports, module_files, reachable, room
from tests.helpers.names import files, missing
from tests.helpers.slow import listed, marked
from tests.helpers.stage_dependencies import code_dependencies, is_code

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf8"))["stages"]
CODE_FOLDERS = ("pipeline", "kernels", "flows", "benchmarks", "tests")
MOST_LINES = 350  # of a file; of a kernel file MOST_KERNEL_LINES, unless its first lines say why
MOST_KERNEL_LINES = 400

# Which room may import which, from the ground up. A room imports only what stands above it in this table.
ROOMS = {
    "kernels": set(),
    "base": set(),
    "rows": {"kernels", "base"},
    "textfiles": set(),
    "tables": {"base", "rows", "textfiles"},
    "asking": {"base", "rows", "tables"},
    "sources": {"base", "textfiles"},
    "datasets": {"base", "rows", "tables", "textfiles", "sources"},
    "reporting": {"kernels", "base", "rows"},
    "exchange": {"base", "rows", "tables", "sources", "datasets", "reporting"},
    "forest": {"kernels", "base", "rows"},
    "model": {"kernels", "base", "rows"},
    "training": {"kernels", "base", "rows", "reporting", "model"},
    "estimators": {"kernels", "base", "rows", "tables", "asking", "datasets", "forest", "model", "training"},
    "simulation": {"kernels", "base"},
    "evaluation": {"base", "rows", "tables", "asking", "reporting", "estimators"},
    "stages": {
        "kernels", "base", "rows", "tables", "datasets", "reporting", "model", "training", "simulation", "evaluation"
    },
    "app": {
        "kernels", "base", "rows", "tables", "asking", "textfiles", "sources", "datasets", "reporting", "exchange", "model",
        "estimators", "evaluation", "stages"
    },
    "flows": {"kernels", "base", "model", "reporting"},
}  # fmt: skip


def test_rooms_import_what_the_table_allows_and_use_what_it_lists():
    names = list(ROOMS)
    used = {name: set() for name in names}
    for module in module_files():
        if module != "pipeline":  # the door: it names a home in several rooms
            used[room(module)] |= {room(other) for other in direct_imports(module)} - {room(module)}
    assert used == ROOMS
    for place, name in enumerate(names):
        assert ROOMS[name] <= set(names[:place]), name


def test_no_module_imports_itself_around_corners():
    assert circles() == []


def test_the_root_of_the_package_shows_the_stages():
    here = {path.stem for path in (ROOT / "pipeline").glob("*.py")}
    assert here == {"__init__", *STAGES}


def test_names_taken_from_another_module_are_there():
    """A name that moved is missed where it is used, not when a line that is seldom run comes by."""
    assert {module: names for module in files() if (names := missing(module))} == {}


def test_stages_do_not_import_one_another():
    for name in STAGES:
        assert not {m for m in direct_imports(f"pipeline.{name}") if room(m) == "stages"}, name


def test_files_have_one_job():
    """No file above MOST_LINES; a longer kernel file says why in its first lines."""
    for path in sorted(p for folder in CODE_FOLDERS for p in (ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf8")
        lines, name = text.count("\n"), path.relative_to(ROOT).as_posix()
        if name.startswith("kernels/"):
            assert lines <= MOST_KERNEL_LINES or "one file because" in " ".join(text[:2000].split()), f"{name}: {lines}"
        else:
            assert lines <= MOST_LINES, f"{name}: {lines}"
    assert (ROOT / "dvc.yaml").read_text(encoding="utf8").count("\n") <= 220
    assert (ROOT / "README.md").read_text(encoding="utf8").count("\n") <= 150


def test_tests_mirror_the_rooms():
    """tests/<room>/test_<what>.py, in packages: so two rooms may have files of one name. At the root: what is about all."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        folders = path.relative_to(ROOT / "tests").parts[:-1]
        if path.name not in (
            "test_structure.py",
            "test_documents.py",
            "test_examples.py",
            "test_guides.py",
            "test_lock.py",
            "test_site.py",
        ):
            assert len(folders) == 1 and folders[0] in {*ROOMS, "faults", "fuzz"}, path
        assert (path.parent / "__init__.py").is_file(), f"{path.parent} needs an __init__.py"


def test_slow_tests_are_those_of_the_list():
    """tests/SLOW.md gives each its reason, and says which the short form runs."""
    assert listed() == marked()


def test_importing_needs_no_orchestration():
    """A GPU host with torch, numba, numpy and omegaconf can import the package and train."""
    for name in reachable("pipeline.train", lazy=False):
        assert not external_imports(name) & {"prefect", "dvc", "dvclive", "triton"}, name


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_depends_on_the_rooms_that_it_uses_and_on_no_other(stage):
    """DVC calls a stage up to date when a module that it does not list has changed, and stale when an unused one has."""
    assert [d for d in map(str, STAGES[stage]["deps"]) if is_code(d)] == code_dependencies(stage)


def test_every_params_group_belongs_to_a_stage_or_a_flow():
    """A group of a flow bears the flow's name, and no stage depends on it: changing it makes nothing stale."""
    used = {str(p).split(".")[0] for s in STAGES.values() for p in s.get("params", [])}
    of_flows = set(Params.__dataclass_fields__) - used
    assert of_flows <= {name.removeprefix("flows.") for name in module_files()}
    assert used <= set(Params.__dataclass_fields__)


def test_params_yaml_names_every_field():
    """Users read params.yaml first: it states each tunable number with its value."""
    given = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf8"))
    for group, fields in given.items():
        if isinstance(fields, dict):
            assert set(fields) == set(getattr(load_params(), group).__dataclass_fields__), group
    assert set(given) == set(Params.__dataclass_fields__)


def test_functions_fit_on_a_screen():
    """About 50 lines at most; Numba and Triton kernels may be longer."""
    for name, path in module_files().items():
        if name.startswith("kernels"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{name}.{node.name}"


def test_no_pickle_anywhere():
    for name, path in module_files().items():
        tree = ast.parse(path.read_text(encoding="utf8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                text = ast.unparse(node)
                assert not text.startswith(("pickle.", "joblib.dump", "joblib.load", "torch.save(")), f"{name}: {text}"
                assert "allow_pickle=True" not in text, f"{name}: {text}"
                assert not text.startswith("torch.load(") or "weights_only=True" in text, f"{name}: {text}"


def test_every_test_asserts_something():
    """With an assertion of its own, or in a helper that it calls, from its own file first."""
    files = {path: ast.parse(path.read_text(encoding="utf8")) for path in sorted((ROOT / "tests").rglob("*.py"))}
    functions = {
        path: {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)} for path, tree in files.items()
    }

    def asserts(path, name: str, seen: frozenset) -> bool:
        places = [path] if name in functions[path] else [p for p in functions if name in functions[p]]
        return any(checks(p, functions[p][name], seen | {(p, name)}) for p in places if (p, name) not in seen)

    def checks(path, function: ast.FunctionDef, seen: frozenset) -> bool:
        called = [ast.unparse(n.func) for n in ast.walk(function) if isinstance(n, ast.Call)]
        checking = ("pytest.raises", "pytest.warns", "np.testing.", "torch.testing.")
        if any(isinstance(n, ast.Assert) for n in ast.walk(function)) or any(c.startswith(checking) for c in called):
            return True
        return any(asserts(path, c.split(".")[-1], seen) for c in called)

    tests = [(path, f) for path, found in functions.items() for name, f in found.items() if name.startswith("test_")]
    silent = [f"{path.name}: {f.name}" for path, f in tests if not checks(path, f, frozenset())]
    assert len(tests) > 300 and silent == []
