"""The dialect of a delimited text, detected from its first records; what the user names is not guessed.

Of the separators that the header has, the one that cuts the rows into the same number of clean cells. Why not the
sniffers of Python, pandas or DuckDB: the first takes letters for separators, none knows decimal commas, titles above
the header and what would be lost by a wrong guess; their answers on such files are in docs/decisions.

Shapes: none; a sample is a list of lines with their ends.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from pipeline.textfiles.encodings import TableFileError
from pipeline.textfiles.numerals import Marks, read_number
from pipeline.textfiles.records import BLANKS, Dialect, Record, records, value_of
from pipeline.textfiles.words import USUAL, MissingWords

SEPARATORS = (",", ";", "\t", "|")
COMMENTS = ("#", "%", "//")
MOST_SKIPPED = 30
SAMPLE_RECORDS = 1000
_DATE = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AP]M)?(Z|[+-]\d{2}:?\d{2})?)?"
)
_HINT = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # a first line that tells Excel what separates
_EITHER = (Marks(".", ","), Marks(",", "."))


def detect_dialect(sample: list[str], given: dict[str, str | bool], name: str) -> Dialect:
    """The dialect of a text that begins with `sample`; given: fields of Dialect that the user names.

    Raises TableFileError for a text without a row.
    """
    told = next((i for i, line in enumerate(sample) if line.strip(BLANKS + "\r\n")), -1)
    hint = _HINT.fullmatch(sample[told].strip()) if told >= 0 else None
    if hint:
        given = {"separator": hint[1]} | given
        rest = detect_dialect([*("\n" * (told + 1)), *sample[told + 1 :]], given, name)
        return replace(rest, skipped=max(rest.skipped, told + 1))
    comment = str(given.get("comment", _comment(sample)))
    rows = [line for line in sample if line.strip(BLANKS + "\r\n") and not (comment and line.startswith(comment))]
    if not rows:
        raise TableFileError(f"{name}: not a readable table: it must hold rows and columns. Got none.")
    separators = [str(given["separator"])] if "separator" in given else list(SEPARATORS)
    quotes = [str(given["quote"])] if "quote" in given else _quotes(rows)
    tried = [
        Dialect(separator, quote, escape, comment=comment)
        for separator in separators
        for quote in quotes
        for escape in (("\\", "") if quote and any("\\" + quote in line for line in rows) else ("",))
    ]
    best = max(tried, key=lambda d: _score(sample, d, name))
    width, skipped = _width(_sampled(sample, best, name))
    if width < 2 and "separator" not in given:
        best = _without_separator(sample, best, rows, name)
        width, skipped = _width(_sampled(sample, best, name))
    best = replace(best, skipped=skipped)
    found = [r for r in _sampled(sample, best, name) if r.cells is not None]
    best = replace(best, space=best.separator != " " and _spaces_follow(found, best))
    best = replace(best, trailing=_all_end_empty(found, best))
    header = given["header"] if "header" in given else _has_header(found, best)
    return replace(best, header=bool(header))


def _comment(sample: list[str]) -> str:
    """The mark of lines at the top that are no rows: where such lines are not simply a header that begins with it."""
    first = next((line for line in sample if line.strip(BLANKS + "\r\n")), "")
    for mark in COMMENTS:
        lines = [line for line in sample if line.startswith(mark)]
        others = [line for line in sample if line.strip() and not line.startswith(mark)]
        if not lines or not others:
            continue
        if not first.startswith(mark) and (mark != "#" or len(lines) > 0.5 * len(others)):
            continue
        cuts = [max((line.count(s), s) for s in SEPARATORS) for line in (lines[0], others[0])]
        if len(lines) == 1 and cuts[0] == cuts[1] and cuts[0][0]:
            continue  # the header itself: "#id,name"
        return mark
    return ""


def _quotes(rows: list[str]) -> list[str]:
    cells = [c.strip() for line in rows[1:200] for c in re.split(r"[,;\t|]", line.strip("\r\n"))]
    single = sum(len(c) > 1 and c.startswith("'") and c.endswith("'") for c in cells)
    double = sum('"' in c for c in cells)
    return ["'", ""] if single > 0.2 * max(1, len(cells)) and not double else ['"', ""]


def _sampled(sample: list[str], dialect: Dialect, name: str) -> list[Record]:
    """The records of the sample; the last is left out where the sample may cut it off, or where a quote is open."""
    out = []
    try:
        for record in records(sample, dialect, name):
            out.append(record)
            if len(out) > SAMPLE_RECORDS:
                break
    except TableFileError:
        out.append(Record(-1, None))
    return out


def _width(found: list[Record]) -> tuple[int, int]:
    """(columns of most rows, lines before the first row of so many that are no table)."""
    rows = [r for r in found if r.cells is not None]
    if not rows:
        return 0, 0
    body = rows[min(len(rows) - 1, 1) :]
    width = Counter(len(r.cells) for r in body[:SAMPLE_RECORDS]).most_common(1)[0][0]
    titles = 0
    while width > 1 and titles < min(MOST_SKIPPED, len(rows) - 1) and _is_title(rows[titles], width):
        titles += 1
    if not titles or len(rows[titles].cells) < width - 1:
        return width, 0
    return width, rows[titles].line - 1


def _is_title(record: Record, width: int) -> bool:
    """A line above the table: one text, alone or followed by empty cells."""
    return sum(bool(c.strip()) for c in record.cells) <= 1 and (width > 2 or len(record.cells) == 1)


def _score(sample: list[str], dialect: Dialect, name: str) -> float:
    """How well a dialect cuts the sample: rows of one width, of clean cells; 0 where it does not cut at all."""
    found = _sampled(sample, dialect, name)
    open_quote = bool(found) and found[-1].line == -1
    rows = [r for r in found if r.cells is not None]
    width, skipped = _width(found)
    rows = [r for r in rows if r.line > skipped]
    if width < 2 or not rows:
        return -1.0 if open_quote else 0.0
    same = sum(len(r.cells) == width for r in rows) / len(rows)
    cells = [value_of(c, dialect).strip() for r in rows[:200] for c in r.cells]
    clean = sum(_clean(c, dialect) for c in cells) / len(cells)
    header = 1.0 if len(rows[0].cells) in (width, width - 1) else 0.5
    return same**2 * clean * header * (1 - 0.5 / width) * (0.2 if open_quote and len(rows) < 20 else 1.0)


def _clean(cell: str, dialect: Dialect) -> bool:
    """A cell that is one thing: nothing, a number, a date, or words without another separator or half a quote."""
    if not cell or _DATE.fullmatch(cell) or any(read_number(cell, marks) for marks in _EITHER):
        return True
    strangers = [s for s in SEPARATORS if s != dialect.separator and not (s == "," and ", " in cell)]
    return not any(s in cell for s in strangers) and (dialect.quote != "" or '"' not in cell)


def _without_separator(sample: list[str], best: Dialect, rows: list[str], name: str) -> Dialect:
    """Columns aligned by spaces, where nearly every row has as many and most cells are numbers; else one column."""
    spaced = replace(best, separator=" ", quote="")
    found = [r for r in _sampled(sample, spaced, name) if r.cells is not None]
    width = Counter(len(r.cells) for r in found).most_common(1)[0][0]
    same = sum(len(r.cells) == width for r in found) / len(found)
    numbers = [read_number(c, marks) is not None for r in found[1:200] for c in r.cells for marks in _EITHER[:1]]
    if width > 1 and same > 0.95 and sum(numbers) >= 0.5 * len(numbers) and len(found) > 1:
        return spaced
    return replace(best, separator="")


def _spaces_follow(found: list[Record], dialect: Dialect) -> bool:
    cells = [c for r in found[:500] for c in r.cells[1:] if c.strip() and not c.startswith(dialect.quote or "\0")]
    return bool(cells) and sum(c.startswith(" ") for c in cells) >= 0.9 * len(cells)


def _all_end_empty(found: list[Record], dialect: Dialect) -> bool:
    """Every row but the header ends with a separator and nothing behind it."""
    rows = found[1:]
    return (
        bool(rows)
        and dialect.separator not in ("", " ")
        and len({len(r.cells) for r in rows}) == 1
        and len(rows[0].cells) == len(found[0].cells) + 1
        and all(r.cells[-1] == "" for r in rows)
    )


def _has_header(found: list[Record], dialect: Dialect) -> bool:
    """No, where a column of numbers or dates begins with one and none begins with a word; else yes."""
    first = [value_of(c, dialect).strip() for c in found[0].cells]
    rows = [[value_of(c, dialect).strip() for c in r.cells] for r in found[1:300] if len(r.cells) >= len(first)]
    if not rows:
        return not all(_is_value(c) for c in first if c)
    against, words = 0, MissingWords(USUAL)
    for place, name in enumerate(first):
        known = [r[place] for r in rows if not words.holds_or_may(r[place])]
        values = known and sum(_is_value(c) for c in known) >= 0.8 * len(known)
        if values and name and (not _is_value(name) or _is_year(name) and not any(_is_year(c) for c in known)):
            return True
        against += bool(values and name and _is_value(name))
    return not against


def _is_year(cell: str) -> bool:
    """A year, which names a column of other numbers."""
    return len(cell) == 4 and cell.isdecimal() and 1800 <= int(cell) <= 2200


def _is_value(cell: str) -> bool:
    return is_date(cell) or any(read_number(cell, marks) is not None for marks in _EITHER)


def is_date(text: str) -> bool:
    """True for a text that looks like a date or a time of a date."""
    return _DATE.fullmatch(text) is not None
