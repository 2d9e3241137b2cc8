"""Downloads: resumed over HTTP, verified, mirrors in turn, DATA_MIRROR first; what is wrong is kept aside and said."""

from __future__ import annotations

import errno
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pipeline import fetch
from pipeline.base.data_groups import FetchParams
from pipeline.base.params import merge_params
from pipeline.base.paths import Paths
from pipeline.datasets import download, get_source
from pipeline.datasets.download import CHUNK_BYTES, DownloadError, obtain
from pipeline.datasets.idx import read_split
from pipeline.datasets.source import RemoteFile

PAYLOAD = np.random.default_rng(0).bytes(300_000)
PARAMS = FetchParams(timeout_s=5.0, attempts=4)


class Server:
    """An HTTP server of PAYLOAD. plan: what each request in turn gets; requests: the Range header of each.

    A plan entry is a number of bytes after which the connection dies, a status code in the form "404", or bytes to
    send instead; with an empty plan a request gets everything it asks for.
    """

    def __init__(self, plan: list[object] | None = None, *, ranges: bool = True) -> None:
        self.plan, self.ranges, self.requests = list(plan or []), ranges, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/file.bin"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.requests.append(wanted)
        entry = self.plan.pop(0) if self.plan else None
        if isinstance(entry, str):
            request.send_error(int(entry))
            return
        body = entry if isinstance(entry, bytes) else PAYLOAD
        start = int(wanted[6:-1]) if wanted and self.ranges else 0
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        request.wfile.write(body[start : start + entry if isinstance(entry, int) else None])
        request.close_connection = True


@contextmanager
def serving(*plan: object, ranges: bool = True) -> Iterator[Server]:
    server = Server(list(plan), ranges=ranges)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def remote(*urls: str, payload: bytes = PAYLOAD) -> RemoteFile:
    return RemoteFile("file.bin", len(payload), hashlib.sha256(payload).hexdigest(), urls)


@pytest.fixture(autouse=True)
def no_mirror_and_no_waiting(monkeypatch):
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    monkeypatch.setattr(download.time, "sleep", lambda s: None)


def test_a_server_that_dies_midway_is_resumed_where_it_stopped(tmp_path):
    with serving(2 * CHUNK_BYTES, 0, CHUNK_BYTES) as server:
        path = obtain(remote(server.url), "set", tmp_path, PARAMS)
    assert path.read_bytes() == PAYLOAD
    assert server.requests == [None, *(f"bytes={n * CHUNK_BYTES}-" for n in (2, 2, 3))]
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_what_an_interrupted_process_left_is_resumed(tmp_path):
    (tmp_path / "file.bin.part").write_bytes(PAYLOAD[:1234])
    with serving() as server:
        assert obtain(remote(server.url), "set", tmp_path, PARAMS).read_bytes() == PAYLOAD
    assert server.requests == ["bytes=1234-"]


def test_a_server_without_ranges_starts_again(tmp_path):
    (tmp_path / "file.bin.part").write_bytes(PAYLOAD[:1234])
    with serving(ranges=False) as server:
        assert obtain(remote(server.url), "set", tmp_path, PARAMS).read_bytes() == PAYLOAD


@pytest.mark.parametrize("left", [b"\0" * 1000, b"\0" * len(PAYLOAD), b"\0" * (len(PAYLOAD) + 1)])
def test_a_bad_part_is_kept_aside_and_the_same_mirror_tried_once_more(tmp_path, left):
    (tmp_path / "file.bin.part").write_bytes(left)
    with serving() as server:
        assert obtain(remote(server.url), "set", tmp_path, PARAMS).read_bytes() == PAYLOAD
    assert not (tmp_path / "file.bin.part").exists()


def test_a_tampered_file_is_kept_aside_and_fetched_again(tmp_path, capsys):
    bad = b"x" + PAYLOAD[1:]
    (tmp_path / "file.bin").write_bytes(bad)
    with serving() as server:
        assert obtain(remote(server.url), "set", tmp_path, PARAMS).read_bytes() == PAYLOAD
        assert (tmp_path / "file.bin.rejected").read_bytes() == bad
        assert "does not match its checksum; kept as file.bin.rejected" in capsys.readouterr().out
        obtain(remote(server.url), "set", tmp_path, PARAMS)
    assert len(server.requests) == 1, "a verified file is not fetched again"


@pytest.mark.parametrize("wrong", [PAYLOAD[:-1] + b"\0", PAYLOAD[:100], PAYLOAD + PAYLOAD, "404", "503"])
def test_mirrors_are_tried_in_turn(tmp_path, wrong):
    with serving(*[wrong] * 8) as bad, serving() as good:
        assert obtain(remote(bad.url, good.url), "set", tmp_path, PARAMS).read_bytes() == PAYLOAD
    assert bad.requests and good.requests


