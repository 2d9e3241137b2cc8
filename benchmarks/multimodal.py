"""One model for images and words: every direction between them, measured on held-out rows of a trained project.

    python -m benchmarks.multimodal                      # the current project, which needs an image and categories
    BIGLEARN_ROOT=/folder python -m benchmarks.multimodal --rows 256

Accuracies are balanced (mean over categories of the share that is right, averaged over attributes), so that a constant
answer has 1/categories whatever its share. A classifier trained on the training split judges drawn images. The last
line is JSON; its `ratio` is the share of drawn images that show the words they were drawn for, over the same with the
words of other rows (chance).
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.measure import append, key
from pipeline.base.paths import paths
from pipeline.evaluation.classifier import ImageClassifier, train_classifier
from pipeline.evaluation.image_scores import completion_scores
from pipeline.model.sampler import Sampler
from pipeline.rows.cells import Task, image_columns, label_columns, token_codes, upper_half_columns
from pipeline.rows.votes import most_frequent

RESULTS = Path(__file__).parent / "results" / "multimodal.csv"


def balanced_accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean over A tokens and their categories of the share of truth (N, A) that (K, N, A) predictions meet."""
    out = []
    for a in range(truth.shape[1]):
        present = np.unique(truth[:, a])
        out.append(np.mean([(predicted[:, truth[:, a] == c, a] == c).mean() for c in present]))
    return float(np.mean(out))


def seen(classifier: ImageClassifier, sampler: Sampler, draws: np.ndarray) -> np.ndarray:
    """(K, N, A) codes that the classifier sees in the images of (K, N, C) draws."""
    return np.stack([classifier.predict(sampler.schema.images(d)) for d in draws])


def measure(sampler: Sampler, classifier: ImageClassifier, rows: np.ndarray, draws: int, seed: int) -> dict[str, float]:
    """Scores of words → image, image → words, half an image → the rest, the same with words, and with changed words."""
    schema, truth = sampler.schema, token_codes(sampler.schema, rows)
    image, words, upper = image_columns(schema), label_columns(schema), upper_half_columns(schema)
    other = np.roll(np.arange(len(rows)), 1)

    def complete(given: np.ndarray, of: np.ndarray = rows, part: np.ndarray | None = None) -> np.ndarray:
        targets = None if part is None else np.broadcast_to(part, of.shape)
        return sampler.complete(of, np.broadcast_to(given, of.shape), draws, seed, targets)

    out = {"classifier": balanced_accuracy(classifier.predict(schema.images(rows))[None], truth)}
    steps = tqdm(total=5, desc="multimodal", unit="direction")
    codes = np.stack([token_codes(schema, d) for d in complete(image, part=words)])
    out["image_to_words_draw"] = balanced_accuracy(codes, truth)
    out["image_to_words_mode"] = balanced_accuracy(most_frequent(codes)[None], truth)
    steps.update()
    drawn = seen(classifier, sampler, complete(words, part=image))
    out["words_to_image"] = balanced_accuracy(drawn, truth)
    out["words_to_image_chance"] = balanced_accuracy(drawn, truth[other])
    steps.update()
    swapped = rows.copy()
    swapped[:, words] = rows[other][:, words]
    for name, given, of, asked in (
        ("half", upper, rows, truth),
        ("half_and_words", upper | words, rows, truth),
        ("half_and_other_words", upper | words, swapped, truth[other]),
    ):
        completed = complete(given, of)
        out[f"{name}_to_image"] = balanced_accuracy(seen(classifier, sampler, completed), asked)
        if asked is truth:
            scores = completion_scores(completed, Task(name, of, np.broadcast_to(given, of.shape)), schema, None)
            out |= {f"{name}_{k}": scores[k] for k in ("rmse", "diversity")}
        steps.update()
    return out


def main() -> None:
    """Measures, prints the JSON line, appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=256, help="held-out rows")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=15, help="of the classifier")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    where = paths()
    sampler = Sampler.load(where.generator)
    train, test = (np.load(where.tokens / f"{n}.npy", mmap_mode="r", allow_pickle=False) for n in ("train", "test"))
    with tqdm(total=options.epochs, desc="classifier", unit="epoch") as bar:
        classifier = train_classifier(sampler.schema, train, epochs=options.epochs, progress=bar.update)
    scores = measure(sampler, classifier, test[: options.rows].astype(np.float32), options.draws, options.seed)
    summary = json.loads((where.tokens / "summary.json").read_text(encoding="utf8"))
    steps = json.loads((where.metrics / "train.json").read_text(encoding="utf8"))
    stamp = key() | {"dataset": summary["dataset"], "rows": options.rows, "draws": options.draws}
    stamp |= {"steps": int(steps["steps"]), "train_cpu_s": steps["cpu_s_per_process"]}
    scores = {k: round(v, 4) for k, v in scores.items()}
    append(RESULTS, [stamp | scores])
    ratio = round(scores["words_to_image"] / scores["words_to_image_chance"], 3)
    print(json.dumps({"benchmark": "multimodal", "ratio": ratio} | stamp | scores))


if __name__ == "__main__":
    main()
