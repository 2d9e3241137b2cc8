"""Every pixel format is scaled to its range, or refused by name with the remedy; odd metadata harm nothing."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.datasets.image_files import ANIMATED, SHEET, TURNED, NotAnImage, fit_pixels, open_image, read_picture
from pipeline.reporting.sheets import png

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)
EXPECTED = np.round(RAMP * 255).astype(np.uint8)
COLOURS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)

SCALED = {
    "16-bit.png": (RAMP * 65535).round().astype(np.uint16),
    "16-bit.tif": (RAMP * 65535).round().astype(np.uint16),
    "big-endian.tif": (RAMP * 65535).round().astype(">u2"),
    "32-bit.tif": (RAMP * 65535).round().astype(np.int32),
    "bytes in 32 bits.tif": (RAMP * 255).round().astype(np.int32),
    "floats of 1.tif": RAMP.astype(np.float32),
    "floats of 255.tif": (RAMP * 255).astype(np.float32),
    "floats of 65535.tif": (RAMP * 65535).astype(np.float32),
}


@pytest.mark.parametrize("name", SCALED)
def test_deep_pixels_are_scaled_to_bytes(tmp_path, name):
    Image.fromarray(SCALED[name]).save(tmp_path / name)
    image = open_image(tmp_path / name)
    assert image.mode == "L" and abs(np.asarray(image).astype(int) - EXPECTED).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_every_mode_keeps_its_colours(tmp_path, mode):
    """Up to what the format loses: one bit, 256 colours of a palette, JPEG."""
    colours = np.repeat(np.repeat(COLOURS[::4, ::4], 8, 0), 8, 1)
    path = tmp_path / f"a{'.jpg' if mode in ('CMYK', 'YCbCr') else '.tif'}"
    base = Image.fromarray(colours)
    if mode == "LAB":
        from PIL import ImageCms

        base = ImageCms.profileToProfile(
            base, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    else:
        base = base.convert(mode)
    base.save(path, quality=98)
    pixels, known = fit_pixels(open_image(path), 32, 32, 3)
    grey = np.asarray(Image.fromarray(colours).convert("L"), float)
    assert known.all()
    if mode in ("1", "L", "LA"):
        assert abs(pixels.mean() - grey.mean()) < 40
    else:
        assert abs(pixels.astype(float) - colours).mean() < (40 if mode == "P" else 12)


REFUSED = {
    "Hounsfield.tif": ((RAMP * 2000 - 1000).astype(np.float32), r"float pixels must lie in 0…1, 0…255 or 0…65535.*Got -1000 … 1000; save 8 or 16"),
    "depth.tif": ((RAMP * 1e6).astype(np.int32), r"32-bit pixels must lie in 0…1, 0…255 or 0…65535.*Got 0 … 1e\+06"),
    "nan.tif": (np.where(RAMP > 0.5, np.nan, RAMP).astype(np.float32), "pixels must be finite. Got NaN"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_without_a_white_are_refused_by_name(tmp_path, name):
    pixels, message = REFUSED[name]
    Image.fromarray(pixels).save(tmp_path / name)
    with pytest.raises(NotAnImage, match=f"{name}: {message}"):
        open_image(tmp_path / name)


def test_a_mask_of_0_and_1_is_black_and_white(tmp_path):
    mask = (RAMP > 0.5).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    picture = read_picture(tmp_path / "mask.png")
    np.testing.assert_array_equal(np.asarray(picture.image), 255 * mask)
    Image.fromarray(0 * mask).save(tmp_path / "black.png")
    assert np.asarray(open_image(tmp_path / "black.png")).max() == 0


def payload(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).save(buffer, kind, **options)
    return buffer.getvalue()


FOREIGN = {
    "a.heic": (b"\0\0\0\x18ftypheic" + bytes(60), "HEIC; export it as JPEG"),
    "a.mp4": (b"\0\0\0\x18ftypisom" + bytes(60), "a video"),
    "a.pdf": (b"%PDF-1.7 " + bytes(60), "a PDF; export its pages as PNG"),
    "a.zip": (b"PK\3\4" + bytes(60), "an archive; unpack it first"),
    "a.dcm": (bytes(128) + b"DICM" + bytes(60), "DICOM; export it as 16-bit PNG"),
    "a.svg": (b'<?xml version="1.0"?><svg xmlns="">', "SVG, which has no pixels"),
    "a.jpg": (b"", "the file is empty"),
    "a.NEF": (payload("TIFF"), "a camera's raw file; export it as JPEG or PNG"),
    "cut.jpg": (payload("JPEG")[:300], "damaged image"),
    "cut.gif": (payload("GIF")[:60], "damaged image|not an image"),
    "cut.tif": (payload("TIFF")[:100], "damaged image|not an image"),
    "sheet.png": (png(COLOURS, {SHEET: "9 pictures that biglearn wrote"}), "9 pictures that biglearn wrote on one sheet; write them as a folder"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_picture_is_called_what_it_is(tmp_path, name):
    body, message = FOREIGN[name]
    (tmp_path / name).write_bytes(body)
    with pytest.raises(NotAnImage, match=message):
        open_image(tmp_path / name)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_phone_lying_on_its_side_stands_upright(tmp_path, orientation):
    """Each of the eight ways of EXIF, stored so that a reader that turns it gets white above black, left part grey."""
    upright = np.zeros((40, 20, 3), np.uint8)
    upright[:20], upright[:, :5] = 255, 100
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1), 7: np.rot90(upright[::-1], 1), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "p.png", exif=exif)
    picture = read_picture(tmp_path / "p.png")
    np.testing.assert_array_equal(np.asarray(picture.image), upright)
    assert (TURNED in picture.notes) == (orientation > 1)


def odd_exif() -> bytes:
    """Orientation 6, and a tag of two bytes that is stored as 70000."""
    head = b"II*\0" + struct.pack("<L", 8) + struct.pack("<H", 2) + struct.pack("<HHLHH", 0x112, 3, 1, 6, 0)
    return b"Exif\0\0" + head + struct.pack("<HHLL", 0x128, 4, 1, 70000) + struct.pack("<L", 0)


@pytest.mark.parametrize("exif", [odd_exif(), b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_a_picture_is_not_worse_for_odd_metadata(tmp_path, exif):
    (tmp_path / "p.jpg").write_bytes(payload("JPEG", exif=exif))
    assert open_image(tmp_path / "p.jpg").size == (16, 16)


def test_of_several_frames_the_first_is_read(tmp_path):
    frames = [Image.fromarray(np.full((8, 8, 3), c, np.uint8)) for c in (10, 100, 200)]
    for name in ("a.gif", "a.png", "a.webp", "a.tif"):
        frames[0].save(
            tmp_path / name, save_all=True, append_images=frames[1:], **({"lossless": True} if "webp" in name else {})
        )
        picture = read_picture(tmp_path / name)
        assert picture.notes == (ANIMATED,) and np.asarray(picture.image.convert("L")).max() == 10, name


def test_a_name_that_is_no_utf_8_can_be_printed(tmp_path):
    path = Path(str(tmp_path) + "/caf\udce9.png")
    path.write_bytes(b"no picture")
    with pytest.raises(NotAnImage, match="café.png: not an image") as error:
        open_image(path)
    assert str(error.value).encode("utf8")
