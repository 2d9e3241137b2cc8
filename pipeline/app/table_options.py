"""The options of every command that reads a table, in one place: how it is written, and which of several it is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipeline.sources.places import Place
    from pipeline.textfiles.reading import Reading

Text = str | None
OPTIONS = {
    "table": Annotated[Text, typer.Option(help="Sheet of a workbook, table of a database.")],
    "query": Annotated[Text, typer.Option(help="SQL query of a database, in place of a table.")],
    "missing": Annotated[
        list[str] | None,
        typer.Option(
            help="Text that means a missing cell, in place of the usual ones; '': empty alone. column=text: in that column, "
            "in addition. Repeatable."
        ),
    ],
    "separator": Annotated[Text, typer.Option(help="Of a text file: , ; tab | space. Default: detected.")],
    "encoding": Annotated[Text, typer.Option(help="Of a text file, e.g. utf-8, cp1252. Default: detected.")],
    "decimal": Annotated[Text, typer.Option(help="Decimal mark of a text file: . or ,. Default: detected.")],
    "thousands": Annotated[Text, typer.Option(help="What groups thousands in a text file. Default: detected.")],
    "quote": Annotated[Text, typer.Option(help="What quotes cells of a text file, or none. Default: detected.")],
    "comment": Annotated[Text, typer.Option(help="What begins a comment line, or none. Default: detected.")],
    "header": Annotated[
        bool | None, typer.Option("--header/--no-header", help="The first row holds the names. Default: detected.")
    ],
}


@dataclass(frozen=True)
class TableInput:
    """What the options say: which table, and how it is read."""

    table: str = ""
    query: str = ""
    reading: Reading | None = None

    def place(self, data: str) -> Place:
        """The place that `data` names. Raises TableFileError."""
        from pipeline.sources.places import place_of

        return place_of(data, self.table, self.query)

    @property
    def plain(self) -> bool:
        """True where no option was given."""
        from pipeline.textfiles.reading import Reading

        return not self.table and not self.query and self.reading in (None, Reading())


def reads_tables(command: Callable[..., Any]) -> Callable[..., Any]:
    """`command` with the options of tables, which come to it as one argument `given`, a TableInput."""

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> Any:
        from pipeline.textfiles.reading import Reading

        said = {name: arguments.pop(name) for name in OPTIONS}
        table, query = said.pop("table") or "", said.pop("query") or ""
        missing, header = said.pop("missing"), said.pop("header")
        texts = {name: value or "" for name, value in said.items()}
        everywhere = [text for text in missing or () if "=" not in text[1:]]
        pairs = [text.partition("=") for text in missing or () if "=" in text[1:]]
        own = tuple((column, text) for column, _, text in pairs)
        reading = Reading(**texts, header=header, missing=tuple(everywhere) if everywhere else None, missing_in=own)
        return command(**arguments, given=TableInput(table, query, reading))

    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "given"]
    added = [
        inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=a) for n, a in OPTIONS.items()
    ]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + added
    wrapped.__signature__ = signature.replace(parameters=parameters)  # what typer reads
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    del wrapped.__wrapped__
    return wrapped
