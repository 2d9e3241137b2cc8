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


def _git(root: Path, *arguments: str) -> str:
    """Output of a git command; empty when it fails, as it does for a name that is no revision."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""
