"""Versions of the project by name: commits, branches, tags, DVC experiments, and the workspace itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

WORKSPACE = "workspace"


def resolve(root: Path, argument: str, revision: str) -> str:
    """Commit id of a git revision or a DVC experiment's name; empty for the workspace.

    Raises ValueError naming `argument` when there is no such revision.
    """
    if revision == WORKSPACE:
        return ""
    if not revision.startswith("-"):
        commit = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        if commit:
            return commit
        experiments = f"refs/exps/*/*/{revision}"
        found = _git(root, "for-each-ref", "--sort=-creatordate", "--format=%(objectname)", experiments).split()
        if found:
            return found[0]
    raise ValueError(
        f"'{argument}' must be a git revision, the name of a DVC experiment or '{WORKSPACE}'. Got {revision!r}."
    )


def git_trouble(root: Path) -> str:
    """Why git cannot work in `root`, with the mend; "" where it can."""
    try:
        done = _run(root, "rev-parse", "--git-dir")
    except FileNotFoundError:
        return "git is not installed: install it, versions and experiments need it"
    said = " ".join(done.stderr.split())
    if "dubious ownership" in said:
        folder = root.resolve()
        return f"git refuses {folder}, which belongs to another user: git config --global --add safe.directory {folder}"
    if done.returncode:
        return (
            f"{root.resolve()} is no git repository: `git init && git add . && git commit -m start`, "
            "or, to run stages without versions, `dvc config --local core.no_scm true`"
        )
    return ""


def ignored_by_git(root: Path, place: str) -> bool:
    """Whether git ignores the file or folder `place` of the project: copies that DVC makes for experiments lack it."""
    if not place or Path(place).is_absolute() or git_trouble(root):
        return False
    return _run(root, "check-ignore", "--quiet", "--", place).returncode == 0


def _git(root: Path, *arguments: str) -> str:
    """Output of a git command; empty when it fails, as it does for a name that is no revision.

    Raises ValueError when git cannot work in `root` at all.
    """
    try:
        done = _run(root, *arguments)
    except FileNotFoundError:
        raise ValueError(git_trouble(root)) from None
    if done.returncode == 0:
        return done.stdout.strip()
    trouble = git_trouble(root)
    if trouble:
        raise ValueError(trouble)
    return ""


def _run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, encoding="utf8", errors="replace", check=False
    )
