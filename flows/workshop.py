"""A workshop: a kept clone of the project where a flow builds, so that no flow touches the user's own folder.

It lies in .dvc/tmp/workshops/<name>, shares git objects and the DVC cache with the project, and is held by one
process at a time. Git-ignored files stay between uses: training resumes from the checkpoints of a killed run,
compiled kernels are reused. Commits reach the project as DVC experiments.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.dvc_tasks import Output, run_dvc
from pipeline.base.params import load_params
from pipeline.base.paths import Paths
from pipeline.base.revisions import git_trouble

BUILT_FILES = ("dvc.lock", "data/metrics")  # results that git holds; DVC's cache has the others
DVC_TIMEOUT_S = 3600.0  # of a dvc command that only moves files


class WorkshopBusy(RuntimeError):
    """Another process works in the workshop."""


@contextmanager
def workshop(root: Path, name: str, log: Callable[[str], object], *, built: str | None = None) -> Iterator[Path]:
    """The folder of the workshop `name`, at the project's current commit, its outs checked out from the cache.

    built: commit of an experiment saved here; its dvc.lock and metrics are put in place, so that DVC compares with
    what was built then; a commit that has been removed since counts as none. Raises WorkshopBusy when another process
    holds the workshop.
    """
    folder = workshop_folder(root, name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkshopBusy(f"another process works in {folder}") from error
        _prepare(root, folder, built)
        dvc(folder, ["checkout", "--force", "--allow-missing", "--quiet"], log)
        yield folder


def workshop_folder(root: Path, name: str) -> Path:
    """Where the workshop `name` of a project lies."""
    return root / ".dvc" / "tmp" / "workshops" / name


def dvc(folder: Path, arguments: list[str], log: Callable[[str], object]) -> None:
    """Runs a dvc command that only moves files. Raises RuntimeError with DVC's message."""
    output = Output(log)
    code = run_dvc(folder, arguments, output, timeout_s=DVC_TIMEOUT_S)
    if code != 0:
        raise RuntimeError(f"dvc {' '.join(arguments)} {output.ending(code, 'dvc')}")


def git(folder: Path, *arguments: str, stdin: str = "") -> str:
    """Output of a git command in `folder`. Raises RuntimeError with git's message."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, encoding="utf8", errors="replace", input=stdin
    )
    if done.returncode:
        why = git_trouble(folder) or done.stderr.strip()
        raise RuntimeError(f"git {' '.join(arguments)} failed in {folder}: {why}")
    return done.stdout.strip()


def save_experiment(root: Path, folder: Path, name: str, log: Callable[[str], object]) -> str:
    """Commit id of the workshop's state, saved as the DVC experiment `name` and visible in the project."""
    new_files = git(folder, "ls-files", "--others", "--exclude-standard", "data/metrics").splitlines()
    include = [word for file in new_files for word in ("--include-untracked", file)]
    dvc(folder, ["exp", "save", "--force", "--name", name, *include], log)
    reference = experiment_reference(folder, name, git(folder, "rev-parse", "HEAD"))
    publish(folder, reference)
    return git(root, "rev-parse", reference)


def publish(folder: Path, reference: str) -> None:
    """Copies an experiment's commit and reference from a workshop into the project."""
    git(folder, "push", "--quiet", "--force", "origin", f"{reference}:{reference}")


def experiment_reference(folder: Path, name: str, baseline: str) -> str | None:
    """Full git reference of the experiment `name` on the commit `baseline`, or None when there is none."""
    reference = f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}"
    return reference if git(folder, "for-each-ref", reference) else None


def _prepare(root: Path, folder: Path, built: str | None) -> None:
    """Brings the clone to the project's commit; heals what a killed process left."""
    commit = git(root, "rev-parse", "HEAD")
    if not _is_clone_of(root, folder):
        _clone(root, folder)
    (folder / ".git" / "index.lock").unlink(missing_ok=True)  # ours alone: the workshop's lock is held
    git(folder, "checkout", "--quiet", "--force", "--detach", commit)
    git(folder, "clean", "--quiet", "--force", "-d")
    is_there = built and git(folder, "cat-file", "--batch-check=%(objecttype)", stdin=f"{built}\n") == "commit"
    kept = git(folder, "ls-tree", "-r", "--name-only", built, *BUILT_FILES).splitlines() if is_there else []
    if kept:
        git(folder, "checkout", "--quiet", built, "--", *kept)
        git(folder, "reset", "--quiet")
    _share(root, folder)


def _is_clone_of(root: Path, folder: Path) -> bool:
    try:
        return git(folder, "remote", "get-url", "origin") == str(root)
    except (RuntimeError, OSError):
        return False


def _clone(root: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    git(root, "clone", "--quiet", "--shared", "--no-checkout", str(root), str(fresh / "clone"))
    for key in ("user.name", "user.email"):
        value = subprocess.run(
            ["git", "config", key], cwd=root, capture_output=True, encoding="utf8", errors="replace"
        ).stdout.strip()
        if value:
            git(fresh / "clone", "config", key, value)
    os.replace(fresh / "clone", folder)
    fresh.rmdir()


def _share(root: Path, folder: Path) -> None:
    """The project's DVC settings, cache, downloads and data file, which git does not carry."""
    from dvc.repo import Repo

    local = root / ".dvc" / "config.local"
    if local.is_file():
        shutil.copyfile(local, folder / ".dvc" / "config.local")
    with Repo(str(root)) as project, Repo(str(folder)) as clone, clone.config.edit("local") as settings:
        settings.setdefault("cache", {})["dir"] = str(project.cache.local_cache_dir)
    shared = ["data/downloads"]
    data = load_params(Paths(folder).params).dataset.path
    if data and not Path(data).is_absolute() and not (folder / data).exists():
        shared.append(data)
    for name in shared:
        link, target = folder / name, root / name
        if target.exists() and not link.is_symlink() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
