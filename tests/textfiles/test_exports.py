"""Text files as programs export them: Excel's hint of the separator, remarks below the table, accounts, codes of currencies."""

from __future__ import annotations

import zipfile

import pytest

from pipeline.sources.opening import open_source
from pipeline.sources.places import place_of
from pipeline.textfiles.numerals import Marks, NumberFormat, read_number
from tests.helpers.filled_tables import fill


def filled(tmp_path, payload: bytes) -> tuple[bytes, list[str]]:
    """(the file filled with means and first words, what was said)."""
    (tmp_path / "in.csv").write_bytes(payload)
    said = fill(tmp_path / "in.csv", tmp_path / "out.csv")
    return (tmp_path / "out.csv").read_bytes(), said


@pytest.mark.parametrize("hint", [b"sep=;\r\n", b'"sep=;"\r\n', b"\r\nSEP=;\r\n"])
def test_the_line_that_tells_excel_the_separator_is_no_header(tmp_path, hint):
    body = b"name;price\r\nA;1,50\r\nB;%s\r\nC;2,25\r\nD;3,75\r\n"
    out, said = filled(tmp_path, hint + body % b"")
    assert out == hint + body % b"2,50" and "lines above the table, header" in said[0]


def test_remarks_below_the_table_are_no_rows(tmp_path):
    body = b"name,price,n\nA,1.50,1\nB,%s,2\nC,2.50,3\n\nData from database: Prices\nLast Updated: 12/16/2021\n"
    out, said = filled(tmp_path, body % b"")
    assert out == body % b"2.00"
    assert said[0].startswith("in.csv: 3 rows") and "line 6 and following are remarks below the table" in said[1]


def test_a_short_row_after_a_blank_line_is_a_row_where_rows_follow(tmp_path):
    out, said = filled(tmp_path, b"a,b\n1,2\n\n5\n3,4\n")
    assert out == b"a,b\n1,2\n\n5,2\n3,4\n" and "rows with fewer cells than columns: 1" in said[1]


@pytest.mark.parametrize(
    ("cells", "mean"),
    [
        ((b'"(1,500.50)"', b"2.50", b'"(3.00)"'), b'"(500.33)"'),
        ((b"1500.50-", b"2.50", b"3.00-"), b"500.33-"),
        ((b'"USD 1,500.50"', b"USD 2.50", b"USD 3.00"), b"USD 502.00"),
        ((b"1500.50 EUR", b"2.50 EUR", b"3.00 EUR"), b"502.00 EUR"),
        ((b"1.50 kg", b"2.50 kg", b"3.50 kg"), b"2.50 kg"),
        ((b"1.5cm", b"2.5cm", b"3.5cm"), b"2.5cm"),
        ((b"1.5 mm", b"2.5mm", b"3.5 mm"), b"2.5 mm"),
        ((b'"($1,500.50)"', b"$2.50", b"($3.00)"), b"($500.33)"),
    ],
)
def test_amounts_of_accounts_are_numbers_and_written_alike(tmp_path, cells, mean):
    rows = [b"A,%s" % cells[0], b"B,%s", b"C,%s" % cells[1], b"D,%s" % cells[2]]
    body = b"who,paid\n" + b"\n".join(rows) + b"\n"
    out, _ = filled(tmp_path, body % b"")
    assert out.replace(b'"', b"") == (body % mean).replace(b'"', b"")


def test_all_kinds_of_spaces_group_thousands(tmp_path):
    body = "qui;montant\nA;1\u00a0234,50\nB;{}\nC;12\u202f345,50\nD;20,00\n"
    out, said = filled(tmp_path, body.format("").encode())
    assert out.decode() == body.format("4\u00a0533,33") and "thousands" in said[0]


def test_what_excel_and_sql_write_for_nothing_is_nothing(tmp_path):
    words = ["#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!", "\\N", "(null)", "Null", "N.A.", "n.a."]
    (tmp_path / "in.csv").write_text("a,b\n" + "".join(f"{w},{i}\n" for i, w in enumerate(words)) + "5,1\n7,1\n")
    with open_source(place_of(tmp_path / "in.csv"), tell=str) as source:
        frame = next(source.blocks()).frame
    assert frame["a"].isna().sum() == len(words) and frame["a"].sum() == 12


def test_a_column_with_and_without_exponents_keeps_its_digits(tmp_path):
    out, _ = filled(tmp_path, b"a,b\n1E5,1\n0.5,2\n,3\n250.25,4\n")
    assert out == b"a,b\n1E5,1\n0.5,2\n33416.9,3\n250.25,4\n"


@pytest.mark.parametrize(
    "text", ["()", "(-5)", "(5", "5)", "-5-", "+5-", "--", "(5)-", "((5))", "BMW 320", "(007)", "-", ")"]
)
def test_other_texts_are_no_numbers(text):
    assert read_number(text, Marks()) is None


def test_nothing_below_zero_is_written_of_a_zero():
    for how in ("()", "_-", "-"):
        assert NumberFormat(Marks(), 2, 2, negative=how).text(-0.001) == "0.00"


def test_a_zip_that_python_cannot_open_is_refused_with_a_remedy(tmp_path):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("in.csv", "a,b\n1,2\n")
    payload = bytearray((tmp_path / "in.zip").read_bytes())
    at = payload.index(b"PK\x01\x02")
    payload[at + 6 : at + 8] = b"\x7f\x00"  # the version that a reader must have: 12.7
    (tmp_path / "in.csv.zip").write_bytes(payload)
    with pytest.raises(ValueError, match=r"in\.csv\.zip: must be a zip that Python reads.*12\.7.*Unpack it"):
        fill(tmp_path / "in.csv.zip", tmp_path / "out.csv")
