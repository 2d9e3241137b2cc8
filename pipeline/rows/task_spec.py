"""The task distribution q(S, T) over the tokens of a schema."""

from __future__ import annotations

import numpy as np

from kernels.task_sampling import TaskSpec
from pipeline.base.data_groups import TasksParams
from pipeline.rows.schema import Schema


def spec_from_schema(params: TasksParams, schema: Schema) -> TaskSpec:
    """The task distribution of `params` over the tokens of `schema`.

    Patches lie on the grid of their positions. The tokens of one schema group (all patches of an
    image, one column of a table) are one modality: the target of a modality task.
    Raises ValueError for more than 32767 tokens.
    """
    tokens = schema.tokens
    names = sorted({t.group for t in tokens})
    return TaskSpec(
        n_tokens=len(tokens),
        weights=dict(params.weights),
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
    )
