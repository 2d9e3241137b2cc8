"""Dates, times of day, durations and periods as whole counts of a unit, and back in the type that they had.

The unit is the coarsest that loses nothing: days where every known date is at (local) midnight, months where every
one is the first of its month. Counts go by the clock on the wall, so a day in a time zone stays a day.

Shapes: N rows, n known, D distinct values.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd

from pipeline.tables.cells import Cells
from pipeline.tables.dates import DateFormat, formats_of
from pipeline.tables.dtypes import Memory
from pipeline.tables.errors import TableError, shown

DATE_UNITS = ("Y", "M", "D", "h", "m", "s", "ms", "us", "ns")  # NumPy's
UNIT_NAMES = {
    "Y": "year",
    "M": "month",
    "D": "day",
    "h": "hour",
    "m": "minute",
    "s": "second",
    "ms": "millisecond",
    "us": "microsecond",
    "ns": "nanosecond",
}
MICROSECONDS = {"D": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}
_MIDNIGHT = datetime.date(1970, 1, 1)


def moments(name: str, kind: str, cells: Cells, form: str = "", zone: str = "") -> np.ndarray:
    """(N,) datetime64 or timedelta64 of a date, time or duration column, local where it has a zone; NaT where missing.

    form: of text and of whole numbers that write dates. zone: whose clock counts for cells that have one; "": their own.
    Raises TableError naming a cell that is none.
    """
    dtype = cells.dtype
    if isinstance(dtype, pd.DatetimeTZDtype):
        local = cells.series.dt.tz_convert(zone) if zone else cells.series
        found = local.dt.tz_localize(None).to_numpy()
    elif isinstance(dtype, np.dtype) and dtype.kind in "mM":
        found = cells.series.to_numpy()
        found = found if np.datetime_data(dtype)[0] != "s" else found.astype(f"{dtype.kind}8[us]")
    else:
        read = DateFormat(form).read if form else None
        plain = [_moment(v, kind, read, zone) for v in cells.distinct]
        wrong = [i for i, v in enumerate(plain) if v is None]
        if wrong:
            _refuse(name, kind, cells, wrong, form)
        code = "m8" if kind == "duration" else "M8"
        fine = any(getattr(v, "nanosecond", 0) or getattr(v, "nanoseconds", 0) for v in plain)
        unit = "ns" if fine else "us"
        array = np.array(
            [np.array(_numpy(v, unit), f"{code}[{unit}]") for v in plain] + [np.array("NaT", f"{code}[{unit}]")]
        )
        found = array[cells.place]
    return np.where(cells.known, found, np.array("NaT", found.dtype))


def _numpy(value: Any, unit: str) -> Any:
    return value.to_numpy() if isinstance(value, pd.Timestamp | pd.Timedelta) else value


def _refuse(name: str, kind: str, cells: Cells, wrong: list[int], form: str) -> None:
    row = int(np.flatnonzero(np.isin(cells.place, wrong))[0])
    as_written = f" written as {form}" if form else ""
    raise TableError(
        f"Column {name!r} must hold {kind}s{as_written}. Got {shown(cells.distinct[cells.place[row]])} in row {row}. "
        f"Name the format in 'formats', the cell in 'missing', or another kind in 'kinds'."
    )


def _moment(value: Any, kind: str, read: Any, zone: str) -> Any:
    """A naive datetime, Timestamp or timedelta of one cell, or None."""
    if read is not None and isinstance(value, int | float | str) and not isinstance(value, bool):
        if isinstance(value, float):
            value = int(value) if value.is_integer() else value
        return read(str(value))
    if isinstance(value, str):
        return _from_text(value, kind)
    if kind == "duration":
        return value if isinstance(value, datetime.timedelta) else None
    if isinstance(value, datetime.datetime):
        return (
            pd.Timestamp(value).tz_convert(zone).tz_localize(None)
            if value.tzinfo and zone
            else value.replace(tzinfo=None)
        )
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day)
    if isinstance(value, datetime.time):
        return datetime.datetime.combine(_MIDNIGHT, value.replace(tzinfo=None))
    return None


def _from_text(text: str, kind: str) -> Any:
    """The moment that a text writes in a column that has none of its own: as people type it."""
    try:
        if kind == "duration":
            return pd.Timedelta(text)
        forms = formats_of([text])
        found = DateFormat(forms[0]).read(text) if forms else pd.Timestamp(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return None if found is pd.NaT else found.replace(tzinfo=None)


def unit_of(found: np.ndarray, kind: str) -> str:
    """The coarsest unit of which all the (n,) known moments are whole counts; months and years from 3 dates up."""
    few = len(np.unique(found)) < 3
    for unit in DATE_UNITS:
        if unit in "YM" and (few or kind != "date"):
            continue
        if kind == "time" and unit == "D":
            continue
        if (found.astype(f"{found.dtype.kind}8[{unit}]") == found).all():
            return unit
    return "ns"


def counts_of(found: np.ndarray, unit: str, kind: str) -> np.ndarray:
    """(n,) int64 counts of `unit` since 1970 (of a duration, since 0); parts of a unit are left out."""
    return found.astype(f"{'m8' if kind == 'duration' else 'M8'}[{unit}]").astype(np.int64)


def periods(cells: Cells, unit: str) -> np.ndarray:
    """(N,) int64 ordinals of a column of periods of `unit`, anything where missing."""
    if isinstance(cells.dtype, pd.PeriodDtype):
        if str(cells.dtype)[7:-1] != unit:
            return cells.series.dt.asfreq(unit).array.asi8
        return cells.series.array.asi8
    ordinals = [(pd.Period(v, freq=unit) if isinstance(v, str) else v).ordinal for v in cells.distinct]
    return np.array([*ordinals, 0], np.int64)[cells.place]


def from_counts(counts: list[int | None], kind: str, unit: str, form: str, memory: Memory) -> list[Any]:
    """(N,) the cells of whole counts, None where None: text, numbers, dates … as the column's were."""
    make = _maker(kind, unit, form, memory)
    return [None if c is None else make(int(c)) for c in counts]


