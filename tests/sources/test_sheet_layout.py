"""Where the table lies on a sheet: titles, totals and remarks around it; and in a text file."""

from __future__ import annotations

import openpyxl
import pytest

from pipeline.sources.sheet_layout import layout_of
from tests.helpers.filled_tables import fill

NAMES = ["region", "units", "price"]
BODY = [["North", 1, 2.5], ["South", None, 3.5], ["East", 4, None], ["North", 2, 2.0]]


def found(above: list, below: list, names: list = NAMES, body: list = BODY):
    width = max(len(r) for r in [*above, names, *body, *below])
    return layout_of([[*r, *[None] * (width - len(r))] for r in [*above, names, *body, *below]])


@pytest.mark.parametrize(
    "above",
    [
        [],
        [[], []],
        [["Sales 2025"]],
        [["Sales 2025"], []],
        [["Sales 2025"], ["printed 3 May"], []],
        [[None, "centred"], []],
        [["Date:", "3 May"], ["Unit:", "k€"], []],
        [[2025], ["Sales"]],
    ],
)
@pytest.mark.parametrize(
    ("below", "kept"),
    [
        ([], 4),
        ([[], []], 4),
        ([["Total", 7, 8.0]], 4),
        ([["Total:", 7, None], ["Average", 2.3, 2.7]], 4),
        ([[], ["SUMME", 7, 8.0], []], 4),
        ([[], ["Source: the shop"]], 4),
        ([["Total", 7, 8.0], [], ["Source: the shop"], ["as of May"]], 4),
        ([["Total", 7, 8.0], ["Total", 7, 8.0]], 6),  # a category
        ([["West", None, None]], 5),  # a sparse row
        ([[], ["West", 3, 1.0]], 6),  # an empty row within
    ],
)
def test_the_table_is_found_between_titles_totals_and_remarks(above, below, kept):
    layout = found(above, below)
    assert layout.names == NAMES and layout.left == 0 and layout.top == len(above)
    assert len(layout.body) == kept and layout.body[:4] == BODY
    assert any("no part of the table" in n for n in layout.notes) == any(above)
    assert len(layout.notes) - any(above) == (kept == 4 and any(below)) + (
        ["Source: the shop"] in below and "Total" in below[0]
    )


def test_names_may_be_few_or_numbers_and_one_column_is_a_table():
    assert found([], [], names=["region", 2024, 2025]).names == ["region", 2024, 2025]
    one = found([["Title"], []], [], names=["v"], body=[[1], [None], [3]])
    assert one.names == ["v"] and one.body == [[1], [None], [3]]
    assert layout_of([[1, 2], [3, 4]]) is None
    only = found([], [], body=[["Total", 1, 2.0]])
    assert only.body == [["Total", 1, 2.0]]


def test_a_workbook_with_title_and_totals_is_filled_between_them(tmp_path):
    book = openpyxl.Workbook()
    for row in (["Sales 2025"], [], NAMES, *BODY, ["Total", "=SUM(B4:B7)", None]):
        book.active.append(row)
    book.save(tmp_path / "in.xlsx")
    said = fill(tmp_path / "in.xlsx", tmp_path / "out.xlsx")
    assert said[0].startswith("in.xlsx: 4 rows, 3 columns")
    assert "row 3 holds the names: 1 above it is no part of the table." in said[1] and "row 8 holds totals" in said[2]
    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx").active
    after = [[c.value for c in row] for row in sheet.iter_rows()]
    assert after[0] == ["Sales 2025", None, None] and after[7] == ["Total", "=SUM(B4:B7)", None]
    assert all(v is not None for row in after[3:7] for v in row)


@pytest.mark.parametrize(
    ("below", "rows", "said"),
    [
        ("Total,7,\n", 4, "line 6 holds totals below the table"),
        ("Total,7,\nAverage,2,\n", 4, "line 6 and following hold totals or remarks below the table"),
        ("Total,7,\n\nSource: the shop\n", 4, "line 6 and following hold totals or remarks below the table"),
        ("Total,7,\nWest,,1\n", 6, ""),
        ("Total,7,\nTotal,,1\n", 6, ""),
    ],
)
def test_totals_below_a_text_table_are_no_rows(tmp_path, below, rows, said):
    body = "region,units,price\nNorth,1,2.5\nSouth,,3.5\nEast,4,\nNorth,2,2.0\n"
    (tmp_path / "in.csv").write_text(body + below)
    notes = fill(tmp_path / "in.csv", tmp_path / "out.csv")
    assert notes[0].startswith(f"in.csv: {rows} rows") and said in " ".join(notes[1:])
    out = (tmp_path / "out.csv").read_text()
    if said:
        assert out.endswith(below) and ",," not in out[: -len(below)]
    else:
        assert ",," not in out
