"""The group of commands: its options, and errors of one line.

An error is one line on stderr without a traceback (BIGLEARN_TRACEBACK=1 shows it). Exit codes: 0, 1 bad data or a
failure, 2 bad usage or parameters, 130 Ctrl-C, 141 when nobody reads the output any more.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from pipeline.app.shell_words import in_shell_words
from pipeline.base.failures import BAD_USAGE, FAILED, INTERRUPTED, one_line_errors  # noqa: F401
from pipeline.base.streams import ready_streams

_UsageError = typer.BadParameter.__bases__[0]


class _Carried(Exception):
    """Takes an error of a command past Click."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class _OneLineErrors(typer.core.TyperGroup):
    """A group of commands that ends every error in one line on stderr and an exit code."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        code = self._run(*args, **extra)
        if standalone_mode:
            sys.exit(code)
        return code

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (EOFError, OSError) as error:  # Click would end the process on these without a word
            raise _Carried(error) from error

    def _run(self, *args: Any, **extra: Any) -> int:
        ready_streams()
        try:
            with one_line_errors("biglearn", in_shell_words):
                try:
                    code = super().main(*args, standalone_mode=False, **extra) or 0
                except _Carried as carried:
                    raise carried.error  # noqa: B904  as it was
                except _UsageError as error:
                    where = f" {error.ctx.info_name}" if error.ctx is not None and error.ctx.parent is not None else ""
                    text = f"biglearn{where}: {error.format_message()} (see biglearn{where} --help)"
                    print(text, file=sys.stderr, flush=True)
                    return BAD_USAGE
                if code == INTERRUPTED:  # what Click makes of Ctrl-C
                    raise KeyboardInterrupt
                return int(code)
        except SystemExit as end:
            return int(end.code or 0)


app = typer.Typer(
    cls=_OneLineErrors,
    help="One generative model that samples any part of the data from any other part.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="A MODEL is a folder that `fit` wrote, or a folder with model.safetensors. Every command has --help with examples.",
)


Model = Annotated[Path, typer.Argument(help="Folder that `fit` wrote, or the folder of a saved generator.")]


Data = Annotated[
    str,
    typer.Argument(
        help="Folder of images, .npz, .npy, .txt, or a table: .csv, .tsv, .jsonl, .parquet, .xlsx, .sqlite, postgresql://…"
    ),
]


FitRows = Annotated[int, typer.Option(min=10, help="Rows of a large table to fit on, drawn at random.")]


Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help=".png, .npy, .npz, .txt, a table (.csv, .parquet, .xlsx, …); no suffix: a folder of PNG and a CSV.",
    ),
]


Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of every random draw.")]


Force = Annotated[bool, typer.Option("--force", help="Overwrite the output if it is there.")]


Draws = Annotated[int, typer.Option(min=1, max=10_000, help="Independent draws of each row.")]


Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A parameter, e.g. --set train.steps=2000. Repeatable.")
]


Root = Annotated[Path | None, typer.Option("--project", help="A project folder; default: the current folder.")]


Device = Annotated[str, typer.Option(help="cpu or cuda.")]


def examples(text: str) -> str:
    """An epilog whose lines stay lines (\\b is how help texts say so)."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in text.strip().splitlines())


# -- what the commands share ---------------------------------------------------------------------------------------
def check_new(output: Path, force: bool, *, folder: bool | None = None) -> Path:
    """Where to write `output`, asked before the work; folder: what will be written, None: a folder where there is no
    suffix. Raises ValueError for what must not be replaced."""
    from pipeline.app.outputs import output_place

    return output_place(output, force, folder=folder)


def made(output: Path) -> None:
    """Notes that biglearn has just written `output`, so that --force may replace it later."""
    from pipeline.app.outputs import made as note

    note(output)
