"""What `biglearn doctor` finds: is this machine ready, and if not, the command that makes it so.

Each check returns a Finding and never raises for a machine that is merely not ready.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from kernels.caches import own_folder
from pipeline.base.neighbours import PACKAGES, REMEDY, found_instead
from pipeline.base.paths import Paths, default_root
from pipeline.base.revisions import git_trouble, ignored_by_git

REQUIRED = (
    "torch",
    "numba",
    "numpy",
    "omegaconf",
    "safetensors",
    "scipy",
    "scikit-learn",
    "pandas",
    "pyarrow",
    "pillow",
)
OPTIONAL = {
    "dvc": "pip install -e '.[workflow]' (needed by dvc repro, not by the stages)",
    "prefect": "pip install -e '.[workflow]' (needed by schedules, not by the stages)",
    "triton": "pip install -e '.[gpu]' (needed by the GPU kernels, not on a CPU)",
}
LEAST_DISK_GB, LEAST_MEMORY_GB = 2.0, 2.0
NO_PROJECT = "no project in this folder: fit, sample, complete and impute need none, dvc repro does"
MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


@dataclass(frozen=True)
class Finding:
    """One line of the examination. status: ok, warn or fail; fix: what to do about it, or ""."""

    name: str
    status: str
    detail: str
    fix: str = ""


def examine(root: Path | None = None, *, network: bool = False) -> list[Finding]:
    """Every finding about this machine and the project in `root` (default: the current one)."""
    where = Paths(root or default_root())
    findings = [_python(), *map(_package, REQUIRED), *(_optional(n, fix) for n, fix in OPTIONAL.items())]
    findings += [_device(), _triton(), _params(where), _writable(where), _disk(where), _memory(), _mirror()]
    findings += [
        _caches(),
        _git(where),
        _dvc(where),
        _inputs(where),
        _links(where),
        _prefect(),
        _names(),
        _checkpoints(where),
    ]
    return findings + (_mirrors(where) if network else [])


def show(findings: list[Finding], *, as_json: bool = False) -> str:
    """The findings as text, one a line with its fix below, or as a JSON list."""
    if as_json:
        return json.dumps([asdict(f) for f in findings], indent=2, ensure_ascii=False)
    width = max(len(f.name) for f in findings)
    lines = []
    for f in findings:
        lines.append(f"{MARKS[f.status]}  {f.name:<{width}}  {f.detail}")
        if f.fix:
            lines.append(f"{'':{width + 8}}→ {f.fix}")
    counts = {s: sum(f.status == s for f in findings) for s in MARKS}
    lines.append(f"{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} failures")
    return "\n".join(lines)


def _python() -> Finding:
    version = platform.python_version()
    right = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Finding(
        "python",
        "ok" if right else "warn",
        f"{version} at {sys.executable}",
        "" if right else "use Python 3.11 or 3.12",
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _names() -> Finding:
    """Whether our packages are found under their names, or others that bear them."""
    home = Path(__file__).resolve().parents[2]
    others = {name: place for name in PACKAGES if (place := found_instead(name, home))}
    said = ", ".join(f"'{name}' is {place}" for name, place in others.items())
    return Finding("package names", "warn" if others else "ok", said or ", ".join(PACKAGES), REMEDY if others else "")


def _package(name: str) -> Finding:
    version = _version(name)
    if version is None:
        return Finding(name, "fail", "not installed", "make environment, or pip install -e .")
    return Finding(name, "ok", version)


def _optional(name: str, fix: str) -> Finding:
    version = _version(name)
    return Finding(name, "ok", version) if version else Finding(name, "warn", "not installed", fix)


def _device() -> Finding:
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        return Finding("device", "fail", f"torch does not load: {error}", "make environment")
    if not torch.cuda.is_available():
        return Finding("device", "ok", f"CPU, {os.cpu_count()} cores, no CUDA device: the reference kernels run")
    capability = ".".join(map(str, torch.cuda.get_device_capability()))
    return Finding(
        "device", "ok", f"{torch.cuda.get_device_name()}, compute capability {capability}, CUDA {torch.version.cuda}"
    )


def _triton() -> Finding:
    """On a CUDA device Triton must load, or attention falls to the slow reference."""
    torch = importlib.import_module("torch") if _version("torch") else None
    needed = torch is not None and torch.cuda.is_available()
    try:
        importlib.import_module("triton")
    except ImportError as error:
        fix = OPTIONAL["triton"] if needed else ""
        return Finding("triton kernels", "fail" if needed else "ok", f"off: {error}", fix)
    return Finding("triton kernels", "ok", "used on CUDA" if needed else "load; used where there is a CUDA device")


def _params(where: Paths) -> Finding:
    from pipeline.base.fields import ParamsError
    from pipeline.base.params import load_params

    if not where.params.is_file():
        return Finding("params.yaml", "ok", NO_PROJECT)
    try:
        params = load_params(where.params)
    except ParamsError as error:
        return Finding("params.yaml", "fail", str(error), "correct the file, or `git checkout params.yaml`")
    return Finding("params.yaml", "ok", f"{where.params}: dataset {params.dataset.name}, {params.train.steps} steps")


def _writable(where: Paths) -> Finding:
    folder = where.data if where.data.is_dir() else where.root
    if os.access(folder, os.W_OK):
        return Finding("data folder", "ok", str(where.data))
    return Finding("data folder", "fail", f"{folder} cannot be written", f"chmod u+w {folder}, or set BIGLEARN_ROOT")


def _disk(where: Paths) -> Finding:
    free = shutil.disk_usage(where.root).free / 1e9
    enough = free >= LEAST_DISK_GB
    return Finding(
        "disk",
        "ok" if enough else "warn",
        f"{free:.1f} GB free",
        "" if enough else "dvc gc --workspace frees old results",
    )


def _checkpoints(where: Paths) -> Finding:
    """Training that was stopped and not gone on with keeps its last two states until somebody removes them."""
    from pipeline.base.runs import other_runs

    runs = other_runs(where.checkpoints)
    size = sum(run.size for run in runs) / 1e9
    if not runs:
        return Finding("checkpoints", "ok", "none of unfinished runs")
    detail = f"{len(runs)} unfinished runs, {size:.2f} GB, the last at step {runs[0].step}"
    return Finding("checkpoints", "ok", detail, f"train with their parameters to go on, or rm -r {where.checkpoints}")


def _memory() -> Finding:
    import psutil

    free = psutil.virtual_memory().available / 1e9
    enough = free >= LEAST_MEMORY_GB
    return Finding(
        "memory", "ok" if enough else "warn", f"{free:.1f} GB free", "" if enough else "lower train.batch_size"
    )


def _mirror() -> Finding:
    mirror = os.environ.get("DATA_MIRROR", "")
    if not mirror:
        return Finding("DATA_MIRROR", "ok", "not set: data come from public addresses")
    if "://" in mirror or Path(mirror).is_dir():
        return Finding("DATA_MIRROR", "ok", mirror)
    return Finding("DATA_MIRROR", "fail", f"{mirror} is no folder", "unset DATA_MIRROR, or point it at a folder or URL")


def _dvc(where: Paths) -> Finding:
    if _version("dvc") is None:
        return Finding("dvc project", "warn", "dvc is not installed", OPTIONAL["dvc"])
    if not where.params.is_file():
        return Finding("dvc project", "ok", NO_PROJECT)
    if not (where.root / ".dvc").is_dir():
        return Finding(
            "dvc project", "warn", f"no .dvc in {where.root}", "git init && dvc init (stages run without it)"
        )
    config = (
        (where.root / ".dvc" / "config").read_text(encoding="utf8")
        if (where.root / ".dvc" / "config").is_file()
        else ""
    )
    if "analytics = false" not in config:
        return Finding("dvc project", "warn", "DVC sends anonymous usage statistics", "dvc config core.analytics false")
    local = where.root / ".dvc" / "config.local"
    without_git = "no_scm = true" in config + (local.read_text(encoding="utf8") if local.is_file() else "")
    trouble = git_trouble(where.root)
    if without_git and not trouble:
        return Finding("dvc project", "warn", "core.no_scm is set although there is a git repository: no experiments",
                       "dvc config --local --unset core.no_scm")  # fmt: skip
    if trouble and not without_git:
        return Finding("dvc project", "fail", "dvc repro ends at once: DVC wants a git repository here",
                       "git init && git add . && git commit -m start, or dvc config --local core.no_scm true")  # fmt: skip
    return Finding("dvc project", "ok", "initialised, analytics off" + (", without git" if without_git else ""))


def _git(where: Paths) -> Finding:
    if not (where.root / ".dvc").is_dir():
        return Finding("git", "ok", "not needed without DVC")
    trouble = git_trouble(where.root)
    detail, _, fix = trouble.partition(": ")
    return Finding("git", "warn", detail, fix) if trouble else Finding("git", "ok", "the project is a repository")


def _caches() -> Finding:
    """Where Numba keeps compiled code, when not beside the package or in the user's cache."""
    temporary, chosen = own_folder("numba"), os.environ.get("NUMBA_CACHE_DIR", "")
    if temporary is not None and chosen == str(temporary):
        return Finding("compiled code", "warn", f"kept in {chosen}, which may be emptied",
                       "export NUMBA_CACHE_DIR=<a folder that stays>")  # fmt: skip
    return Finding("compiled code", "ok", chosen or "beside the package, or in the user's cache")


