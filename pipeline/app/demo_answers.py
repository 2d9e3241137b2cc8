"""The demo's answers when something is wrong: always JSON {"error": one line}, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.base.failures import is_own, line_of

BAD, TOO_LARGE, UNFIT, FAULT = 400, 413, 422, 500


class TooLarge(ValueError):
    """The body of a request is longer than the page ever sends."""


class OneLineAnswers:
    """Middleware: what goes wrong further in is answered in one line; bodies of more than `most_bytes` are not read."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self.app, self.most_bytes = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        read = 0
        answered = False

        async def limited() -> MutableMapping[str, Any]:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.most_bytes:
                raise TooLarge(f"A request must have at most {self.most_bytes} bytes: scale the image down. Got more.")
            return message

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, limited, watched)
        except Exception as error:
            if answered:
                raise
            await answer(error)(scope, receive, send)


def page_of(template: Path) -> HTMLResponse:
    """A page of one file, which loads nothing but what the demo itself answers."""
    policy = "default-src 'self'; img-src 'self' data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return HTMLResponse(template.read_text(encoding="utf8"), headers={"Content-Security-Policy": policy})


def answer(error: BaseException) -> JSONResponse:
    """400 for what is asked wrongly, 413 for too much, 500 for a fault of the program, which is said on stderr too."""
    text = line_of(error)
    if isinstance(error, TooLarge):
        return JSONResponse({"error": text}, TOO_LARGE)
    if is_own(error) or isinstance(error, ValueError | RecursionError):
        return JSONResponse({"error": text}, BAD)
    print(f"demo: {text}", file=sys.stderr, flush=True)
    return JSONResponse({"error": text}, FAULT)


def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """422 naming the first field that does not fit, what it must be and what came."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:]) or first["loc"][0]
    came = repr(first.get("input"))
    came = came if len(came) <= 80 else came[:79] + "…"
    return JSONResponse({"error": f"'{field}': {first['msg']}. Got {came}."}, UNFIT)


def refused(request: Request, error: HTTPException) -> JSONResponse:
    """The status of `error`, in one line; with its cause, where the body could not be read."""
    if error.__cause__ is not None:
        return answer(error.__cause__)
    return JSONResponse({"error": f"{request.method} {request.url.path}: {error.detail}"}, error.status_code)
