"""Pixels missing completely at random, trained on the incomplete images alone: RMSE and accuracy after imputation.

    DATA_MIRROR=… python -m benchmarks.mnist_imputation [--rates 0.1 0.5 0.8 0.9] [--seconds 60] [--out FOLDER]

The protocol of EMFlow (2106.04804, tables 2 and 3): a share `rate` of the pixels of every training and every test
image is missing; a model for each rate sees the incomplete training images and no label; RMSE over the missing pixels
of the test images, scaled to [0, 1]; accuracy of a classifier, trained on the complete images, on the imputed test
images. Every pixel is a token. The model is our generator trained by its likelihood route alone with squared error, so
that one pass gives the conditional mean of the missing pixels given the observed ones. Sources and targets of a
training task are parts of what is observed; missing pixels are packed away and cost nothing, in training or in
imputation, where the missing pixels are asked for in portions as large as in training.

Baselines of the same run: each pixel's mean over what is observed of it. Published: see PUBLISHED. Training is
--seconds long for each rate. Writes mnist_imputation.csv and a sheet of images a rate; the last line is one JSON object,
whose `ratio` is the published RMSE over ours, the least over the rates.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.measure import append, key
from kernels.task_sampling import TaskBank, write_bank
from pipeline.base.params import Params, merge_params
from pipeline.datasets import get_source
from pipeline.datasets.download import obtain
from pipeline.evaluation.classifier import ImageClassifier, train_classifier
from pipeline.model.sampler import Sampler
from pipeline.prepare import split
from pipeline.rows.schema import Schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.training.batches import BatchReader, read_ahead
from pipeline.training.build import build_step
from pipeline.training.clock import Clock
from pipeline.training.graphs import GraphedStep
from pipeline.training.schedule import noise_seed

RESULTS = Path(__file__).parent / "results" / "mnist_imputation.csv"
PUBLISHED = {  # rate → (RMSE, accuracy) of EMFlow or, where better, MCFlow (2003.12628)
    0.1: (0.0726, None),
    0.5: (0.0986, 0.9860),
    0.8: (None, 0.9331),
    0.9: (0.1951, 0.7732),
}
SOURCE_SHARE = 0.8  # mean share of the observed pixels that are sources in training
SETTINGS = {
    "prepare": {"patch_size_px": 1, "label_token": False},
    "tasks": {
        "train_rows": 65536,
        "weights": {"beta_random": 1.0},
        "source_beta": [8.0, 2.0],
        "target_beta": [50.0, 0.5],
    },
    "network": {"order": "one_pass", "position": "grid", "noise_width": 8, "mlp_ratio": 3.0, "convolution_channels": 0},
    "train": {
        "steps": 10**6,
        "adversarial_weight": 0.0,
        "energy_weight": 0.0,
        "energy_final_weight": 0.0,
        "continuous_likelihood_weight": 1.0,
        "continuous_error": "squared",
        "mismatch_weight": 0.0,
        "mismatch_final_weight": 0.0,
        "penalty": "none",
        "beta1": 0.9,
        "beta2": 0.98,
        "warmup_steps": 200,
        "decay_start": 0.3,
        "clip_norm": 1.0,
        "ema_decay": 0.998,
        "minibatch_group": 1,
        "processes": 1,
    },
}


class IncompleteRows:
    """(N, C) rows whose cells are missing with probability `rate`, the same ones whenever they are read."""

    def __init__(self, rows: np.ndarray, rate: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        missing = np.concatenate([rng.random(part.shape, np.float32) < rate for part in np.array_split(rows, 16)])
        self.rows, self.bits, self.columns = rows, np.packbits(missing, axis=1), rows.shape[1]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        missing = np.unpackbits(self.bits[index], axis=1, count=self.columns).view(bool)
        return np.where(missing, np.float32(np.nan), self.rows[index].astype(np.float32))


def load(dataset: str, params: Params) -> tuple[Schema, np.ndarray, np.ndarray]:
    """(schema with a label, train, test) rows of the dataset, fetched as stage fetch does."""
    source = get_source(dataset)
    with tempfile.TemporaryDirectory() as folder:
        for remote in source.files:
            obtain(remote, dataset, Path(folder), params.fetch)
        data = source.load(Path(folder), params)
    train, test = (np.concatenate(list(part.chunks())) for part in split(data, params))
    return data.schema, train, test


def make_params(options: argparse.Namespace, label_token: bool) -> Params:
    """Parameters of one training: SETTINGS and what the command line says."""
    settings = {k: dict(v) for k, v in SETTINGS.items()}
    settings["prepare"]["label_token"] = label_token
    settings["network"] |= {"width": options.width, "depth": options.depth, "heads": options.heads}
    settings["network"]["position"] = options.position
    settings["train"] |= {"batch_size": options.batch, "lr": options.lr, "generator_lr": options.lr}
    return merge_params(settings | {"dataset": {"name": options.dataset}, "seed": options.seed})


def train(rows: IncompleteRows, schema: Schema, params: Params, options: argparse.Namespace) -> tuple[Sampler, dict]:
    """(sampler of the averaged generator, figures of its training) after options.seconds."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        write_bank(
            Path(folder) / "bank", spec_from_schema(params.tasks, schema), params.tasks.train_rows, params.seed, 0
        )
        bank = TaskBank.open(Path(folder) / "bank")
        reader = BatchReader(rows, schema, bank, params.train.batch_size, params.seed, minibatch_group=1)
        state = build_step(params, schema, device, params.seed)
        advance = GraphedStep(state) if device.type == "cuda" and not options.no_graph else state
        started, done, curve = time.perf_counter(), 0, []
        clock = Clock(params.train.steps, options.seconds, started)
        with tqdm(desc="train", unit="step", mininterval=2.0) as bar:
            for batch in read_ahead(reader, 0, params.train.steps, device):
                losses, _ = advance(batch.to(device), done, noise_seed(params.seed, done), clock.share(done))
                done += 1
                if done % 100 == 0:
                    curve.append((done, float(losses["squared_error"].detach()) ** 0.5 / 2))  # of a range of 2
                    bar.update(100)
                    bar.set_postfix(rmse=f"{np.mean([e for _, e in curve[-10:]]):.4f}", refresh=False)
                if clock.is_over(done):
                    break
    state.check_finite()
    wall_s = time.perf_counter() - started
    figures = {
        "steps": done,
        "train_s": round(wall_s, 1),
        "images_per_s": round(done * params.train.batch_size / wall_s),
        "train_rmse": round(float(np.mean([e for _, e in curve[-10:]] or [np.nan])), 4),
    }
    return Sampler(state.average, schema, batch_size=options.rows_per_pass), figures


