"""Random tables as text files in random dialects, with which cells are missing; and a cheap way to fill a table."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from hypothesis import strategies as st


class PlainImputer:
    """Fills numbers with the mean and all else with the first known value, with an imputer's interface."""

    def fit(self, frame: pd.DataFrame) -> PlainImputer:
        self.names = list(frame.columns)
        self.values = {}
        for name in self.names:
            known = frame[name].dropna()
            number = pd.api.types.is_numeric_dtype(known) and not pd.api.types.is_bool_dtype(known)
            self.values[name] = float(known.astype(float).mean()) if number else known.iloc[0]
            if number and pd.api.types.is_integer_dtype(known):
                self.values[name] = int(known.iloc[0])
        return self

    def get_feature_names_out(self) -> np.ndarray:
        return np.array(self.names, dtype=object)

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.fillna(self.values)

    def sample(self, frame: pd.DataFrame, draws: int, random_state: int) -> list[pd.DataFrame]:
        return [self.transform(frame)] * draws


@dataclass
class Written:
    """A file: its bytes, and a pattern that the text matches when nothing but its missing cells is changed."""

    payload: bytes
    pattern: re.Pattern
    encoding: str
    mark: bytes
    options: dict[str, str]


WORDS = st.sampled_from(["Bern", "São Paulo", "Łódź", "x", "two words", "it's", "A-7", "5 pm"])
ODD_WORDS = st.sampled_from(['say "hi"', "two\nlines", "a, b", "c; d", " inner space ", "tab\there", "Bern"])


@st.composite
def column(draw: st.DrawFn, rows: int, decimal: str, thousands: str) -> list[str]:
    """Texts of the cells of one column."""
    kind = draw(
        st.sampled_from(["whole", "decimal", "grouped", "word", "odd", "truth", "date", "code", "large", "many"])
    )
    numbers = [draw(st.integers(-99_999, 99_999)) for _ in range(rows)]
    decimals = draw(st.integers(1, 4))
    if kind == "whole":
        return [str(n) for n in numbers]
    if kind in ("decimal", "grouped"):
        grouping = thousands if kind == "grouped" else ""
        texts = [f"{n / 7:{',' if grouping else ''}.{decimals}f}" for n in numbers]
        return [t.replace(",", "g").replace(".", decimal).replace("g", grouping) for t in texts]
    if kind == "many":
        return [f"{n / 7:.{draw(st.integers(1, 6))}f}".replace(".", decimal) for n in numbers]
    if kind == "word":
        return [draw(WORDS) for _ in numbers]
    if kind == "odd":
        return [draw(ODD_WORDS) for _ in numbers]
    if kind == "truth":
        pair = draw(st.sampled_from([("true", "false"), ("True", "False"), ("yes", "no")]))
        return [pair[n % 2] for n in numbers]
    if kind == "date":
        return [f"{1990 + n % 40}-{1 + n % 12:02d}-{1 + n % 28:02d}" for n in numbers]
    return [f"{abs(n):07d}" if kind == "code" else str(9007199254740993 + n) for n in numbers]


@st.composite
def written_tables(draw: st.DrawFn) -> Written:
    """Files of 2 to 5 columns and 4 to 12 rows."""
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    decimal = draw(st.sampled_from([".", ","])) if separator != "," else "."
    thousands = {".": ",", ",": "."}[decimal]
    rows = draw(st.integers(4, 12))
    columns = [draw(column(rows, decimal, thousands)) for _ in range(draw(st.integers(2, 5)))]
    all_quoted = draw(st.booleans())
    absent = draw(st.sampled_from(["", "NA", "?", "n/a"]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    encoding, mark = draw(
        st.sampled_from(
            [("utf-8", b""), ("utf-8", b"\xef\xbb\xbf"), ("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")]
        )
    )

    def cell(text: str) -> str:
        odd = any(c in text for c in (separator, '"', "\n")) or text != text.strip()
        return '"' + text.replace('"', '""') + '"' if odd or all_quoted else text

    lines = [separator.join(cell(f"name{i}") for i in range(len(columns)))]
    patterns = [re.escape(lines[0])]
    for row in range(rows):
        gaps = [row > 1 and draw(st.integers(0, 3)) == 0 for _ in columns]
        cells = [cell(c[row]) for c in columns]
        patterns.append(
            re.escape(separator).join("(.+?)" if g else re.escape(c) for g, c in zip(gaps, cells, strict=True))
        )
        lines.append(separator.join(absent if g else c for g, c in zip(gaps, cells, strict=True)))
        if draw(st.integers(0, 9)) == 0:
            lines.append("")
            patterns.append("")
    last = draw(st.booleans())
    text = end.join(lines) + (end if last else "")
    pattern = re.compile(re.escape(end).join(patterns) + (re.escape(end) if last else ""), re.DOTALL)
    options = {"separator": separator, "decimal": decimal}
    return Written(mark + text.encode(encoding), pattern, encoding, mark, options)
