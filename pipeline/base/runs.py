"""Runs whose checkpoints lie side by side: what each depends on, and what has changed from one to the next.

A run that resumes nothing beside checkpoints of other runs says so, and which parameter did it: nobody should lose a
night of training to a changed number without a word.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.base.files import remove_tree, sha256, write_json

RUN_FILE = "run.json"
LISTED = 4


@dataclass(frozen=True)
class Run:
    """What a run's result depends on. params: nested. data: name → text. code: name → SHA-256."""

    params: dict
    data: dict[str, str]
    code: dict[str, str]

    @property
    def key(self) -> str:
        """16 hex digits that name the run: equal params, data and code give equal keys."""
        parts = [self.params, "".join(self.data.values()), self.code]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def run_key(params: dict, data: str, code: Mapping[str, Path]) -> str:
    """The key of the run of params, data (any text) and code (name → file)."""
    return run_of(params, {"data": data}, code).key


def run_of(params: dict, data: Mapping[str, str], code: Mapping[str, Path]) -> Run:
    """The run of params, data (name → any text) and code (name → file)."""
    return Run(params, dict(data), {name: sha256(path) for name, path in code.items()})


@dataclass(frozen=True)
class Abandoned:
    """Checkpoints of another run. step: the last one saved. saved: when, seconds since 1970. size: bytes."""

    folder: Path
    step: int
    saved: float
    size: int
    run: Run | None


def write_run(path: Path, run: Run) -> None:
    """Notes what a run depends on; of its data, digests."""
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in run.data.items()}
    write_json(path, asdict(Run(run.params, digests, run.code)))


def other_runs(folder: Path, key: str = "") -> list[Abandoned]:
    """The runs with checkpoints below `folder`, the one called `key` left out, the newest first."""
    found = []
    for place in sorted(folder.iterdir()) if folder.is_dir() else []:
        steps = sorted(place.glob("step-????????")) if place.name != key else []
        if steps:
            size = sum(f.stat().st_size for f in place.rglob("*") if f.is_file())
            last = steps[-1]
            found.append(Abandoned(place, int(last.name[5:]), last.stat().st_mtime, size, _read_run(place / RUN_FILE)))
    return sorted(found, key=lambda a: -a.saved)


def start_sentence(run: Run, step: int, others: list[Abandoned]) -> str:
    """What a run says before its first step: from where it goes on, or that it starts anew and why; "" for a first run."""
    if step:
        return f"goes on from its checkpoint of step {step}"
    if not others:
        return ""
    last = others[0]
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(last.saved))
    changed = (
        "what it depended on was not noted" if last.run is None else "; ".join(differences(last.run, run)[:LISTED])
    )
    size = sum(o.size for o in others) / 1e6
    return (
        f"starts anew at step 0. The checkpoint of step {last.step} from {when} belongs to another run: {changed}. "
        f"{len(others)} unfinished run{'s' if len(others) > 1 else ''} in {last.folder.parent} ({size:.1f} MB): "
        "go back to their parameters to go on with them, or remove the folder"
    )


def differences(old: Run, new: Run) -> list[str]:
    """What has changed, a short text each: "train.lr was 0.001, is 0.0005"; `old` as it was noted."""
    out = [f"{name} was {before}, is {after}" for name, before, after in _changed(old.params, new.params)]
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in new.data.items()}
    out += [f"{name} changed" for name in digests if old.data.get(name) != digests[name]]
    files = [name for name in {**old.code, **new.code} if old.code.get(name) != new.code.get(name)]
    return out + (
        [f"the code changed ({', '.join(files[:LISTED])}{', …' if len(files) > LISTED else ''})"] if files else []
    )


def remove_runs(runs: list[Abandoned]) -> str:
    """Removes the checkpoints of these runs; a sentence that says so, or ""."""
    for run in runs:
        remove_tree(run.folder)
    size = sum(run.size for run in runs) / 1e6
    steps = ", ".join(str(run.step) for run in runs[:LISTED])
    return f"removed the checkpoints of {len(runs)} unfinished tries (step {steps}; {size:.1f} MB)" if runs else ""


def _changed(old: dict, new: dict, prefix: str = "") -> Iterator[tuple[str, object, object]]:
    for name in {**old, **new}:
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _changed(before, after, f"{prefix}{name}.")
        elif before != after:
            yield prefix + name, before, after


def _read_run(path: Path) -> Run | None:
    try:
        raw = json.loads(path.read_text(encoding="utf8"))
        return Run(dict(raw["params"]), dict(raw["data"]), dict(raw["code"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
