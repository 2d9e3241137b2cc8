"""The shape of the house: imports run one way, and DVC knows every file a stage depends on."""

from __future__ import annotations

import ast

import pytest
import yaml

from pipeline.base.params import Params, load_params
from tests.imports import ROOT, external_imports, module_files, reachable

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf8"))["stages"]
STAGE_MODULES = {f"pipeline.{name}" for name in STAGES}
ENTRY_POINTS = STAGE_MODULES | {"pipeline.app.cli", "pipeline.app.demo"}


def test_kernels_import_no_pipeline_and_nothing_imports_flows():
    for name in module_files():
        loaded = reachable(name)
        if name.startswith("kernels"):
            assert not [m for m in loaded if m.startswith(("pipeline", "flows"))], name
        if not name.startswith("flows"):
            assert not [m for m in loaded if m.startswith("flows")], name


def test_pure_modules_import_no_stage():
    """Stage modules sit above: only stages, the command line and flows may import one another's."""
    allowed = {"pipeline.tasks"}  # spec_from_schema is shared by training-time readers
    for name in module_files():
        if name.startswith("pipeline") and name not in ENTRY_POINTS and name != "pipeline":
            assert not ((reachable(name, lazy=False) - {name}) & (STAGE_MODULES - allowed)), name


def test_importing_needs_no_orchestration():
    """A GPU host with torch, numba, numpy and omegaconf can import the package and train."""
    for name in reachable("pipeline.train", lazy=False):
        assert not external_imports(name) & {"prefect", "dvc", "dvclive", "triton"}, name


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_every_module_a_stage_imports_is_a_dependency(stage):
    """DVC calls a stage up to date when a module it does not list has changed."""
    listed = [ROOT / str(d) for d in STAGES[stage]["deps"]]
    for name in sorted(reachable(f"pipeline.{stage}")):
        path = module_files()[name]
        assert any(path == d or d in path.parents for d in listed), f"{stage} imports {path.relative_to(ROOT)}"


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
