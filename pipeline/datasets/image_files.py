"""Image files as pixels: opened with a limit on their size, cropped to the middle, resized. Needs Pillow.

Shapes: H, W pixels, C channels.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
MAX_PIXELS = 64_000_000  # of one file as its header declares it: 4 bytes each once decoded


class NotAnImage(ValueError):
    """The file is no image, is damaged, or is too large to open."""


def image_files(folder: Path) -> list[Path]:
    """Every file below `folder`, hidden ones left out, in sorted order. Raises ValueError when it is no folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"A folder of images is needed. Got {folder}, which is no folder.")
    found = sorted(p for p in folder.rglob("*") if p.is_file())
    return [p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts)]


def open_image(source: Path | BinaryIO) -> Image.Image:
    """The decoded image, turned as its EXIF says, in its own mode. Raises NotAnImage naming the file and the fault.

    The size in the header is checked before a pixel is decoded.
    """
    path = source if isinstance(source, Path) else "the image"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise NotAnImage(f"{path}: at most {MAX_PIXELS} pixels. Got {image.width}×{image.height}.")
                image.load()
                return ImageOps.exif_transpose(image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise NotAnImage(f"{path}: at most {MAX_PIXELS} pixels. Its header says more.") from error
    except UnidentifiedImageError as error:
        raise NotAnImage(f"{path}: not an image that can be read.") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow's decoders raise all of these
        if isinstance(error, NotAnImage | FileNotFoundError | PermissionError):
            raise
        raise NotAnImage(f"{path}: damaged image: {error}") from error


def fit_pixels(image: Image.Image, height_px: int, width_px: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """((H, W, C) uint8 pixels, (H, W) bool known) of the middle of `image` with the wanted shape, resized.

    channels: 1 (grey) or 3 (RGB). Where the image is transparent it is white, and known is False.
    """
    box = middle_box(image.width, image.height, width_px / height_px)
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA").resize((width_px, height_px), Image.Resampling.BOX, box=box)
        known = np.asarray(image.getchannel("A")) >= 128
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    else:
        image = image.convert("RGB" if channels == 3 else "L")
        resample = Image.Resampling.LANCZOS if image.width > width_px else Image.Resampling.BICUBIC
        same = image.size == (width_px, height_px)
        image = image if same else image.resize((width_px, height_px), resample, box=box)
        known = np.ones((height_px, width_px), bool)
    pixels = np.asarray(image.convert("RGB" if channels == 3 else "L"), np.uint8)
    return pixels.reshape(height_px, width_px, channels), known


def middle_box(width: int, height: int, aspect: float) -> tuple[float, float, float, float]:
    """(left, upper, right, lower) of the largest box of the wanted width/height in the middle of an image."""
    if width > height * aspect:
        inner = height * aspect
        return ((width - inner) / 2, 0.0, (width + inner) / 2, float(height))
    inner = width / aspect
    return (0.0, (height - inner) / 2, float(width), (height + inner) / 2)
