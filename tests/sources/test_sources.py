"""Excel, SQLite, Parquet and JSON lines as they are kept: types, other sheets and tables, index, what is no gap."""

from __future__ import annotations

import datetime as dt
import decimal
import sqlite3

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.sources.opening import open_source, read_frame, write_frame
from pipeline.sources.places import place_of
from pipeline.textfiles.encodings import TableFileError
from tests.helpers.filled_tables import fill


# -- Excel -------------------------------------------------------------------------------------------
def workbook(path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "people"
    sheet.append(["name", "age", "height", "born", "member", "double"])
    for i in range(12):
        born = dt.datetime(1990, 1 + i, 3)
        sheet.append([f"0{i}", 20 + i, 1.5 + i / 100, born, i % 2 == 0, f"=B{i + 2}*2"])
        sheet.cell(i + 2, 4).number_format = "DD.MM.YYYY"
    for row, column in ((4, 2), (5, 3), (6, 4), (7, 5), (8, 1), (9, 6)):
        sheet.cell(row, column).value = None
    sheet["C5"].number_format = "General"
    sheet["B2"].font = openpyxl.styles.Font(bold=True)
    other = book.create_sheet("notes")
    other["B3"] = "kept"
    book.save(path)


def test_a_workbook_keeps_all_but_its_missing_cells(tmp_path):
    source, target = tmp_path / "in.xlsx", tmp_path / "out.xlsx"
    workbook(source)
    said = fill(place_of(source, table="people"), target)
    before, after = openpyxl.load_workbook(source), openpyxl.load_workbook(target)
    assert after.sheetnames == ["people", "notes"] and after["notes"]["B3"].value == "kept"
    changed = {}
    for row in before["people"].iter_rows():
        for cell in row:
            new = after["people"][cell.coordinate]
            if new.value != cell.value:
                changed[cell.coordinate] = new.value
            assert new.font.b == cell.font.b
    assert set(changed) == {"B4", "C5", "D6", "E7", "A8"}  # F9 had lost its formula: nothing is known of its column
    assert type(changed["B4"]) is int and changed["C5"] == round(changed["C5"], 2)
    assert isinstance(changed["D6"], dt.datetime) and after["people"]["D6"].number_format == "DD.MM.YYYY"
    assert changed["E7"] in (True, False) and changed["A8"] == "00"
    assert any("11 cells hold formulas" in s for s in said)


def test_a_sheet_must_be_chosen_where_there_are_several(tmp_path):
    workbook(tmp_path / "in.xlsx")
    with pytest.raises(TableFileError, match=r"one sheet must be chosen \(--table\). It has \['people', 'notes'\]"):
        read_frame(tmp_path / "in.xlsx")
    with pytest.raises(TableFileError, match=r"must have the sheet 'x' \(--table\)"):
        read_frame(place_of(tmp_path / "in.xlsx", table="x"))


# -- SQLite ------------------------------------------------------------------------------------------
def database(path) -> None:
    with sqlite3.connect(path) as base:
        base.execute(
            "CREATE TABLE shop (id INTEGER PRIMARY KEY, code VARCHAR(5), price DECIMAL(8,2), seen DATE, blob BLOB)"
        )
        rows = [(2**60 + i, f"0{i}", 1.25 * i, f"2024-01-0{i + 1}", bytes([i])) for i in range(6)]
        base.executemany("INSERT INTO shop VALUES (?, ?, ?, ?, ?)", rows)
        base.execute("UPDATE shop SET price = NULL WHERE code = '02'")
        base.execute("UPDATE shop SET code = NULL WHERE seen = '2024-01-04'")
    base.close()


def test_a_table_of_sqlite_is_filled_into_a_new_one_of_its_types(tmp_path):
    path = tmp_path / "shop.sqlite"
    database(path)
    fill(place_of(path, table="shop"), place_of(path, table="filled"))
    base = sqlite3.connect(path)
    types = [[r[1:3] for r in base.execute(f"PRAGMA table_info({t})")] for t in ("shop", "filled")]
    assert types[0] == types[1]
    before, after = (base.execute(f"SELECT * FROM {t}").fetchall() for t in ("shop", "filled"))
    base.close()
    for old, new in zip(before, after, strict=True):
        assert all(o is None or (o == n and type(o) is type(n)) for o, n in zip(old, new, strict=True))
        assert None not in new
    with pytest.raises(TableFileError, match="shop.sqlite already has a table 'filled'; --force overwrites it"):
        fill(place_of(path, table="shop"), place_of(path, table="filled"))
    fill(place_of(path, query="SELECT code, price FROM shop"), place_of(path, table="filled"), force=True)


def test_a_failed_fill_leaves_the_database_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "shop.sqlite"
    database(path)
    monkeypatch.setattr("tests.helpers.table_files.PlainImputer.transform", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fill(place_of(path, table="shop"), place_of(path, table="filled"))
    with pytest.raises(ZeroDivisionError):
        fill(place_of(path, table="shop"), tmp_path / "new.sqlite")
    base = sqlite3.connect(path)
    assert [n for (n,) in base.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")] == ["shop"]
    base.close()
    assert [p.name for p in tmp_path.iterdir()] == ["shop.sqlite"]


# -- Parquet -----------------------------------------------------------------------------------------
def arrow_table() -> pa.Table:
    day = dt.date(2024, 1, 1)
    return pa.table(
        {
            "id": pa.array([2**60 + i if i != 2 else None for i in range(6)], pa.int64()),
            "small": pa.array([1, 2, None, 4, 5, 6], pa.int8()),
            "price": pa.array([decimal.Decimal("1.10") if i != 3 else None for i in range(6)], pa.decimal128(9, 2)),
            "day": pa.array([day if i != 1 else None for i in range(6)], pa.date32()),
            "when": pa.array([10**18 + i if i != 1 else None for i in range(6)], pa.timestamp("ns", "Europe/Zurich")),
            "city": pa.array(["Bern", None, "Lima", "Bern", "Lima", "Bern"]).dictionary_encode(),
            "ok": pa.array([True, None, False, True, True, True]),
            "tags": pa.array([["a"], None, [], ["b"], ["c"], ["d"]], pa.list_(pa.string())),
            "level": pa.array([0.5, None, 0.25, 1.0, 1.0, 1.0], pa.float32()),
        }
    )


def test_parquet_keeps_types_values_metadata_and_row_groups(tmp_path):
    table = arrow_table().replace_schema_metadata({"made by": "hand"})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=4, compression="zstd")
    said = fill(tmp_path / "in.parquet", tmp_path / "out.parquet")
    after = pq.read_table(tmp_path / "out.parquet")
    assert after.schema.equals(pq.read_table(tmp_path / "in.parquet").schema, check_metadata=True)
    described = pq.read_metadata(tmp_path / "out.parquet")
    assert described.num_row_groups == 2 and described.row_group(0).column(0).compression == "ZSTD"
    assert described.row_group(0).column(0).statistics.max == 2**60 + 3
    for name in table.column_names:
        old, new = table[name].to_pylist(), after[name].to_pylist()
        assert all(o is None or o == n for o, n in zip(old, new, strict=True)), name
        assert name == "tags" or None not in new, name
    assert "note: column 'tags' holds list<element: string>: it is copied as it is." in said


@pytest.mark.parametrize("nested", [False, True])
def test_text_of_parquet_that_is_no_text_is_named_with_its_column(tmp_path, nested):
    offsets = np.array([0, 1, 2, 3], np.int32)
    words = pa.Array.from_buffers(pa.string(), 3, [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"a\xffc")])
    column = pa.ListArray.from_arrays(pa.array(offsets), words) if nested else words
    pq.write_table(pa.table({"n": [1.0, None, 3.0], "said": column}), tmp_path / "in.parquet")
    if nested:  # copied as it is: what is not looked at may be anything
        fill(tmp_path / "in.parquet", tmp_path / "out.parquet")
        assert (
            pq.read_table(tmp_path / "out.parquet").column("said").chunk(0).flatten().buffers()[2].to_pybytes()
            == b"a\xffc"
        )
    with pytest.raises(ValueError, match="in.parquet: column 'said' must hold values that pandas reads"):
        fill(tmp_path / "in.parquet", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_parquet_keeps_the_index_of_pandas(tmp_path):
    frame = pd.DataFrame(
        {"spend": [1.5, None, 2.0], "n": pd.array([1, None, 2**60], "Int64")}, index=pd.Index(list("abc"), name="key")
    )
    frame.to_parquet(tmp_path / "in.parquet")
    fill(tmp_path / "in.parquet", tmp_path / "out.parquet")
    back = pd.read_parquet(tmp_path / "out.parquet")
    assert back.index.equals(frame.index) and back.index.name == "key" and list(back.columns) == ["spend", "n"]
    write_frame(tmp_path / "again.parquet", read_frame(tmp_path / "in.parquet"))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "again.parquet"), frame)


