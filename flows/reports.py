"""Where the reports of a project's flows are served while `make serve` runs, and how a flow finds the address.

A page on http:// may not link to a file, so the scheduler serves the reports on loopback and tells the Prefect server
the address, in a variable; a flow that is started by hand in another terminal reads it there.
"""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.variables import Variable

from flows.workshop import workshop_folder
from pipeline.base.paths import Paths

HOST = "127.0.0.1"
VARIABLE = "biglearn_reports"  # {"root": the project's folder, "url": where its reports are served}


def folders(root: Path) -> dict[str, Path]:
    """Flow → the folder of its newest report; retrain builds in a clone of its own."""
    return {"reproduce": Paths(root).report, "retrain": Paths(workshop_folder(root, "retrain")).report}


@contextmanager
def report_server(root: Path, port: int) -> Iterator[str]:
    """Address below which /reproduce/ and /retrain/ show the reports, read-only, while the context lasts; at `port`, so
    that yesterday's links hold tomorrow, or where that is taken at any other."""
    handler = functools.partial(_Handler, folders(root))
    try:
        server = http.server.ThreadingHTTPServer((HOST, port), handler)
    except (OSError, OverflowError):
        server = http.server.ThreadingHTTPServer((HOST, 0), handler)
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{HOST}:{server.server_address[1]}"
        finally:
            server.shutdown()


def announce(root: Path, url: str) -> None:
    """Tells the Prefect server where this project's reports are."""
    Variable.set(VARIABLE, {"root": str(root.resolve()), "url": url}, overwrite=True)


def link_to(report: Path) -> str | None:
    """The address of the report in the folder `report`; None where nobody has said that it is served."""
    said = Variable.get(VARIABLE, default=None)
    if not isinstance(said, dict) or not {"root", "url"} <= set(said):
        return None
    names = {folder.resolve(): name for name, folder in folders(Path(said["root"])).items()}
    name = names.get(report.resolve())
    return f"{said['url']}/{name}/" if name else None


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files of some folders, each below its name; no listing of a folder."""

    def __init__(self, served: dict[str, Path], *rest: object) -> None:
        self.served = served
        super().__init__(*rest)

    def send_head(self) -> object:
        name, _, rest = self.path.lstrip("/").partition("/")
        if name not in self.served:
            return self.send_error(404, "No such report")
        self.directory, self.path = str(self.served[name]), f"/{rest}"
        return super().send_head()

    def list_directory(self, path: object) -> None:
        self.send_error(404, "No report yet")

    def log_message(self, *_: object) -> None:
        """No line a request."""
