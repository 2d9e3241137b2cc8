"""kill -9 of flows at bad moments, and two retrains together: what is wrong afterwards.

    python -m tests.flows.fault_rounds --rounds 20                # every kind; --first N goes on from round N

A round of each kind, the flow and its children gone within ten seconds in all of them:
train      killed up to a second after training has begun
commit     killed while DVC hashes and caches 200 MB of training's outs, or soon after
anywhere   retrain killed at any moment of its run: clone, fetch, train, commits, saving, promotion
together   two retrains started at once: one works, the other ends in Skipped or Unchanged
Afterwards the flow is run to its end. Wrong is: an exit code, a `dvc status` that is not clean, a file of the cache
whose hash is not its name, a promoted model that does not load or is not the one of this round.

Appends a row a round to benchmarks/results/orchestration_faults.csv; prints a table and one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
import yaml
from tqdm import tqdm

from flows import registry
from flows.workshop import workshop_folder
from pipeline.model.network_files import read_network
from tests.helpers.imports import ROOT
from tests.helpers.prefect_server import prefect_server
from tests.helpers.projects import run, state, with_model, write_params

KINDS = (
    ("train", "reproduce"),
    ("train", "retrain"),
    ("commit", "reproduce"),
    ("commit", "retrain"),
    ("anywhere", "retrain"),
    ("together", "retrain"),
)
BALLAST_MB = 200  # long enough a commit to be killed in
LIMIT_S = 280.0  # of one flow, on a busy machine
RESULTS = ROOT / "benchmarks" / "results" / "orchestration_faults.csv"


@dataclass
class Round:
    """What became of one round. hit: what the kill interrupted; killed_after_s: of the moment that it waited for;
    gone_s: until nothing worked in the project any more; wrong: empty when all is sound."""

    kind: str
    flow: str
    number: int
    hit: str = ""
    killed_after_s: float = 0.0
    gone_s: float = 0.0
    healing_s: float = 0.0
    cache_files: int = 0
    wrong: list[str] = field(default_factory=list)


class Project:
    """A project with a model, in which one flow is killed and healed again and again."""

    def __init__(self, root: Path, flow: str, environment: dict[str, str]) -> None:
        self.root, self.flow, self.environment = root, flow, environment
        self.folder = root if flow == "reproduce" else workshop_folder(root, "retrain")
        self.log = root.parent / f"{root.name}.log"
        self.duration_s = 0.0  # of a whole run of the flow, undisturbed

    def start(self) -> subprocess.Popen:
        """The flow in a process of its own, its output in the log."""
        command = [sys.executable, "-m", f"flows.{self.flow}"]
        with open(self.log, "a") as log:
            return subprocess.Popen(command, cwd=self.root, env=self.environment, stdout=log, stderr=subprocess.STDOUT)

    def finish(self, result: Round) -> None:
        """Runs the flow to its end."""
        started = time.monotonic()
        code = self.start().wait(timeout=LIMIT_S)
        result.healing_s = round(time.monotonic() - started, 2)
        if code:
            result.wrong.append(f"the rerun ended with {code}: {self.log.read_text()[-1000:]}")

    def change(self, message: str, **train: float) -> None:
        """Commits other parameters of training."""
        write_params(self.root, **train)
        run(self.root, "git", "commit", "--quiet", "--all", "--allow-empty", "--message", message)

    def wait_for(self, path: Path, process: subprocess.Popen) -> None:
        """Returns when the file exists and the flow still runs."""
        limit = time.monotonic() + LIMIT_S
        while not path.exists():
            if process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"{path} did not appear: {self.log.read_text()[-1000:]}")
            time.sleep(0.02)

    def kill(self, process: subprocess.Popen, result: Round) -> None:
        """kill -9; within ten seconds nothing works in the project any more."""
        process.kill()
        process.wait()
        started = time.monotonic()
        while (left := workers_below(self.root)) and time.monotonic() < started + 10:
            time.sleep(0.05)
        result.gone_s = round(time.monotonic() - started, 2)
        result.wrong += [f"still at work: {command}" for command in left]

    def locked_lr(self) -> float | None:
        """train.lr of the outs that DVC has committed."""
        lock = self.folder / "dvc.lock"
        stages = yaml.safe_load(lock.read_text())["stages"] if lock.is_file() else {}
        return stages.get("train", {}).get("params", {}).get("params.yaml", {}).get("train", {}).get("lr")

    def check(self, result: Round, trained_on: str) -> None:
        """Adds to `result` what is wrong: DVC's status, hashes of the cache, the model that is promoted."""
        status, uncommitted = state(self.folder)
        result.wrong += [f"dvc status: {name}" for name in status] + [f"uncommitted: {kind}" for kind in uncommitted]
        files, damaged = cache_state(self.root / ".dvc" / "cache" / "files" / "md5")
        result.cache_files = files
        result.wrong += [f"damaged in the cache: {name}" for name in damaged]
        if not files:
            result.wrong.append("the cache is empty")
        if self.flow == "retrain":
            found = read_network(self.root / "data" / "promoted" / "generator")[1]["trained_on"]
            if found != trained_on:
                result.wrong.append(f"the promoted model was trained on {found!r}, not on {trained_on!r}")