def impute(sampler: Sampler, rows: np.ndarray, seed: int) -> np.ndarray:
    """(N, C) rows whose NaN cells are the conditional mean given the others, asked for in portions: as many targets a
    source as training had."""
    missing = np.isnan(rows)
    portions = max(1, round(float(missing.mean() / (~missing).mean()) * SOURCE_SHARE / (1 - SOURCE_SHARE)))
    portion_of = np.random.default_rng(seed).integers(0, portions, rows.shape, dtype=np.int16)
    out = rows.copy()
    for portion in range(portions):
        wanted = missing & (portion_of == portion)
        found = sampler.complete(rows, observed=~missing, targets=wanted, seed=seed)[0]
        out[wanted] = found[wanted]
    return out


def score(
    imputed: np.ndarray, true: np.ndarray, missing: np.ndarray, labels: np.ndarray, judge: ImageClassifier, top: float
) -> tuple[float, float]:
    """(RMSE over the missing cells, values divided by `top`; accuracy of the classifier)."""
    rmse = float(np.sqrt(np.square((imputed - true)[missing].astype(np.float64) / top).mean()))
    images = judge.schema.images(np.concatenate([imputed, labels[:, None]], 1).astype(np.float32))
    return rmse, float((judge.predict(images)[:, 0] == labels).mean())


