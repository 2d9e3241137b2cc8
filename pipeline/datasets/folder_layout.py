"""What the subfolders of a folder of pictures mean: splits, classes, or nothing.

Splits: a training folder (train, training) beside a held-out one (test, val, valid, validation, dev, eval); then the
classes are the subfolders below. Classes: two subfolders at least, which hold half of the pictures or more; pictures
beside them keep an unknown class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TRAINING = ("train", "training")
HELD_OUT = ("test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation")
NAMED = 3  # examples of a list


@dataclass(frozen=True)
class Layout:
    """What each of N pictures is by its place. labels: class or None. held_out: whether it lies in a held-out folder,
    None where the folders are no splits. outside: names that lie beside the splits, which are left out.
    said: sentences that say so."""

    labels: list[str | None]
    held_out: list[bool] | None
    outside: frozenset[str]
    said: tuple[str, ...]

    @property
    def has_classes(self) -> bool:
        return any(label is not None for label in self.labels)


def folder_layout(names: Sequence[str]) -> Layout:
    """The layout of pictures called `names` (N, posix, relative)."""
    training, held = _splits(names)
    if not training and not held:
        labels, said = _classes(list(names))
        return Layout(labels, None, frozenset(), said)
    splits = training | held
    inside = [n for n in names if _first(n) in splits]
    outside = frozenset(names) - set(inside)
    below, said = _classes([n.split("/", 1)[1] for n in inside])
    labels = dict(zip(inside, below, strict=True))
    said = (_split_sentence(inside, training, held), *said)
    both = bool(training) and bool(held)
    return Layout([labels.get(n) for n in names], [_first(n) in held for n in names] if both else None, outside, said)


def some(names: Sequence[str], what: str = "") -> str:
    """The first few names and how many more there are."""
    listed = ", ".join(names[:NAMED])
    return f"{len(names)}{' ' + what if what else ''} ({listed}{', …' if len(names) > NAMED else ''})"


def _first(name: str) -> str:
    return name.split("/", 1)[0] if "/" in name else ""


def _splits(names: Sequence[str]) -> tuple[set[str], set[str]]:
    """(training folders, held-out folders); both empty where the folders are no splits."""
    top = {_first(n) for n in names} - {""}
    training = {t for t in top if t.lower() in TRAINING}
    held = {t for t in top if t.lower() in HELD_OUT}
    return (training, held) if (training and held) or (top and top == training | held) else (set(), set())


def _split_sentence(inside: Sequence[str], training: set[str], held: set[str]) -> str:
    counts = {t: sum(_first(n) == t for n in inside) for t in sorted(training) + sorted(held)}
    listed = ", ".join(f"{t}/ {n}" for t, n in counts.items())
    if training and held:
        return f"splits, not classes: {listed}; {' and '.join(f'{t}/' for t in sorted(held))} held out"
    return f"splits, not classes: {listed}; put together and split anew"


def _classes(names: list[str]) -> tuple[list[str | None], tuple[str, ...]]:
    """(class of each name or None, sentences)."""
    labels: list[str | None] = [_first(n) or None for n in names]
    classes = {label for label in labels if label is not None}
    stray = [n for n in names if "/" not in n]
    if len(classes) >= 2 and 2 * len(stray) <= len(names):
        if not stray:
            return labels, ()
        return labels, (f"class unknown: {some(stray)}, beside the class folders",)
    if len(classes) >= 2:
        return [None] * len(names), (
            f"no classes: {len(stray)} of {len(names)} lie beside the {len(classes)} subfolders",
        )
    if classes:
        return [None] * len(names), (f"no classes: one subfolder, {min(classes)}/, alone",)
    return [None] * len(names), ("no classes: no subfolders",)
