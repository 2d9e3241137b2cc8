"""A real PostgreSQL server: tables and queries read, filled into new tables, types kept, nothing overwritten."""

from __future__ import annotations

import psycopg
import pytest

from pipeline.sources.opening import read_frame
from pipeline.sources.places import place_of
from pipeline.textfiles.encodings import TableFileError
from tests.helpers.filled_tables import fill
from tests.helpers.postgres_server import postgres_server

CREATE = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'good');
CREATE SCHEMA "My shop";
CREATE TABLE "My shop"."Orders" (
  id bigint PRIMARY KEY, price numeric(9,2), weight double precision, code varchar(5), note text, paid boolean,
  feeling mood, placed timestamptz, day date, tags text[], extra jsonb, who uuid);
INSERT INTO "My shop"."Orders"
SELECT 1152921504606846976 + i, (i * 1.25)::numeric(9,2), i / 8.0, '0' || i, E'a\\tb\\n"c" \\\\ é, ' || i % 3, i % 2 = 0,
       (ARRAY['sad', 'ok', 'good'])[1 + i % 3]::mood, '2024-01-01 10:00+02'::timestamptz + i * interval '1 hour',
       date '2024-01-01' + i, ARRAY['x', NULL], '{"k": 1}', gen_random_uuid()
FROM generate_series(0, 39) AS i;
UPDATE "My shop"."Orders" SET price = NULL, weight = 'NaN' WHERE id % 7 = 0;
UPDATE "My shop"."Orders" SET note = NULL, paid = NULL, feeling = NULL WHERE id % 5 = 0;
UPDATE "My shop"."Orders" SET code = '' WHERE id % 11 = 0;
"""


@pytest.fixture(scope="module")
def server():
    with postgres_server() as url:
        with psycopg.connect(url) as connection:
            connection.execute(CREATE)
        yield url


def rows(url: str, query: str) -> list[tuple]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


TYPES = """SELECT column_name, data_type, udt_name, numeric_scale, character_maximum_length
FROM information_schema.columns WHERE table_schema = %r AND table_name = %r ORDER BY ordinal_position"""
AS_TEXT = "SELECT t::text FROM {} AS t ORDER BY id"


@pytest.mark.slow
def test_a_table_is_filled_into_a_new_one_of_its_types(server):
    source = place_of(server, table="My shop.Orders")
    said = fill(source, place_of(server, table="filled"))
    assert rows(server, TYPES % ("My shop", "Orders")) == rows(server, TYPES % ("public", "filled"))
    before, after = (
        rows(server, 'SELECT * FROM "My shop"."Orders" ORDER BY id'),
        rows(server, "SELECT * FROM filled ORDER BY id"),
    )
    assert len(before) == len(after) == 40
    for old, new in zip(before, after, strict=True):
        for was, now in zip(old, new, strict=True):
            assert was is None or was != was or (was == now and type(was) is type(now))
        assert None not in new and new[2] == new[2]
    assert sum(row[3] == "" for row in after) > 0  # an empty text is a value in a database
    assert any("'tags'" in s and "copied" in s for s in said)
    with pytest.raises(TableFileError, match="filled is already there; --force overwrites it"):
        fill(source, place_of(server, table="filled"))
    fill(place_of(server, table="filled"), place_of(server, table="again"))
    assert rows(server, AS_TEXT.format("again")) == rows(server, AS_TEXT.format("filled"))


@pytest.mark.slow
def test_a_query_goes_to_a_file_and_a_file_to_a_table(server, tmp_path):
    query = 'SELECT id, price, paid FROM "My shop"."Orders" WHERE id % 2 = 0 ORDER BY id'
    fill(place_of(server, query=query), tmp_path / "out.parquet")
    frame = read_frame(tmp_path / "out.parquet")
    assert len(frame) == 20 and frame["id"].iloc[0] == 1152921504606846976 and frame.notna().all(axis=None)
    (tmp_path / "in.csv").write_text("n,city\n1,Bern\n,Lima\n3,\n")
    fill(tmp_path / "in.csv", place_of(server, table="from_file"), draws=2)
    assert rows(server, 'SELECT draw, "row", n, city FROM from_file')[:3] == [
        (0, 0, 1, "Bern"),
        (0, 1, 1, "Lima"),
        (0, 2, 3, "Bern"),
    ]


@pytest.mark.slow
def test_a_failed_fill_leaves_no_table(server, monkeypatch):
    monkeypatch.setattr("tests.helpers.table_files.PlainImputer.transform", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fill(place_of(server, table="My shop.Orders"), place_of(server, table="never"))
    assert rows(server, "SELECT to_regclass('never')") == [(None,)]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"table": "nowhere"}, 'PostgreSQL says: relation "nowhere" does not exist'),
        ({"query": "DELETE FROM filled"}, "PostgreSQL says: syntax error"),
        ({}, r"a table or a query must be given \(--table, --query\). Got neither"),
    ],
)
@pytest.mark.slow
def test_faults_are_one_line(server, place, message):
    with pytest.raises(TableFileError, match=message) as caught:
        read_frame(place_of(server, **place))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_server_that_is_not_there_is_named_without_its_password():
    with pytest.raises(TableFileError, match="^postgresql://127.0.0.1:9/x, t: PostgreSQL says: ") as caught:
        read_frame(place_of("postgresql://me:secret@127.0.0.1:9/x", table="t"))
    assert "secret" not in str(caught.value)
