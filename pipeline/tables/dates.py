"""Dates in text: which format writes a column, and the text of a date in it.

A format is one of strptime's, with three more: %-d, %-m and %-H without a leading zero, %3f for milliseconds. What says the
zone, an offset or "Uhr" stands in it as it is, so that all texts of a column must say the same; the day of the week (%a, %A) is
read over, and written as the date has it.
A format fits a column when writing the dates that it reads gives every text back, letter for letter.

Shapes: N rows, D distinct texts.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

DAYS = (
    "%Y-%m-%d",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%-m/%-d/%Y",
    "%-d/%-m/%Y",
    "%-d.%-m.%Y",
    "%-m/%-d/%y",
    "%-d/%-m/%y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d.%m.%y",
    "%d %b %Y",
    "%-d %b %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d %B %Y",
    "%-d %B %Y",
    "%b %d, %Y",
    "%b %-d, %Y",
    "%B %d, %Y",
    "%B %-d, %Y",
)
CLOCKS = (
    "%H:%M:%S",
    "%H:%M",
    "%H:%M:%S.%f",
    "%H:%M:%S.%3f",
    "%-H:%M",
    "%-H:%M:%S",
    "%I:%M %p",
    "%I:%M:%S %p",
    "%-I:%M %p",
)
MONTHS = ("%Y-%m", "%m/%Y", "%Y/%m", "%b %Y", "%B %Y", "%Y%m")
DIGITS_ONLY = ("%Y%m%d", "%Y%m")
PLAUSIBLE = (1800, 2200)  # years in which a column of digits alone is taken for dates
SAMPLE = 400  # distinct texts that are tried with every format; the one that fits them is tried on all

_DIRECTIVE = re.compile(r"%3f|%-?[a-zA-Z]")
_GROUP = re.compile(r"\(\?P<(\w)>")
_ZONE = re.compile(r"(?<=\d)(?:\s?[+-]\d{2}(?::?\d{2})?|\s?(?:Z|UTC|GMT|[A-Z]{1,2}[SD]?T|Uhr|h))$")
_MOMENT = re.compile(
    r"\D{0,12}(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/. ]+(?:\d{1,2}|[^\W\d]{3,10})[-/., ]+\d{2,4})[T, ]+\d{1,2}:\d{2}.{0,24}"
)
_READ = {
    "%Y": r"(?P<Y>\d{4})",
    "%y": r"(?P<y>\d{2})",
    "%m": r"(?P<m>\d{2})",
    "%-m": r"(?P<m>\d{1,2})",
    "%d": r"(?P<d>\d{2})",
    "%-d": r"(?P<d>\d{1,2})",
    "%H": r"(?P<H>\d{2})",
    "%-H": r"(?P<H>\d{1,2})",
    "%I": r"(?P<I>\d{2})",
    "%-I": r"(?P<I>\d{1,2})",
    "%M": r"(?P<M>\d{2})",
    "%S": r"(?P<S>\d{2})",
    "%f": r"(?P<f>\d{6})",
    "%3f": r"(?P<f>\d{3})",
    "%p": r"(?P<p>AM|PM|am|pm)",
    "%b": r"(?P<b>[A-Za-z]{3})",
    "%B": r"(?P<b>[A-Za-z]{3,9})",
    "%a": r"(?P<a>[A-Za-z]{3})",
    "%A": r"(?P<a>[A-Za-z]{6,9})",
}
_WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_NAMES = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


@dataclass(frozen=True)
class DateFormat:
    """Reads and writes dates as `text` says. Raises ValueError for a directive that it does not know."""

    text: str

    def __post_init__(self) -> None:
        unknown = [d for d in _DIRECTIVE.findall(self.text) if d not in _READ]
        if unknown or not _DIRECTIVE.search(self.text):
            known = ", ".join(_READ)
            raise ValueError(f"A date format must be made of {known} and other signs. Got {self.text!r}.")
        parts = [_GROUP.search(_READ[d])[1] for d in _DIRECTIVE.findall(self.text)]
        twice = sorted({part for part in parts if parts.count(part) > 1})
        if twice:
            raise ValueError(
                f"A date format must name each part of a date once. Got {self.text!r}: {', '.join(twice)}."
            )

    def read(self, text: str) -> datetime.datetime | None:
        """The date that `text` writes, or None."""
        found = _pattern(self.text).fullmatch(text.strip())
        if found is None:
            return None
        part = found.groupdict()
        hour = int(part.get("H") or 0)
        if part.get("I"):
            hour = int(part["I"]) % 12 + (12 if (part.get("p") or "").lower() == "pm" else 0)
        month = _month(part["b"]) if part.get("b") else int(part.get("m") or 1)
        year = int(part["Y"]) if part.get("Y") else _century(int(part["y"])) if part.get("y") else 1970
        try:
            micro = int((part.get("f") or "0").ljust(6, "0"))
            return datetime.datetime(
                year, month, int(part.get("d") or 1), hour, int(part.get("M") or 0), int(part.get("S") or 0), micro
            )
        except ValueError:
            return None

    def write(self, date: datetime.datetime) -> str:
        """The text of a date."""
        return _DIRECTIVE.sub(lambda found: _written(found.group(), date), self.text)

    def fits(self, text: str) -> bool:
        """Whether `text` is read, and written again letter for letter."""
        date = self.read(text)
        return date is not None and self.write(date) == text.strip()


def formats_of(texts: list[str]) -> list[str]:
    """The formats that fit every one of the (D,) texts, the likeliest first; empty where none does."""
    if not texts or not all(_may_be_date(t) for t in texts[:SAMPLE]):
        return []
    few = texts[:: max(1, len(texts) // SAMPLE)]
    found = [f for f in _candidates(few[0]) if all(DateFormat(f).fits(t) for t in few)]
    found = [f for f in found if all(DateFormat(f).fits(t) for t in texts)]
    return [f for f in found if f not in DIGITS_ONLY or _plausible(f, texts)]


def is_clock(form: str) -> bool:
    """Whether a format has a time of day and no date."""
    return not any(d in form for d in ("%Y", "%y", "%m", "%-m", "%d", "%-d", "%b", "%B"))


def ambiguous(formats: list[str]) -> str:
    """Another format that reads other dates from the same texts, such as %d/%m/%Y beside %m/%d/%Y; "" if none."""
    if not formats:
        return ""
    first = _order(formats[0])
    return next((f for f in formats[1:] if _order(f) != first), "")


def _candidates(example: str) -> list[str]:
    """Formats whose signs could write `example`."""
    out = []
    if ":" in example and not re.search(r"[-/. ]\d|[A-Za-z]{3}", example.split(":")[0]):
        return [c for c in CLOCKS if DateFormat(c).read(example)]
    weekday = re.match(r"([A-Za-z]+)[., ]+(?=\d|[A-Z])", example)
    if weekday and _is_weekday(weekday[1]):
        written = "%a" if len(weekday[1]) == 3 else "%A"
        return [written + weekday[0][len(weekday[1]) :] + f for f in _candidates(example[weekday.end() :])]
    zone = _ZONE.search(example.strip())
    for ending in ("", zone[0]) if zone and ":" in example else ("",):
        for day in DAYS:
            if ":" not in example:
                out.append(day)
            else:
                out += [day + between + clock + ending for between in (" ", "T", ", ") for clock in CLOCKS]
    return [f for f in [*out, *MONTHS] if DateFormat(f).read(example)]


def _is_weekday(name: str) -> bool:
    return any(name in (full, full[:3]) for full in _WEEKDAYS)


def are_moments(texts: list[str]) -> bool:
    """Whether nearly all texts are a date and a time of day, however they are written: 2025-03-30T00:00:00+01:00."""
    return sum(bool(_MOMENT.fullmatch(t.strip())) for t in texts) >= 0.9 * len(texts)


def _may_be_date(text: str) -> bool:
    return 4 <= len(text.strip()) <= 40 and any(c.isdigit() for c in text)


def _plausible(form: str, texts: list[str]) -> bool:
    """Digits alone are dates where their years are of our time and there are enough of them to tell."""
    years = [DateFormat(form).read(t).year for t in texts]
    return len(texts) >= (3 if form == "%Y%m%d" else 12) and PLAUSIBLE[0] <= min(years) and max(years) < PLAUSIBLE[1]


def _order(form: str) -> str:
    return "".join(d.replace("-", "")[-1].lower().replace("b", "m") for d in _DIRECTIVE.findall(form))


_PATTERNS: dict[str, re.Pattern[str]] = {}


def _pattern(form: str) -> re.Pattern[str]:
    if form not in _PATTERNS:
        parts, at = [], 0
        for found in _DIRECTIVE.finditer(form):
            parts += [re.escape(form[at : found.start()]), _READ[found.group()]]
            at = found.end()
        _PATTERNS[form] = re.compile("".join([*parts, re.escape(form[at:])]))
    return _PATTERNS[form]


def _month(name: str) -> int:
    return next((i for i, n in enumerate(_NAMES, 1) if name.lower() in (n.lower(), n[:3].lower())), 0)


def _century(year: int) -> int:
    return year + (2000 if year < 69 else 1900)  # as POSIX reads it


def _written(directive: str, date: datetime.datetime) -> str:
    name = _NAMES[date.month - 1]
    return {
        "%Y": f"{date.year:04d}",
        "%y": f"{date.year % 100:02d}",
        "%m": f"{date.month:02d}",
        "%-m": str(date.month),
        "%d": f"{date.day:02d}",
        "%-d": str(date.day),
        "%H": f"{date.hour:02d}",
        "%-H": str(date.hour),
        "%I": f"{(date.hour - 1) % 12 + 1:02d}",
        "%-I": str((date.hour - 1) % 12 + 1),
        "%M": f"{date.minute:02d}",
        "%S": f"{date.second:02d}",
        "%f": f"{date.microsecond:06d}",
        "%3f": f"{date.microsecond // 1000:03d}",
        "%p": "AM" if date.hour < 12 else "PM",
        "%b": name[:3],
        "%B": name,
        "%a": _WEEKDAYS[date.weekday()][:3],
        "%A": _WEEKDAYS[date.weekday()],
    }[directive]