def save_sheet(path: Path, incomplete: np.ndarray, imputed: np.ndarray, true: np.ndarray, size: int) -> None:
    """Twelve test images in columns: what is observed (missing pixels blue), imputed, true."""
    from PIL import Image

    lines = []
    for rows in (incomplete, imputed, true):
        grey = np.nan_to_num(rows[:12]).reshape(-1, size, size).clip(0, true.max()) * (255 / true.max())
        colour = np.repeat(grey[..., None], 3, -1)
        colour[np.isnan(rows[:12]).reshape(-1, size, size)] = (40, 60, 120)
        lines.append(np.concatenate(np.pad(colour, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255), 1))
    sheet = np.concatenate(lines).astype(np.uint8)
    Image.fromarray(sheet).resize((sheet.shape[1] * 3, sheet.shape[0] * 3), Image.NEAREST).save(path)


def main() -> None:
    """Trains and scores each rate, appends to the results, prints the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--rates", nargs="+", type=float, default=[0.1, 0.5, 0.8, 0.9])
    parser.add_argument("--seconds", type=float, nargs="+", default=[60.0], help="of training: one, or one a rate")
    parser.add_argument("--test-rows", type=int, default=10000)
    parser.add_argument("--classifier-epochs", type=int, default=400)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--batch", type=int, nargs="+", default=[128], help="rows a step: one, or one a rate")
    parser.add_argument("--rows-per-pass", type=int, default=256, help="in imputation")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--position", default="grid", choices=["random", "grid"])
    parser.add_argument("--no-graph", action="store_true", help="no CUDA graphs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS.parent, help="folder of the CSV and the sheets")
    options = parser.parse_args()
    torch.set_float32_matmul_precision("high")
    torch.set_flush_denormal(True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    seconds, batches = options.seconds, options.batch
    options.seconds, options.batch = seconds[0], batches[0]
    labelled, train_rows, test_rows = load(options.dataset, make_params(options, True))
    schema = load(options.dataset, make_params(options, False))[0]
    judge = train_classifier(
        labelled, train_rows, epochs=options.classifier_epochs, seed=options.seed, batch_size=128, device=device
    )
    labels, top = test_rows[: options.test_rows, -1].astype(np.int64), labelled.pixel_range[1]
    true = test_rows[: options.test_rows, :-1].astype(np.float32)
    stamp, summary = key(device), {}
    for i, rate in enumerate(options.rates):
        options.seconds, options.batch = seconds[i % len(seconds)], batches[i % len(batches)]
        params = make_params(options, False)
        sampler, figures = train(IncompleteRows(train_rows[:, :-1], rate, options.seed), schema, params, options)
        incomplete = IncompleteRows(true, rate, options.seed + 1)[:]
        missing = np.isnan(incomplete)
        started = time.perf_counter()
        imputed = impute(sampler, incomplete, options.seed)
        figures["impute_s"] = round(time.perf_counter() - started, 1)
        observed_mean = np.nanmean(IncompleteRows(train_rows[:, :-1], rate, options.seed)[: 1 << 14], 0)
        found = {"biglearn": imputed, "mean": np.where(missing, observed_mean, incomplete), "complete": true}
        rows = []
        for method, values in found.items():
            rmse, accuracy = score(values, true, missing, labels, judge, top)
            rows.append({"rate": rate, "method": method, "rmse": round(rmse, 5), "accuracy": round(accuracy, 4)})
            rows[-1] |= {k: figures[k] if method == "biglearn" else "" for k in figures}
            rows[-1] |= {"dataset": options.dataset, "test_rows": len(true), "parameters": sum(
                p.numel() for p in sampler.generator.parameters()
            )} | stamp  # fmt: skip
        append(options.out / "mnist_imputation.csv", rows)
        save_sheet(options.out / f"{options.dataset}_missing_{round(100 * rate)}.png", incomplete, imputed, true,
                   labelled.image[0])  # fmt: skip
        summary |= {f"{name}_{rate}_{r['method']}": r[name] for r in rows for name in ("rmse", "accuracy")} | {
            f"{k}_{rate}": v for k, v in figures.items()
        }
        print(json.dumps({k: v for k, v in summary.items() if f"_{rate}" in k}), flush=True)
    published = {rate: rmse for rate, (rmse, _) in PUBLISHED.items() if rmse and options.dataset == "mnist"}
    ratios = [published[r] / summary[f"rmse_{r}_biglearn"] for r in options.rates if r in published]
    print(json.dumps({"benchmark": "mnist_imputation", "ratio": round(min(ratios), 3) if ratios else None} | summary))


if __name__ == "__main__":
    main()
