"""The page to play with: answers of the desk, the web application, and a real click in a real browser."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.app.demo import MAX_DRAWS, Desk, create_app
from pipeline.app.uncertainty import cell_summary, spread_map, token_spread
from pipeline.model.sampler import Sampler
from pipeline.rows.image_schema import image_label_schema
from tests.helpers.browser import INSTALLED, browser
from tests.helpers.imports import ROOT
from tests.helpers.models import DIGITS, save_model

with warnings.catch_warnings():  # Starlette announces that its test client will move to another httpx
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient


@pytest.fixture(scope="module")
def desk(model) -> Desk:
    rows = np.random.default_rng(0).integers(0, 17, (5, 65)).astype(np.float32)
    rows[:, 64] = [3, 1, 4, 1, 5]
    return Desk(Sampler.load(model), rows, "tiny")


@pytest.fixture(scope="module")
def client(desk) -> TestClient:
    return TestClient(create_app(desk))


def pixels_of(data_url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data_url.partition(",")[2]))).convert("RGBA"))


def png_url(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


# -- uncertainty -------------------------------------------------------------------------------------------------
@settings(deadline=None, max_examples=40)
@given(st.integers(1, 20), st.integers(0, 2**31))
def test_spread_lies_between_0_and_1(draws, seed):
    rows = np.random.default_rng(seed).integers(0, 17, (draws, 65)).astype(np.float32)
    rows[:, 64] %= 10
    spread = token_spread(DIGITS, rows)
    assert spread.shape == (17,) and (spread >= 0).all() and (spread <= 1).all()
    np.testing.assert_array_equal(token_spread(DIGITS, np.repeat(rows[:1], draws, 0)), 0)
    assert spread_map(DIGITS, spread)[3, 5] == spread[DIGITS.token_of_column[3 * 8 + 5]]


def test_spread_reaches_both_ends():
    rows = np.zeros((10, 65), np.float32)
    rows[::2, :64] = 16
    rows[:, 64] = np.arange(10)
    np.testing.assert_allclose(token_spread(DIGITS, rows), 1.0)
    rows[0, 0] = np.nan
    assert np.isnan(token_spread(DIGITS, rows)[0])


def test_summary_names_words_by_frequency():
    summary = cell_summary(DIGITS, 64, np.array([7, 7, 1, 7, 3]))
    assert summary == {"words": [["7", 0.6], ["1", 0.2], ["3", 0.2]]}
    number = cell_summary(DIGITS, 0, np.arange(101))
    assert number == {"mean": 50.0, "low": 5.0, "high": 95.0}


# -- the application -----------------------------------------------------------------------------------------------
def test_page_loads_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.status_code == 200 and "default-src 'self'" in page.headers["content-security-policy"]
    assert "http://" not in page.text and "https://" not in page.text and "//cdn" not in page.text


def test_description_and_rows(client, desk):
    about = client.get("/description").json()
    assert about["image"] == {"height": 8, "width": 8, "channels": 1} and about["rows"] == 5
    assert about["cells"] == [{"name": "label", "words": [str(i) for i in range(10)], "text": False}]
    row = client.get("/row/2").json()
    assert row["cells"] == {"label": "4"}
    np.testing.assert_allclose(pixels_of(row["image"])[..., 0] / 255 * 16, desk.rows[2, :64].reshape(8, 8), atol=0.04)


def test_completion_keeps_the_given_part_and_says_where_it_is_unsure(client):
    pixels = pixels_of(client.get("/row/0").json()["image"]).copy()
    pixels[4:, :, 3] = 0
    answer = client.post("/complete", json={"image": png_url(pixels), "draws": 6, "seed": 3}).json()
    assert len(answer["draws"]) == 6 and answer["given_share"] == pytest.approx(32 / 65)
    for draw in answer["draws"]:
        np.testing.assert_array_equal(pixels_of(draw["image"])[:4, :, :3], pixels[:4, :, :3])
        assert draw["cells"]["label"] in "0123456789"
    heat = pixels_of(answer["heat"])
    assert (heat[:4, :, 3] == 0).all() and (heat[4:, :, 3] == 255).all() and 0 < answer["image_spread"] < 1
    (label,) = answer["cells"]
    assert label["name"] == "label" and sum(share for _, share in label["words"]) == pytest.approx(1)
    again = client.post("/complete", json={"image": png_url(pixels), "draws": 6, "seed": 3}).json()
    assert again == answer
    given = client.post("/complete", json={"image": png_url(pixels), "cells": {"label": "7"}, "draws": 2}).json()
    assert given["cells"] == [] and all(d["cells"] == {"label": "7"} for d in given["draws"])


def test_upload_is_cropped_and_resized(client):
    buffer = io.BytesIO()
    Image.new("L", (40, 20), 200).save(buffer, "PNG")
    answer = client.post("/upload", content=buffer.getvalue()).json()
    assert (pixels_of(answer["image"]) == [200, 200, 200, 255]).all() and pixels_of(answer["image"]).shape == (8, 8, 4)


BAD_REQUESTS = [
    ("/upload", b"no image", 400, "the image: not an image that can be read."),
    ("/complete", {"image": "data:text/plain;base64,AA"}, 400, "'image' must be a PNG as a data URL."),
    ("/complete", {"image": png_url(np.zeros((4, 4, 4), np.uint8))}, 400, "'image' must have 8×8 pixels. Got 4×4."),
    ("/complete", {"cells": {"hat": "1"}}, 400, "'cells' must name columns of the model. Got ['hat']."),
    ("/complete", {"cells": {"pixel_0": "1"}}, 400, "'cells' must not name pixels. Got 'pixel_0'."),
    ("/complete", {"cells": {"label": "ten"}}, 400, "'label' must be one of '0', '1'"),
    ("/complete", {"draws": MAX_DRAWS + 1}, 422, "less than or equal to 64"),
    ("/complete", {"darws": 3}, 422, "Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("path", "body", "code", "message"), BAD_REQUESTS)
def test_bad_requests_are_clear(client, path, body, code, message):
    answer = client.post(path, content=body) if isinstance(body, bytes) else client.post(path, json=body)
    assert answer.status_code == code and message in answer.json().get("error", answer.text)


def test_other_hosts_are_refused_and_rows_are_checked(client):
    assert client.get("/description", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/row/99").json() == {"error": "'index' must lie in [0, 4]. Got 99."}


# -- a real browser ------------------------------------------------------------------------------------------------
def start(model: Path) -> tuple[subprocess.Popen, str]:
    """The demo through the command line on a free port, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.app.cli", "demo", str(model), "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline().split()[1]


