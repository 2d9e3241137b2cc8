"""Amounts and months as exports write them, in frames whose cells are text: numbers and dates, written back alike."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.tables.inspection import inspect
from pipeline.tables.numbers import Notation, notation_of

ROWS = 40
AMOUNTS = {
    "grouped": lambda i: f"{i * 370 + 1:,}.25",
    "in parentheses": lambda i: f"({i * 37 + 1:,}.50)" if i % 3 == 0 else f"{i * 370 + 1:,}.25",
    "sign behind": lambda i: f"{i * 37 + 1}.50-" if i % 3 == 0 else f"{i * 37 + 1}.25",
    "dollars by code": lambda i: f"USD {i * 370 + 1:,}",
    "euros of Germany": lambda i: f"{i}.007,25 €" if i else "7,25 €",
    "percent": lambda i: f"{i / 10:.1f}%",
    "kilograms": lambda i: f"{40 + i / 10:.1f} kg",
    "centimetres, without a space": lambda i: f"{140 + i}cm",
    "degrees": lambda i: f"{i / 4 - 3:.2f} °C",
    "metres": lambda i: f"{i * 37 + 1:,}.5 m",
    "a rate": lambda i: f"{i + 70} mg/dL",
}


@pytest.mark.parametrize("name", AMOUNTS)
def test_amounts_in_text_are_numbers_not_identifiers(name):
    texts = [AMOUNTS[name](i) for i in range(ROWS)]
    column = inspect(pd.DataFrame({"paid": texts}))[0]
    assert column.kind in ("float", "integer") and not column.warnings
    numbers = [column.notation.number(t) for t in texts]
    assert None not in numbers
    assert [column.notation.write(n, column.decimals) for n in numbers] == texts


def test_codes_and_models_are_no_amounts():
    frame = pd.DataFrame({"car": [f"BMW {i}" for i in range(ROWS)], "key": [f"C-{i:05d}" for i in range(ROWS)]})
    assert [c.kind for c in inspect(frame)] == ["id", "id"]


@pytest.mark.parametrize("write", ["{}A", "{}th", "{} x", "{}m", "flat {}", "{} kg net"])
def test_a_letter_at_a_number_makes_no_unit(write):
    assert inspect(pd.DataFrame({"x": [write.format(i) for i in range(ROWS)]}))[0].kind == "id"


def test_amounts_in_two_units_stay_words():
    texts = [f"{i + 1} kg" if i % 2 else f"{i * 100 + 1} g" for i in range(ROWS)]
    assert inspect(pd.DataFrame({"x": texts}))[0].kind not in ("float", "integer")


def test_words_among_amounts_are_left_alone():
    notation, numbers = notation_of(["$5", "$7.50", "none", "$-3", "8 kg"])
    assert numbers == [5, 7.5, None, -3, None] and notation == Notation(prefix="$", negative="-")


@pytest.mark.parametrize("dtype", ["int64", "Int64", "float64"])
def test_months_written_as_whole_numbers_are_months(dtype):
    rng = np.random.default_rng(0)
    cells = pd.Series(
        [100 * (2010 + y) + m for y, m in zip(rng.integers(0, 15, 60), rng.integers(1, 13, 60), strict=True)]
    )
    frame = pd.DataFrame({"month": cells.astype(dtype), "amount": rng.integers(180001, 220012, 60)})
    if dtype != "int64":
        frame["month"] = frame["month"].mask(frame.index % 7 == 0)
    month, amount = inspect(frame)
    assert (month.kind, month.format, amount.kind) == ("date", "%Y%m", "integer")
