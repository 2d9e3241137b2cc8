"""Everything a card is wanted for, in order of value, in one resumable run: make gpu

    python -m benchmarks.gpu_day --out results [--dataset mnist celeba10k fashion_mnist] [--seconds 540]
                                 [--train-seconds 0] [--only PART …]

Parts, each a process of its own with its own time limit: tests of the kernels, memcheck of one shape, attention at our shapes
and at the two causal ones that others have published, losses, the whole training step of all sides, the sweep of
configurations, pixels missing at random; then one data set after the other: data (read beside the parts before), training in
its share of the seconds that are left, evaluation with sheets. A part that fails or runs out of time costs only itself. A
finished part is not run again: start the same command with the same folders to go on after a cut. Data comes from
$DATA_MIRROR or the source's mirrors.

Fifteen minutes of a card, in two calls that keep --work:

    540 s   --dataset mnist                     tests, memcheck, attention, losses, step; MNIST for about 200 s
    300 s   --dataset celeba10k fashion_mnist --only data train evaluate        faces, then Fashion-MNIST if 30 s are left

--work holds everything (logs, CSV, models); --out gets results.tar.gz after every part, and the trained networks in pieces of
15 MiB: cat mnist_models.tar.* | tar x. Two data sets at a time on one card: each with a --work and an --out of its own.
--cpu-proof runs all parts tiny on a CPU, to prove the script where there is no card.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gpu_day_settings import DATASETS, TINY

ROOT = Path(__file__).resolve().parent.parent
MEASURING_SHARE = 0.55  # of the seconds, at most, for tests and benchmarks; training gets the rest
TRAINING_SHARES = {"mnist": 3, "celeba10k": 3, "fashion_mnist": 1}  # of the seconds left for data sets
PIECE_BYTES = 15 << 20  # of the networks that are brought back
EVALUATION_RESERVE_S = 90  # of the seconds left, kept from training for evaluation, sheets and the bundle
LEAST_TRAINING_S = 30
COMPILE_GAIN = 1.1  # the step must be this much faster before training compiles


@dataclass
class Part:
    """One process: name, command, limit in seconds, additions to its environment, the data set it is about if any."""

    name: str
    command: list[str]
    limit_s: float
    environment: dict[str, str] = field(default_factory=dict)
    dataset: str = ""

    @property
    def key(self) -> str:
        """Name of its record and of its log: what is done for one data set is not done for another."""
        return f"{self.dataset}_{self.name}" if self.dataset else self.name


class Day:
    """Runs parts and keeps what they leave."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.work, self.out = options.work.resolve(), options.out.resolve()
        self.ends = time.monotonic() + options.seconds
        self.state_file = self.work / "plan.json"
        for dataset in options.dataset:
            self.project(dataset).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / "params.yaml", self.project(dataset) / "params.yaml")
        self.out.mkdir(parents=True, exist_ok=True)
        self.state = json.loads(self.state_file.read_text()) if self.state_file.exists() else {}

    def project(self, dataset: str) -> Path:
        """The folder in which a data set is trained."""
        return self.work / dataset

    def left_s(self) -> float:
        return self.ends - time.monotonic()

    def start(self, part: Part) -> subprocess.Popen | None:
        """The running process of a part, or None where it is done, not wanted or out of time."""
        wanted = not self.options.only or part.name in self.options.only
        if not wanted or self.done(part.key) or self.left_s() < 5:
            return None
        print(f"[{self.options.seconds - self.left_s():5.0f} s] {part.name}", flush=True)
        places = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": places} | part.environment
        log = open(self.work / f"{part.key}.log", "ab")  # noqa: SIM115 the process owns it
        return subprocess.Popen(
            part.command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def finish(self, part: Part, process: subprocess.Popen | None) -> bool:
        """Waits for a part within its limit, records it, bundles; whether it is done and well."""
        if process is None:
            return self.done(part.key)
        started = time.monotonic()
        try:
            code = process.wait(max(1.0, min(part.limit_s, self.left_s() - 3)))
        except subprocess.TimeoutExpired:
            code = 124
            stop(process)
        lines = (self.work / f"{part.key}.log").read_text(errors="replace").strip().splitlines()
        self.state[part.key] = {"rc": code, "seconds": round(time.monotonic() - started, 1), "last": lines[-1:]}
        self.state_file.write_text(json.dumps(self.state, indent=1))
        print(f"    {part.name}: rc {code}", *lines[-3:], sep="\n    ", flush=True)
        self.bundle()
        return code == 0

    def done(self, key: str) -> bool:
        return self.state.get(key, {}).get("rc") == 0

    def run(self, part: Part) -> bool:
        return self.finish(part, self.start(part))

    def bundle(self) -> None:
        """Writes results.tar.gz: logs, tables, pictures, metrics; not data, banks or weights."""
        keep = {".log", ".json", ".csv", ".tsv", ".png", ".yaml"}
        fresh = self.out / "results.tar.gz.part"
        with tarfile.open(fresh, "w:gz") as tar:
            for path in sorted(self.work.rglob("*")):
                within = path.relative_to(self.work).as_posix()
                if path.suffix in keep and path.is_file() and not skipped(within) and path.stat().st_size < 4 << 20:
                    tar.add(path, within)
        fresh.replace(self.out / "results.tar.gz")
        self.out.joinpath("plan.json").write_text(json.dumps(self.state, indent=1))

    def last_json(self, name: str) -> dict:
        """The JSON object that a part printed last, or an empty one."""
        text = self.state.get(name, {}).get("last") or [""]
        return json.loads(text[0]) if text[0].startswith("{") else {}


def skipped(within: str) -> bool:
    return any(f"/data/{name}/" in within for name in ("raw", "downloads", "tokens", "tasks", "checkpoints"))


def stop(process: subprocess.Popen) -> None:
    """Ends a part's whole process group: first asked, then killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(5)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", name, *arguments]


def measuring_parts(day: Day, proof: bool) -> list[Part]:
    """Tests, memory checks and benchmarks, most valuable first."""
    table = lambda name: str(day.work / f"{name}.csv")  # noqa: E731
    shares = (
        ["--quick"]
        if proof
        else ["--quick", "--shares", "1.0", "0.5", "--shapes", "causal_1024", "causal_512", "b", "a", "c"]
    )
    step = lambda *more: module("benchmarks.training_step", *more, "--out", table("training_step"))  # noqa: E731
    sides = ("compiled_graph", "sdpa_compiled_graph", "sdpa_graph", "graph")
    steps = [Part(f"step_{size}", step("--sizes", size, "--sides", *sides), 60) for size in ("mnist", "celeba")]
    if proof:
        steps = [Part("step_tiny", step("--sizes", "tiny", "--cycles", "1"), 600)]
    return [
        Part("tests", tests_command(proof), 60),
        Part("memcheck", memcheck_command(proof), 25, environment={"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}),
        Part("attention", module("benchmarks.attention", "--out", table("attention"), *shares), 75),
        *steps,
    ]


def extra_parts(day: Day, proof: bool) -> list[Part]:
    """What has been measured before: on a card only where --only names it."""
    table = lambda name: str(day.work / f"{name}.csv")  # noqa: E731
    one_compiler = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}  # its pool of compilers can outlive the benchmark
    parts = [Part("losses", module("benchmarks.losses", "--out", table("losses")), 45, environment=one_compiler)]
    if not proof:
        sweep = module("benchmarks.attention_sweep", "--seconds", "48", "--out", table("attention_sweep"))
        parts.append(Part("sweep", sweep, 60))
    missing = ["--rates", "0.5", "0.9", "0.8", "0.1", "--seconds", "65", "45", "45", "80", "--batch"]
    missing += ["128", "512", "256", "64"]
    if proof:
        missing = ["--dataset", "digits", "--rates", "0.5", "--seconds", "5", "--width", "16", "--depth", "1"]
        missing += ["--heads", "2", "--batch", "16", "--classifier-epochs", "1", "--test-rows", "32"]
    out = ["--out", str(day.work / "imputation")]
    parts.append(Part("imputation", module("benchmarks.mnist_imputation", *missing, *out), 360))
    return [part for part in parts if proof or part.name in day.options.only]


def tests_command(proof: bool) -> list[str]:
    """pytest over all tests that need a card, or over one small file."""
    workers = ["-n", "8"] if importlib.util.find_spec("xdist") and not proof else []
    mark = [] if proof else ["-m", "gpu"]
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*_gpu.py"))
    files = ["tests/kernels/test_packing.py"] if proof else files
    return module("pytest", *files, *mark, *workers, "-o", "filterwarnings=default", "--durations=5")


def memcheck_command(proof: bool) -> list[str]:
    """Every kernel under compute-sanitizer, where there is one; of the attention one shape a path."""
    memcheck = module("benchmarks.attention_memcheck")
    if shutil.which("compute-sanitizer") and not proof:
        memcheck = ["compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "9", *memcheck]
    return memcheck


def stages(day: Day, names: list[str], settings: list[str]) -> list[str]:
    """A shell command that runs stages of the pipeline one after the other in the day's project."""
    settings_text = shlex.join(settings)
    lines = " && ".join(f"{sys.executable} -m pipeline.{name} {settings_text}" for name in names)
    return ["bash", "-c", lines]


def training_seconds(day: Day, dataset: str, others: list[str]) -> float:
    """Seconds that a data set may train: its share of what is left when each keeps its reserve for evaluation."""
    if day.options.train_seconds:
        return day.options.train_seconds
    shares = [TRAINING_SHARES[name] for name in (dataset, *others)]
    while len(shares) > 1 and (free(day, len(shares)) * min(shares) / sum(shares)) < LEAST_TRAINING_S:
        shares.pop()  # too little for all: the last one waits for another call
    return free(day, len(shares)) * shares[0] / sum(shares)


def free(day: Day, datasets: int) -> float:
    """Seconds left for training when `datasets` of them are still to come."""
    return day.left_s() - datasets * EVALUATION_RESERVE_S


def train_and_evaluate(day: Day, dataset: str, others: list[str], settings: list[str], proof: bool) -> None:
    """The pipeline's own stages, trained for the data set's share of the seconds that are left. others: still to come."""
    here = {"BIGLEARN_ROOT": str(day.project(dataset))}
    seconds = training_seconds(day, dataset, others)
    train = Part("train", [], seconds + 60, environment=here, dataset=dataset)
    if not day.done(train.key):
        if seconds < LEAST_TRAINING_S and not proof:
            print(f"    no training of {dataset}: {seconds:.0f} s left for it")
            return
        found = day.last_json("step_mnist")
        eager, compiled = found.get("step_ms_graph_mnist"), found.get("step_ms_compiled_graph_mnist")
        compiles = bool(eager and compiled and eager > COMPILE_GAIN * compiled)
        limits = [f"train.time_limit_s={max(1.0, seconds):.0f}", f"train.compile={str(compiles).lower()}"]
        if not proof:
            limits.append("train.steps=1000000")
        settings = [*limits, *settings]  # the last word is the caller's
    train.command = stages(day, ["train"], settings)
    if day.run(train):
        bring_back(day.project(dataset) / "data" / "models", day.out, dataset)
        threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2))}  # all of them wait for the slowest
        limit_s = max(30.0, day.left_s() - sum(LEAST_TRAINING_S + EVALUATION_RESERVE_S for _ in others) - 5)
        day.run(Part("evaluate", stages(day, ["evaluate"], settings), limit_s, here | threads, dataset))


