"""Promoted models: git tags in GTO's form on the experiment's commit, and a copy of the newest one to load.

    python -m flows.registry                      # what is promoted, and its history
    python -m flows.registry promote REVISION     # by hand, past the gate

`generator@v0.3.0` names a version and `generator#production#7` the promotion; both are annotated tags, so that
`dvc artifacts get <repository> generator --stage production` fetches the model from any machine. Tags keep the
experiment's commit alive. data/promoted/generator is written atomically and always loads.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from flows.workshop import git
from pipeline.base.failures import one_line_errors
from pipeline.base.files import remove_leftovers, replaced_folder, write_json
from pipeline.base.paths import Paths, default_root
from pipeline.base.revisions import resolve

ARTIFACT, STAGE = "generator", "production"
FIRST_VERSION = "v0.1.0"
MODEL = "data/models/generator"


@dataclass(frozen=True)
class Promoted:
    """version: v1.2.3; revision: commit id of the experiment; reason: why the gate let it pass."""

    version: str
    revision: str
    reason: str


def history(root: Path) -> list[Promoted]:
    """Every promotion, newest first."""
    pattern = f"refs/tags/{ARTIFACT}#{STAGE}#*"
    lines = git(root, "for-each-ref", "--format=%(refname:lstrip=2)%09%(*objectname)%09%(contents:subject)", pattern)
    found = [line.split("\t", 2) for line in lines.splitlines()]
    found.sort(key=lambda parts: -int(parts[0].rsplit("#", 1)[1]))
    return [Promoted(_version_of(root, revision), revision, reason) for _, revision, reason in found]


def promoted(root: Path) -> Promoted | None:
    """The model in production, or None before the first promotion."""
    every = history(root)
    return every[0] if every else None


def promote(root: Path, revision: str, reason: str) -> Promoted:
    """Registers and promotes the model of `revision`, then exports it. Promoting the promoted one changes nothing.

    Raises ValueError when there is no such revision, or its model is missing from the cache or damaged, RuntimeError
    when git does not know the user: nothing is promoted then.
    """
    from gto import api

    check_committer(root)
    revision = resolve(root, "revision", revision)
    if not revision:
        raise ValueError("'revision' must be a commit or an experiment. Got 'workspace', which can change.")
    current = promoted(root)
    if current is None or current.revision != revision:
        _try_model(root, revision)
        version = _version_of(root, revision)
        if not version:
            number = (
                {"bump_minor": True} if git(root, "tag", "--list", f"{ARTIFACT}@v*") else {"version": FIRST_VERSION}
            )
            version = api.register(str(root), ARTIFACT, ref=revision, message=reason, **number).version
        api.assign(str(root), ARTIFACT, stage=STAGE, version=version, message=reason, force=True)
        current = Promoted(version, revision, reason)
    return export(root, current)


def check_committer(root: Path) -> None:
    """Raises RuntimeError when git does not know who makes its tags; asked before a training, not after it."""
    for key, variable in (("user.name", "GIT_COMMITTER_NAME"), ("user.email", "GIT_COMMITTER_EMAIL")):
        if not (os.environ.get(variable) or git(root, "config", "--default", "", "--get", key)):
            raise RuntimeError(f"git's {key} must be set, since promotions are tags: git config {key} … Got none.")


def export(root: Path, model: Promoted) -> Promoted:
    """Writes data/promoted/generator and promoted.json where they are not this model's yet; returns `model`."""
    folder = Paths(root).promoted
    remove_leftovers(Paths(root).data)
    record = folder / "promoted.json"
    if record.is_file() and json.loads(record.read_text(encoding="utf8"))["revision"] == model.revision:
        return model
    with replaced_folder(folder) as fresh:
        _export(root, model.revision, fresh / "generator")
        write_json(fresh / "promoted.json", asdict(model))
    return model


def metrics_of(root: Path, revision: str) -> dict[str, float]:
    """evaluate.json as committed in `revision`."""
    return json.loads(git(root, "show", f"{revision}:data/metrics/evaluate.json"))


def _try_model(root: Path, revision: str) -> None:
    """Raises ValueError when the revision's model does not load."""
    trial = root / ".dvc" / "tmp" / "promotion"
    shutil.rmtree(trial, ignore_errors=True)  # of a run that was killed here
    try:
        _export(root, revision, trial / "generator")
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _version_of(root: Path, revision: str) -> str:
    tags = git(root, "tag", "--points-at", revision, "--list", f"{ARTIFACT}@v*").splitlines()
    return tags[0].split("@", 1)[1] if tags else ""


def _export(root: Path, revision: str, folder: Path) -> None:
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    from pipeline.model.network_files import read_network  # torch: two seconds that only a promotion needs

    with replaced_folder(folder) as fresh:
        try:
            DVCFileSystem(url=str(root), rev=revision).get(MODEL, str(fresh / "model"), recursive=True)
        except (DvcException, DataIndexDirError, OSError) as error:
            raise ValueError(
                f"the model of {revision[:12]} is not in the DVC cache: {error}; try `dvc pull`"
            ) from error
        for path in (fresh / "model").iterdir():
            path.rename(fresh / path.name)
        (fresh / "model").rmdir()
        read_network(fresh)


app = typer.Typer(add_completion=False, help=__doc__, invoke_without_command=True)


@app.callback(invoke_without_command=True)
def show(context: typer.Context) -> None:
    """The promoted models of this project, newest first."""
    if context.invoked_subcommand is None:
        with one_line_errors("registry"):
            for model in history(default_root()):
                print(f"{model.version}  {model.revision[:12]}  {model.reason}")


@app.command("promote")
def promote_by_hand(revision: str, reason: str = "promoted by hand") -> None:
    """Promotes the model of a commit, tag or experiment."""
    with one_line_errors("registry"):
        model = promote(default_root().resolve(), revision, reason)
        print(f"promoted {model.version} ({model.revision[:12]})")


if __name__ == "__main__":
    app()
