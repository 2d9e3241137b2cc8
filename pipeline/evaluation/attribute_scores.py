"""Several categories of one image, as the attributes of a face: each on its own, and how they go together.

Where "no" is true of nine faces in ten, an accuracy of .9 says nothing: every score stands beside its base rate.

Shapes: N rows, C columns, K draws, A predicted tokens.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.evaluation.image_scores import ImageReader, RowSampler
from pipeline.evaluation.table_scores import correlation_distance
from pipeline.rows.cells import Task, predicted_tokens, token_codes
from pipeline.rows.row_file import Rows, chunks
from pipeline.rows.schema import Schema

COLUMNS = ("attribute", "base_rate", "drawn_from_image", "seen_in_image", "seen_in_real", "share_drawn", "share_real")


def categories_alone(schema: Schema) -> tuple[Schema, list[int]]:
    """(schema of the categorical tokens alone, their columns in the whole one)."""
    tokens = [schema.tokens[i] for i in schema.tokens_of("categorical")]
    columns = [t.columns[0] for t in tokens]
    alone = tuple(replace(t, columns=(k,)) for k, t in enumerate(tokens))
    return Schema(alone, tuple(t.name for t in alone)), columns


def category_correlations(rows: np.ndarray, reference: np.ndarray, schema: Schema) -> float:
    """Mean absolute difference, 0…2, between the correlations of different categories in rows and reference (N, C)."""
    alone, columns = categories_alone(schema)
    return correlation_distance(np.asarray(rows)[:, columns], np.asarray(reference)[:, columns], alone)


def base_rates(schema: Schema, rows: Rows) -> np.ndarray:
    """(A,) share of the most frequent code of each predicted token among its known ones: what a constant guess gets."""
    codes = np.concatenate([token_codes(schema, part) for part in chunks(rows)])
    counts = np.stack([(codes == c).sum(0) for c in range(int(codes.max()) + 1)])
    return counts.max(0) / counts.sum(0).clip(min=1)


def attribute_lines(
    schema: Schema, tasks: list[Task], samples: np.ndarray, sampler: RowSampler, reader: ImageReader, seed: int
) -> list[dict[str, object]]:
    """A line of COLUMNS per predicted token, from one draw of image → attributes and attributes → image each.

    tasks: the named ones, both of which must be among them; samples: joint ones (N, C).
    """
    found = {task.name: task for task in tasks}
    given, asked = found["label_to_image"], found["image_to_label"]
    truth = token_codes(schema, given.rows)
    drawn = sampler.complete(asked.rows, observed=asked.observed, seed=seed)[0]
    image = sampler.complete(given.rows, observed=given.observed, seed=seed + 1)[0]
    seen, real = (reader.read(schema.images(rows))[1] for rows in (image, given.rows))
    scores = {
        "base_rate": base_rates(schema, given.rows),
        "drawn_from_image": (token_codes(schema, drawn) == truth).mean(0),
        "seen_in_image": (seen == truth).mean(0),
        "seen_in_real": (real == truth).mean(0),
        "share_drawn": (token_codes(schema, samples) > 0).mean(0),
        "share_real": (truth > 0).mean(0),
    }
    names = [schema.tokens[i].name for i in predicted_tokens(schema)]
    return [{"attribute": n} | {k: float(v[a]) for k, v in scores.items()} for a, n in enumerate(names)]
