"""Every pixel format that Pillow reads, as one with 8 bits a channel; or a sentence that says why not.

Rules, the same for every file: 16 bits are scaled by their whole range; floats by 1 when none exceeds 1, by 255 when
none exceeds 255, by 65,535 when none exceeds that; 32-bit whole numbers likewise by 255 or 65,535; a grey 8-bit picture
of the values 0 and 1 alone is a mask, 0 and 255. Other ranges (metres, Hounsfield units) have no white: they are refused.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageCms

SIXTEEN_BITS, FLOATS, WHOLE_NUMBERS, MASK, DARK = "16-bit", "float", "32-bit", "mask", "dark"
READ_BY_PILLOW = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")
DARK_SHARE = 1 / 15  # of the range: a picture of 12 bits in 16


def eight_bits(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """(the image with 8 bits a channel, which rules it took: SIXTEEN_BITS, FLOATS, WHOLE_NUMBERS, MASK, DARK).

    Raises ValueError for numbers without a known range.
    """
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, *profiles, outputMode="RGB"), ()
    if image.mode.startswith("I;16"):
        return _scaled(np.asarray(image).astype(np.float64), 65535.0, SIXTEEN_BITS)
    if image.mode in ("I", "F"):
        return _numbers(np.asarray(image).astype(np.float64), FLOATS if image.mode == "F" else WHOLE_NUMBERS)
    if image.mode not in READ_BY_PILLOW:
        raise ValueError(f"pixels must be grey, palette, RGB, CMYK, YCbCr, HSV or LAB. Got mode {image.mode}")
    if image.mode == "L" and image.getextrema() == (0, 1):
        return image.point(lambda value: 255 * value), (MASK,)
    return image, ()


def _numbers(pixels: np.ndarray, kind: str) -> tuple[Image.Image, tuple[str, ...]]:
    if not np.isfinite(pixels).all():
        raise ValueError("pixels must be finite. Got NaN or an infinity; save the array as .npy, where NaN is missing")
    low, high = float(pixels.min()), float(pixels.max())
    tops = [top for top in ((1.0, 255.0, 65535.0) if kind == FLOATS else (255.0, 65535.0)) if low >= 0 and high <= top]
    if not tops:
        raise ValueError(
            f"{kind} pixels must lie in 0…1, 0…255 or 0…65535, to have a white. Got {low:g} … {high:g}; "
            "save 8 or 16 bits, or all pictures as one array .npy, whose range is taken as it is"
        )
    return _scaled(pixels, tops[0], kind)


def _scaled(pixels: np.ndarray, top: float, kind: str) -> tuple[Image.Image, tuple[str, ...]]:
    notes = (kind, DARK) if 0 < pixels.max() < top * DARK_SHARE else (kind,)
    return Image.fromarray(np.round(pixels * (255.0 / top)).astype(np.uint8)), notes
