"""What is detected of people's text files, what is said about it, and the faults that are named by line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.sources.opening import open_source
from pipeline.sources.places import place_of
from pipeline.textfiles.encodings import TableFileError
from pipeline.textfiles.numerals import Marks, NumberFormat, read_number
from pipeline.textfiles.reading import Reading


def opened(path, text, **options):
    """(frame, how it was read, notes) of a file with that text or those bytes."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    said: list[str] = []
    with open_source(place_of(path), Reading(**options), said.append) as source:
        frame = next(iter(source.blocks())).frame
    return frame, said[0], said[1:]


FILES = {
    "semicolons and decimal commas": (
        "h;w;c\n1,75;75,2;A\n1,80;;B\n",
        "separator semicolon, decimal comma",
        {"h": [1.75, 1.8]},
    ),
    "thousands": ('a,c\n"1,234.50",x\n"2,000.00",y\n', "decimal point, thousands ','", {"a": [1234.5, 2000.0]}),
    "german money": ("a;c\n1.234,50 €;x\n2.000,00 €;y\n", "decimal comma, thousands '.'", {"a": [1234.5, 2000.0]}),
    "tabs": ("a\tb\n1\tx, y\n2\tz\n", "separator tab", {"b": ["x, y", "z"]}),
    "bars": ("a|b\n1|x\n2|y\n", "separator bar", {"a": [1, 2]}),
    "aligned by spaces": (" a   b\n1.5  2\n 2  3\n", "separator spaces", {"a": [1.5, 2.0]}),
    "one column": ("text\nhello\nworld, too\n", "separator none", {"text": ["hello", "world, too"]}),
    "utf-16": ("a,b\né,1\nx,2\n".encode("utf-16"), "utf-16-le with a mark", {"a": ["é", "x"]}),
    "cp1252": ("stadt;x\nKöln;1\nMünchen;2\n".encode("cp1252"), "cp1252 (a guess)", {"stadt": ["Köln", "München"]}),
    "cyrillic": ("город;x\nМосква;1\nКазань;2\n".encode("cp1251"), "cp1251 (a guess)", {"город": ["Москва", "Казань"]}),
    "comments": ("# by hand\na,b\n1,2\n3,4\n", "comments #", {"a": [1, 3]}),
    "a header with a mark": ("#id,name\n1,x\n2,y\n", "header", {"#id": [1, 2]}),
    "a title": ("Report 2020;;\n\na;b;c\n1;2;x\n3;4;y\n", "2 lines above the table", {"a": [1, 3]}),
    "no header": (
        "39, State, 7\n50, Private, 8\n",
        "no header",
        {"column1": [39, 50], "column2": ["State", "Private"]},
    ),
    "years as names": ("id,2001\nx,1\ny,2\n", "header", {"2001": [1, 2]}),
    "escaped quotes": ('n,v\n"A \\"B\\" C",1\n"D, E",2\n', "escape \\", {"n": ['A "B" C', "D, E"]}),
    "a mark before a trailing separator": ("a,b\n1,2,\n3,4,\n", "header", {"a": [1, 3], "b": [2, 4]}),
    "codes": ("zip,n\n00501,1\n10001,2\n", "header", {"zip": ["00501", "10001"]}),
    "dashes among numbers": ("a,b\n1,-\n-,x\n3,y\n", "header", {"a": [1, None, 3], "b": ["-", "x", "y"]}),
    "exponents": ("a,b\n1e-5,x\n2.5E+3,y\n", "header", {"a": [1e-5, 2500.0]}),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_read_as_they_are_meant(tmp_path, name):
    text, words, columns = FILES[name]
    frame, said, _ = opened(tmp_path / "a.csv", text)
    assert words in said and "\n" not in said
    for column, values in columns.items():
        assert [None if pd.isna(g) else g for g in frame[column]] == values


NOTES = {
    "NA among codes": (
        "land,x\nNA,1\nZA,2\nBW,3\n",
        "column 'land': 'NA' (1 cells) is read as missing. If it is a value",
    ),
    "None beside another word": (
        "drink,x\nNone,1\nSome,\nLots,3\n",
        "column 'drink': 'None' (1 cells) is read as missing",
    ),
    "words among numbers": ("a,b\n" + "1,2\n" * 9 + "unknown,2\n", "9 of 10 cells are"),
    "short rows": ("a,b\n1,x\n2\n", "rows with fewer cells than columns: 1, the first in line 3"),
    "two names": ("x,x\n1,2\n3,4\n", "column 2 has the name 'x' of another; it is called 'x_2' here"),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_may_be_meant_otherwise_is_said(tmp_path, name):
    text, words = NOTES[name]
    _, _, notes = opened(tmp_path / "a.csv", text)
    assert any(
        words.replace("9 of 10 cells are", "1 of 10 cells are no numbers ('unknown', the first in line") in n
        for n in notes
    )


FAULTS = {
    "more cells": ("a,b\n1,2\n3,4,5\n", {}, "line 3: a row must have 2 cells, as the header has. Got 3"),
    "two decimal marks": (
        "a;b\n1,5;2\n1.5;3\n2,5;1\n3,5;2\n",
        {},
        "line 3: column 'a' must write its numbers with a decimal ','. Got '1.5'",
    ),
    "an open quote": ('a,b\n1,"x\n2,y\n', {"quote": '"'}, 'line 2: a quote " that is opened must be closed'),
    "a damaged line": (
        "a,b\né,1\nü,2\n".encode() + b"\xff,3\n",
        {},
        "line 4: must be UTF-8 as the rest of the file is",
    ),
    "another encoding": ("a,b\né,1\n".encode("cp1252"), {"encoding": "utf-8"}, "must be text in the encoding 'utf-8'"),
    "no encoding": ("a,b\n1,2\n", {"encoding": "klingon"}, "'encoding' must be the name of an encoding"),
    "no rows": ("a,b\n", {}, "must hold rows and columns. Got 0 rows, 2 columns"),
    "nothing": ("", {}, "must hold rows and columns. Got none"),
    "marks alike": ("a\n1\n", {"decimal": ",", "thousands": ","}, "'decimal' and 'thousands' must differ"),
    "a long separator": ("a\n1\n", {"separator": "ab"}, "'separator' must be one character, or tab. Got 'ab'"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_one_line_that_names_the_place(tmp_path, name):
    text, options, message = FAULTS[name]
    with pytest.raises(TableFileError) as caught:
        opened(tmp_path / "a.csv", text, **options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_what_the_user_names_is_not_guessed(tmp_path):
    frame, _, notes = opened(tmp_path / "a.csv", "land,x\nNA,1\nZA,\n", missing=("",))
    assert frame["land"].tolist() == ["NA", "ZA"] and frame["x"].isna().tolist() == [False, True] and not notes
    frame, _, _ = opened(tmp_path / "a.csv", "x,y\n-999,1\n-999.0,2\n3,4\n", missing=("-999",))
    assert frame["x"].isna().tolist() == [True, True, False]
    frame, said, _ = opened(tmp_path / "a.csv", "1,2\n3,4\n", header=True)
    assert list(frame) == ["1", "2"] and "header" in said
    frame, _, _ = opened(tmp_path / "a.csv", "a;b\n1.5;2\n", separator=",")
    assert list(frame) == ["a;b"]


@pytest.mark.parametrize(
    ("text", "marks", "value", "written"),
    [
        ("1.234,50", Marks(",", "."), 1234.5, "1.234,50"),
        ("-1,234", Marks(".", ","), -1234, "-1,234"),
        ("€5.00", Marks(), 5.0, "€5.00"),
        ("12 %", Marks(), 12, "12 %"),
        ("1 234,5", Marks(",", " "), 1234.5, "1 234,5"),
        (".5", Marks(), 0.5, "0.5"),
        ("1.50e-05", Marks(), 1.5e-5, "1.5e-05"),
    ],
)
def test_numbers_are_written_as_they_were_read(text, marks, value, written):
    number = read_number(text, marks)
    assert number.value == value
    form = NumberFormat(
        marks, number.decimals, number.decimals, number.mantissa, number.grouped, number.prefix, number.suffix
    )
    assert form.text(number.value) == written
    assert np.isclose(read_number(form.text(number.value), marks).value, value)


@pytest.mark.parametrize("text", ["", "1,2,3", "12-3", "1.2.3", "٣", "0x1F", "1_000", "five"])
def test_other_texts_are_no_numbers(text):
    assert read_number(text, Marks()) is None
