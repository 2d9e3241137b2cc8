"""What a folder of pictures holds, counted while they are read, and as a paragraph for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from pipeline.base.params import Params
from pipeline.datasets.eight_bits import DARK, FLOATS, MASK, SIXTEEN_BITS, WHOLE_NUMBERS
from pipeline.datasets.folder_layout import Layout, some
from pipeline.datasets.image_files import ANIMATED, TURNED, Picture

COLOUR_STEP = 8  # largest difference of channels, of 255, that a grey JPEG has from rounding
LISTED_CLASSES, LISTED_WORDS, LISTED_REASONS = 12, 4, 10
TRANSPARENT, ENLARGED = "transparent", "enlarged"
SENTENCES = {
    SIXTEEN_BITS: "{} with 16 bits a channel, scaled to 8",
    FLOATS: "{} of floats, scaled to 0…255",
    WHOLE_NUMBERS: "{} of 32-bit numbers, scaled to 0…255",
    MASK: "{} of the values 0 and 1 alone (masks), read as 0 and 255",
    DARK: "{} look black, no pixel above a fifteenth of the range: scale them first",
    ANIMATED: "{} of several frames, the first",
    TURNED: "{} turned as their EXIF says",
    TRANSPARENT: "{} with transparent parts: white in training, unknown for `complete`",
    ENLARGED: "{} smaller than that and enlarged",
}


@dataclass
class PictureFacts:
    """sizes: (width, height) px of each picture as stored. colour: how many have colour. notes: note → how many."""

    sizes: list[tuple[int, int]] = field(default_factory=list)
    colour: int = 0
    notes: Counter = field(default_factory=Counter)

    def add(self, picture: Picture, fitted: np.ndarray, known: np.ndarray) -> None:
        """Counts one picture. fitted: (H, W, 3) uint8 its pixels as they are used. known: (H, W) bool."""
        self.sizes.append(picture.size)
        wide = fitted.astype(np.int16)
        self.colour += bool((wide.max(-1) - wide.min(-1) > COLOUR_STEP).any())
        self.notes.update(picture.notes)
        self.notes[TRANSPARENT] += not known.all()
        self.notes[ENLARGED] += min(picture.size) < len(fitted)


@dataclass
class Pictures:
    """What was read. names: of the readable pictures (N). pixels: (N, size·size·channels) uint8. facts: of all of them.
    layout, words: as `folder_layout` and `_categories` say for these pictures. said: sentences. left_out: (name, why). system: number of hidden and system files."""

    names: list[str]
    pixels: np.ndarray
    channels: int
    facts: PictureFacts
    layout: Layout
    words: dict[str, tuple[list[str], np.ndarray]]
    said: list[str]
    left_out: list[tuple[str, str]]
    system: int = 0


def summary(name: str, pictures: Pictures, params: Params) -> str:
    """One paragraph: how many, sizes, colour, splits, classes with counts, attributes, what was scaled, what is left out."""
    n, facts = len(pictures.names), pictures.facts
    parts = [f"{n} pictures in {name}/", *_sizes(facts, params), *_colour(facts, n, pictures.channels)]
    parts += [*_class_counts(pictures), *pictures.said, *_attributes(pictures)]
    parts += [text.format(facts.notes[note]) for note, text in SENTENCES.items() if facts.notes[note]]
    if pictures.left_out:
        parts.append(f"left out: {len(pictures.left_out)} files or folders")
    if pictures.system:
        parts.append(f"{pictures.system} hidden and system files passed over")
    return " ".join(f"{p[0].upper() + p[1:] if p.split(' ')[0].rstrip(':,').isalpha() else p}." for p in parts)


def _attributes(pictures: Pictures) -> list[str]:
    named = {c: w for c, (w, _) in pictures.words.items() if c != "label"}
    shown = [f"{c} ({', '.join(w[:LISTED_WORDS])}{', …' if len(w) > LISTED_WORDS else ''})" for c, w in named.items()]
    more = f" and {len(shown) - LISTED_CLASSES} more" if len(shown) > LISTED_CLASSES else ""
    return [f"attributes: {', '.join(shown[:LISTED_CLASSES])}{more}"] if shown else []


def left_out_lines(left_out: list[tuple[str, str]], *, every: bool = False) -> list[str]:
    """Names and why, those of one reason on one line; every: each name on a line of its own."""
    if every:
        return [f"{name}: {why.rstrip('.')}" for name, why in left_out]
    reasons: dict[str, list[str]] = {}
    for name, why in left_out:
        reasons.setdefault(why.rstrip("."), []).append(name)
    lines = [f"{names[0] if len(names) == 1 else some(names)}: {why}" for why, names in reasons.items()]
    more = sum(len(names) for names in list(reasons.values())[LISTED_REASONS:])
    return lines[:LISTED_REASONS] + (
        [f"{more} more, for other reasons (`biglearn inspect --all` names them)"] if more else []
    )


def _sizes(facts: PictureFacts, params: Params) -> list[str]:
    edge = params.prepare.image_size_px or 32
    if not facts.sizes:
        return []
    ordered = sorted(facts.sizes, key=lambda s: s[0] * s[1])
    shown = [f"{w}×{h}" for w, h in (ordered[0], ordered[len(ordered) // 2], ordered[-1])]
    span = shown[0] if shown[0] == shown[2] else f"{shown[0]} to {shown[2]}, median {shown[1]}"
    return [f"{span} pixels; the middle square of each becomes {edge}×{edge} (prepare.image_size_px)"]


def _colour(facts: PictureFacts, n: int, channels: int) -> list[str]:
    if not n:
        return []
    if not facts.colour:
        return ["all grey" + (", read as RGB (prepare.image_colour)" if channels == 3 else "")]
    if channels == 1:
        return [f"{facts.colour} in colour, read as grey (prepare.image_colour): their colours are dropped"]
    grey = n - facts.colour
    return [f"{facts.colour} in colour and {grey} grey, all read in colour" if grey else "all in colour"]


def _class_counts(pictures: Pictures) -> list[str]:
    if "label" not in pictures.words:
        return []
    words, codes = pictures.words["label"]
    counts = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=len(words))
    listed = ", ".join(f"{w} {c}" for w, c in list(zip(words, counts, strict=True))[:LISTED_CLASSES])
    more = f", … (least {counts.min()}, most {counts.max()})" if len(words) > LISTED_CLASSES else ""
    return [f"{len(words)} classes: {listed}{more}"]
