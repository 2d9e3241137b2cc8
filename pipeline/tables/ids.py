"""Identifiers: columns whose cells (almost) all differ. They are not learnt, and no known one is handed out again.

A fresh one is written by the pattern of the known ones: which signs stood at each place. Known ones are remembered by a
digest of four bytes each, so that a saved model holds no list of customers.

Shapes: N rows, D distinct values.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np

from pipeline.tables.values import word

FEWEST = 20  # known cells from which a column may be an identifier
UNIQUE_SHARE = 0.98
MOST_SHAPES = 5
MOST_REMEMBERED = 200_000
TRIES = 50
_NAMED = re.compile(r"(^|[^a-z])(id|ids|uid|uuid|guid|nr|no|key|pk|index|number|num|ref)($|[^a-z])", re.IGNORECASE)
_CAMEL = re.compile(r"[a-z](Id|ID|Nr|No|Key|Number|Ref)$")
_HEX = set("0123456789abcdef")
_CLASSES = ("0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def unique_enough(distinct: int, known: int) -> bool:
    """Whether so many distinct values among so many known cells are (almost) all different."""
    return known >= FEWEST and distinct >= UNIQUE_SHARE * known


def named_as_id(name: str) -> bool:
    """Whether a column's name says that it is an identifier."""
    return bool(_NAMED.search(name) or _CAMEL.search(name))


def looks_like_ids(texts: list[str]) -> bool:
    """Whether texts are written by few patterns that have digits: C-00017, 550e8400-e29b-…, ab12@mail.org."""
    shapes: dict[str, int] = {}
    for text in texts:
        shape = _shape(text)
        shapes[shape] = shapes.get(shape, 0) + 1
    digits = sum(any(c.isdigit() for c in t) for t in texts)
    few = len(shapes) <= max(MOST_SHAPES, len(texts) // 20) or all(set(t.lower()) <= _HEX | {"-"} for t in texts)
    mail = all("@" in t for t in texts)
    return max(map(len, texts)) <= 64 and (mail or (few and digits >= 0.9 * len(texts)))


def patterns_of(values: list[Any]) -> tuple[Any, ...]:
    """What `fresh` needs: (digests in base64, then one tuple a shape of the signs seen at each place)."""
    texts = [word(v) for v in values]
    groups: dict[tuple[int, str], list[str]] = {}
    for text in texts:
        groups.setdefault((len(text), _shape(text)), []).append(text)
    largest = sorted(groups.values(), key=len, reverse=True)[:MOST_SHAPES]
    places = tuple(tuple(_signs(column) for column in zip(*group, strict=True)) for group in largest)
    digests = b"".join(sorted(_digest(t) for t in texts[:MOST_REMEMBERED]))
    return (base64.b64encode(digests).decode("ascii"), *places)


class Taken(Protocol):
    """A set of texts."""

    def add(self, text: str) -> None: ...
    def __contains__(self, text: str) -> bool: ...


def fresh(patterns: tuple[Any, ...], rng: np.random.Generator, taken: Taken) -> Iterator[str]:
    """Texts of the patterns without end, none of them known or in `taken`, to which each is added. Raises ValueError
    for patterns that are none."""
    raw = base64.b64decode(patterns[0], validate=True)
    known = {raw[i : i + 4] for i in range(0, len(raw), 4)}
    shapes = [p for p in patterns[1:] if p] or [(_CLASSES[0],) * 6]
    while True:
        shape, more = shapes[int(rng.integers(len(shapes)))], 0
        for attempt in range(10**6):
            more = attempt // TRIES  # where every text of the pattern is taken, longer ones follow
            text = "".join(_one(s, rng) for s in shape) + "".join(_one(_CLASSES[0], rng) for _ in range(more))
            if text not in taken and _digest(text) not in known:
                taken.add(text)
                yield text
                break


def fresh_uuid(rng: np.random.Generator) -> uuid.UUID:
    """A random UUID of version 4."""
    return uuid.UUID(bytes=rng.bytes(16), version=4)


def _one(signs: str, rng: np.random.Generator) -> str:
    return signs[int(rng.integers(len(signs)))] if len(signs) > 1 else signs


def _signs(column: tuple[str, ...]) -> str:
    """The signs that may stand at a place: the one that always does, or every sign of the classes that were seen."""
    seen = set(column)
    if len(seen) == 1:
        return column[0]
    if seen <= _HEX and seen & set("abcdef") and seen & set("0123456789"):
        return "0123456789abcdef"
    return "".join(sorted(seen | {c for group in _CLASSES if seen & set(group) for c in group}))


def _shape(text: str) -> str:
    return re.sub(r"[0-9]+", "9", re.sub(r"[A-Za-z]+", "a", text))


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf8", "surrogatepass"), digest_size=4).digest()