def test_whole_numbers_beside_a_gap_stay_whole(tmp_path):
    pq.write_table(pa.table({"id": pa.array([2**60 + 1, None]), "ok": pa.array([True, None])}), tmp_path / "a.parquet")
    frame = read_frame(tmp_path / "a.parquet")
    assert frame.dtypes.astype(str).tolist() == ["Int64", "boolean"] and frame["id"][0] == 2**60 + 1


# -- between kinds, draws ----------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".jsonl", ".parquet", ".xlsx", ".sqlite"])
@pytest.mark.parametrize("origin", [".csv", ".jsonl", ".parquet", ".xlsx", ".sqlite"])
def test_every_kind_is_written_from_every_other(tmp_path, origin, suffix):
    frame = pd.DataFrame({"row": [1, 2, 3], "price": [1.25, None, 2.5], "city": ["Bern", "a, b", None]})
    write_frame(tmp_path / f"in{origin}", frame)
    fill(tmp_path / f"in{origin}", tmp_path / f"out{suffix}", draws=2)
    back = read_frame(tmp_path / f"out{suffix}")
    assert list(back.columns) == ["draw", "biglearn_row", "row", "price", "city"]
    assert back["draw"].tolist() == [0, 0, 0, 1, 1, 1] and back["biglearn_row"].tolist() == [0, 1, 2] * 2
    assert back["row"].tolist() == [1, 2, 3] * 2 and back["city"].tolist() == ["Bern", "a, b", "Bern"] * 2
    assert back["price"].round(1).tolist() == [1.2, 1.9, 2.5] * 2


