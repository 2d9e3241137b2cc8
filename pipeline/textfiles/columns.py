"""What the texts of a column are: whole numbers, numbers, truth values or words; which mean missing; how it writes.

    column = TextColumn("rent", Marks(), MissingWords(USUAL))
    column.add(["1200", "", "950"], line=2)             # the whole file, part by part
    column.settle()                                     # decides; names what does not fit
    column.series(["1200", ""])                         # Int64, missing as such
    column.text(1100.0)                                 # "1100"

A column of digits with leading zeros is text; so is one of whole numbers beyond 64 bits. Dates stay text here: the
codec knows them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.textfiles.detecting import is_date
from pipeline.textfiles.encodings import TableFileError
from pipeline.textfiles.numerals import LARGEST_INTEGER, Marks, Number, NumberFormat, read_number
from pipeline.textfiles.words import LOOSE, MissingWords

FEW = 8  # words of a column that are remembered to be named
MOST_REMEMBERED = 200_000  # texts whose reading is remembered
WORDLIKE = ("NA", "None", "none", "NONE", "null", "NULL", "nan", "NaN", "missing", "unknown")


@dataclass
class TextColumn:
    """The texts of one column. kind, after `settle`: integer, decimal, boolean, text or empty."""

    name: str
    marks: Marks
    words: MissingWords
    kind: str = "empty"
    rows: int = 0
    missing: Counter = field(default_factory=Counter)
    loose: Counter = field(default_factory=Counter)
    numbers: int = 0
    fractions: int = 0
    strangers: Counter = field(default_factory=Counter)  # words, the first few
    stranger_cells: int = 0
    stranger_line: int = 0
    other_mark: tuple[str, int] | None = None  # the first number with the other decimal mark, and its line
    other_marks: int = 0
    dates: int = 0
    truths: int = 0
    quoted: int = 0
    padded_zeros: int = 0
    too_large: int = 0
    grouped: int = 0
    least: int = 99
    most: int = 0
    mantissa: int = 0
    affixes: Counter = field(default_factory=Counter)
    negatives: Counter = field(default_factory=Counter)
    exponents: int = 0
    _read: dict[str, Any] = field(default_factory=dict, repr=False)

    # -- first pass --------------------------------------------------------------------------------
    def add(self, texts: Sequence[str], line: int = 0, quoted: int = 0) -> None:
        """Takes note of further cells, the first of which stands in `line`; quoted: known cells with quotes."""
        self.rows += len(texts)
        self.quoted += quoted
        for text, count in Counter(texts).items():
            plain = text.strip()
            number = read_number(plain, self.marks)
            if self.words.holds(plain, number):
                self.missing[plain] += count
            elif number is not None:
                self._add_number(number, count)
            elif self.words.loose and plain in LOOSE:
                self.loose[plain] += count
            else:
                self._add_word(text, plain, count, line + texts.index(text))

    def _add_number(self, number: Number, count: int) -> None:
        self.numbers += count
        self.affixes[(number.prefix, number.suffix)] += count
        self.padded_zeros += count * number.zeros
        self.grouped += count * number.grouped
        self.mantissa = max(self.mantissa, number.mantissa)
        self.exponents += count * (number.mantissa > 0)
        if number.negative:
            self.negatives[number.negative] += count
        if isinstance(number.value, float):
            self.fractions += count
        elif abs(number.value) > LARGEST_INTEGER:
            self.too_large += count
        self.least, self.most = min(self.least, number.decimals), max(self.most, number.decimals)

    def _add_word(self, text: str, plain: str, count: int, line: int) -> None:
        other = Marks("." if self.marks.decimal == "," else ",", self.marks.decimal)
        self.stranger_cells += count
        self.stranger_line = self.stranger_line or line
        self.dates += count * is_date(plain)
        self.truths += count * (plain in ("True", "False"))
        if read_number(plain, other) is not None:
            self.other_marks += count
            self.other_mark = self.other_mark or (plain, line)
        if len(self.strangers) < FEW or text in self.strangers:
            self.strangers[text] += count

    # -- decision ----------------------------------------------------------------------------------
    @property
    def known(self) -> int:
        return self.numbers + self.stranger_cells

    def settle(self, where: str = "the file") -> list[str]:
        """Decides what the column is; sentences that its reader should hear. Raises TableFileError for numbers that
        are written in two ways."""
        self._read.clear()
        clean = self.known and (self.stranger_cells == 0 or self.dates == self.stranger_cells == self.known)
        if clean:
            self.missing.update(self.loose)
        else:
            self.stranger_cells += sum(self.loose.values())
            self.strangers.update(self.loose)
            self.loose.clear()
        if not self.known:
            self.kind = "empty"
        elif self.stranger_cells == 0 and len(self._signs) == 1 and not self.padded_zeros and not self.too_large:
            self.kind = "decimal" if self.fractions else "integer"
        elif self.truths == self.known and not self.numbers:
            self.kind = "boolean"
        else:
            self.kind = "text"
            self._check_marks(where)
        prefix, suffix = self.affixes.most_common(1)[0][0] if self.affixes else ("", "")
        least = min(self.least, self.most)
        negative = self.negatives.most_common(1)[0][0] if self.negatives else "-"
        loose = 0 < self.exponents <= 0.5 * self.numbers
        self.format = NumberFormat(
            self.marks, least, self.most, self.mantissa, self.grouped > 0, prefix, suffix, negative, loose
        )
        return self._notes()

    @property
    def _signs(self) -> Counter:
        """What stands around the numbers; with a space (12 %) or without is the same."""
        found: Counter = Counter()
        for (prefix, suffix), count in self.affixes.items():
            found[(prefix.strip(), suffix.strip())] += count
        return found

    def _check_marks(self, where: str) -> None:
        if self.other_mark is None or self.marks.said or self.padded_zeros:
            return
        if self.numbers + self.other_marks >= 0.9 * self.known:
            text, line = self.other_mark
            place = f", line {line}" if line else ""
            raise TableFileError(
                f"{where}{place}: column {self.name!r} must write its numbers with a decimal {self.marks.decimal!r}"
                f"{f' and thousands {self.marks.thousands!r}' if self.marks.thousands else ''}. "
                f"Got {text!r}. Mend it, or name the marks (--decimal, --thousands)."
            )

    def _notes(self) -> list[str]:
        out = []
        if self.kind == "text" and self.numbers >= 0.8 * self.known and self.stranger_cells:
            some = ", ".join(repr(w) for w in list(self.strangers)[:4])
            line = f", the first in line {self.stranger_line}" if self.stranger_line else ""
            out.append(
                f"column {self.name!r} is read as words: {self.stranger_cells} of {self.known} cells are no numbers "
                f"({some}{line}). If they mean missing: --missing."
            )
        if self.kind == "text" and not self.padded_zeros and len(self._signs) > 1 and not self.stranger_cells:
            some = ", ".join(repr(" ".join(a).strip()) for a in list(self._signs)[:4])
            out.append(f"column {self.name!r} is read as words: its numbers have different signs ({some}).")
        return out

    def doubtful(self) -> dict[str, int]:
        """Words that were read as missing in a column of words, where they may be values (NA of Namibia), and counts."""
        if self.kind != "text":
            return {}
        return {w: n for w, n in self.missing.items() if w in WORDLIKE}

    # -- second pass -------------------------------------------------------------------------------
    def is_missing(self, text: str) -> bool:
        """True where a cell says nothing."""
        return self._value(text) is None

    def values(self, texts: Iterable[str]) -> list[Any]:
        """What the cells say: int, float, bool or str, None where missing."""
        read, out = self._read, []
        if len(read) > MOST_REMEMBERED:
            read.clear()
        for text in texts:
            if text not in read:
                read[text] = self._value(text)
            out.append(read[text])
        return out

    def _value(self, text: str) -> Any:
        plain = text.strip()
        number = read_number(plain, self.marks)
        if self.words.holds(plain, number) or plain in self.loose:
            return None
        if self.kind == "integer":
            return number.value
        if self.kind == "decimal":
            return float(number.value)
        return plain == "True" if self.kind == "boolean" else text

    def series(self, values: list[Any]) -> Any:
        """A pandas Series of `values`: int64 or Int64, float64, bool or boolean, text."""
        import pandas as pd

        gaps = bool(self.missing)
        if self.kind == "integer":
            return pd.Series(values, dtype="Int64" if gaps else "int64", name=self.name)
        if self.kind == "decimal":
            return pd.Series(values, dtype="float64", name=self.name)
        if self.kind == "boolean":
            return pd.Series(values, dtype="boolean" if gaps else "bool", name=self.name)
        return pd.Series(values, dtype="str", name=self.name)

    def text(self, value: Any) -> str:
        """`value` as the column would write it."""
        if self.kind == "integer":
            return self.format.text(int(round(value)))
        if self.kind == "decimal":
            return self.format.text(float(value))
        return str(bool(value)) if self.kind == "boolean" else plain_text(value)


def plain_text(value: Any) -> str:
    """`value` as text where a column has no way of its own: 3 for 3.0, at most 6 digits that count, dates as ISO."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"
    if hasattr(value, "isoformat"):
        return value.isoformat().removesuffix("T00:00:00")
    return str(value)
