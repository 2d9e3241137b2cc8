"""Scores of a sampler of images against held-out rows: joint samples, named tasks, completions; pure functions.

    classifier = train_classifier(schema, train_rows)
    print(quick_scores(sampler, train_rows, test_rows, classifier))

A sampler is anything with `schema`, `sample(n, seed)` and `complete(rows, observed, draws, seed)`; a reader of images
is the pipeline's classifier, or principal components where there is nothing to classify.
Pixel errors and diversities are in units of the pixel range, so 0…1; those of a table are in standard deviations.
"label" means every token the classifier predicts: the label token, else all categorical tokens (their scores are
averaged).

Shapes: N rows, C columns, L tokens, K draws, A predicted tokens, D features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.evaluation import metrics
from pipeline.rows.cells import (
    Task,
    image_columns,
    measured_columns,
    named_tasks,
    predicted_tokens,
    scaled_cells,
    token_codes,
    whole_images,
)
from pipeline.rows.permutation import some_numbers
from pipeline.rows.row_file import Rows, chunks
from pipeline.rows.schema import Schema
from pipeline.rows.votes import most_frequent

Array = np.ndarray
NEIGHBOURS = 5
NEIGHBOURHOOD_ROWS = 3000  # of each side, at most: k-nearest-neighbour scores hold all pairwise distances
JOINT_ROWS = 5000  # rows of the reference half, at most, where no other number is asked for


class RowSampler(Protocol):
    """What is asked of a sampler; pipeline.model.sampler.Sampler has it."""

    schema: Schema

    def sample(self, n: int, seed: int = 0) -> np.ndarray: ...

    def complete(
        self, rows: Array, observed: Array | None = None, draws: int = 1, seed: int = 0, targets: Array | None = None
    ) -> Array: ...


class ImageReader(Protocol):
    """What judges images: (features (N, D), predicted codes (N, A); A may be 0) of (N, H, W, channels) pixels."""

    def read(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass(frozen=True)
class Features:
    """moments: of all rows' features. near: (≤ NEIGHBOURHOOD_ROWS, D) features of the first."""

    moments: metrics.Moments
    near: np.ndarray

    @staticmethod
    def of(parts: Iterable[np.ndarray]) -> Features:
        """Of (n, D) parts, which need not be in memory together."""
        near: list[np.ndarray] = []

        def kept() -> Iterator[np.ndarray]:
            for part in parts:
                left = NEIGHBOURHOOD_ROWS - sum(len(p) for p in near)
                if left > 0:
                    near.append(part[:left].copy())  # a view would keep the whole part in memory
                yield part

        moments = metrics.Moments.of(kept())
        return Features(moments, np.concatenate(near))


