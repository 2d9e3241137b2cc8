"""The tasks of a schema: families that copy gaps need rows, and give way where no row has a gap."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.task_sampling import SOURCE, TARGET, sample_tasks
from pipeline.base.data_groups import TasksParams
from pipeline.rows.task_spec import spec_from_schema
from tests.helpers.related import related_rows

PARAMS = TasksParams(weights={"copied": 0.5, "beta_random": 0.5})


def test_copied_tasks_hide_what_rows_miss():
    rows, schema = related_rows(80, missing=0.3)
    missing = schema.missing(rows)
    tasks = sample_tasks(spec_from_schema(TasksParams(weights={"copied": 1.0}), schema, missing), 500, seed=0)
    patterns = {tuple(row) for row in missing}
    assert {tuple(row == TARGET) for row in tasks.role} <= patterns and (tasks.role >= SOURCE).all()


def test_proportional_tasks_hide_each_column_as_often_as_it_is_missing():
    _, schema = related_rows(10)
    missing = np.random.default_rng(0).random((400, 4)) < np.array([0.6, 0.3, 0.0, 0.1])
    tasks = sample_tasks(spec_from_schema(TasksParams(weights={"proportional": 1.0}), schema, missing), 4000, seed=0)
    hidden, some = tasks.role == TARGET, 1 - np.prod(1 - missing.mean(0))
    np.testing.assert_allclose(hidden.mean(0), missing.mean(0) / some, atol=0.04)
    assert not hidden[:, 2].any()


def test_without_gaps_the_other_families_share_out_the_weight():
    rows, schema = related_rows(30)
    spec = spec_from_schema(PARAMS, schema, schema.missing(rows))
    assert spec.gaps is None and spec.weights == {"beta_random": 0.5}


def test_without_rows_copying_is_refused_in_words():
    _, schema = related_rows(5)
    with pytest.raises(ValueError, match=r"'tasks.weights' must not name copied or proportional .* Got \['copied'\]"):
        spec_from_schema(PARAMS, schema)
