"""What a path or an address names: a kind of table, by its suffix or scheme.

place_of("sales.xlsx", table="2024")     place_of("postgresql://me@host/shop", query="select …")
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.textfiles.encodings import TableFileError

KINDS = {
    ".csv": "delimited",
    ".tsv": "delimited",
    ".tab": "delimited",
    ".txt": "delimited",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
}
COMPRESSED = (".gz", ".bz2", ".xz", ".zip")
SCHEMES = ("postgresql://", "postgres://")
SUFFIXES = tuple(KINDS)


@dataclass(frozen=True)
class Place:
    """kind: delimited, json, parquet, excel, sqlite or postgres. path: of a file; url: of a server.

    table: a sheet of a workbook or a table of a database. query: SQL, in place of a table.
    """

    kind: str
    path: Path | None = None
    url: str = ""
    table: str = ""
    query: str = ""

    @property
    def name(self) -> str:
        """What a message calls it; never a password."""
        if self.path is not None:
            return self.path.name + (f", {self.table}" if self.table else "")
        return (
            f"{self.url.split('://')[0]}://{self.url.rsplit('@', 1)[-1].split('://')[-1]}, {self.table or 'the query'}"
        )


def is_table(data: str | Path) -> bool:
    """True where a path or address names a table by its suffix or scheme; .txt, which may be a text, does not."""
    kind, suffix = _kind(str(data))
    return bool(kind) and suffix != ".txt"


def place_of(data: str | Path, table: str = "", query: str = "") -> Place:
    """The place that `data` names. Raises TableFileError for a suffix that is none of a table."""
    text = str(data)
    kind, suffix = _kind(text)
    if not kind:
        raise TableFileError(
            f"{Path(text).name}: must be one of {', '.join(SUFFIXES)} or postgresql://…. Got {suffix!r}."
        )
    if table and query:
        raise TableFileError("Just one of 'table' and 'query' must be given. Got both.")
    if (table or query) and kind in ("delimited", "json", "parquet"):
        raise TableFileError(f"'table' and 'query' must go with a workbook or a database. Got {text}.")
    if query and kind == "excel":
        raise TableFileError(f"A workbook is read by sheet (--table), not by query. Got {text}.")
    if kind == "postgres":
        return Place(kind, None, text, table, query)
    return Place(kind, Path(text), "", table, query)


def _kind(text: str) -> tuple[str, str]:
    if text.startswith(SCHEMES):
        return "postgres", ""
    path = Path(text)
    suffix = path.suffix.lower()
    if suffix in COMPRESSED:
        suffix = path.with_suffix("").suffix.lower()
        kind = KINDS.get(suffix, "")
        return (kind if kind in ("delimited", "json") else ""), suffix + path.suffix
    return KINDS.get(suffix, ""), path.suffix