def test_blocks_hold_all_rows_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.sources.text_tables.BLOCK_ROWS", 4)
    (tmp_path / "a.csv").write_text("# top\nx,y\n" + "".join(f"{i},{'' if i % 3 else i}\n\n" for i in range(11)))
    with open_source(place_of(tmp_path / "a.csv"), tell=lambda _: None) as source:
        blocks = list(source.blocks())
    assert [(b.number, b.first, len(b.frame)) for b in blocks] == [(0, 0, 4), (1, 4, 4), (2, 8, 3)]
    fill(tmp_path / "a.csv", tmp_path / "b.csv")
    assert "".join((tmp_path / "b.csv").read_text().split("\n")).startswith("# topx,y0,01,0")


JSON = '{"a": 1, "b": "x", "n": [1]}\n\n{"b":null , "a":2.50}\n{}\n{"a": 3, "z": true, "b": "é"}'


def test_json_lines_keep_their_text(tmp_path):
    (tmp_path / "a.jsonl").write_text(JSON)
    fill(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert (tmp_path / "b.jsonl").read_text().splitlines() == [
        '{"a": 1, "b": "x", "n": [1], "z": true}',
        "",
        '{"b":"x" , "a":2.50, "z": true}',
        '{"a": 2.17, "b": "x", "z": true}',
        '{"a": 3, "z": true, "b": "é"}',
    ]
