"""Image files as pixels: opened with a limit on their size, cropped to the middle, resized. Needs Pillow.

Shapes: H, W pixels, C channels.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.datasets.eight_bits import eight_bits
from pipeline.datasets.folder_files import name_text

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")  # of uploads
MAX_PIXELS = 64_000_000  # of one file as its header declares it: 4 bytes each once decoded
HEAD_BYTES = 160
ANIMATED, TURNED = "animated", "turned"
ORIENTATION = 0x0112  # EXIF tag
SHEET = "biglearn sheet"  # key of the text in a PNG that holds many pictures, which this project wrote
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
RAW_SUFFIXES = (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class NotAnImage(ValueError):
    """The file is no image, is damaged, or is too large to open."""


@dataclass(frozen=True)
class Picture:
    """image: with 8 bits a channel, upright. size: (width, height) px as stored. notes: ANIMATED (of several
    frames, the first), TURNED, and the rules of `eight_bits` that it took."""

    image: Image.Image
    size: tuple[int, int]
    notes: tuple[str, ...]


def open_image(source: Path | BinaryIO) -> Image.Image:
    """The image of `read_picture`."""
    return read_picture(source).image


def read_picture(source: Path | BinaryIO) -> Picture:
    """The decoded picture, its first frame, turned as its EXIF says. Raises NotAnImage naming the file and the fault;
    FileNotFoundError and PermissionError as they come.

    The size in the header is checked before a pixel is decoded.
    """
    name = name_text(str(source)) if isinstance(source, Path) else "the image"
    if isinstance(source, Path) and source.suffix.lower() in RAW_SUFFIXES:  # Pillow would read its small preview
        raise NotAnImage(f"{name}: not an image that can be read: a camera's raw file; export it as JPEG or PNG.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which are not read
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise NotAnImage(f"{name}: at most {MAX_PIXELS} pixels. Got {image.width}×{image.height}.")
                return _decoded(image, name)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise NotAnImage(f"{name}: at most {MAX_PIXELS} pixels. Its header says more.") from error
    except UnidentifiedImageError as error:
        what = _what_it_is(source)
        raise NotAnImage(f"{name}: not an image that can be read{f': {what}' if what else ''}.") from error
    except (NotAnImage, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except MemoryError as error:
        raise NotAnImage(f"{name}: too large for the memory of this machine.") from error
    except (
        Exception
    ) as error:  # Pillow's decoders raise whatever their parsers meet: struct.error, KeyError, zlib.error
        what = " ".join(str(error).split()).partition(" (")[0] or type(error).__name__
        raise NotAnImage(f"{name}: damaged image: {what}") from error


def _decoded(image: Image.Image, name: str) -> Picture:
    if SHEET in image.info:
        raise NotAnImage(f"{name}: {image.info[SHEET]} on one sheet; write them as a folder to read them again.")
    notes = [ANIMATED] if getattr(image, "n_frames", 1) > 1 and image.format != "MPO" else []
    image.seek(0)
    image.load()
    turn = TURNS.get(_orientation(image))
    size = image.size
    try:
        plain, rules = eight_bits(image)
    except ValueError as error:
        raise NotAnImage(f"{name}: {error}.") from error
    if turn is not None:
        plain, notes = plain.transpose(turn), [*notes, TURNED]
    return Picture(plain if plain is not image else image.copy(), size, (*notes, *rules))


def _orientation(image: Image.Image) -> int:
    """1 … 8 as EXIF says; 1 where its EXIF cannot be read: a picture is not worse for odd metadata."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow's EXIF reader raises struct.error, SyntaxError, KeyError, TypeError, …
        return 1


def _what_it_is(source: Path | BinaryIO) -> str:
    """What a file that is no image seems to be, and the remedy; "" where nobody knows."""
    head, size = _head(source)
    if size == 0:
        return "the file is empty"
    if head[4:8] == b"ftyp":
        if head[8:12] in HEIC_BRANDS:
            return "HEIC; export it as JPEG (`heif-convert`, or on the phone: Camera, Formats, Most Compatible)"
        return "AVIF, which this Pillow cannot read" if head[8:12] == b"avif" else "a video"
    for sign, what in ((b"%PDF", "a PDF; export its pages as PNG"), (b"PK\3\4", "an archive; unpack it first")):
        if head.startswith(sign):
            return what
    if head[128:132] == b"DICM":
        return "DICOM; export it as 16-bit PNG"
    if b"<svg" in head.lower():
        return "SVG, which has no pixels; export it as PNG"
    return ""


def _head(source: Path | BinaryIO) -> tuple[bytes, int]:
    """(the first bytes, whether there are any) of a file or a stream."""
    if isinstance(source, Path):
        with open(source, "rb") as stream:
            head = stream.read(HEAD_BYTES)
    else:
        source.seek(0)
        head = source.read(HEAD_BYTES)
    return head, len(head)


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
