"""R1 and R2 of a transformer discriminator, exact against one random draw against none: quality and CPU seconds.

    python -m benchmarks.penalties [--dataset digits] [--steps 2000] [--seeds 2] [--penalties exact none …]
                                   [--work data/penalties] [--out FILE] [--set train.batch_size=32 …]

Each penalty and training seed is a project of its own below --work, one process with one thread: the same rows, tasks,
batches and first weights, another penalty. What is finished with the same parameters and code is not run again. `approximate`
is the one-draw estimate ((f(x + σε) − f(x)) / σ)² in the place of ‖∇f‖²; `approximate_often` takes it at every step instead
of every `train.penalty_interval`-th, at the same total weight; `approximate_fine` has a tenth of σ. Where rows share statistics the
estimate and the exact penalty differ in the mean (see `approximate_penalty`); --set train.minibatch_group=1 compares like with like.

Beside the scores it measures the estimate on the discriminators that exact penalties have trained: its mean and spread over
those of the exact value, how far the gradient of one draw is from the exact one, and what either costs.

Appends to benchmarks/results/penalties.csv; prints the scores as a table, and one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.default_seeds import ROOT, run_seed
from benchmarks.measure import append, key, rounds_ms
from kernels.task_sampling import TaskBank
from pipeline.base.model_groups import TrainParams
from pipeline.base.params import load_params, merge_params
from pipeline.base.paths import Paths
from pipeline.model.discriminator import Discriminator
from pipeline.model.network_files import load_state, read_network
from pipeline.rows.row_file import RowFile
from pipeline.rows.schema import Schema
from pipeline.training.batches import Batch, BatchReader
from pipeline.training.losses import approximate_penalty, exact_penalty

RESULTS = Path(__file__).parent / "results" / "penalties.csv"
PENALTIES = {
    "exact": ["train.penalty=exact"],
    "approximate": ["train.penalty=approximate"],
    "approximate_fine": ["train.penalty=approximate", "train.penalty_sigma=0.01"],
    "approximate_often": ["train.penalty=approximate", "train.penalty_interval=1"],
    "none": ["train.penalty=none"],
}
ALL = ["train.processes=1", "train.threads=1", "evaluate.baselines=false"]
DATASETS = {
    "digits": [],
    "celeba10k": [
        "prepare.image_size_px=32",
        "prepare.patch_size_px=4",
        "prepare.mirror=true",
        "evaluate.rows=200",
        "evaluate.draws=3",
        "evaluate.joint_samples=2000",
        "evaluate.source_shares=[0.3, 0.5, 0.7]",
        "evaluate.classifier_epochs=4",
    ],
}
SHOWN = (
    "fid",
    "fid_real",
    "precision",
    "recall",
    "label_to_image_accuracy",
    "image_to_label_accuracy",
    "half_completion_accuracy",
    "completion_accuracy_s30",
    "cpu_s_per_process",
)
SIGMAS = (0.1, 0.01)  # of the study of the estimate; feature units
STUDIED = ("value_", "gradient_", "exact_ms", "approximate_ms")  # how its figures begin
BATCHES, DRAWS = 4, 64  # of the study of the estimate


def read_batches(where: Paths, train: TrainParams) -> list[Batch]:
    """A few batches of a project's training rows with their tasks."""
    reader = BatchReader(
        RowFile(where.tokens / "train.npy"),
        Schema.load(where.tokens / "schema.json"),
        TaskBank.open(where.tasks / "train"),
        train.batch_size,
        seed=1,
        minibatch_group=train.minibatch_group,
    )
    return [reader(step) for step in range(BATCHES)]


def read_discriminator(where: Paths, train: TrainParams) -> Discriminator:
    """The trained discriminator of a project."""
    folder = where.models / "discriminator"
    state, config, schema = read_network(folder)
    network = merge_params({"network": config["network"]}).network
    out = Discriminator(schema, network, patch_logit=train.patch_logit, minibatch_group=train.minibatch_group)
    load_state(out, state, str(folder))
    return out


