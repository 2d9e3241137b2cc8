"""Two small projects in git repositories of their own.

small: four stages, a → b → d and c → d. with_model: fetch → train → evaluate with a real generator that loads, a
metric that follows train.lr, and a training that takes train.steps hundredths of a second.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

STAGE = """import sys, pathlib
name, *needs = sys.argv[1:]
fault = pathlib.Path(f"{name}.fault")
if fault.exists():
    print(f"{name}: {fault.read_text()}", file=sys.stderr)
    sys.exit(1)
text = pathlib.Path("params.yaml").read_text() + "".join(pathlib.Path(n).read_text() for n in needs)
pathlib.Path("out").mkdir(exist_ok=True)
pathlib.Path(f"out/{name}").write_text(f"{name}:{len(text)}")
print(f"{name} done")
"""
NEEDS = {"a": [], "b": ["out/a"], "c": [], "d": ["out/b", "out/c"]}

FETCH = """import pathlib, shutil
pathlib.Path("data/raw").mkdir(parents=True, exist_ok=True)
shutil.copyfile("incoming/rows.txt", "data/raw/rows.txt")
"""
TRAIN = """import json, pathlib, shutil, sys, time, yaml
sys.path.insert(0, "stages")
from pipeline.base.parent import die_with_parent
die_with_parent()
train = yaml.safe_load(open("params.yaml"))["train"]
started = pathlib.Path("data/checkpoints/started")
started.parent.mkdir(parents=True, exist_ok=True)
started.write_text("yes")
for _ in range(train["steps"]):
    time.sleep(0.01)
shutil.rmtree("data/models", ignore_errors=True)
shutil.copytree("model", "data/models/generator")
config = json.loads(pathlib.Path("model/config.json").read_text())
config["lr"] = train["lr"]
config["trained_on"] = pathlib.Path("data/raw/rows.txt").read_text() + str(train["lr"])
pathlib.Path("data/models/generator/config.json").write_text(json.dumps(config))
with open("data/models/ballast", "wb") as stream:
    for i in range(train["log_interval"]):
        stream.write(f"{i} {config['trained_on']}".encode().ljust(1 << 20, b"."))
pathlib.Path("data/metrics").mkdir(exist_ok=True)
pathlib.Path("data/metrics/train.json").write_text(json.dumps({"wall_s": float(train["steps"])}))
"""
EVALUATE = """import json, pathlib
lr = json.loads(pathlib.Path("data/models/generator/config.json").read_text())["lr"]
pathlib.Path("data/metrics").mkdir(exist_ok=True)
pathlib.Path("data/metrics/evaluate.json").write_text(json.dumps({"fid": 100 * lr}))
"""
STAGES = {
    "fetch": {"cmd": "python stages/fetch.py", "deps": ["stages/fetch.py"], "outs": ["data/raw"]},
    "train": {
        "cmd": "python stages/train.py",
        "deps": ["stages/train.py", "data/raw", "model"],
        "params": ["train"],
        "outs": ["data/models"],
        "metrics": [{"data/metrics/train.json": {"cache": False}}],
    },
    "evaluate": {
        "cmd": "python stages/evaluate.py",
        "deps": ["stages/evaluate.py", "data/models/generator"],
        "metrics": [{"data/metrics/evaluate.json": {"cache": False}}],
    },
}


STATE = """import json
from dvc.repo import Repo
with Repo() as repo:
    print(json.dumps([repo.status(), repo.data_status()["uncommitted"]]))
"""


def run(folder: Path, *command: str) -> str:
    """Output of a command in `folder`."""
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def dvc(folder: Path, *arguments: str) -> str:
    """Output of a dvc command in `folder`."""
    return run(folder, sys.executable, "-m", "dvc", *arguments)


def state(folder: Path) -> tuple[dict, dict]:
    """(`dvc status`, the uncommitted part of `dvc data status`) in one process; both empty when all is clean."""
    status, uncommitted = json.loads(run(folder, sys.executable, "-c", STATE).splitlines()[-1])
    return status, {kind: names for kind, names in uncommitted.items() if names}


def start_project(root: Path) -> None:
    """git and DVC in a new folder."""
    root.mkdir()
    run(root, "git", "init", "--quiet")
    run(root, "git", "config", "user.name", "test")
    run(root, "git", "config", "user.email", "test@localhost")
    dvc(root, "init", "--quiet")
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")


def commit(root: Path, message: str) -> None:
    """Commits everything that git does not ignore."""
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "--quiet", "--message", message)


def small(root: Path) -> Path:
    """The folder of a fresh project of four stages; nothing has run yet."""
    start_project(root)
    (root / "stage.py").write_text(STAGE)
    (root / "params.yaml").write_text("seed: 0\n")
    stages = {}
    for name, needs in NEEDS.items():
        command = f"python stage.py {name} {' '.join(needs)}".strip()
        stages[name] = {"cmd": command, "deps": ["stage.py", *needs], "params": ["seed"], "outs": [f"out/{name}"]}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (root / ".gitignore").write_text("/out\n*.fault\n")
    commit(root, "start")
    return root


def write_params(root: Path, **train: float) -> None:
    """params.yaml with a `train` group; what is not named is the tests' default. log_interval: MB of ballast."""
    values = {"lr": 0.01, "steps": 1, "log_interval": 1} | train
    (root / "params.yaml").write_text(yaml.safe_dump({"train": values, "dataset": {"path": "incoming"}}))


def with_model(root: Path) -> Path:
    """The folder of a fresh project whose source of data, incoming/rows.txt, git does not know."""
    from pipeline.base.model_groups import NetworkParams
    from pipeline.model.generator import Generator
    from pipeline.model.sampler import Sampler
    from pipeline.rows.image_schema import image_label_schema

    start_project(root)
    (root / "stages").mkdir()
    for name, text in (("fetch", FETCH), ("train", TRAIN), ("evaluate", EVALUATE)):
        (root / "stages" / f"{name}.py").write_text(text)
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}, sort_keys=False))
    network = {"width": 8, "depth": 1, "heads": 1, "noise_width": 2}
    schema = image_label_schema(2, 2, 1, 1, 0, 1, ["a", "b"])
    Sampler.save(root / "model", Generator(schema, NetworkParams(**network), "reference"), schema, network, 8)
    (root / "incoming").mkdir()
    (root / "incoming" / "rows.txt").write_text("day 1")
    (root / ".gitignore").write_text(
        "/incoming\n/data/raw\n/data/models\n/data/checkpoints\n/data/promoted\n/data/sweeps\n"
    )
    write_params(root)
    commit(root, "start")
    return root