class Reference:
    """Features and predictions of real rows, computed once: a random half of the training rows, and the test rows.

    limit: rows of that half, at most. Both FIDs use as many rows as it has, so that their bias is the same. Rows in a
    file are read in chunks, and of their features only moments are kept.
    """

    def __init__(
        self,
        schema: Schema,
        train_rows: Rows,
        test_rows: Rows,
        reader: ImageReader,
        seed: int = 0,
        limit: int = JOINT_ROWS,
    ) -> None:
        train, test = whole_images(schema, train_rows), whole_images(schema, test_rows)
        self.train_half = train[some_numbers(len(train), min(limit, len(train) // 2), seed)]
        self.half_features = Features.of([reader.read(schema.images(self.train_half))[0]])
        right = known = 0

        def read() -> Iterator[np.ndarray]:
            nonlocal right, known
            for part in chunks(test):
                features, predicted = reader.read(schema.images(part))
                codes = token_codes(schema, part)
                if predicted.shape == codes.shape:
                    known += int((codes >= 0).sum())
                    right += int((predicted == codes)[codes >= 0].sum())
                yield features

        self.test_features = Features.of(read())
        self.classifier_accuracy = right / known if known else None


def real_scores(reference: Reference) -> dict[str, float]:
    """The joint scores of real training rows, which a perfect sampler would reach, and classifier_accuracy."""
    out = {f"{k}_real": v for k, v in _distances(reference.half_features, reference.test_features).items()}
    if reference.classifier_accuracy is not None:
        out["classifier_accuracy"] = reference.classifier_accuracy
    return out


def joint_scores(samples: np.ndarray, schema: Schema, reference: Reference, reader: ImageReader) -> dict[str, float]:
    """Scores of joint samples (N, C): fid, kid, precision, recall, density, coverage, class shares, agreement.

    joint_label_agreement: share of samples whose label is what the classifier sees in their image.
    min_class_share: of the classes that the classifier sees in the images.
    """
    features, predicted = reader.read(schema.images(samples))
    out = _distances(Features.of([features]), reference.test_features)
    if predicted.shape[1]:
        out["joint_label_agreement"] = float((predicted == token_codes(schema, samples)).mean())
        if schema.label_token is not None:
            shares = metrics.class_shares(predicted[:, 0], schema.tokens[schema.label_token].width)
            out["min_class_share"] = float(shares.min())
    return out


def _distances(features: Features, reference: Features) -> dict[str, float]:
    near, real = features.near, reference.near
    return {
        "fid": metrics.frechet_distance(features.moments, reference.moments),
        "kid": metrics.kernel_distance(near, real),
        **metrics.neighbourhood_scores(real, near, min(NEIGHBOURS, len(real) - 1, len(near) - 1)),
    }


def completion_scores(draws: np.ndarray, task: Task, schema: Schema, reader: ImageReader | None) -> dict[str, float]:
    """Scores of K completions (K, N, C) of a task: those of the following that it can have.

    accuracy: share of completed images in which the classifier sees the true label; label_accuracy: of drawn labels
    that are true; label_mode_accuracy: of the most frequent draws that are true. Over unobserved measured cells with
    a known value: rmse of the mean of the draws; diversity between draws (K ≥ 2); energy_score (tables).
    """
    known = ~np.isnan(task.rows)
    weight = ~task.observed & known & measured_columns(schema)
    out = {}
    if weight.any():
        scaled, truth = scaled_cells(schema, draws), np.nan_to_num(scaled_cells(schema, task.rows[None])[0])
        out["rmse"] = metrics.root_mean_square(scaled.mean(0), truth, weight)
        if len(draws) > 1:
            out["diversity"] = metrics.pairwise_distance_of_draws(scaled, weight)
        if schema.image is None:
            out["energy_score"] = metrics.energy_score(scaled, truth, weight)
    codes = token_codes(schema, task.rows)
    hidden = ~task.observed[:, _columns_of_codes(schema)] & (codes >= 0)
    if hidden.any():
        drawn = np.stack([token_codes(schema, d) for d in draws])
        out["label_accuracy"] = float((drawn == codes)[:, hidden].mean())
        out["label_mode_accuracy"] = float((most_frequent(drawn) == codes)[hidden].mean())
    if reader is not None and weight.any():
        out |= _seen_accuracy(draws, codes, schema, reader)
    return out


def _columns_of_codes(schema: Schema) -> list[int]:
    """The column of each predicted token, in the order of `token_codes`."""
    return [schema.tokens[i].columns[0] for i in predicted_tokens(schema)]


def _seen_accuracy(draws: np.ndarray, codes: np.ndarray, schema: Schema, reader: ImageReader) -> dict[str, float]:
    whole = ~np.isnan(draws[:, :, image_columns(schema)]).any((0, 2)) & (codes >= 0).all(1)
    if not codes.shape[1] or not whole.any():
        return {}
    seen = np.stack([reader.read(schema.images(d[whole]))[1] for d in draws])
    return {"accuracy": float((seen == codes[whole]).mean())}


def task_names(task: str, scores: dict[str, float]) -> dict[str, float]:
    """`completion_scores` under the names they have among the metrics, e.g. half_completion_accuracy.

    Only what the task is about: an image that is given is not judged.
    """
    if task == "half":
        names = {"diversity": "completion_diversity"} | {
            k: f"half_completion_{k}" for k in ("accuracy", "label_accuracy", "rmse")
        }
    elif task == "image_to_label":
        names = {"label_accuracy": "image_to_label_accuracy", "label_mode_accuracy": "image_to_label_mode_accuracy"}
    elif task == "label_to_image":
        names = {"accuracy": "label_to_image_accuracy", "diversity": "label_to_image_diversity"}
    else:
        names = {k: f"completion_{k}_{task}" for k in scores if k != "label_mode_accuracy"}
    return {new: scores[old] for old, new in names.items() if old in scores}


def quick_scores(
    sampler: RowSampler,
    train_rows: np.ndarray,
    test_rows: np.ndarray,
    classifier: ImageReader,
    *,
    draws: int = 5,
    seed: int = 0,
    reference: Reference | None = None,
) -> dict[str, float]:
    """Every headline score of an image sampler, for experiments; a few seconds on digits.

    reference: pass one to compute the real rows' features once.
    """
    schema = sampler.schema
    reference = reference or Reference(schema, train_rows, test_rows, classifier)
    samples = sampler.sample(len(reference.train_half), seed=seed + 1)
    out = real_scores(reference) | joint_scores(samples, schema, reference, classifier)
    for k, task in enumerate(named_tasks(schema, np.asarray(test_rows, np.float32))):
        drawn = sampler.complete(task.rows, observed=task.observed, draws=draws, seed=seed + 2 + k)
        out |= task_names(task.name, completion_scores(drawn, task, schema, classifier))
    return out