@pytest.mark.browser
@pytest.mark.slow(short=True)
def test_erase_and_complete_in_a_browser(tmp_path):
    """A stroke of the brush, a tick, a click: draws, heat map and shares appear; what was left stays."""
    assert INSTALLED, "slow tests need a browser: install Debian's packages chromium and chromium-driver"
    torch.manual_seed(0)
    process, address = start(save_model(tmp_path / "generator", image_label_schema(8, 8, 1, 2, 0, 16, list("abc"))))
    try:
        assert address.startswith("http://127.0.0.1:")
        with browser() as page:
            page.open(address)
            page.wait("return document.body.dataset.ready === 'yes'")
            left = "return document.querySelector('#image').getContext('2d').getImageData(0,0,8,8).data.filter((v, i) => i % 4 === 3 && v === 255).length"
            assert page.run(left) == 64
            page.drag("#image", [(-100, -100), (100, -100)])
            stroked = page.run(left)
            assert stroked < 64, "the brush erased nothing"
            page.click("[data-part=lower]")
            assert page.run(left) == stroked - 32
            page.click("#tick-none")
            page.click("#complete")
            page.wait("return document.body.dataset.done === '1' && [...document.images].every((i) => i.complete)")
            assert page.run("return document.querySelectorAll('#draws-images img').length") == 8
            assert page.run("return document.querySelector('#uncertainty tbody th').textContent") == "label"
            assert float(page.run("return document.querySelector('#heat-value').textContent")) > 0
            page.screenshot(tmp_path / "page.png")
            shot = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"))
            assert shot.shape[1] >= 1000 and len(np.unique(shot.reshape(-1, 3), axis=0)) > 50
            page.run("document.querySelector('#draws').value = 80")  # more than there may be
            page.click("#complete")
            page.wait("return document.querySelector('#error').textContent.includes('less than or equal to 64')")
        assert requests.get(address, headers={"Host": "evil.example"}, timeout=10).status_code == 400
    finally:
        process.terminate()
        process.communicate(timeout=20)
