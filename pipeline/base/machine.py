"""Where a result came from: hardware, library versions, the state of the source."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import psutil
import torch

LIBRARIES = (
    *("torch", "triton", "numba", "numpy", "scipy", "scikit-learn", "pandas", "omegaconf", "safetensors"),
    *("matplotlib", "dvc", "dvclive", "prefect"),
)


def hardware() -> dict[str, str]:
    """processor, cores (that this process may use), memory, gpu and system, in words."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": processor_name(),
        "cores": str(usable),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "gpu": ", ".join(gpus) or "none",
        "system": f"{platform.system()} {platform.release()}",
    }


def processor_name() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Python's version, and that of each library of LIBRARIES that is installed."""
    out = {"Python": platform.python_version()}
    for name in LIBRARIES:
        try:
            out[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # triton, dvc and prefect are optional
    return out


def source_state(root: Path) -> str:
    """The git commit of `root`, "with uncommitted changes" where files other than results differ from it.

    Results are what `dvc repro` itself rewrites: data/ and dvc.lock. Says so where there is no git or no commit.
    """

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=root,
                capture_output=True,
                encoding="utf8",
                errors="replace",
                check=False,
                timeout=30,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "--short=12", "HEAD")
    if commit is None:
        return "not in a git repository, or nothing committed yet"
    changes = git("status", "--porcelain", "--", ".", ":(exclude)data", ":(exclude)dvc.lock")
    return f"{commit} with uncommitted changes" if changes else commit
