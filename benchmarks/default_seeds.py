"""The default run with several training seeds: mean and spread of every score, on the held-out rows of the one split.

    python -m benchmarks.default_seeds [--seeds 3] [--work data/default_seeds] [--out FILE] [--set train.steps=500 …]

Each seed is a project of its own under --work, trained with train.seed_offset = 0, 1, …: same rows, same split, same
tasks, other weights, noise and batches. A seed that is finished with the same parameters and code is not run again: start the
same command to go on after a cut. Baselines do not depend on that seed and are evaluated once, with the first.

Appends a row per score to benchmarks/results/default_seeds.csv: mean, spread (standard deviation over the seeds, N − 1),
least and most. Prints the scores that the README shows as a table, and one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import append, key
from pipeline.base.files import write_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results" / "default_seeds.csv"
STAGES = ("fetch", "prepare", "tasks", "train", "evaluate")
TRAINING = ("wall_s", "cpu_s_per_process", "peak_rss_mb", "processes", "steps")
SHOWN = (
    "fid_ratio",
    "precision",
    "recall",
    "min_class_share",
    "joint_label_agreement",
    "image_to_label_accuracy",
    "image_to_label_mode_accuracy",
    "label_to_image_accuracy",
    "half_completion_accuracy",
    "completion_diversity",
    *(f"completion_{score}_s{share}" for share in (30, 50, 70, 90) for score in ("rmse", "accuracy", "diversity")),
    *TRAINING[:3],
)


def code_of(folder: Path) -> str:
    """SHA-256 of the code that a run depends on."""
    digest = hashlib.sha256()
    for path in sorted(p for room in ("pipeline", "kernels") for p in (folder / room).rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def run_seed(offset: int, work: Path, settings: list[str]) -> dict[str, float]:
    """The metrics of one training seed, of stages run in a project of its own. Raises RuntimeError when a stage fails."""
    project = work / f"seed_{offset}"
    finished, wanted = project / "finished.json", [*settings, f"train.seed_offset={offset}"]
    if offset:
        wanted.append("evaluate.baselines=false")
    given = (ROOT / "params.yaml").read_text(encoding="utf8")
    state = {"settings": wanted, "params": hashlib.sha256(given.encode()).hexdigest(), "code": code_of(ROOT)}
    if not finished.exists() or json.loads(finished.read_text(encoding="utf8")) != state:
        project.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "params.yaml", project / "params.yaml")
        places = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"BIGLEARN_ROOT": str(project), "PYTHONPATH": places}
        for stage in STAGES:
            print(f"seed {offset}: {stage}", flush=True)
            done = subprocess.run([sys.executable, "-m", f"pipeline.{stage}", *wanted], env=environment, check=False)
            if done.returncode:
                raise RuntimeError(f"stage {stage} of seed {offset} must end well. Got exit code {done.returncode}.")
        write_json(finished, state)
    metrics = {
        name: json.loads((project / "data" / "metrics" / f"{name}.json").read_text()) for name in ("evaluate", "train")
    }
    found = metrics["evaluate"] | {name: metrics["train"][name] for name in TRAINING}
    if found.get("fid_real"):
        found["fid_ratio"] = found["fid"] / found["fid_real"]
    return found


def summaries(runs: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Score → seeds, mean, spread, least, most. runs: scores of each seed; a baseline's stands in the first alone."""
    out = {}
    for score in runs[0]:
        values = [run[score] for run in runs if score in run]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        numbers = {"mean": statistics.fmean(values), "spread": spread, "least": min(values), "most": max(values)}
        out[score] = {"seeds": len(values)} | {k: round(v, 6) for k, v in numbers.items()}
    return out


def table(found: dict[str, dict[str, float]]) -> str:
    """Markdown: score, mean ± spread, and the draws of the five nearest rows beside it where they have the score."""
    lines = ["| score | mean ± spread | least to most | draws of 5 nearest |", "| --- | --- | --- | --- |"]
    for score in (s for s in SHOWN if s in found):
        n, other = found[score], found.get(f"{score}_nearest_draws")
        cells = (
            f"{n['mean']:.3f} ± {n['spread']:.3f}",
            f"{n['least']:.3f} to {n['most']:.3f}",
            f"{other['mean']:.3f}" if other else "",
        )
        lines.append("| " + " | ".join((score, *cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    """Runs what is not finished, appends to the results, prints the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of training seeds")
    parser.add_argument("--work", type=Path, default=ROOT / "data" / "default_seeds", help="folder of the projects")
    parser.add_argument("--out", type=Path, default=RESULTS, help="results file")
    parser.add_argument("--set", nargs="+", default=[], help="settings for every seed, as train.steps=500")
    options = parser.parse_args()
    runs = [run_seed(offset, options.work.resolve(), options.set) for offset in range(options.seeds)]
    found, stamp = summaries(runs), key() | {"settings": " ".join(options.set)}
    append(options.out, [stamp | {"score": score} | numbers for score, numbers in found.items()])
    print(table(found))
    flat = {f"{score}_{k}": found[score][k] for score in SHOWN if score in found for k in ("mean", "spread")}
    print(json.dumps({"benchmark": "default_seeds"} | stamp | flat))


if __name__ == "__main__":
    main()
