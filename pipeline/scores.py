"""Scores of a sampler against held-out rows: joint samples, named tasks, completions; pure functions.

    classifier = train_classifier(schema, train_rows)
    print(quick_scores(sampler, train_rows, test_rows, classifier))

A sampler is anything with `schema`, `sample(n, seed)` and `complete(rows, observed, draws, seed, targets)`.
Pixel errors and diversities are in units of the pixel range, so 0…1. "label" means every token the classifier
predicts: the label token, else all categorical tokens (their scores are averaged).

Shapes: N rows, C columns, L tokens, K draws, A predicted tokens, D features.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pipeline import metrics
from pipeline.cells import (
    image_columns,
    label_columns,
    measured_columns,
    scaled_cells,
    token_codes,
    upper_half_columns,
    whole_images,
)
from pipeline.classifier import ImageClassifier
from pipeline.schema import Schema

NEIGHBOURS = 5
NEIGHBOURHOOD_ROWS = 3000  # of each side, at most: k-nearest-neighbour scores hold all pairwise distances


class RowSampler(Protocol):
    """What is asked of a sampler; pipeline.sampler.Sampler has it."""

    schema: Schema

    def sample(self, n: int, seed: int = 0) -> np.ndarray: ...

    def complete(
        self,
        rows: np.ndarray,
        observed: np.ndarray | None = None,
        draws: int = 1,
        seed: int = 0,
        targets: np.ndarray | None = None,
    ) -> np.ndarray: ...


class Reference:
    """Features and predictions of real rows, computed once: a random half of the training rows, and the test rows.

    Both FIDs use as many rows as the half has, so that their bias is the same.
    """

    def __init__(
        self, schema: Schema, train_rows: np.ndarray, test_rows: np.ndarray, classifier: ImageClassifier, seed: int = 0
    ) -> None:
        train, test = whole_images(schema, train_rows), whole_images(schema, test_rows)
        half = np.random.default_rng(seed).permutation(len(train))[: len(train) // 2]
        self.train_half = train[np.sort(half)]
        self.half_features = classifier.features(schema.images(self.train_half))
        self.test_features, predicted = classifier.read(schema.images(test))
        self.classifier_accuracy = float((predicted == token_codes(schema, test)).mean())


def real_scores(reference: Reference) -> dict[str, float]:
    """The joint scores of real training rows: what a perfect sampler would reach."""
    return {f"{k}_real": v for k, v in _distances(reference.half_features, reference.test_features).items()} | {
        "classifier_accuracy": reference.classifier_accuracy
    }


def joint_scores(samples: np.ndarray, schema: Schema, reference: Reference, classifier: ImageClassifier) -> dict:
    """Scores of joint samples (N, C): fid, kid, precision, recall, density, coverage, class shares, agreement.

    joint_label_agreement: share of samples whose label is what the classifier sees in their image.
    """
    features, predicted = classifier.read(schema.images(samples))
    out = _distances(features, reference.test_features)
    out["joint_label_agreement"] = float((predicted == token_codes(schema, samples)).mean())
    if schema.label_token is not None:
        shares = metrics.class_shares(predicted[:, 0], schema.tokens[schema.label_token].width)
        out["min_class_share"] = float(shares.min())
    return out


def _distances(features: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    near, real = features[:NEIGHBOURHOOD_ROWS], reference[:NEIGHBOURHOOD_ROWS]
    return {
        "fid": metrics.frechet_distance(features, reference),
        "kid": metrics.kernel_distance(near, real),
        **metrics.neighbourhood_scores(real, near, min(NEIGHBOURS, len(real) - 1, len(near) - 1)),
    }


def label_scores(
    sampler: RowSampler, test_rows: np.ndarray, classifier: ImageClassifier, draws: int, seed: int
) -> dict[str, float]:
    """Image → label and label → image.

    image_to_label_accuracy: share of single draws equal to the true label; _mode_: of the most frequent draw.
    label_to_image_accuracy: share of drawn images in which the classifier sees the label they were drawn for.
    """
    schema, rows = sampler.schema, np.asarray(test_rows, np.float32)
    truth = token_codes(schema, rows)
    rows, truth = rows[(truth >= 0).all(1)], truth[(truth >= 0).all(1)]
    image, label = image_columns(schema), label_columns(schema)
    given = np.broadcast_to(image, rows.shape) & ~np.isnan(rows)
    drawn = sampler.complete(rows, observed=given, draws=draws, seed=seed, targets=np.broadcast_to(label, rows.shape))
    codes = np.stack([token_codes(schema, d) for d in drawn])
    given = np.broadcast_to(label, rows.shape).copy()
    images = sampler.complete(rows, given, draws, seed + 1, np.broadcast_to(image, rows.shape))
    seen = np.stack([classifier.predict(schema.images(d)) for d in images])
    return {
        "image_to_label_accuracy": float((codes == truth).mean()),
        "image_to_label_mode_accuracy": float((metrics.most_frequent(codes) == truth).mean()),
        "label_to_image_accuracy": float((seen == truth).mean()),
        "label_to_image_diversity": pixel_diversity(schema, images, np.broadcast_to(image, rows.shape)),
    }


def completion_scores(
    draws: np.ndarray, rows: np.ndarray, observed: np.ndarray, schema: Schema, classifier: ImageClassifier | None
) -> dict[str, float]:
    """Scores of K completions (K, N, C) of rows (N, C) given the observed cells.

    accuracy: share of completed images in which the classifier sees the true label; label_accuracy: of drawn labels
    that are true; rmse: of the mean of the draws; diversity: between draws (K ≥ 2). Errors are over unobserved
    pixels with a known value, in pixel ranges; in a table over numeric columns, in standard deviations.
    """
    known = ~np.isnan(np.asarray(rows, np.float32))
    scaled, truth = scaled_cells(schema, draws), scaled_cells(schema, rows[None])[0]
    weight = ~observed & known & measured_columns(schema)
    out = {"rmse": metrics.root_mean_square(scaled.mean(0), np.nan_to_num(truth), weight)}
    if len(draws) > 1:
        out["diversity"] = metrics.pairwise_distance_of_draws(scaled, weight)
    codes = token_codes(schema, rows)
    hidden = ~observed[:, label_columns(schema)] & (codes >= 0)
    if hidden.any():
        drawn = np.stack([token_codes(schema, d) for d in draws])
        out["label_accuracy"] = float((drawn == codes)[:, hidden].mean())
    if classifier is not None:
        whole = ~np.isnan(draws).any((0, 2)) & (codes >= 0).all(1)
        seen = np.stack([classifier.predict(schema.images(d[whole])) for d in draws])
        out["accuracy"] = float((seen == codes[whole]).mean())
    return out


def pixel_diversity(schema: Schema, draws: np.ndarray, weight: np.ndarray) -> float:
    """Mean root mean squared difference between draws (K, N, C) over weighted cells, in pixel ranges."""
    return metrics.pairwise_distance_of_draws(scaled_cells(schema, draws), weight)


def half_scores(
    sampler: RowSampler, test_rows: np.ndarray, classifier: ImageClassifier, draws: int, seed: int
) -> dict[str, float]:
    """Lower half and label from the upper half: half_completion_{accuracy, label_accuracy, rmse}, completion_diversity.

    Empty when the grid of patches has a single line.
    """
    schema, rows = sampler.schema, np.asarray(test_rows, np.float32)
    upper = upper_half_columns(schema)
    if upper is None:
        return {}
    observed = np.broadcast_to(upper, rows.shape) & ~np.isnan(rows)
    drawn = sampler.complete(rows, observed=observed, draws=draws, seed=seed)
    return half_names(completion_scores(drawn, rows, observed, schema, classifier))


def half_names(scores: dict[str, float]) -> dict[str, float]:
    """`completion_scores` under the names they have for the half task."""
    return {"completion_diversity" if k == "diversity" else f"half_completion_{k}": v for k, v in scores.items()}


def quick_scores(
    sampler: RowSampler,
    train_rows: np.ndarray,
    test_rows: np.ndarray,
    classifier: ImageClassifier,
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
    return (
        real_scores(reference)
        | joint_scores(samples, schema, reference, classifier)
        | label_scores(sampler, test_rows, classifier, draws, seed + 2)
        | half_scores(sampler, test_rows, classifier, draws, seed + 4)
    )
