"""Reports are served below the names of their flows, and a flow finds the address."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

import pytest

from flows import reports
from flows.reports import HOST, folders, link_to, report_server
from pipeline.base.paths import Paths
from tests.helpers.prefect_server import free_port


def read(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read()


@pytest.fixture
def two_reports(tmp_path):
    """A project with a report of each flow."""
    for name, folder in folders(tmp_path).items():
        folder.mkdir(parents=True)
        (folder / "index.html").write_text(name)
    (tmp_path / "secret").write_text("no")
    return tmp_path


def test_each_flow_has_its_report_and_nothing_else_is_served(two_reports):
    port = free_port()
    with report_server(two_reports, port) as url:
        assert url == f"http://{HOST}:{port}"
        assert (
            read(f"{url}/reproduce/") == read(f"{url}/reproduce") == read(f"{url}/reproduce/index.html") == b"reproduce"
        )
        assert read(f"{url}/retrain/") == b"retrain"
        for path in ("", "/", "/secret", "/reproduce/../../secret", "/reproduce/%2e%2e/%2e%2e/secret", "/reproduce/no"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                read(url + path)
        (Paths(two_reports).report / "index.html").unlink()
        with pytest.raises(urllib.error.HTTPError, match="404"):  # no listing of what is there
            read(f"{url}/reproduce/")
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=2)


@pytest.mark.parametrize("port", ["taken", 65536])
def test_a_port_that_cannot_be_had_is_replaced(two_reports, port):
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        wanted = other.getsockname()[1] if port == "taken" else port
        with report_server(two_reports, wanted) as url:
            assert not url.endswith(f":{wanted}") and read(f"{url}/retrain/") == b"retrain"


def test_a_link_only_to_what_is_said_to_be_served(two_reports, monkeypatch):
    said = {"root": str(two_reports), "url": "http://127.0.0.1:4201"}
    monkeypatch.setattr(reports.Variable, "get", lambda name, default=None: said)
    found = {name: link_to(folder) for name, folder in folders(two_reports).items()}
    assert found == {name: f"http://127.0.0.1:4201/{name}/" for name in ("reproduce", "retrain")}
    assert link_to(two_reports / "elsewhere") is None
    for said in (None, "text", {"root": "x"}):  # noqa: B007  the stub reads it
        assert link_to(Paths(two_reports).report) is None
