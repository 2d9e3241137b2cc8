"""What is fuzzed: a reader with well-formed bytes to start from; ways to spoil them; what counts as a fault.

A reader may refuse with ValueError or OSError; anything else that it raises is a fault.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

ALLOWED = (ValueError, OSError)
# What a JSON value may be replaced by: wrong types, sizes that must not be allocated, numbers beyond every range.
WEIRD = (
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../../x",
    [],
    {},
    [[]],
    [1] * 40,
)


@dataclass(frozen=True)
class Target:
    """read: takes a file of that name. seeds: well-formed contents. is_json: spoil values, not only bytes."""

    file_name: str
    seeds: tuple[bytes, ...]
    read: Callable[[Path], object]
    is_json: bool = False


def in_folder(
    file_name: str, prepare: Callable[[Path], object], read: Callable[[Path], object]
) -> Callable[[Path], object]:
    """A reader of a folder one file of which is spoilt: the others are made beside it once."""

    def run(path: Path) -> object:
        folder = path.parent / "whole"
        if not folder.is_dir():
            prepare(folder)
        (folder / file_name).write_bytes(path.read_bytes())
        return read(folder)

    return run


def spoil_bytes(payload: bytes, rng: random.Random) -> bytes:
    """`payload` with a few bytes changed, cut, doubled or put in."""
    out = bytearray(payload)
    for _ in range(rng.randint(1, 4)):
        at, kind = rng.randrange(len(out) + 1), rng.randrange(6)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(out):
            out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            del out[at : at + rng.randint(1, 8)]
        elif kind == 4:
            out[at:at] = rng.randbytes(rng.randint(1, 8))
        else:
            out[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"9999", b"[[[["))
    return bytes(out)


def spoil_json(payload: bytes, rng: random.Random) -> bytes:
    """`payload` with one or two of its values replaced, left out or named otherwise; a lone value is replaced whole."""
    raw = json.loads(payload)
    if not isinstance(raw, dict | list):
        return json.dumps(rng.choice(WEIRD)).encode()
    for _ in range(rng.randint(1, 2)):
        place = raw
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(place[key], dict | list) and rng.random() < 0.7:
                place = place[key]
                continue
            if rng.random() < 0.15:
                del place[key]
            elif isinstance(place, dict) and rng.random() < 0.1:
                place[f"{key}_"] = place.pop(key)
            else:
                place[key] = deepcopy(rng.choice(WEIRD))
            break
    return json.dumps(raw).encode()


def fault(target: Target, payload: bytes, folder: Path) -> str:
    """What went wrong when `payload` was read: "" for a result or a refusal."""
    path = folder / target.file_name
    path.write_bytes(payload)
    try:
        target.read(path)
    except ALLOWED:
        return ""
    except Exception as error:  # any other kind is what is looked for
        return f"{type(error).__name__}: {error}"
    return ""


def kind_of(found: str) -> str:
    """The beginning of a fault without its numbers: what two inputs with the same fault share."""
    return re.sub(r"\w*\d\w*", "0", found)[:80]