def workers_below(folder: Path) -> list[str]:
    """Command lines of living processes that work in `folder` or below."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline", "status"]):
        where = process.info["cwd"]
        if where and Path(where).is_relative_to(folder) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(" ".join(process.info["cmdline"] or []))
    return found


def cache_state(folder: Path) -> tuple[int, list[str]]:
    """(number of files in DVC's cache, names of those whose content has another hash)."""
    files = [p for p in folder.glob("??/*") if not p.name.endswith(".tmp")]
    damaged = []
    for path in files:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "md5").hexdigest()
        if path.parent.name + path.name.removesuffix(".dir") != digest:
            damaged.append(path.name)
    return len(files), damaged


def one_round(project: Project, kind: str, number: int) -> Round:
    """Kills, heals, checks. A project's rounds must come in rising order: each trains a better model."""
    result = Round(kind, project.flow, number)
    lr = round(0.05 - 0.001 * number, 6)
    moment = random.Random(f"{kind} {project.flow} {number}").random()
    {"train": in_train, "commit": in_commit, "anywhere": anywhere, "together": together}[kind](
        project, result, lr, moment
    )
    rows = (project.root / "incoming" / "rows.txt").read_text()
    project.check(result, f"{rows}{lr}")
    return result


def in_train(project: Project, result: Round, lr: float, moment: float) -> None:
    """Killed up to a second after training has begun, of fifteen that it takes."""
    started = project.folder / "data" / "checkpoints" / "started"
    project.change("long", lr=lr, steps=1500)
    started.unlink(missing_ok=True)
    process = project.start()
    project.wait_for(started, process)
    time.sleep(moment)
    project.kill(process, result)
    result.hit, result.killed_after_s = "training", round(moment, 2)
    project.change("short", lr=lr, steps=1)
    project.finish(result)


def in_commit(project: Project, result: Round, lr: float, moment: float) -> None:
    """train.json is the last file that training writes; what follows is DVC hashing and caching its outs."""
    project.change("heavy", lr=lr, log_interval=BALLAST_MB)
    written = project.folder / "data" / "metrics" / "train.json"
    written.unlink(missing_ok=True)
    process = project.start()
    project.wait_for(written, process)
    time.sleep(moment)
    project.kill(process, result)
    result.hit = "after the commit" if project.locked_lr() == lr else "commit"
    result.killed_after_s = round(moment, 2)
    project.finish(result)


