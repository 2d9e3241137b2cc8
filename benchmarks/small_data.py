"""Small data without collapse: trains on a few hundred images, then asks whether the samples differ and are new.

    DATA_MIRROR=/folder python -m benchmarks.small_data                  # 500 faces, 32×32
    python -m benchmarks.small_data --dataset digits --rows 300

Three sides in one run: the model; unseen real images (what chance gives); copies of training images with a little
noise (what the tests must find). Last line: JSON whose `ratio` is the diversity of the samples over that of unseen
real images.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import append, key
from pipeline import fetch, prepare
from pipeline.base.params import Params, merge_params
from pipeline.base.paths import Paths
from pipeline.evaluation.duplicates import NEAR_SHARE, duplicate_scores, mean_pairwise_distance
from pipeline.model.sampler import Sampler
from pipeline.reporting.sheets import save_sheet, tiles
from pipeline.rows.cells import upper_half_columns
from pipeline.rows.schema import Schema
from pipeline.training.fitting import fit_generator

RESULTS = Path(__file__).parent / "results" / "small_data.csv"
COPY_NOISE = 0.03  # of the pixel range


def params_of(dataset: str, rows: int, steps: int, size_px: int) -> Params:
    """The defaults, but for the size of the run and, for faces, of the images."""
    changes = [
        f"dataset.name={dataset}",
        f"prepare.limit_rows={rows}",
        f"train.steps={steps}",
        "tasks.train_rows=65536",
    ]
    if dataset == "celeba10k":
        changes += [f"prepare.image_size_px={size_px}", "prepare.patch_size_px=8", "prepare.attributes=[Male,Smiling]"]
    return merge_params({}, changes)


def data_of(params: Params, root: Path) -> tuple[Schema, np.ndarray, np.ndarray]:
    """(schema, training rows, unseen rows) as the stages prepare them."""
    where = Paths(root)
    fetch.run(params, where)
    prepare.run(params, where)
    load = [np.load(where.tokens / f"{name}.npy", allow_pickle=False) for name in ("train", "test")]
    return Schema.load(where.tokens / "schema.json"), *load


def sides(sampler: Sampler, train: np.ndarray, n: int, seed: int) -> dict[str, np.ndarray]:
    """Name → (n, C) rows that are held against the training rows."""
    rng = np.random.default_rng(seed)
    low, high = sampler.schema.pixel_range
    copies = train[rng.integers(0, len(train), n)].astype(np.float32)
    noise = rng.normal(0, COPY_NOISE * (high - low), copies.shape)
    return {"model": sampler.sample(n, seed=seed), "noisy_copies": (copies + noise).clip(low, high)}


def completion_diversity(sampler: Sampler, rows: np.ndarray, draws: int, seed: int) -> float:
    """Mean root mean squared difference between draws of the lower half given the upper, in pixel ranges."""
    schema, upper = sampler.schema, upper_half_columns(sampler.schema)
    drawn = sampler.complete(rows.astype(np.float32), np.broadcast_to(upper, rows.shape), draws, seed)
    lower = np.flatnonzero(~upper[: int(np.prod(schema.image))])
    cells = pixels(schema, drawn.reshape(-1, drawn.shape[2]))[:, lower].reshape(draws, len(rows), -1)
    return float(np.mean([mean_pairwise_distance(cells[:, i]) for i in range(len(rows))]))


def pixels(schema: Schema, rows: np.ndarray) -> np.ndarray:
    """(N, D) float64 pixels in pixel ranges."""
    low, high = schema.pixel_range
    return schema.images(rows).reshape(len(rows), -1).astype(np.float64) / (high - low)


def main() -> None:
    """Trains, measures, prints a table and the JSON line, appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="celeba10k", help="a source of images")
    parser.add_argument("--rows", type=int, default=500, help="training rows")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--size", type=int, default=32, help="edge of a face in pixels")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, help="PNG of samples, each above its nearest training image")
    options = parser.parse_args()
    torch.set_num_threads(1)
    params = params_of(options.dataset, options.rows, options.steps, options.size)
    with tempfile.TemporaryDirectory(prefix="biglearn-small-") as folder:
        schema, train, unseen = data_of(params, Path(folder))
    started = time.process_time()
    sampler, _ = fit_generator(train.astype(np.float32), schema, params, seed=options.seed, validation_share=0.0)
    train_cpu_s = time.process_time() - started
    stamp = key() | {"dataset": options.dataset, "rows": len(train), "steps": options.steps, "seed": options.seed}
    real = pixels(schema, unseen)
    table, summary = [], {"train_cpu_s": round(train_cpu_s, 1), "unseen_rows": len(unseen)}
    half = len(unseen) // 2
    held = sides(sampler, train, options.samples, options.seed + 1) | {"unseen_real": unseen[:half]}
    for name, rows in held.items():
        against = real[half:] if name == "unseen_real" else real
        scores = duplicate_scores(pixels(schema, rows), pixels(schema, train), against)
        scores["diversity"] = mean_pairwise_distance(pixels(schema, rows)[: options.samples])
        table.append(stamp | {"side": name} | {k: round(v, 4) for k, v in scores.items()})
        print(f"{name:13} " + "  ".join(f"{k} {v:.3f}" for k, v in scores.items()))
        summary |= {f"{name}_{k}": round(v, 4) for k, v in scores.items()}
    append(RESULTS, table)
    if options.picture:
        _picture(options.picture, schema, held["model"][:16], train)
    summary["completion_diversity"] = round(completion_diversity(sampler, unseen[:64], 5, options.seed + 2), 4)
    ratio = round(summary["model_diversity"] / summary["unseen_real_diversity"], 3)
    print(json.dumps({"benchmark": "small_data", "ratio": ratio, "chance_near_rate": NEAR_SHARE} | stamp | summary))


def _picture(path: Path, schema: Schema, samples: np.ndarray, train: np.ndarray) -> None:
    distances = ((pixels(schema, samples)[:, None] - pixels(schema, train)[None]) ** 2).sum(2)
    nearest = train[distances.argmin(1)].astype(np.float32)
    save_sheet(path, np.stack([tiles(schema, samples), tiles(schema, nearest)]), ["sample", "nearest training image"])


if __name__ == "__main__":
    main()
