"""`biglearn demo`: a page on this machine where any part of a row is erased and drawn again, many times.

    biglearn demo model                   # http://127.0.0.1:8000

The page is one template without outside resources; nothing is sent anywhere, and nothing counts its visitors. It
listens on loopback unless told otherwise, and answers to that name only (a page elsewhere cannot reach it through
DNS). Needs the extra `demo` (FastAPI, Uvicorn).

Shapes: N rows, C columns, K draws, H, W pixels.
"""

from __future__ import annotations

import base64
import io
import threading
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from pipeline.app.demo_answers import OneLineAnswers, invalid, page_of, refused
from pipeline.app.demo_table import TableDesk, add_table_page
from pipeline.app.samplers import open_sampler
from pipeline.app.tables import load_imputer
from pipeline.app.uncertainty import cell_summary, spread_map, token_spread
from pipeline.base.paths import Paths
from pipeline.datasets.image_files import NotAnImage, fit_pixels, open_image
from pipeline.exchange.reading import read_rows
from pipeline.exchange.writing import TEXT_GROUP, picture
from pipeline.reporting.sheets import png
from pipeline.rows.schema import Schema
from pipeline.tables.parts import parse_cell
from pipeline.tables.readable import frame_of_rows

UPLOADS = "PNG, JPEG, WebP, GIF, TIFF, BMP and others that Pillow reads"
TEMPLATE = Path(__file__).parent / "templates" / "demo.html"
MAX_DRAWS, MAX_BODY_BYTES, OWN_ROWS = 64, 32_000_000, 64
MOST_BODY_BYTES = 2 * MAX_BODY_BYTES  # of any request: an image as text is a third longer
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]", "::1")
HEAT = np.array([(252, 246, 226), (250, 200, 110), (230, 110, 70), (150, 40, 100), (50, 15, 80)], np.float64)


