"""Numbers as people write them: 1,234.50 · 1.234,50 · 1 234 · €5 · 12 % · 4.2 kg · 1e-5, read and written alike.

marks = Marks(decimal=",", thousands=".")
read_number("1.234,50", marks)                      # Number(1234.5, decimals=2, …)
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

SPACES = " \u00a0\u202f"
CURRENCIES = "$€£¥₹₽"
CODES = "USD|EUR|GBP|JPY|CHF|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|RON|BGN|RUB|UAH|TRY|BRL|MXN|ZAR|KRW|SGD|HKD|AED|ILS"
UNITS = (
    "kg|mg|µg|μg|lbs?|oz|km|cm|mm|µm|μm|nm|mi|ft|in|yd|ha|[kcm]?m[²2³3]|ft²|sqft|sqm|mL|ml|cl|dl|°C|°F|°|ms|mins?|hrs?|hours?|days?|weeks?|"
    "months?|years?|yrs?|kWh?|MWh?|Wh|[kMG]?Hz|[kKMGT]B|[kMG]bps|mph|km/h|kmph|m/s|bpm|mmHg|[hkM]?Pa|mbar|bar|[mµ]?g/[dm]?[lL]|m?mol/[lL]|"
    "kcal|kJ|b?hp|cc|CC|Nm|kmpl|km/l|rpm|dB|ppm|mpg|px|dpi|[kKM]|Tsd\\.?|Mio\\.?|Mrd\\.?|bn|thousand|million|billion"
)  # written behind a number, with a space or without
LETTERS = "[mghslLWVAKNJtd]"  # units of one letter, after a space: without one, 12A is a code
MOST_DECIMALS = 17
LARGEST_INTEGER = 2**63 - 1


@dataclass(frozen=True)
class Marks:
    """decimal: "." or ",". thousands: what groups three digits, or nothing. said: by the user, not detected."""

    decimal: str = "."
    thousands: str = ""
    said: bool = False


class Number(NamedTuple):
    """A number of a text. decimals: digits after the mark. zeros: a whole number that begins with a zero. mantissa:
    digits that count where it is written with an exponent, else 0. negative: how it is said to be below 0: "-" before it,
    "()" around it, or "_-" after it."""

    value: int | float
    decimals: int = 0
    mantissa: int = 0
    zeros: bool = False
    grouped: bool = False
    prefix: str = ""
    suffix: str = ""
    negative: str = ""


@lru_cache(64)
def _pattern(marks: Marks) -> re.Pattern:
    decimal, group = re.escape(marks.decimal), _group(marks.thousands)
    grouped = rf"|\d{{1,3}}(?:{group}\d{{3}})+" if group else ""
    return re.compile(
        rf"(?P<prefix>(?:[{CURRENCIES}]|{CODES})[{SPACES}]?)?(?P<sign>[+\-−])?(?P<prefix2>[{CURRENCIES}][{SPACES}]?)?"
        rf"(?:(?P<whole>\d+{grouped})(?:(?P<mark>{decimal})(?P<part>\d*))?|{decimal}(?P<only>\d+))"
        rf"(?P<exponent>[eE][+-]?\d+)?(?P<suffix>[{SPACES}]?(?:[%‰{CURRENCIES}]|{CODES}|{UNITS})|[{SPACES}]{LETTERS})?"
    )


def _group(thousands: str) -> str:
    """What groups thousands, as a pattern: all spaces are one."""
    return f"[{SPACES}]" if thousands and thousands in SPACES else re.escape(thousands)


_INFINITE = re.compile(r"([+-]?)inf(inity)?", re.IGNORECASE)


def read_number(text: str, marks: Marks) -> Number | None:
    """The number that `text` is, read with these marks; None where it is none."""
    if text.isdecimal() and text.isascii():  # most cells
        return Number(int(text) if len(text) < 4000 else float("inf"), zeros=len(text) > 1 and text[0] == "0")
    found = _pattern(marks).fullmatch(text)
    if found is None:
        if text[-1:] in (")", "-") and len(text) > 1:
            return _below_zero(text, marks)
        infinite = _INFINITE.fullmatch(text)
        return Number(float(f"{infinite[1]}inf"), decimals=1) if infinite else None
    if not text.isascii() and not all(c.isascii() for c in text if c.isdecimal()):
        return None
    whole, part = found["whole"] or "", found["part"] or found["only"] or ""
    digits = re.sub(_group(marks.thousands), "", whole) if marks.thousands else whole
    sign = "-" if found["sign"] in ("-", "−") else ""
    fraction = found["mark"] is not None or found["only"] is not None or found["exponent"] is not None
    value = float(f"{sign}{digits or 0}.{part or 0}{found['exponent'] or ''}") if fraction else int(sign + digits)
    return Number(
        value,
        len(part),
        len((digits + part).strip("0")) if found["exponent"] else 0,
        len(digits) > 1 and digits[0] == "0" and not fraction,
        digits != whole,
        found["prefix"] or found["prefix2"] or "",
        found["suffix"] or "",
        "-" if sign else "",
    )


def _below_zero(text: str, marks: Marks) -> Number | None:
    """A number in parentheses or with its sign behind it, as accounts write those below 0."""
    body, how = (text[1:-1], "()") if text[0] == "(" and text[-1] == ")" else (text[:-1], "_-")
    if body[:1] in "(+-−" or body[-1:] in ")-" or how == "_-" and text[-1] != "-":
        return None
    number = read_number(body.strip(), marks) if body.isascii() or not body.isspace() else None
    if number is None or number.value < 0 or number.zeros:
        return None
    return number._replace(value=-number.value, negative=how)


@dataclass
class NumberFormat:
    """How the numbers of a column are written. decimals: least and most; mantissa: digits where exponents are used; negative: as
    in Number. loose: some have exponents and some have not; six digits count then."""

    marks: Marks
    least_decimals: int = 0
    most_decimals: int = 0
    mantissa: int = 0
    grouped: bool = False
    prefix: str = ""
    suffix: str = ""
    negative: str = "-"
    loose: bool = False

    def text(self, value: float) -> str:
        """`value` written as the column writes its numbers."""
        if value < 0 and self.negative in ("()", "_-"):
            plain = self.text(-value)
            return plain if not plain.strip("0.,") else f"({plain})" if self.negative == "()" else f"{plain}-"
        if self.loose:
            return self.prefix + _marked(f"{value:.6g}", self.marks, "") + self.suffix
        if self.mantissa:
            return self.prefix + _marked(f"{value:.{max(self.mantissa - 1, 0)}e}", self.marks, "") + self.suffix
        decimals = min(self.most_decimals, MOST_DECIMALS)
        plain = f"{value:.{decimals}f}" if decimals or isinstance(value, float) else str(value)
        if self.least_decimals < decimals and "." in plain:
            whole, part = plain.split(".")
            part = part.rstrip("0").ljust(self.least_decimals, "0")
            plain = f"{whole}.{part}" if part else whole
        if not plain.strip("-0."):
            plain = plain.lstrip("-")  # no minus zero
        sign = "-" if plain.startswith("-") else ""
        grouping = self.marks.thousands if self.grouped else ""
        return sign + self.prefix + _marked(plain.removeprefix("-"), self.marks, grouping) + self.suffix


def _marked(plain: str, marks: Marks, grouping: str) -> str:
    whole, point, part = plain.partition(".")
    if grouping:
        whole = re.sub(r"(?<=\d)(?=(\d{3})+$)", lambda _: grouping, whole)
    return whole + (marks.decimal if point else "") + part


# -- marks of a file ---------------------------------------------------------------------------------
_SIGN = r"[+\-−]?"
_EVIDENCE = {
    "comma": re.compile(rf"{_SIGN}(\d+,(\d{{1,2}}|\d{{4,}})|0,\d+|\d{{4,}},\d+|,\d+|\d{{1,3}}(\.\d{{3}})+,\d+)"),
    "point": re.compile(rf"{_SIGN}(\d+\.(\d{{1,2}}|\d{{4,}})|0\.\d+|\d{{4,}}\.\d+|\.\d+|\d{{1,3}}(,\d{{3}})+\.\d+)"),
    "grouped by comma": re.compile(rf"{_SIGN}\d{{1,3}}((,\d{{3}}){{2,}}|(,\d{{3}})+\.\d*)"),
    "grouped by point": re.compile(rf"{_SIGN}\d{{1,3}}((\.\d{{3}}){{2,}}|(\.\d{{3}})+,\d*)"),
    "either comma": re.compile(rf"{_SIGN}[1-9]\d{{0,2}},\d{{3}}"),
    "either point": re.compile(rf"{_SIGN}[1-9]\d{{0,2}}\.\d{{3}}"),
}
_GROUPED_OTHERWISE = re.compile(rf"{_SIGN}\d{{1,3}}(?:([{SPACES}'’])\d{{3}})(?:\1\d{{3}})*([.,]\d+)?")
_AFFIXES = f"{CURRENCIES}%‰{SPACES}()"
_CODE = re.compile(rf"^(?:{CODES})|(?<=[\d{SPACES}])(?:{CODES}|{UNITS})$|(?<=[{SPACES}]){LETTERS}$")


def detect_marks(columns: Iterable[Iterable[str]], separator: str, decimal: str = "", thousands: str = "") -> Marks:
    """The marks of the numbers in the cells of some columns; `decimal` and `thousands`: those that the user gives.

    1,234 alone says nothing: it is grouped where the comma also separates cells, else it has a decimal comma.
    """
    votes: dict[str, float] = defaultdict(float)
    grouping: Counter[str] = Counter()
    for cells in columns:
        found, others = _evidence(cells)
        for name, count in found.items():
            votes[name] += count / sum(found.values())  # every column has one vote
        grouping.update(others)
    said = bool(decimal)
    if not decimal:
        comma = votes["comma"] + votes["grouped by point"]
        point = votes["point"] + votes["grouped by comma"]
        only_comma = votes["either comma"] and separator != "," and not votes["either point"]
        decimal = "," if comma > point or (comma == point == 0 and only_comma) else "."
    if not thousands:
        other = {",": "point", ".": "comma"}[decimal]
        either = other == "comma" and separator == "," and votes["either comma"]
        if votes[f"grouped by {other}"] or either:
            thousands = {"comma": ",", "point": "."}[other]
        elif grouping:
            thousands = grouping.most_common(1)[0][0]
    return Marks(decimal, thousands, said)


def _evidence(cells: Iterable[str]) -> tuple[Counter[str], Counter[str]]:
    """(what the cells of a column say, signs that group digits), where nearly all of them look like numbers."""
    found: Counter[str] = Counter()
    others: Counter[str] = Counter()
    strangers = known = 0
    for cell in cells:
        text = _CODE.sub("", cell.strip(_AFFIXES).rstrip("-")).strip(_AFFIXES)
        if not text:
            continue
        known += 1
        names = [name for name, pattern in _EVIDENCE.items() if pattern.fullmatch(text)]
        found.update(names)
        other = _GROUPED_OTHERWISE.fullmatch(text)
        if other:
            others[other[1]] += 1
            if other[2]:
                found["comma" if other[2][0] == "," else "point"] += 1
        strangers += not names and not other and not text.strip("+-−").isdecimal()
    return (found, others) if strangers <= 0.2 * known else (Counter(), Counter())
