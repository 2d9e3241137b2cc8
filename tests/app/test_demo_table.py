"""The demo's page of a table: every answer in process, faults in one line."""

from __future__ import annotations

import warnings

import pytest

from pipeline.app.demo import Desk, create_app
from pipeline.app.demo_table import TableDesk, add_table_page
from pipeline.estimators.imputer import BigLearnImputer
from tests.helpers.frames import mixed_frame

with warnings.catch_warnings():  # as in test_demo.py
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient


@pytest.fixture(scope="module")
def page() -> TestClient:
    settings = {"model": "network", "steps": 40, "width": 16, "depth": 1, "batch_size": 64, "progress": False}
    imputer = BigLearnImputer(**settings).fit(mixed_frame(150))
    app = create_app(Desk(imputer.sampler_, imputer.sampler_.sample(3)))
    add_table_page(app, TableDesk(imputer))
    return TestClient(app)


def test_rows_under_conditions(page):
    answer = page.post("/table/rows", json={"where": "age >= 50\ncity in Bern, Oslo", "count": 5}).json()
    ages = [float(row[answer["columns"].index("age")]) for row in answer["rows"]]
    assert len(ages) == 5 and min(ages) >= 50 and 0 < answer["mass"] < 1
    wrong = page.post("/table/rows", json={"where": "age >= x"})
    assert wrong.status_code == 400 and "at character 8" in wrong.json()["error"]


def test_the_distribution_of_a_cell(page):
    words = page.post("/table/cell", json={"column": "city", "cells": {"age": "40"}}).json()["words"]
    assert sum(p for _, p in words) == pytest.approx(1) and {w for w, _ in words} == {"Bern", "Lima", "Oslo"}
    for column in ("height", "born", "visits"):
        found = page.post("/table/cell", json={"column": column, "cells": {"city": "Lima"}}).json()
        assert sum(found["bars"]) == pytest.approx(1) and 0 <= found["band"][0] <= found["band"][1] <= 1
        assert found["low"] and found["first"]
    assert page.post("/table/cell", json={"column": "nowhere"}).status_code == 400


def test_cells_that_look_wrong_are_marked(page):
    frame = mixed_frame(40, seed=3)
    frame.loc[17, "city"] = "Atlantis"
    answer = page.post("/table/check", content=frame.to_csv(index=False)).json()
    first = answer["marks"][0]
    assert answer["numbers"][first["row"]] == 17 and first["column"] == "city"
    assert page.post("/table/check", content="").status_code == 400


def test_the_page_and_the_way_to_it(page):
    assert "Ask the table" in page.get("/table").text
    assert page.get("/description").json()["table"]
    assert {c["name"] for c in page.get("/table/columns").json()} == set(mixed_frame(2).columns)
