"""The error of a table that cannot be used, and the way foreign exceptions become one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

FOREIGN = (
    TypeError,
    ValueError,
    OverflowError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    ArithmeticError,
)


class TableError(ValueError):
    """A table, or a column of it, cannot be used; says which and why."""


@contextmanager
def told_as(what: str, remedy: str) -> Iterator[None]:
    """Turns whatever pandas, Arrow, polars or NumPy raise inside into a TableError of one line about `what`.

    A TableError passes as it is. `remedy` is the sentence that ends the message.
    """
    try:
        yield
    except TableError:
        raise
    except FOREIGN as error:
        raise TableError(f"{what}: {one_line(error)} {remedy}") from error
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("pandas", "pyarrow", "polars", "numpy", "narwhals"):
            raise
        raise TableError(f"{what}: {one_line(error)} {remedy}") from error


def one_line(error: BaseException) -> str:
    """The message of an exception as one sentence of at most 200 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = text if len(text) <= 200 else text[:199] + "…"
    return text if text.endswith((".", "…")) else text + "."


def shown(value: object) -> str:
    """A cell as an error shows it: its repr, short."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:59] + "…"