class Task(BaseModel):
    """What the page asks: a row with its known part, and how often to draw the rest.

    image: data URL of a PNG with the image's own size, transparent where unknown; "" where there is no image.
    cells: column → the text of a known cell; a cell that is not named is unknown.
    """

    model_config = ConfigDict(extra="forbid")
    image: Annotated[str, Field(max_length=MAX_BODY_BYTES)] = ""
    cells: dict[str, str] = {}
    draws: Annotated[int, Field(ge=1, le=MAX_DRAWS)] = 8
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class Desk:
    """A sampler with the rows to start from; every answer of the page, without the web."""

    def __init__(self, sampler: Any, rows: np.ndarray, name: str = "") -> None:
        self.sampler, self.rows, self.name = sampler, np.asarray(rows, np.float32), name
        self.schema = sampler.schema
        self.lock = threading.Lock()  # one draw at a time: torch already uses the cores
        pixels = 0 if self.schema.image is None else int(np.prod(self.schema.image))
        self.cells = list(range(pixels, len(self.schema.columns)))

    def description(self) -> dict:
        """What the page needs to know of the data."""
        schema, cells = self.schema, []
        for column in self.cells:
            token = schema.tokens[schema.token_of_column[column]]
            words = schema.categories.get(token.name, []) if token.modality == "categorical" else []
            cells.append({"name": schema.columns[column], "words": words, "text": token.group == TEXT_GROUP})
        image = None if schema.image is None else dict(zip(("height", "width", "channels"), schema.image, strict=True))
        return {"name": self.name, "image": image, "cells": cells, "rows": len(self.rows), "max_draws": MAX_DRAWS,
                "table": bool(schema.table)}  # fmt: skip

    def row(self, index: int) -> dict:
        """Row `index` of those to start from. Raises ValueError when there is none."""
        if not 0 <= index < len(self.rows):
            raise ValueError(f"'index' must lie in [0, {len(self.rows) - 1}]. Got {index}.")
        return self._shown(self.rows[index])

    def upload(self, payload: bytes) -> dict:
        """An uploaded image, cropped and resized to the model's. Raises NotAnImage (a ValueError)."""
        if self.schema.image is None:
            raise ValueError("An upload needs a model of images. Got one of a table: type its cells instead.")
        if not payload:
            raise ValueError(f"An upload must be an image ({UPLOADS}). Got an empty file.")
        try:
            pixels, known = fit_pixels(open_image(io.BytesIO(payload)), *self.schema.image)
        except NotAnImage as error:
            raise ValueError(f"An upload must be an image ({UPLOADS}). Got {len(payload)} bytes; {error}") from error
        pixels = np.repeat(pixels, 3, -1) if pixels.shape[-1] == 1 else pixels
        return {"image": _data_url(np.dstack([pixels, known.astype(np.uint8) * 255])), "cells": {}}

    def complete(self, task: Task) -> dict:
        """Draws of everything that `task` leaves out, with the spread between them, token by token."""
        row = self._row(task)
        with self.lock:
            draws = self.sampler.complete(row[None], draws=task.draws, seed=task.seed)[:, 0]
        spread = token_spread(self.schema, draws)
        known = ~np.isnan(row)
        answer = {"draws": [self._shown(draw) for draw in draws], "cells": [], "given_share": float(known.mean())}
        for column in self.cells:
            if not known[column]:
                summary = cell_summary(self.schema, column, draws[:, column])
                value = float(spread[self.schema.token_of_column[column]])
                answer["cells"].append({"name": self.schema.columns[column], "spread": value, **summary})
        if self.schema.image is not None:
            answer |= self._heat(spread, known)
        return answer

    def _heat(self, spread: np.ndarray, known: np.ndarray) -> dict:
        """Heat map of the spread between draws (transparent where given), and its mean over the unknown pixels."""
        values = spread_map(self.schema, spread)
        given = self.schema.images(known[None])[0].all(-1)
        steps = np.linspace(0, 1, len(HEAT))
        colours = np.stack([np.interp(values, steps, HEAT[:, i]) for i in range(3)], -1).round().astype(np.uint8)
        heat = _data_url(np.dstack([colours, np.where(given, 0, 255).astype(np.uint8)]))
        return {"heat": heat, "image_spread": None if given.all() else float(values[~given].mean())}

    def _row(self, task: Task) -> np.ndarray:
        """(C,) float32 row of the task, NaN where unknown. Raises ValueError naming what does not fit."""
        schema = self.schema
        row = np.full(len(schema.columns), np.nan, np.float32)
        unknown = [name for name in task.cells if name not in schema.columns]
        if unknown:
            raise ValueError(f"'cells' must name columns of the model. Got {unknown[:5]}.")
        for name, value in task.cells.items():
            column = schema.columns.index(name)
            if column not in self.cells:
                raise ValueError(f"'cells' must not name pixels. Got {name!r}.")
            row[column] = parse_cell(schema, column, value)
        if schema.image is not None and task.image:
            row[: int(np.prod(schema.image))] = self._pixels(task.image)
        return row

    def _pixels(self, data_url: str) -> np.ndarray:
        height, width, channels = self.schema.image
        prefix = "data:image/png;base64,"
        if not data_url.startswith(prefix):
            raise ValueError(f"'image' must be a PNG as a data URL. Got {data_url[:30]!r}….")
        image = open_image(io.BytesIO(base64.b64decode(data_url[len(prefix) :])))
        if image.size != (width, height):
            raise ValueError(f"'image' must have {width}×{height} pixels. Got {image.width}×{image.height}.")
        pixels, known = fit_pixels(image, height, width, channels)
        low, high = self.schema.pixel_range
        return np.where(known[..., None], low + pixels.astype(np.float32) / 255 * (high - low), np.nan).ravel()

    def _shown(self, row: np.ndarray) -> dict:
        cells = frame_of_rows(row[None, None], self.schema).iloc[0] if self.cells else {}
        names = [self.schema.columns[c] for c in self.cells if not np.isnan(row[c])]
        out = {"cells": {name: _text(cells[name]) for name in names}}
        return out if self.schema.image is None else out | {"image": _data_url(picture(row, self.schema))}


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def _data_url(pixels: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(png(np.ascontiguousarray(pixels))).decode()


def create_app(desk: Desk, hosts: tuple[str, ...] = (*LOCAL_HOSTS, "testserver")) -> FastAPI:
    """The web application. hosts: names that requests may use; "*" for any."""
    app = FastAPI(title="BigLearn", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))

    app.add_middleware(OneLineAnswers, most_bytes=MOST_BODY_BYTES)
    app.exception_handler(RequestValidationError)(invalid)
    app.exception_handler(HTTPException)(refused)

    @app.get("/", response_class=HTMLResponse)
    def page() -> HTMLResponse:
        return page_of(TEMPLATE)

    app.get("/description")(desk.description)
    app.get("/row/{index}")(desk.row)
    app.post("/complete")(desk.complete)

    @app.post("/upload")
    async def upload(request: Request) -> dict:
        return await run_in_threadpool(desk.upload, await request.body())

    return app


def open_desk(model: Path, data: Path | None) -> Desk:
    """The desk of a model folder with the rows of `data`, else its project's test rows, else samples of its own."""
    sampler = open_sampler(model)
    held_out = Paths(Path(model).resolve()).tokens / "test.npy"
    if data is not None:
        rows = read_rows(data, sampler.schema)
    elif held_out.is_file() and Schema.load(held_out.parent / "schema.json") == sampler.schema:
        rows = np.load(held_out, mmap_mode="r", allow_pickle=False)
    else:
        rows = sampler.sample(OWN_ROWS)
    return Desk(sampler, rows, Path(model).resolve().name)


def serve(model: Path, data: Path | None, host: str, port: int) -> None:
    """Serves the page until Ctrl-C. Raises ValueError for a model that cannot be read, OSError for a port in use."""
    import socket

    import uvicorn

    desk = open_desk(model, data)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    host = host.strip("[]")
    app = create_app(desk, LOCAL_HOSTS if host in LOCAL_HOSTS else ("*",))
    if (Path(model) / "imputer.json").is_file():
        add_table_page(app, TableDesk(load_imputer(Path(model))))
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    with socket.create_server((host, port), family=family) as listener:  # here: a port in use is one clear line
        print(f"demo: http://{shown}:{listener.getsockname()[1]} (Ctrl-C ends it)", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