def _maker(kind: str, unit: str, form: str, memory: Memory) -> Any:
    if kind == "period":
        return lambda c: pd.Period(ordinal=c, freq=unit)
    if kind == "duration":
        return lambda c: _duration(np.timedelta64(c, unit), memory)
    if form:
        written = DateFormat(form).write
        as_number = int if not memory.is_text else str
        return lambda c: as_number(written(np.datetime64(c, unit).astype("M8[us]").item()))
    return lambda c: _date(np.datetime64(c, unit), memory)


def _duration(value: np.timedelta64, memory: Memory) -> Any:
    if memory.cells == "timedelta":
        return value.astype("m8[us]").item()
    return pd.Timedelta(value)


def _date(value: np.datetime64, memory: Memory) -> Any:
    arrow = memory.arrow and memory.name
    if memory.cells == "date" or (arrow and memory.name.startswith("date")):
        return value.astype("M8[D]").item()
    if memory.cells == "time" or (arrow and memory.name.startswith("time") and not memory.name.startswith("timestamp")):
        return value.astype("M8[us]").item().time()
    zone = zone_of(memory)
    if memory.cells == "datetime":
        naive = value.astype("M8[us]").item()
        return naive if not zone else at_zone(pd.Timestamp(naive), zone).to_pydatetime()
    unit = np.datetime_data(value.dtype)[0]
    stamp = pd.Timestamp(value if unit in ("s", "ms", "us", "ns") else value.astype("M8[us]"))
    return stamp if not zone else at_zone(stamp, zone)


def at_zone(stamp: pd.Timestamp, zone: str) -> pd.Timestamp:
    """A time on the wall as a moment in `zone`; one that summer time skips is moved to the next that is."""
    return stamp.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")


def zone_of(memory: Memory) -> str:
    """The time zone of a column's cells, or ""."""
    if memory.zone:
        return memory.zone
    name = memory.name
    if name.startswith("datetime64[") and ", " in name:
        return name[:-1].split(", ", 1)[1]
    if name.startswith("timestamp[") and "tz=" in name:
        return name.split("tz=", 1)[1].split("]")[0]
    return ""


def shown_count(count: int, kind: str, unit: str) -> str:
    """One count as people read it: a date, a duration, a period."""
    if kind == "period":
        return str(pd.Period(ordinal=count, freq=unit))
    if kind == "duration":
        return f"{count} {UNIT_NAMES[unit]}{'s' if abs(count) != 1 else ''}"
    text = str(np.datetime64(count, unit))
    return text.split("T")[1] if kind == "time" else text.replace("T", " ")
