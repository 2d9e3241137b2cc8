"""Every exception as one line for people: what was wrong, what came, what to do. Exit codes go with it.

    with one_line_errors("prepare"):      # the command line, each stage and each flow run inside it
        …

BigLearn's own errors say this in their message. What a library raises is completed here: with the file at hand and with
the remedy of its kind (`remedies.py`). Anything else is a fault of BigLearn, and says where. BIGLEARN_TRACEBACK=1 shows
the whole traceback instead.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from linecache import getline
from pathlib import Path
from traceback import walk_tb
from types import FrameType, TracebackType

from pipeline.base.fields import ParamsError
from pipeline.base.remedies import is_about_a_file, remedy
from pipeline.base.stopping import Stopped
from pipeline.base.streams import warnings_as_notes

FAILED, BAD_USAGE, INTERRUPTED, BROKEN_PIPE = 1, 2, 130, 141
MOST_CHARACTERS = 900  # of a line
_PACKAGES = ("pipeline", "kernels", "flows", "biglearn")


@contextmanager
def one_line_errors(name: str, wording: Callable[[str], str] = str) -> Iterator[None]:
    """Ends the process with one line on stderr, `name: what happened`, when its body raises.

    Exit codes: 1; 2 for parameters; 130 for Ctrl-C, or the one of the signal that stopped a run; 141, without a word,
    when nobody reads the output any more (`biglearn … | head -1`). Warnings are notes of one line.
    wording: what makes the texts of warnings and errors ones for readers here.
    """
    try:
        with warnings_as_notes(wording):
            yield
        sys.stdout.flush()
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            sys.exit(BROKEN_PIPE)
        if os.environ.get("BIGLEARN_TRACEBACK") and not isinstance(error, KeyboardInterrupt | Stopped):
            raise
        text, code = f"{name}: {wording(line_of(error))}", exit_code(error)
        print(text, file=sys.stderr, flush=True)
        sys.exit(code)


def exit_code(error: BaseException) -> int:
    """What a shell is told of a run that ended so."""
    if isinstance(error, Stopped):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return BAD_USAGE if isinstance(error, ParamsError) else FAILED


def line_of(error: BaseException) -> str:
    """One line: requirement, value, remedy."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; what was saved is intact"
    said = _words(error)
    if said and is_own(error):
        return said
    kind = f"{type(error).__name__}: " if not isinstance(error, OSError) else ""
    way_out = remedy(error)
    file = file_at_hand(error.__traceback__) if is_about_a_file(error, way_out) else None
    at = f" (at {file})" if file is not None else ""
    if not way_out:
        at = f" (in {_place(error.__traceback__)})"
        way_out = "This is not expected: `biglearn doctor` checks the installation, BIGLEARN_TRACEBACK=1 shows more."
    return f"{kind}{said or 'without a message'}{at}".rstrip(".") + f". {way_out}"


def is_own(error: BaseException) -> bool:
    """Whether a `raise` of BigLearn's own made this error; its message then says everything."""
    if isinstance(error, Stopped | ParamsError):
        return True
    last = _last_frame(error.__traceback__)
    if last is None:
        return isinstance(error, ValueError | RuntimeError)
    frame, line = last
    text = getline(frame.f_code.co_filename, line).strip()
    if not text:  # the source was not installed
        return _is_ours(frame) and isinstance(error, ValueError | RuntimeError)
    return _is_ours(frame) and text.startswith("raise ")


def file_at_hand(traceback: TracebackType | None) -> Path | None:
    """The file or folder that BigLearn's code was busy with: the innermost variable that holds a path, or None."""
    found = None
    for frame, _ in walk_tb(traceback):
        if _is_ours(frame):
            paths = [v for k, v in frame.f_locals.items() if isinstance(v, Path) and not k.startswith("_")]
            found = paths[-1] if paths else found
    return found


def _words(error: BaseException) -> str:
    """The error's message in one line."""
    said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    words = " ".join(said.split())
    return words if len(words) <= MOST_CHARACTERS else words[: MOST_CHARACTERS - 1] + "…"


def _last_frame(traceback: TracebackType | None) -> tuple[FrameType, int] | None:
    frames = list(walk_tb(traceback))
    return frames[-1] if frames else None


def _is_ours(frame: FrameType) -> bool:
    return (frame.f_globals.get("__package__") or frame.f_globals.get("__name__", "")).split(".")[0] in _PACKAGES


def _place(traceback: TracebackType | None) -> str:
    """package/file:line of the innermost frame of ours."""
    ours = [(f, line) for f, line in walk_tb(traceback) if _is_ours(f)]
    if not ours:
        return "a library"
    frame, line = ours[-1]
    folder = (frame.f_globals.get("__package__") or "").replace(".", "/")
    return f"{folder}/{Path(frame.f_code.co_filename).name}:{line}"


def _nobody_reads() -> bool:
    """True when it was stdout that broke; what is left to write then goes nowhere, without a word at the exit."""
    try:
        out = sys.stdout.fileno()
        poll = select.poll()
        poll.register(out, 0)  # errors are told unasked
        if not any(events & select.POLLERR for _, events in poll.poll(0)):
            return False
        os.dup2(os.open(os.devnull, os.O_WRONLY), out)
        return True
    except (OSError, ValueError):  # no stream of the system's
        return False
