"""A project of four small DVC stages, a → b → d and c → d, in a git repository of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

STAGE = """import sys, pathlib, time
name, *needs = sys.argv[1:]
fault = pathlib.Path(f"{name}.fault")
if fault.exists():
    print(f"{name}: {fault.read_text()}", file=sys.stderr)
    sys.exit(1)
text = pathlib.Path("params.yaml").read_text() + "".join(pathlib.Path(n).read_text() for n in needs)
pathlib.Path("out").mkdir(exist_ok=True)
pathlib.Path(f"out/{name}").write_text(f"{name}:{len(text)}")
print(f"{name} done")
"""
NEEDS = {"a": [], "b": ["out/a"], "c": [], "d": ["out/b", "out/c"]}


def git(folder: Path, *arguments: str) -> str:
    """Output of a git command in `folder`."""
    name = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    return subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def dvc(folder: Path, *arguments: str) -> str:
    """Output of a dvc command in `folder`."""
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def small_project(tmp_path: Path) -> Path:
    """The folder of a fresh project; nothing has run yet."""
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "--quiet")
    dvc(root, "init", "--quiet")
    dvc(root, "config", "core.analytics", "false")
    (root / "stage.py").write_text(STAGE)
    (root / "params.yaml").write_text("seed: 0\n")
    stages = {}
    for name, needs in NEEDS.items():
        command = f"python stage.py {name} {' '.join(needs)}".strip()
        stages[name] = {"cmd": command, "deps": ["stage.py", *needs], "params": ["seed"], "outs": [f"out/{name}"]}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (root / ".gitignore").write_text("/out\n*.fault\n")
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "start")
    return root
