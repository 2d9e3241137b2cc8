"""What a program says, on terminals and in log files of every kind: encodings, and bars that only a terminal can show."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

LINE_INTERVAL_S = 30.0  # between the lines that take the place of a bar


def ready_streams() -> None:
    """Makes stdout and stderr bear every character: one that the encoding lacks becomes "?", a byte of a file name that
    is no text a code. Without this an arrow ends a command after its work is done."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            unicode = (stream.encoding or "").lower().replace("-", "").startswith("utf")
            stream.reconfigure(errors="backslashreplace" if unicode else "replace")


@contextmanager
def warnings_as_notes(wording: Callable[[str], str] = str) -> Iterator[None]:
    """A warning meant for users, a UserWarning, is one line `note: …` on stderr, without the file and line of code that raised
    it; wording: what makes its text one for readers here."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if category is UserWarning:
                print(f"note: {wording(' '.join(str(message).split()))}", file=sys.stderr, flush=True)
            else:
                shown(message, category, *where, **more)

        warnings.showwarning = show
        yield


def progress(iterable: Iterable | None = None, desc: str = "", *, total: int | None = None, **look: Any) -> Any:
    """A progress bar of tqdm's on a terminal or in a notebook; elsewhere a line every LINE_INTERVAL_S seconds.

    look: tqdm's arguments (unit, unit_scale, initial, disable, leave …).
    """
    stream = look.pop("file", None) or sys.stderr
    if look.get("disable") or is_watched(stream):
        from tqdm import tqdm

        return tqdm(iterable, desc, total, file=stream, dynamic_ncols=True, **look)
    return Lines(iterable, desc, total, stream, look.get("unit", "it"), look.get("initial", 0),
                 scale=bool(look.get("unit_scale")))  # fmt: skip


def is_watched(stream: TextIO) -> bool:
    """Whether a line that is rewritten can be seen as one: a terminal, or a notebook."""
    return "ipykernel" in sys.modules or (hasattr(stream, "isatty") and stream.isatty())


def note(text: str) -> None:
    """Prints a line on stderr, above a bar where there is one."""
    if is_watched(sys.stderr) and "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr, flush=True)


class Lines:
    """Progress as lines of a log: `train: 1200/4000 step, 35 step/s, loss=0.31`. As much of tqdm's face as is used."""

    def __init__(
        self, iterable: Iterable | None, desc: str, total: int | None, stream: TextIO, unit: str, initial: int,
        scale: bool = False,
    ) -> None:  # fmt: skip
        self.iterable, self.desc, self.stream, self.unit = iterable, desc, stream, unit
        self.total = total if total is not None or not hasattr(iterable, "__len__") else len(iterable)
        self.n = self.initial = initial
        self.scale = scale
        self.values: dict[str, Any] = {}
        self.started = self.said = time.monotonic()

    def __iter__(self) -> Iterator:
        for item in () if self.iterable is None else self.iterable:  # an array has no truth value
            yield item
            self.update()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, n: int = 1) -> None:
        """`n` more are done."""
        self.n += n
        if time.monotonic() - self.said >= LINE_INTERVAL_S:
            self._say()

    def set_postfix(self, values: dict | None = None, refresh: bool = True, **more: Any) -> None:
        """Values that the next line shows."""
        self.values = {**(values or {}), **more}

    def set_postfix_str(self, text: str = "", refresh: bool = True) -> None:
        """Words that the next line shows."""
        self.values = {"": text}

    def set_description(self, desc: str | None = None, refresh: bool = True) -> None:
        """Another name."""
        self.desc = (desc or "").rstrip(": ")

    def refresh(self) -> None:
        """Nothing: a line that stands cannot be drawn again."""

    def close(self) -> None:
        """Nothing: what comes after says that the work is done."""

    def _say(self) -> None:
        self.said = time.monotonic()
        rate = (self.n - self.initial) / (self.said - self.started)
        of = "" if self.total is None else f"/{self._short(self.total)}"
        rate_words = self._short(rate) if self.scale else f"{rate:.3g}"
        values = "".join(f", {k}={v}" if k else f", {v}" for k, v in self.values.items())
        print(
            f"{self.desc}: {self._short(self.n)}{of} {self.unit}, {rate_words} {self.unit}/s{values}",
            file=self.stream,
            flush=True,
        )

    def _short(self, n: float) -> str:
        """A number as tqdm shows it: 12.3M where units are scaled."""
        if not self.scale:
            return str(n)
        from tqdm import tqdm

        return tqdm.format_sizeof(n)
