"""The task distribution q(S, T) over the tokens of a schema."""

from __future__ import annotations

import numpy as np

from kernels.task_sampling import GAP_FAMILIES, TaskSpec
from pipeline.base.data_groups import TasksParams
from pipeline.rows.schema import Schema

MOST_GAP_ROWS = 16384  # rows whose gaps are handed on


def spec_from_schema(params: TasksParams, schema: Schema, missing: np.ndarray | None = None) -> TaskSpec:
    """The task distribution of `params` over the tokens of `schema`.

    Patches lie on the grid of their positions. The tokens of one schema group (all patches of an
    image, one column of a table) are one modality: the target of a modality task.
    missing: (N, L) bool, the tokens that rows of the data miss, for the families copied and proportional; where no row
    misses any, the other families share out their weight. Raises ValueError for more than 32767 tokens, and for those
    families without `missing`.
    """
    weights, gaps = dict(params.weights), None
    asked = [name for name in GAP_FAMILIES if weights.get(name, 0.0) > 0]
    if missing is None and asked:
        raise ValueError(
            f"'tasks.weights' must not name copied or proportional where no rows are at hand: they take the gaps of rows, "
            f"as BigLearnImputer does. Got {asked}."
        )
    if missing is not None:
        gaps = missing[:MOST_GAP_ROWS]
        if not gaps.any():
            gaps, weights = None, {k: w for k, w in weights.items() if k not in GAP_FAMILIES}
    tokens = schema.tokens
    names = sorted({t.group for t in tokens})
    return TaskSpec(
        n_tokens=len(tokens),
        weights=weights,
        grid=np.array([t.position if t.modality == "patch" else (-1, -1) for t in tokens], np.int64).reshape(-1, 2),
        is_label=np.array([t.name == schema.label for t in tokens], bool),
        source_beta=tuple(params.source_beta),
        target_beta=tuple(params.target_beta),
        block_share=tuple(params.block_share),
        bert_target_share=params.bert_target_share,
        mae_target_share=params.mae_target_share,
        column_missing_share=params.column_missing_share,
        label_to_image_share=params.label_to_image_share,
        label_visible_share=params.label_visible_share,
        group=np.array([names.index(t.group) for t in tokens], np.int64),
        causal_prefix_share=params.causal_prefix_share,
        gaps=gaps,
    )
