"""Which SQLite file Prefect's server uses: never one that another version of Prefect made.

A server brings its database to its own version when it starts. Of a newer one it can make nothing, and an older one
would be of no use afterwards to the project that made it. So a database of another version is left alone, and a file
beside it is used, named after the version. A database that is configured (PREFECT_API_DATABASE_CONNECTION_URL) is used
as it is.
"""

from __future__ import annotations

import fcntl
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

_REVISION = re.compile(r'^revision\s*(?::\s*\w+)?\s*=\s*"(\w+)"', re.MULTILINE)
_BEFORE = re.compile(r"^down_revision\b.*$", re.MULTILINE)
FRESH = ""  # the version of a file that is not there yet, or is empty


@contextmanager
def server_database() -> Iterator[dict[str, str]]:
    """Environment variables that a server of this process needs; start it inside, until it answers.

    While a new database is made, others wait: two servers that make it at once both fail.
    """
    import prefect
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    usual = settings.home / "prefect.db"
    url = settings.server.database.connection_url
    configured = url.get_secret_value() if url is not None else ""
    if configured and Path(configured.partition(":///")[2]) != usual:
        yield {}
        return
    file = choose(usual, prefect.__version__)
    chosen = {} if file == usual else {"PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{file}"}
    if version_of(file) == newest():
        yield chosen
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file.with_suffix(".lock"), "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield chosen


def choose(usual: Path, prefect_version: str) -> Path:
    """`usual`, or a file beside it when `usual` is of another version of Prefect, or is no database; it says so."""
    with _whole(usual):
        found = version_of(usual)
    if found in (FRESH, newest()):
        return usual
    own = usual.with_name(f"prefect-{prefect_version}.db")
    if not own.exists():
        made = "is no database" if found is None else f"was made by another version of Prefect (schema {found})"
        print(f"{usual} {made}: it is left alone, and {own} is used. PREFECT_HOME chooses another folder.", flush=True)
    return own


def version_of(file: Path) -> str | None:
    """The schema of a Prefect database; FRESH when there is none yet; None when the file is something else."""
    if not file.is_file() or file.stat().st_size == 0:
        return FRESH
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=10)) as database:
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "alembic_version" not in tables:
                return None if tables else FRESH
            rows = database.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.Error:
        return None
    return str(rows[0][0]) if rows else FRESH


def newest() -> str:
    """The schema that this version of Prefect makes: the migration that no other one follows."""
    import prefect.server

    folder = Path(prefect.server.__file__).parent / "database" / "_migrations" / "versions" / "sqlite"
    texts = [path.read_text(encoding="utf8") for path in folder.glob("*.py")]
    made = {found.group(1) for text in texts if (found := _REVISION.search(text))}
    followed = {word for text in texts for line in _BEFORE.findall(text) for word in re.findall(r'"(\w+)"', line)}
    (last,) = made - followed
    return last


@contextmanager
def _whole(usual: Path) -> Iterator[None]:
    """Waits until no server of this project's kind is making `usual`."""
    lock = usual.with_suffix(".lock")
    if not lock.is_file():
        yield
        return
    with open(lock) as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        yield