def study_estimate(where: Paths, train: TrainParams) -> dict[str, float]:
    """The one-draw estimate on a trained discriminator and real rows, beside the exact penalty, for each σ of SIGMAS:

    value_mean, value_spread: mean and standard deviation over draws of a row's estimate, over the exact value, means over
    rows; gradient_error: ‖g − g*‖ / ‖g*‖ of the gradient g of a batch's estimate by the weights, root mean square over
    draws; gradient_bias: the same of the mean over draws; gradient_cosine: mean over draws. And exact_ms, approximate_ms:
    CPU time of penalty and gradient.
    """
    torch.set_num_threads(1)
    critic, generator = read_discriminator(where, train), torch.Generator().manual_seed(0)
    weights = [w for w in critic.parameters() if w.requires_grad]

    def gradient(squares: Tensor) -> Tensor:
        found = torch.autograd.grad(squares.mean(), weights, allow_unused=True)
        return torch.cat(
            [w.new_zeros(w.numel()) if g is None else g.flatten() for g, w in zip(found, weights, strict=True)]
        )

    def draw(batch: Batch, sigma: float) -> Tensor:
        noise = torch.randn(batch.features.shape, generator=generator)
        return approximate_penalty(critic, batch.features, batch.role, sigma, noise)

    rows, batches = [], read_batches(where, train)
    for batch in batches:
        squares = exact_penalty(critic, batch.features, batch.role)
        true, exact = gradient(squares), squares.detach()
        rows.append({})
        for sigma in SIGMAS:
            estimates = [draw(batch, sigma) for _ in range(DRAWS)]
            found = torch.stack([gradient(e) for e in estimates])
            studied = compared(torch.stack([e.detach() for e in estimates]), exact, found, true)
            rows[-1] |= {f"{name}_at_{sigma:g}": value for name, value in studied.items()}
    calls = {
        "exact_ms": lambda: gradient(exact_penalty(critic, batches[0].features, batches[0].role)),
        "approximate_ms": lambda: gradient(draw(batches[0], SIGMAS[0])),
    }
    return {k: statistics.fmean(r[k] for r in rows) for k in rows[0]} | rounds_ms(calls, 20)


def compared(values: Tensor, exact: Tensor, gradients: Tensor, true: Tensor) -> dict[str, float]:
    """Estimates (K, B) of the exact (B,), their gradients (K, W) of the true (W,), as `study_estimate` says."""
    off = (gradients - true).norm(dim=1) / true.norm()
    return {
        "value_mean": (values.mean() / exact.mean()).item(),
        "value_spread": (values.std(0) / exact.clamp(min=1e-12)).median().item(),
        "gradient_error": off.square().mean().sqrt().item(),
        "gradient_bias": ((gradients.mean(0) - true).norm() / true.norm()).item(),
        "gradient_cosine": torch.cosine_similarity(gradients, true[None], dim=1).mean().item(),
    }


def table(rows: list[dict]) -> str:
    """Markdown: a line a score, a column a penalty; mean and, in brackets, least and most over the seeds."""
    names = list(dict.fromkeys(r["penalty"] for r in rows))
    found = {(r["penalty"], r["score"]): r for r in rows}
    lines = ["| score | " + " | ".join(names) + " |", "| --- " * (len(names) + 1) + "|"]
    for score in dict.fromkeys(r["score"] for r in rows):
        cells = [found.get((name, score)) for name in names]
        text = [f"{c['mean']:.3f} ({c['least']:.3f}–{c['most']:.3f})" if c else "" for c in cells]
        lines.append(f"| {score} | " + " | ".join(text) + " |")
    return "\n".join(lines)


def summary(penalty: str, runs: list[dict[str, float]]) -> list[dict]:
    """A row of results for each score of one penalty."""
    out = []
    for score in [s for s in runs[0] if s in SHOWN or s.startswith(STUDIED)]:
        values = [run[score] for run in runs]
        spread = {"least": min(values), "most": max(values)}
        numbers = {"mean": statistics.fmean(values), **spread}
        row = {"penalty": penalty, "score": score, "seeds": len(values)}
        out.append(row | {k: round(v, 6) for k, v in numbers.items()})
    return out


def main() -> None:
    """Runs what is not finished, appends to the results, prints the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=tuple(DATASETS), default="digits", help="what is learnt")
    parser.add_argument("--steps", type=int, default=2000, help="training steps")
    parser.add_argument("--seeds", type=int, default=2, help="number of training seeds")
    parser.add_argument("--penalties", nargs="+", choices=tuple(PENALTIES), default=list(PENALTIES), help="which")
    parser.add_argument("--work", type=Path, default=ROOT / "data" / "penalties", help="folder of the projects")
    parser.add_argument("--out", type=Path, default=RESULTS, help="results file")
    parser.add_argument("--set", nargs="+", default=[], help="settings for every run, as train.batch_size=32")
    options = parser.parse_args()
    fixed = [f"dataset.name={options.dataset}", f"train.steps={options.steps}", *ALL, *DATASETS[options.dataset]]
    rows = []
    for penalty in options.penalties:
        work = (options.work / options.dataset / penalty).resolve()
        settings = [*fixed, *PENALTIES[penalty], *options.set]
        runs = [run_seed(offset, work, settings) for offset in range(options.seeds)]
        if penalty == "exact":
            train = load_params(ROOT / "params.yaml", settings).train
            runs = [r | study_estimate(Paths(work / f"seed_{i}"), train) for i, r in enumerate(runs)]
        rows += summary(penalty, runs)
    stamp = key() | {"dataset": options.dataset, "steps": options.steps, "settings": " ".join(options.set)}
    append(options.out, [stamp | row for row in rows])
    print(table(rows))
    flat = {f"{r['penalty']}_{r['score']}": r["mean"] for r in rows}
    print(json.dumps({"benchmark": "penalties"} | stamp | flat))


if __name__ == "__main__":
    main()
