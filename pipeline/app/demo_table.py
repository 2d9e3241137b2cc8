"""The demo's page for the model of a table: rows under conditions, the distribution of a cell, cells that look wrong.

Shapes: N rows, W choices of a column.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from pipeline.app.demo_answers import page_of
from pipeline.asking.cells import cell_probabilities, quantiles
from pipeline.asking.units import Units
from pipeline.estimators.frames import read
from pipeline.tables.containers import to_pandas

TEMPLATE = Path(__file__).parent / "templates" / "table.html"
MOST_ROWS, MARKED_SHARE, SHOWN_ROWS, BARS = 200, 0.01, 50, 40


class Rows(BaseModel):
    """Conditions, one a line, and how many rows are drawn under them."""

    model_config = ConfigDict(extra="forbid")
    where: Annotated[str, Field(max_length=10_000)] = ""
    count: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 10
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class Cell(BaseModel):
    """A column, and column → text of the cells that are given."""

    model_config = ConfigDict(extra="forbid")
    column: str
    cells: dict[str, str] = {}


class TableDesk:
    """Answers of the page, without the web. imputer: a fitted BigLearnImputer."""

    def __init__(self, imputer: Any) -> None:
        self.imputer, self.lock = imputer, threading.Lock()

    def columns(self) -> list[dict]:
        """Name and words of every modelled column; no words for numbers."""
        classes = self.imputer.classes_
        names = self.imputer.codec_.schema.columns
        return [{"name": name, "words": [str(w) for w in classes.get(name, [])]} for name in names]

    def rows(self, asked: Rows) -> dict:
        """Rows under the conditions, with their mass and effective sample size."""
        where = [line.strip() for line in asked.where.splitlines() if line.strip()]
        with self.lock:
            drawn = self.imputer.generate(asked.count, asked.seed, where or None)
        frame = drawn if isinstance(drawn, pd.DataFrame) else to_pandas(drawn)
        told = {name: float(value) for name, value in frame.attrs.items()}
        return {"columns": list(map(str, frame.columns)), "rows": _texts(frame), **told}

    def cell(self, asked: Cell) -> dict:
        """The distribution of a column given other cells: {"words": [[word, p], …]}, most probable first, or for a number
        {"bars": shares of equal steps from "first" to "last", "low", "high", "mean": as text, and "band": where low and high lie,
        as shares of the way}."""
        row = self._row(asked)
        with self.lock:
            found = self.imputer.distribution(row, asked.column, level=0.9)
            if asked.column in self.imputer.classes_:
                pairs = sorted(((str(w), float(p)) for w, p in found.iloc[0].items()), key=lambda pair: -pair[1])
                return {"words": pairs[:30]}
            bars, ends, band = self._bars(row, asked.column)
        first, last = self.imputer.codec_.values(asked.column, ends, means=True).astype(str)
        texts = {name: _text(found[name].iloc[0]) for name in ("mean", "low", "high")}
        return {"bars": bars.tolist(), "first": first, "last": last, "band": band.tolist(), **texts}

    def _bars(self, row: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """((BARS,) shares between the .5 % and 99.5 % quantiles, (2,) these in codes, (2,) where the 90 % interval lies)."""
        unit = Units(self.imputer.codec_)[column]
        rows = self.imputer._rows(read(self.imputer, row, reset=False))
        p = cell_probabilities(self.imputer.sampler_, rows, unit.column)
        first, low, high, last = quantiles(unit.token, p, np.array([0.005, 0.05, 0.95, 0.995]))[0]
        steps = np.linspace(first, max(last, first + 1e-6 * unit.token.scale), BARS + 1)
        upto = np.array([_share_below(unit.edges, p[0], step) for step in steps[1:-1]])
        bars = np.diff(np.concatenate([[0.0], upto, [1.0]]))
        return bars, np.array([first, last]), (np.array([low, high]) - first) / (steps[-1] - first)

    def check(self, text: str) -> dict:
        """The first rows of a table in CSV text, and which cells are the least plausible of all its rows."""
        try:
            frame = pd.read_csv(io.StringIO(text))
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise ValueError(f"A table must be CSV with a line of names. {error}") from error
        with self.lock:
            worst = self.imputer.wrong_cells(frame, max(1, round(MARKED_SHARE * frame.size)))
        order = list(dict.fromkeys([*worst["row"].tolist(), *range(len(frame))]))[:SHOWN_ROWS]
        marks = [
            {"row": order.index(w.row), "column": w.column, "surprise": f"{w.surprise:.1f}", "likely": _text(w.likely)}
            for w in worst.itertuples()
            if w.row in order
        ]
        names = list(map(str, frame.columns))
        return {"columns": names, "rows": _texts(frame.iloc[order]), "marks": marks, "numbers": order}

    def _row(self, asked: Cell) -> pd.DataFrame:
        """A table of one row with the given cells. Raises ValueError for names that are no columns."""
        names = [column.name for column in self.imputer.codec_.columns]
        unknown = [name for name in asked.cells if name not in names]
        if unknown or asked.column not in self.imputer.codec_.schema.columns:
            raise ValueError(f"'cells' and 'column' must name columns of the model. Got {unknown or asked.column!r}.")
        return pd.DataFrame({n: pd.Series([asked.cells.get(n)], dtype=object) for n in names})


def add_table_page(app: FastAPI, desk: TableDesk) -> None:
    """Adds the page /table and what it asks to the demo."""

    @app.get("/table", response_class=HTMLResponse)
    def page() -> HTMLResponse:
        return page_of(TEMPLATE)

    app.get("/table/columns")(desk.columns)
    app.post("/table/rows")(desk.rows)
    app.post("/table/cell")(desk.cell)

    @app.post("/table/check")
    async def check(request: Request) -> dict:
        body = await request.body()
        return await run_in_threadpool(desk.check, body.decode("utf8"))


def _share_below(edges: np.ndarray, p: np.ndarray, code: float) -> float:
    """The probability below `code` of bins with probabilities p (W,) between edges (W + 1,); an atom at it counts whole."""
    width = np.diff(edges)
    inside = np.where(width > 0, (code - edges[:-1]) / np.where(width > 0, width, 1.0), edges[:-1] <= code)
    return float(p @ inside.clip(0, 1))


def _text(value: object) -> str:
    return "" if pd.isna(value) else f"{value:.6g}" if isinstance(value, float) else str(value)


def _texts(frame: pd.DataFrame) -> list[list[str]]:
    return [[_text(v) for v in row] for row in frame.to_numpy(object)]