def _inputs(where: Paths) -> Finding:
    """Data that git ignores are not in the copies of the project that `dvc exp run --temp` and `--queue` make."""
    from pipeline.base.fields import ParamsError
    from pipeline.base.params import load_params

    try:
        place = load_params(where.params).dataset.path if where.params.is_file() else ""
    except ParamsError:  # the finding about params.yaml says it
        place = ""
    if not ignored_by_git(where.root, place):
        return Finding("own data", "ok", "none that git ignores")
    return Finding("own data", "ok", f"{place}, which git ignores: experiments in a copy need --copy-paths",
                   f"dvc exp run --temp --copy-paths {place}")  # fmt: skip


def _links(where: Paths) -> Finding:
    """A cache of links (cache.type symlink) breaks when the project is moved."""
    broken = [p for p in where.data.rglob("*") if p.is_symlink() and not p.exists()] if where.data.is_dir() else []
    if not broken:
        return Finding("links", "ok", "none is broken")
    return Finding("links", "warn", f"{len(broken)} lead nowhere below {where.data}; was the project moved?",
                   "find data -xtype l -delete && dvc checkout")  # fmt: skip


def _prefect() -> Finding:
    if _version("prefect") is None:
        return Finding("prefect telemetry", "ok", "prefect is not installed")
    off = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    if any(
        os.environ.get(name, "").lower() in (value, "0" if value == "false" else "true") for name, value in off.items()
    ):
        return Finding("prefect telemetry", "ok", "off in this shell")
    return Finding("prefect telemetry", "warn", "not switched off in this shell; `make serve` and the flows do it",
                   "export PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1")  # fmt: skip


def _mirrors(where: Paths, timeout_s: float = 5.0) -> list[Finding]:
    """Does the first public address of the project's dataset answer?"""
    import requests

    from pipeline.base.params import load_params
    from pipeline.datasets import get_source

    if not where.params.is_file():
        return [Finding("mirrors", "ok", NO_PROJECT)]
    findings = []
    for file in get_source(load_params(where.params).dataset.name).files:
        errors = []
        for url in file.urls:
            try:
                requests.head(url, timeout=timeout_s, allow_redirects=True).raise_for_status()
                break
            except requests.RequestException as error:
                errors.append(f"{url}: {type(error).__name__}")
        else:
            findings.append(
                Finding(
                    file.name, "warn", "; ".join(errors) or "no public address", "set DATA_MIRROR to a folder or URL"
                )
            )
            continue
        findings.append(Finding(file.name, "ok", url))
    return findings or [Finding("mirrors", "ok", "this dataset needs no download")]
