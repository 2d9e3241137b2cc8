"""Gap tokens in tasks: what is not shown must not say that it is missing, and no cell sees its own gap token."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kernels.task_sampling import HIDDEN, SOURCE, TARGET, Tasks, sample_tasks
from pipeline.base.data_groups import TableParams, TasksParams
from pipeline.rows.gap_tokens import gaps_of, pairs_of, shown, with_gap_tokens, with_missing, without_gap_tokens
from pipeline.rows.schema import Schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.tables.codec import fit_codec

FAMILIES = {"joint": 0.2, "beta_random": 0.5, "column_missing": 0.3}


def table(n: int = 2000) -> tuple[Schema, Schema, np.ndarray]:
    """(schema of the columns, schema with gap tokens, (n, 5) rows): a is whole, b and c have gaps, c more where b has."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n), "c": rng.choice(list("xyz"), n)})
    lost = rng.random(n) < 0.3
    frame.loc[lost, "b"] = np.nan
    frame.loc[rng.random(n) < np.where(lost, 0.6, 0.1), "c"] = None
    codec = fit_codec(frame, TableParams())
    rows = codec.rows(frame)
    schema = with_gap_tokens(codec.schema, codec.schema.missing(rows))
    return codec.schema, schema, gaps_of(rows, schema)


def tasks_of(schema: Schema, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((n, L) roles of the sampler, the same with what rows miss)."""
    spec = spec_from_schema(TasksParams(weights=FAMILIES), schema)
    tasks = sample_tasks(spec, len(rows), seed=1)
    return tasks.role, with_missing(tasks, schema.missing(rows), schema, seed=1).role


def test_the_schema_gets_a_token_for_each_column_with_gaps_and_loses_it_again():
    plain, schema, rows = table()
    assert schema.columns == ("a", "b", "c", "b is missing", "c is missing")
    assert pairs_of(schema) == [(1, 3), (2, 4)] and schema.gap_tokens.tolist() == [-1, 3, 4, -1, -1]
    assert schema.tokens[3].mass[1] == pytest.approx(np.isnan(rows[:, 1]).mean())
    assert without_gap_tokens(schema) == plain
    assert Schema.from_json(schema.to_json()) == schema
    assert "gap_of" not in plain.to_json()  # files of other models are as before
    alone = replace(schema.tokens[3], columns=(0,))
    with pytest.raises(ValueError, match="'gap_of' must name a token"):
        Schema((alone,), ("b is missing",))


def test_no_cell_is_asked_beside_its_own_gap_token_and_no_gap_beside_its_cell():
    _, schema, rows = table()
    _, role = tasks_of(schema, rows)
    for cell, gap in pairs_of(schema):
        lost = np.isnan(rows[:, cell])
        assert (role[lost, cell] == HIDDEN).all()
        assert (role[role[:, cell] == TARGET, gap] == HIDDEN).all()
        assert (role[role[:, gap] == TARGET, cell] == HIDDEN).all()
        assert not shown(role, schema)[role[:, gap] == TARGET, cell].any()
        assert shown(role, schema)[role[:, cell] == TARGET, gap].all()


def test_what_is_not_shown_says_nothing_of_what_is_missing():
    """Among rows in which neither a cell nor its gap token is shown, gaps are as frequent as in the table: 4 standard errors."""
    _, schema, rows = table(20_000)
    _, role = tasks_of(schema, rows)
    seen = shown(role, schema)
    for cell, gap in pairs_of(schema):
        silent = ~seen[:, cell] & ~seen[:, gap]
        share, n = rows[:, gap].mean(), silent.sum()
        assert n > 1000
        assert abs(rows[silent, gap].mean() - share) < 4 * np.sqrt(share * (1 - share) / n)
        asked = role[:, gap] == TARGET  # and where the gap is asked
        assert abs(rows[asked, gap].mean() - share) < 4 * np.sqrt(share * (1 - share) / asked.sum())


def test_without_gap_tokens_tasks_are_as_ever():
    plain, _, rows = table(50)
    role = np.full((50, 3), SOURCE, np.uint8)
    role[:, 0] = TARGET
    tasks = Tasks(role, np.zeros((50, 3), np.int16), np.zeros(50, np.uint8))
    found = with_missing(tasks, plain.missing(rows[:, :3]), plain).role
    np.testing.assert_array_equal(found == HIDDEN, np.isnan(rows[:, :3]))