def test_a_longer_file_is_cut_off_one_byte_past_its_size(tmp_path):
    with serving(PAYLOAD * 20) as server, pytest.raises(DownloadError):
        obtain(remote(server.url), "set", tmp_path, PARAMS)
    assert (tmp_path / "file.bin.rejected").stat().st_size == len(PAYLOAD) + 1


def test_missing_everywhere_says_what_was_tried(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "absent"))
    with serving("404") as server, pytest.raises(DownloadError) as error:
        obtain(remote(server.url, "http://127.0.0.1:9/file.bin"), "set", tmp_path / "cache", PARAMS)
    text = str(error.value)
    assert text.startswith("no mirror gave set/file.bin. Tried:\n")
    assert f"{tmp_path}/absent/set/file.bin: no such file" in text
    assert f"{server.url}: 404" in text and "http://127.0.0.1:9/file.bin: " in text
    assert text.endswith("Set DATA_MIRROR to a folder or URL that holds it.")


def test_passwords_and_signatures_of_a_mirror_are_not_shown(tmp_path, monkeypatch):
    with serving("404", PAYLOAD[:-1] + b"\0") as server:
        for _ in range(2):
            secret = server.url.replace("http://", "http://me:hunter2@").replace("/file.bin", "/file.bin?sig=s3cr3t")
            with pytest.raises(DownloadError) as error:
                obtain(remote(secret), "set", tmp_path, PARAMS)
            assert "hunter2" not in str(error.value) and "s3cr3t" not in str(error.value)
            assert "/file.bin?…" in str(error.value)


def test_data_mirror_comes_first_as_a_folder_and_as_a_url(tmp_path, monkeypatch):
    (tmp_path / "mirror" / "set").mkdir(parents=True)
    (tmp_path / "mirror" / "set" / "file.bin").write_bytes(PAYLOAD)
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    with serving() as server:
        assert obtain(remote(server.url), "set", tmp_path / "a", PARAMS).read_bytes() == PAYLOAD
        assert server.requests == []
        monkeypatch.setenv("DATA_MIRROR", server.url.removesuffix("/file.bin") + "/")
        assert obtain(remote("http://127.0.0.1:9/"), "set", tmp_path / "b", PARAMS).read_bytes() == PAYLOAD
        assert len(server.requests) == 1


def test_a_wrong_file_in_the_mirror_falls_back_to_the_public_address(tmp_path, monkeypatch):
    (tmp_path / "mirror" / "set").mkdir(parents=True)
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    for wrong in (PAYLOAD[:-1], PAYLOAD[:-1] + b"\0"):
        (tmp_path / "mirror" / "set" / "file.bin").write_bytes(wrong)
        with serving() as server:
            cache = tmp_path / f"cache{len(wrong)}"
            assert obtain(remote(server.url), "set", cache, PARAMS).read_bytes() == PAYLOAD
            assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "a/b", ".."])
def test_a_name_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(ValueError, match="'name' of a remote file must have no folder"):
        obtain(RemoteFile(name, 1, "", ()), "set", tmp_path, PARAMS)


def test_a_full_disk_is_not_blamed_on_the_mirror(tmp_path, monkeypatch):
    (tmp_path / "mirror" / "set").mkdir(parents=True)
    (tmp_path / "mirror" / "set" / "file.bin").write_bytes(PAYLOAD)
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        obtain(remote(), "set", tmp_path / "cache", PARAMS)
    assert not isinstance(error.value, DownloadError)


@pytest.mark.mirror
def test_mnist_comes_from_the_mirror_and_loses_nothing_when_tampered_with(tmp_path, mirror):
    params, where = merge_params({"dataset": {"name": "mnist"}}), Paths(tmp_path)
    fetch.run(params, where)
    source = get_source("mnist")
    assert sorted(p.name for p in where.raw.iterdir()) == sorted([f.name for f in source.files] + ["manifest.json"])
    images, labels = read_split(where.raw, "t10k")
    assert images.shape == (10000, 28, 28) and np.bincount(labels).tolist()[:3] == [980, 1135, 1032]
    cached = where.data / "downloads" / "mnist" / "t10k-labels-idx1-ubyte.gz"
    good = cached.read_bytes()
    cached.unlink()
    bad = bytes([good[0] ^ 1]) + good[1:]
    cached.write_bytes(bad)
    fetch.run(params, where)
    assert cached.read_bytes() == good == (where.raw / cached.name).read_bytes()
    assert Path(f"{cached}.rejected").read_bytes() == bad
