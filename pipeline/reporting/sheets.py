"""Sheets of images as PNG: joint samples, completions, progress during training.

A sheet is lines of image tiles with optional names of lines and columns, on a transparent ground and with
mid-grey text, so that it reads on a light page and on a dark one. Only names need Pillow: it is loaded when used,
because a GPU host that trains may not have it.

Shapes: R lines, K tiles a line, N rows, H, W pixels of an image.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.base.files import write_bytes
from pipeline.rows.schema import Schema

HIDDEN_COLOUR = (198, 214, 235)  # pixels that are not given
TEXT_COLOUR = (118, 124, 134, 255)
TILE_PX = 64  # edge of a tile, about: small images are enlarged by a whole factor, large ones stay
GAP_PX = 4
FONT_PX = 15


def tiles(schema: Schema, rows: np.ndarray, visible: np.ndarray | None = None) -> np.ndarray:
    """(N, H, W, 3) uint8 pictures of (N, C) rows; pixels that are missing or not in `visible` (N, C) are tinted."""
    images = schema.images(np.asarray(rows, np.float32))
    low, high = schema.pixel_range
    shown = ~np.isnan(images).any(-1)
    if visible is not None:
        shown &= schema.images(visible).all(-1)
    grey = np.round((np.nan_to_num(images) - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)
    colours = grey if grey.shape[-1] == 3 else np.repeat(grey[..., :1], 3, -1)
    return np.where(shown[..., None], colours, np.array(HIDDEN_COLOUR, np.uint8))


def sheet(lines: np.ndarray, line_names: Sequence[str] = (), column_names: Sequence[str] = ()) -> np.ndarray:
    """(height, width, 4) uint8 sheet of (R, K, H, W, 3) uint8 tiles; names are drawn left and above when given."""
    n_lines, n_columns, height, width = lines.shape[:4]
    factor = max(1, round(TILE_PX / max(height, width)))
    step_y, step_x = height * factor + GAP_PX, width * factor + GAP_PX
    body = np.zeros((n_lines * step_y - GAP_PX, n_columns * step_x - GAP_PX, 4), np.uint8)
    large = lines.repeat(factor, 2).repeat(factor, 3)
    for r in range(n_lines):
        for k in range(n_columns):
            cell = body[r * step_y : r * step_y + height * factor, k * step_x : k * step_x + width * factor]
            cell[..., :3], cell[..., 3] = large[r, k], 255
    if not line_names and not column_names:
        return body
    return _named(body, step_x, step_y, line_names, column_names)


def _named(
    body: np.ndarray, step_x: int, step_y: int, line_names: Sequence[str], column_names: Sequence[str]
) -> np.ndarray:
    """The sheet with its names in margins as wide as they need."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=FONT_PX)
    left = int(max((font.getlength(t) for t in line_names), default=-12)) + 12
    top = FONT_PX + 10 if column_names else 0
    right = 0
    if column_names:  # the last name may be wider than its tile
        right = max(0, int(font.getlength(column_names[-1])) - step_x + GAP_PX) // 2 + 2
    out = Image.new("RGBA", (body.shape[1] + left + right, body.shape[0] + top), (*TEXT_COLOUR[:3], 0))
    out.paste(Image.fromarray(body), (left, top))
    pen = ImageDraw.Draw(out)
    for r, text in enumerate(line_names):
        pen.text((left - 10, top + r * step_y + (step_y - GAP_PX) / 2), text, TEXT_COLOUR, font, "rm")
    for k, text in enumerate(column_names):
        pen.text((left + k * step_x + (step_x - GAP_PX) / 2, top - 8), text, TEXT_COLOUR, font, "ms")
    return np.asarray(out)


def png(pixels: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
    """PNG file of (height, width, 3 or 4) uint8 pixels; equal pixels give equal bytes for one zlib.

    text: what the file says of itself, key → Latin-1 text.
    """
    height, width, channels = pixels.shape
    lines = np.zeros((height, width * channels + 1), np.uint8)  # each line starts with its filter: 0, none
    lines[:, 1:] = pixels.reshape(height, -1)

    def chunk(kind: bytes, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))

    header = struct.pack(">IIBBBBB", width, height, 8, {3: 2, 4: 6}[channels], 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 9)
    said = b"".join(chunk(b"tEXt", f"{key}\0{value}".encode("latin-1")) for key, value in (text or {}).items())
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + said + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def save_sheet(path: Path, lines: np.ndarray, line_names: Sequence[str] = (), column_names: Sequence[str] = ()) -> None:
    """Writes `sheet(…)` as PNG, atomically."""
    write_bytes(path, png(sheet(lines, line_names, column_names)))
