"""Everything a card is wanted for, in order of value, in one resumable run: make gpu

    python -m benchmarks.gpu_day --out results [--dataset mnist] [--seconds 540] [--train-seconds 0] [--only PART …]

Parts, each a process of its own with its own time limit: tests of the kernels, attention, losses, the whole training
step, memcheck, the sweep of configurations, pixels missing at random, then a data set: data (beside the parts before),
training to the best FID in the seconds that are left, evaluation with sheets. A part that fails or runs out of time
costs only itself. A finished part is not run again: start the same command with the same folders to go on after a cut.
Data comes from $DATA_MIRROR or the source's mirrors.

--work holds everything (logs, CSV, models); --out gets results.tar.gz after every part, and the trained networks. Two
data sets at a time on one card: each with a --work and an --out of its own.
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

ROOT = Path(__file__).resolve().parent.parent
IMAGES = [
    "network.width=192",
    "network.depth=6",
    "network.heads=6",
    "network.noise_width=64",
    "network.position=grid",
    "network.convolution_channels=16",
    "network.category_network=both",
    "train.processes=1",
    "train.batch_size=128",
    "train.penalty_interval=16",
    "train.body_start=0.03",
    "train.adversarial_start=0.1",  # the recipe of the digits, carried over: unmeasured on a card
    "train.energy_weight=2.0",
    "train.energy_final_weight=0.5",
    "train.mismatch_weight=1.0",
    "train.mismatch_final_weight=0.01",
    "train.penalty_weight=0.3",
    "train.lr=4e-4",
    "train.generator_lr=1e-3",
    "train.ema_decay=0.9995",
    "train.warmup_steps=200",
    "train.log_interval=100",
    "train.sample_interval=1000000",
    "train.checkpoint_interval=1000000",
    "tasks.train_rows=524288",
    "evaluate.rows=1000",
    "evaluate.baselines=false",
    "sample.batch_size=2048",
]
DATASETS = {
    "mnist": IMAGES,
    "fashion_mnist": IMAGES,
    "celeba10k": [
        *IMAGES,
        "prepare.image_size_px=64",
        "prepare.patch_size_px=8",
        "prepare.mirror=true",
        "tasks.weights={joint: 0.4, modality: 0.2, beta_random: 0.15, half: 0.25}",
        "network.width=256",
        "network.heads=8",
        "network.choice_passes=8",
        "train.penalty_weight=1.0",
        "train.penalty_interval=8",
        "train.ema_decay=0.999",
        "train.likelihood_weight=1.8",  # 7 of 16 choices are shown and cost nothing
        "evaluate.rows=500",
        "evaluate.draws=5",
        "evaluate.source_shares=[0.1, 0.3, 0.5, 0.7, 0.9]",
        "evaluate.classifier_epochs=16",
    ],
}
TINY = [
    "dataset.name=digits",
    "network.width=16",
    "network.depth=1",
    "network.convolution_channels=4",
    "train.steps=1000",
    "train.processes=1",
    "train.batch_size=16",
    "train.log_interval=5",
    "tasks.train_rows=2048",
    "tasks.evaluation_rows=256",
    "evaluate.rows=16",
    "evaluate.draws=2",
    "evaluate.classifier_epochs=2",
    "evaluate.baselines=false",
]
MEASURING_SHARE = 0.6  # of the seconds, at most, for tests and benchmarks; training gets the rest
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
        self.project = self.work / options.dataset
        self.ends = time.monotonic() + options.seconds
        self.state_file = self.work / "plan.json"
        self.project.mkdir(parents=True, exist_ok=True)
        self.out.mkdir(parents=True, exist_ok=True)
        self.state = json.loads(self.state_file.read_text()) if self.state_file.exists() else {}
        shutil.copyfile(ROOT / "params.yaml", self.project / "params.yaml")

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
    """Tests, memory checks and benchmarks."""
    table = lambda name: str(day.work / f"{name}.csv")  # noqa: E731
    workers = ["-n", "8"] if importlib.util.find_spec("xdist") and not proof else []
    mark = [] if proof else ["-m", "gpu"]
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*_gpu.py"))
    files = ["tests/kernels/test_packing.py"] if proof else files
    tests = module("pytest", *files, *mark, *workers, "-o", "filterwarnings=default", "--durations=5")
    memcheck = module("benchmarks.attention_memcheck")
    if shutil.which("compute-sanitizer") and not proof:
        memcheck = ["compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "9", *memcheck]
    quick = ["--quick"] if proof else []
    shares = [] if proof else ["--quick", "--shares", "0.5", "1.0", "0.25"]
    step = lambda *more: module("benchmarks.training_step", *more, "--out", table("training_step"))  # noqa: E731
    sides = ("compiled_graph", "sdpa_compiled_graph", "sdpa_graph", "graph", "ours", "sdpa")
    steps = [Part(f"step_{size}", step("--sizes", size, "--sides", *sides), 240) for size in ("celeba", "mnist")]
    if proof:
        steps = [Part("step_tiny", step("--sizes", "tiny", "--cycles", "1"), 600)]
    parts = [
        Part("tests", tests, 80),
        Part("attention", module("benchmarks.attention", "--out", table("attention"), *quick, *shares), 100),
        Part(
            "losses",
            module("benchmarks.losses", "--out", table("losses")),
            45,
            environment={"TORCHINDUCTOR_COMPILE_THREADS": "1"},  # its pool of compilers can outlive the benchmark
        ),
        *steps,
        Part("memcheck", memcheck, 40, environment={"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}),
    ]
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
    return parts


def stages(day: Day, names: list[str], settings: list[str]) -> list[str]:
    """A shell command that runs stages of the pipeline one after the other in the day's project."""
    settings_text = shlex.join(settings)
    lines = " && ".join(f"{sys.executable} -m pipeline.{name} {settings_text}" for name in names)
    return ["bash", "-c", lines]


