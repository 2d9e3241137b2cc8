"""The schema of an image and its label."""

from __future__ import annotations

import numpy as np

from pipeline.rows.schema import Schema
from pipeline.rows.tokens import Token


def image_label_schema(
    height_px: int, width_px: int, channels: int, patch_size_px: int, low: float, high: float, labels: list[str]
) -> Schema:
    """Schema of an image cut into square patches, followed by one label token when `labels` is non-empty.

    Columns: pixels row-major (height, width, channel), then the label code.
    Raises ValueError when the patch does not divide the image.
    """
    if patch_size_px < 1 or height_px % patch_size_px or width_px % patch_size_px:
        raise ValueError(f"'patch_size_px' must divide the image, {height_px}×{width_px}. Got {patch_size_px}.")
    pixel = np.arange(height_px * width_px * channels).reshape(height_px, width_px, channels)
    tokens = []
    for r in range(height_px // patch_size_px):
        for c in range(width_px // patch_size_px):
            p = patch_size_px
            cols = tuple(int(i) for i in pixel[r * p : (r + 1) * p, c * p : (c + 1) * p].ravel())
            center, scale = (low + high) / 2, (high - low) / 2
            tokens.append(Token(f"patch_{r}_{c}", "patch", "image", cols, len(cols), (r, c), center, scale))
    names = [f"pixel_{i}" for i in range(pixel.size)]
    if labels:
        tokens.append(Token("label", "categorical", "label", (pixel.size,), len(labels)))
        names.append("label")
    return Schema(
        tuple(tokens),
        tuple(names),
        image=(height_px, width_px, channels),
        patch_size_px=patch_size_px,
        label="label" if labels else "",
        categories={"label": labels} if labels else {},
    )