def anywhere(project: Project, result: Round, lr: float, moment: float) -> None:
    """Killed at any moment of a whole run, as long as the quickest before it; the first one is only measured."""
    if not project.duration_s:
        project.change("measured", lr=0.06)
        measured = Round(result.kind, result.flow, result.number)
        project.finish(measured)
        project.duration_s, result.wrong = measured.healing_s, measured.wrong
    project.change("anywhere", lr=lr, log_interval=BALLAST_MB // 4)
    before, process = len(project.log.read_text()), project.start()
    after_s = moment * project.duration_s
    time.sleep(after_s)
    said = project.log.read_text()[before:].rstrip().rsplit("\n", 1)[-1]
    has_ended = process.poll() is not None
    project.kill(process, result)
    moment_hit = f"after '{said.rsplit(' - ', 1)[-1][:60]}'" if said else "start-up"
    result.hit = "nothing, it had ended" if has_ended else moment_hit
    result.killed_after_s = round(after_s, 2)
    project.finish(result)
    project.duration_s = min(project.duration_s, after_s + result.healing_s)


def together(project: Project, result: Round, lr: float, moment: float) -> None:
    """Two retrains at once on new data, the second up to a second later."""
    project.change("together", lr=lr, steps=100)
    (project.root / "incoming" / "rows.txt").write_text(f"day {result.number + 2}")
    before = len(registry.history(project.root))
    lines = len(project.log.read_text().splitlines()) if project.log.exists() else 0
    started = time.monotonic()
    first = project.start()
    time.sleep(moment)
    codes = [process.wait(timeout=LIMIT_S) for process in (first, project.start())]
    result.killed_after_s, result.healing_s = round(moment, 2), round(time.monotonic() - started, 2)
    said = [line for line in project.log.read_text().splitlines()[lines:] if line.startswith("retrain: ")]
    idle = [line.split(": ")[1] for line in said if line.startswith(("retrain: Skipped: ", "retrain: Unchanged: "))]
    result.hit = f"none killed; one {', '.join(idle)}"
    if codes != [0, 0] or len(idle) != 1 or len(said) != 2:
        result.wrong.append(f"exit codes {codes}, outcomes {said}")
    if len(registry.history(project.root)) != before + 1:
        result.wrong.append("not just one model was promoted")


def table(rounds: list[Round]) -> str:
    """Markdown: rounds a kind and flow, those whose kill hit a working flow, healed, damaged files."""
    lines = [
        "| killed in | flow | rounds | hit as meant | healed | damaged cache files | slowest end of all processes, s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind, flow in KINDS:
        part = [r for r in rounds if (r.kind, r.flow) == (kind, flow)]
        hit = sum(not r.hit.startswith(("nothing", "after the commit")) for r in part)
        damaged = sum(w.startswith("damaged") for r in part for w in r.wrong)
        gone_s = max((r.gone_s for r in part), default=0.0)
        healed = sum(not r.wrong for r in part)
        lines.append(f"| {kind} | {flow} | {len(part)} | {hit} | {healed} | {damaged} | {gone_s:.1f} |")
    return "\n".join(lines)


def save(result: Round) -> None:
    """Appends one round, keyed by machine, versions, commit and date."""
    from importlib.metadata import version

    from benchmarks import measure

    key = measure.key() | {"dvc": version("dvc"), "prefect": version("prefect")}
    row = asdict(result) | {"wrong": "; ".join(result.wrong)}
    measure.append(RESULTS, [{k: v for k, v in key.items() if k not in ("numpy", "torch")} | row])


def rounds_of(project: Project, kind: str, numbers: range, report: Callable[[Round], object]) -> list[str]:
    """What was wrong in the rounds `numbers` of a kind; each goes to `report` as it ends."""
    wrong = []
    for number in numbers:
        result = one_round(project, kind, number)
        report(result)
        wrong += [f"{kind} {project.flow} {number}: {line}" for line in result.wrong]
    return wrong


def main() -> None:
    """Entry point: exit code 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    numbers = range(arguments.first, arguments.first + arguments.rounds)
    done: list[Round] = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        prefect_server(Path(scratch) / "prefect") as environment,
        ThreadPoolExecutor(2) as pool,
        tqdm(total=len(numbers) * len(KINDS), unit="round", dynamic_ncols=True) as bar,
    ):
        template = with_model(Path(scratch) / "template")
        one_at_a_time = threading.Lock()

        def report(result: Round) -> None:
            with one_at_a_time:
                done.append(result)
                save(result)
                bar.update()

        def work(kind: str, flow: str) -> list[str]:
            root = shutil.copytree(template, Path(scratch) / f"{kind}-{flow}", symlinks=True)
            return rounds_of(Project(root, flow, environment), kind, numbers, report)

        futures = [pool.submit(work, kind, flow) for kind, flow in KINDS]
        wrong = [line for future in futures for line in future.result()]
    print(table(done))
    for line in wrong:
        print("wrong:", line)
    print(json.dumps({"rounds": len(done), "healed": sum(not r.wrong for r in done), "wrong": len(wrong)}))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