def train_and_evaluate(day: Day, settings: list[str], proof: bool) -> None:
    """The pipeline's own stages, trained for the seconds that are left."""
    here, dataset = {"BIGLEARN_ROOT": str(day.project)}, day.options.dataset
    seconds = day.options.train_seconds or day.left_s() - EVALUATION_RESERVE_S
    train = Part("train", [], seconds + 60, environment=here, dataset=dataset)
    if not day.done(train.key):
        if seconds < LEAST_TRAINING_S and not proof:
            print(f"    no training: {seconds:.0f} s left for it")
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
        for name in ("generator", "discriminator"):
            folder = day.project / "data" / "models" / name
            if folder.exists():
                with tarfile.open(day.out / f"{dataset}_{name}.tar", "w") as tar:
                    tar.add(folder, name)
        threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2))}  # all of them wait for the slowest
        day.run(Part("evaluate", stages(day, ["evaluate"], settings), day.left_s() - 5, here | threads, dataset))


def main() -> None:
    """Runs the plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the bundle")
    parser.add_argument("--work", type=Path, default=ROOT / "data" / "gpu_day", help="folder for everything else")
    parser.add_argument("--dataset", choices=tuple(DATASETS), default="mnist", help="what is trained")
    parser.add_argument("--seconds", type=float, default=540, help="the whole plan ends by then")
    parser.add_argument("--train-seconds", type=float, default=0, help="of training; 0: what is left")
    parser.add_argument("--only", nargs="+", default=[], help="names of parts to run")
    parser.add_argument("--set", nargs="+", default=[], help="more settings of the training, as train.lr=1e-3")
    parser.add_argument("--cpu-proof", action="store_true", help="everything tiny, on a CPU")
    options = parser.parse_args()
    day, proof = Day(options), options.cpu_proof
    settings = TINY if proof else [f"dataset.name={options.dataset}", *DATASETS[options.dataset]]
    settings = [*settings, *options.set]
    data = Part(
        "data",
        stages(day, ["fetch", "prepare", "tasks"], settings),
        120,
        environment={"BIGLEARN_ROOT": str(day.project)},
        dataset=options.dataset,
    )
    preparing = day.start(data)
    measuring_ends = time.monotonic() + MEASURING_SHARE * options.seconds
    for part in measuring_parts(day, proof):
        part.limit_s = 600 if proof else min(part.limit_s, measuring_ends - time.monotonic())
        if part.limit_s > 5:
            day.run(part)
    if day.finish(data, preparing):
        train_and_evaluate(day, settings, proof)
    day.bundle()
    print(json.dumps({"benchmark": "gpu_day", "parts": {k: v["rc"] for k, v in day.state.items()}}))


if __name__ == "__main__":
    main()
