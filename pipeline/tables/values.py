"""Single cells of tables as JSON and back: the levels, limits and labels that a saved model has to keep.

A plain str, bool, int, finite float or None is itself in JSON; any other type is {"type": its name, "text": its text}.
No pickle: what is read builds one of the types below or is refused.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import ipaddress
import math
import uuid
from typing import Any

import numpy as np
import pandas as pd

SCALARS = (
    bool,
    int,
    float,
    str,
    bytes,
    decimal.Decimal,
    datetime.date,  # datetime and pd.Timestamp are dates
    datetime.time,
    datetime.timedelta,
    uuid.UUID,
    pd.Period,
    pd.Interval,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
)
"""Types of a cell that can be a level of a category."""


def plain(value: Any) -> Any:
    """`value`, a NumPy scalar as the Python object that it stands for."""
    if isinstance(value, np.datetime64):
        return pd.Timestamp(value)
    if isinstance(value, np.timedelta64):
        return pd.Timedelta(value)
    return value.item() if isinstance(value, np.generic) else value


def can_be_kept(value: Any) -> bool:
    """Whether `to_json` knows the type of a cell."""
    return isinstance(value, SCALARS) and not (isinstance(value, float) and math.isinf(value))


def to_json(value: Any) -> Any:
    """JSON of one cell, or of a tuple of cells. Raises TypeError for a type that is none of SCALARS."""
    value = plain(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"type": "float", "text": repr(value)}
    if isinstance(value, tuple):
        return {"type": "tuple", "items": [to_json(v) for v in value]}
    if isinstance(value, pd.Period):
        return {"type": "period", "text": str(value), "unit": value.freqstr}
    if isinstance(value, pd.Interval):
        return {"type": "interval", "items": [to_json(value.left), to_json(value.right)], "unit": value.closed}
    if isinstance(value, pd.Timestamp):
        zone = "" if value.tz is None else str(value.tz)
        text = (value.tz_convert("UTC").tz_localize(None) if zone else value).isoformat()
        return {"type": "timestamp", "text": text, "unit": value.unit, "zone": zone}
    for name, (kind, write, _) in _TYPES.items():
        if isinstance(value, kind):
            return {"type": name, "text": write(value)}
    raise TypeError(f"a cell of type {type(value).__name__} cannot be kept in a saved model")


def from_json(raw: Any) -> Any:
    """The cell that `to_json` wrote. Raises ValueError for anything else."""
    if not isinstance(raw, dict):
        if isinstance(raw, list):
            raise ValueError("a cell must not be a list")
        return raw
    try:
        return _read(raw)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, NotImplementedError) as error:
        raise ValueError(f"not a cell of a table: {str(raw)[:80]}") from error


def _read(raw: dict) -> Any:
    name = raw["type"]
    if name == "tuple":
        return tuple(from_json(v) for v in raw["items"])
    if name == "period":
        return pd.Period(_text(raw["text"]), freq=_text(raw["unit"]))
    if name == "interval":
        left, right = (from_json(v) for v in raw["items"])
        return pd.Interval(left, right, closed=raw["unit"])
    if name == "timestamp":
        found = pd.Timestamp(_text(raw["text"])).as_unit(raw["unit"])
        return found.tz_localize("UTC").tz_convert(raw["zone"]) if raw["zone"] else found
    return _TYPES[name][2](_text(raw["text"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def _delta_text(value: datetime.timedelta) -> str:
    return f"{value.days} {value.seconds} {value.microseconds}"


def _delta(text: str) -> datetime.timedelta:
    return datetime.timedelta(*(int(part) for part in text.split(" ")))


_TYPES = {  # datetime before date, pd.Timedelta before timedelta: the first that fits is taken
    "float": (float, repr, float),
    "decimal": (decimal.Decimal, str, decimal.Decimal),
    "datetime": (datetime.datetime, datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    "date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "time": (datetime.time, datetime.time.isoformat, datetime.time.fromisoformat),
    "pandas timedelta": (pd.Timedelta, pd.Timedelta.isoformat, pd.Timedelta),
    "timedelta": (datetime.timedelta, _delta_text, _delta),
    "uuid": (uuid.UUID, str, uuid.UUID),
    "bytes": (bytes, lambda v: base64.b64encode(v).decode("ascii"), lambda t: base64.b64decode(t, validate=True)),
    "ip4": (ipaddress.IPv4Address, str, ipaddress.IPv4Address),
    "ip6": (ipaddress.IPv6Address, str, ipaddress.IPv6Address),
}


def word(value: Any) -> str:
    """The text of a category; whole numbers read alike whether a table holds them as integers or as floats."""
    value = plain(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def level_key(value: Any) -> tuple[str, Any]:
    """What makes two cells the same level: 1 and 1.0 and numpy's 1 are, 1 and True and "1" are not."""
    value = plain(value)
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, int | float):
        return "number", value
    if isinstance(value, datetime.datetime):
        return "datetime", pd.Timestamp(value)
    return type(value).__name__, value