def bring_back(models: Path, out: Path, dataset: str) -> None:
    """Writes both networks as {dataset}_models.tar.0, .1, … of PIECE_BYTES: a card's machine returns no larger files."""
    whole = models.parent / f"{dataset}_models.tar"
    with tarfile.open(whole, "w") as tar:
        for name in ("generator", "discriminator"):
            if (models / name).exists():
                tar.add(models / name, name)
    with open(whole, "rb") as stream:
        for number, piece in enumerate(iter(lambda: stream.read(PIECE_BYTES), b"")):
            (out / f"{whole.name}.{number}").write_bytes(piece)
    whole.unlink()


def main() -> None:
    """Runs the plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the bundle")
    parser.add_argument("--work", type=Path, default=ROOT / "data" / "gpu_day", help="folder for everything else")
    parser.add_argument(
        "--dataset", nargs="+", choices=tuple(DATASETS), default=["mnist"], help="trained in this order"
    )
    parser.add_argument("--seconds", type=float, default=540, help="the whole plan ends by then")
    parser.add_argument("--train-seconds", type=float, default=0, help="of each training; 0: a share of what is left")
    parser.add_argument("--only", nargs="+", default=[], help="names of parts to run")
    parser.add_argument("--set", nargs="+", default=[], help="more settings of the training, as train.lr=1e-3")
    parser.add_argument("--cpu-proof", action="store_true", help="everything tiny, on a CPU")
    options = parser.parse_args()
    day, proof = Day(options), options.cpu_proof
    settings = {
        name: [*(TINY if proof else [f"dataset.name={name}", *DATASETS[name]]), *options.set]
        for name in options.dataset
    }
    reading = {name: data_part(day, name, settings[name]) for name in options.dataset}
    preparing = {name: day.start(part) for name, part in reading.items()}  # beside the measurements, on other cores
    measuring_ends = time.monotonic() + MEASURING_SHARE * options.seconds
    for part in measuring_parts(day, proof) + extra_parts(day, proof):
        part.limit_s = 600 if proof else min(part.limit_s, measuring_ends - time.monotonic())
        if part.limit_s > 5:
            day.run(part)
    for i, name in enumerate(options.dataset):
        if day.finish(reading[name], preparing[name]):
            train_and_evaluate(day, name, options.dataset[i + 1 :], settings[name], proof)
    day.bundle()
    print(json.dumps({"benchmark": "gpu_day", "parts": {k: v["rc"] for k, v in day.state.items()}}))


def data_part(day: Day, dataset: str, settings: list[str]) -> Part:
    """Reading a data set and its bank of tasks."""
    here = {"BIGLEARN_ROOT": str(day.project(dataset))}
    return Part(
        "data",
        stages(day, ["fetch", "prepare", "tasks"], settings),
        600 if day.options.cpu_proof else 120,
        environment=here,
        dataset=dataset,
    )


if __name__ == "__main__":
    main()
