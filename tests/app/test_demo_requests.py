"""The page bears whatever is sent to it: one line of JSON, never a traceback; and it listens on IPv6 too."""

from __future__ import annotations

import io
import socket
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.app import demo
from pipeline.app.demo import Desk, create_app, serve
from pipeline.base.params import NetworkParams
from pipeline.model.generator import Generator
from pipeline.model.sampler import Sampler
from pipeline.rows.image_schema import image_label_schema

with warnings.catch_warnings():  # Starlette announces that its test client will move to another httpx
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

NETWORK = NetworkParams(width=8, depth=1, heads=1, noise_width=4)
SCHEMA = image_label_schema(4, 4, 1, 2, 0.0, 255.0, ["a", "b"])


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk(Sampler(Generator(SCHEMA, NETWORK), SCHEMA), np.zeros((2, 17), np.float32), "tiny")


@pytest.fixture(scope="module")
def client(desk) -> TestClient:
    return TestClient(create_app(desk))  # raises what the application lets through


def png(width: int = 4, height: int = 4) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((height, width), np.uint8)).save(out, "PNG")
    return out.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header_of(width: int, height: int) -> bytes:
    """A PNG that says it has so many pixels, and holds none."""
    start = struct.pack(">II", width, height) + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


UPLOADS = {
    "empty": (b"", "empty file"),
    "text": (b"hello, world", "12 bytes"),
    "csv": (b"a,b\n1,2\n", "must be an image"),
    "html": (b"<html></html>", "must be an image"),
    "pdf": (b"%PDF-1.7 " + b"x" * 200, "must be an image"),
    "zeros": (b"\0" * 5000, "must be an image"),
    "half": (png(64, 64)[:-30], "must be an image"),
    "turned bits": (bytes(b ^ 0xFF for b in png(64, 64)[40:]), "must be an image"),
    "spoilt inside": (png(64, 64)[:60] + b"\xff" * 30 + png(64, 64)[90:], "must be an image"),
    "gigapixels": (header_of(60_000, 60_000), "pixels"),
    "no pixels": (header_of(0, 0), "must be an image"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "must be an image"),
}


@pytest.mark.parametrize("name", UPLOADS)
def test_an_odd_upload_is_answered_in_one_line(client, name):
    body, part = UPLOADS[name]
    reply = client.post("/upload", content=body)
    text = reply.json()["error"]
    assert reply.status_code == 400 and part in text and "\n" not in text and "Traceback" not in text


def test_pictures_of_every_kind_are_taken(client):
    for mode, kind in (
        ("L", "PNG"),
        ("RGB", "JPEG"),
        ("CMYK", "JPEG"),
        ("P", "GIF"),
        ("I;16", "PNG"),
        ("RGBA", "WEBP"),
    ):
        out = io.BytesIO()
        Image.new(mode, (9, 7)).save(out, kind)
        assert client.post("/upload", content=out.getvalue()).status_code == 200, mode


BODIES = {
    "no json": (b"{", 422),
    "no utf8": (b"\xff\xfe", 422),
    "deep": (b"[" * 100_000, 400),
    "a list": (b"[]", 422),
    "a number": (b"7", 422),
    "unknown field": (b'{"colour": 1}', 422),
    "many draws": (b'{"draws": 1000000}', 422),
    "a seed that is text": (b'{"seed": "x"}', 422),
    "no such column": (b'{"cells": {"height": "1"}}', 400),
    "a pixel as a cell": (b'{"cells": {"pixel_0_0": "1"}}', 400),
    "no such word": (b'{"cells": {"label": "z"}}', 400),
    "no data url": (b'{"image": "file:///etc/passwd"}', 400),
    "no base64": (b'{"image": "data:image/png;base64,####"}', 400),
    "not a number": (b'{"seed": NaN}', 422),
}


@pytest.mark.parametrize("name", BODIES)
def test_an_odd_question_is_answered_in_one_line(client, name):
    body, code = BODIES[name]
    reply = client.post("/complete", content=body, headers={"content-type": "application/json"})
    text = reply.json()["error"]
    assert reply.status_code == code and text and "\n" not in text and "Traceback" not in text


@pytest.mark.parametrize("path", ["/row/-1", "/row/99", "/row/x", "/no/such/page", "/row/1e999"])
def test_an_odd_address_is_answered_in_one_line(client, path):
    reply = client.get(path)
    assert reply.status_code in (400, 404, 422) and "\n" not in reply.json()["error"]


def test_too_much_is_not_read(client, monkeypatch, desk):
    monkeypatch.setattr(demo, "MOST_BODY_BYTES", 1000)
    small = TestClient(create_app(desk))
    for path in ("/upload", "/complete"):
        reply = small.post(path, content=b"x" * 2000)
        assert reply.status_code == 413 and "1000 bytes" in reply.json()["error"]


def test_a_fault_of_the_program_is_a_line_too(desk, capsys):
    class Broken(Desk):
        def description(self) -> dict:
            return {}["no such key"]

    broken = Broken(desk.sampler, desk.rows)
    reply = TestClient(create_app(broken)).get("/description")
    assert reply.status_code == 500 and "no such key" in reply.json()["error"]
    assert "demo: KeyError: no such key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "code"), [("[::1]:8000", 200), ("127.0.0.1:8000", 200), ("localhost", 200), ("evil.example", 400)]
)
def test_local_names_alone_are_answered(desk, host, code):
    assert TestClient(create_app(desk)).get("/description", headers={"host": host}).status_code == code


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("[::1]", "[::1]")])
def test_it_listens_where_it_is_told(desk, host, shown, monkeypatch, capsys):
    """The server itself is left out: what it is handed listens, and the address can be clicked."""
    if ":" in host and not socket.has_ipv6:
        assert host.strip("[]") == "::1"
        return
    heard = []
    monkeypatch.setattr(demo, "open_desk", lambda model, data: desk)
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: heard.extend(s.getsockname() for s in sockets))
    serve("model", None, host, 0)
    assert heard[0][0] == host.strip("[]") and f"http://{shown}:{heard[0][1]} " in capsys.readouterr().out
