"""image_folder: a folder of the user's own images (dataset.path), cropped to the middle square and resized.

Classes: the names of the subfolders (pipeline/datasets/folder_layout.py). Or `attributes.csv` in the folder: a column
`file` that names each image, and columns of words (a column `label` is the class); cells may be empty. Files that
are no image, damaged or too large are named and left out. What was understood is printed before anything is trained.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from pipeline.base.fields import ParamsError
from pipeline.base.params import Params
from pipeline.base.streams import progress
from pipeline.datasets.categories import MAX_CATEGORIES, category_codes, joined, with_categories
from pipeline.datasets.folder_attributes import ATTRIBUTES, matched, read_attributes
from pipeline.datasets.folder_files import FolderFiles, folder_files
from pipeline.datasets.folder_layout import Layout, folder_layout
from pipeline.datasets.image_files import NotAnImage, fit_pixels, read_picture
from pipeline.datasets.picture_facts import PictureFacts, Pictures, left_out_lines, summary
from pipeline.datasets.source import RawData, Source
from pipeline.rows.image_schema import image_label_schema

DEFAULT_SIZE_PX, DEFAULT_PATCH_PX, MAX_PATCHES = 32, 4, 256
RECOMMENDED = ("network.convolution_channels=16", "network.category_network=both", "network.depth=2")
FEWEST_IMAGES = 2
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's mode L
ROW_COPIES = 3  # of the rows in memory, while colour is decided and categories are appended


def load(raw: Path, params: Params) -> RawData:
    """(N, size·size·channels + A) rows of the readable images, in two splits where the folders are splits.

    Raises ValueError when there are less than two; prints what was understood.
    """
    folder = SOURCE.user_file(raw, params)
    size, patch = image_size_px(params), patch_size_px(params)
    files = folder_files(folder)
    pictures = read_pictures(files, size, params)
    for line in left_out_lines(pictures.left_out):
        print(f"image_folder: left out {line}")
    if len(pictures.names) < FEWEST_IMAGES:
        raise ValueError(
            f"{folder} must hold at least {FEWEST_IMAGES} readable images. "
            f"Got {len(pictures.names)} among {len(files.names)} files."
        )
    print(f"image_folder: {summary(folder.name, pictures, params)}")
    words = {name: w for name, (w, _) in pictures.words.items()}
    schema = image_label_schema(size, size, pictures.channels, patch, 0.0, 255.0, [])
    schema = with_categories(schema, words, "attributes", "label" if "label" in words else "")
    rows = joined(pictures.pixels, [codes for _, codes in pictures.words.values()])
    if pictures.layout.held_out is None:
        return RawData(schema, rows)
    held_out = np.array(pictures.layout.held_out)
    return RawData(schema, rows[~held_out], rows[held_out])


def image_size_px(params: Params) -> int:
    """Edge to which pictures are resized."""
    return params.prepare.image_size_px or DEFAULT_SIZE_PX


def patch_size_px(params: Params) -> int:
    """Edge of a patch: the parameter, else the divisor of the image's edge nearest DEFAULT_PATCH_PX.

    Raises ParamsError, before a picture is opened, where the parameter does not divide the image or nothing does.
    """
    size, wanted = image_size_px(params), params.prepare.patch_size_px
    divisors = [p for p in range(1, size + 1) if size % p == 0]
    if wanted and wanted not in divisors:
        listed = ", ".join(map(str, divisors))
        raise ParamsError(
            f"Parameter 'prepare.patch_size_px' must divide the image, {size}×{size} pixels (prepare.image_size_px): "
            f"{listed}. Got {wanted}."
        )
    fit = [p for p in divisors if (size // p) ** 2 <= MAX_PATCHES and (p < size or size <= DEFAULT_PATCH_PX)]
    if not wanted and not fit:
        near = 8 * max(1, round(size / 8))
        raise ParamsError(
            f"Parameter 'prepare.image_size_px' must have a divisor that cuts the image into 4 to {MAX_PATCHES} patches. "
            f"Got {size}; {near} has."
        )
    return wanted or min(fit, key=lambda p: (abs(p - DEFAULT_PATCH_PX), -p))


def read_pictures(files: FolderFiles, size: int, params: Params) -> Pictures:
    """The pictures of a folder with what they are. Limits are checked before the first is opened: ParamsError."""
    listed = {n: p for n, p in files.names.items() if n != ATTRIBUTES}
    _check_memory(len(listed), size)
    table = read_attributes(files.names[ATTRIBUTES]) if ATTRIBUTES in files.names else None
    layout = folder_layout(list(listed))
    _categories(list(listed), layout, table, files, params)  # its limits, before the work
    inside = {n: p for n, p in listed.items() if n not in layout.outside}
    pixels, names, facts, faults = _read(inside, size)
    left_out = [*files.left_out, *((n, "beside the splits") for n in sorted(layout.outside)), *faults]
    layout = folder_layout(names)
    words, said = _categories(names, layout, table, files, params)
    channels = _channels(facts, params.prepare.image_colour)
    if channels == 1:
        pixels = _grey(pixels)
    return Pictures(names, pixels, channels, facts, layout, words, said, left_out, files.system)


def _check_memory(n: int, size: int) -> None:
    wanted, free = n * size * size * 3 * ROW_COPIES, psutil.virtual_memory().available
    if wanted > free:
        edge = max(1, math.isqrt(free // (n * 3 * ROW_COPIES)))
        raise ParamsError(
            f"Parameter 'prepare.image_size_px' must leave room for {n} images in {free / 1e9:.1f} GB of free memory. "
            f"Got {size}, which takes {wanted / 1e9:.1f} GB; at most {edge} fits."
        )


def _channels(facts: PictureFacts, colour: str) -> int:
    """1 or 3: as the parameter says; auto: 3 when any picture has colour."""
    if colour != "auto":
        return 1 if colour == "grey" else 3
    return 3 if facts.colour else 1


def _read(files: dict[str, Path], size: int) -> tuple[np.ndarray, list[str], PictureFacts, list[tuple[str, str]]]:
    """((N, size·size·3) uint8 pixels, the names of the pictures, facts, (name, why) of what is none)."""
    pixels = np.empty((len(files), size * size * 3), np.uint8)  # takes memory only as it is filled
    names, facts, faults = [], PictureFacts(), []
    for name, path in progress(files.items(), "images", unit="file", leave=False):
        try:
            picture = read_picture(path)
            fitted, known = fit_pixels(picture.image, size, size, 3)
        except NotAnImage as error:
            faults.append((name, str(error).partition(": ")[2]))
        except OSError as error:
            faults.append((name, f"cannot be read: {error.strerror}"))
        else:
            pixels[len(names)] = fitted.ravel()
            facts.add(picture, fitted, known)
            names.append(name)
    return pixels[: len(names)], names, facts, faults


def _grey(pixels: np.ndarray) -> np.ndarray:
    """(N, P) grey values of (N, P·3) colours."""
    out = np.empty((len(pixels), pixels.shape[1] // 3), np.uint8)
    for i, row in enumerate(pixels):
        out[i] = np.round(row.reshape(-1, 3) @ LUMA)
    return out


def _categories(
    names: list[str], layout: Layout, table: pd.DataFrame | None, files: FolderFiles, params: Params
) -> tuple[dict[str, tuple[list[str], np.ndarray]], list[str]]:
    """(column name → (words, (N,) codes), sentences): attributes.csv, and the subfolders as `label` where it has none."""
    out, said = {}, list(layout.said)
    if table is not None and names:
        chosen = chosen_attributes(params, list(table.columns))
        chosen = chosen if params.prepare.label_token else [c for c in chosen if c != "label"]
        rows, sentence = matched(table, names, files.names[ATTRIBUTES])
        said.append(sentence)
        empty = [c for c in chosen if rows[c].isna().all()]
        said += [f"column {c!r} is empty and left out" for c in empty]
        out = {c: _codes(rows[c], c, "prepare.attributes, a list of those to keep") for c in chosen if c not in empty}
    if "label" not in out and layout.has_classes and params.prepare.label_token:
        labels = pd.Series(layout.labels, dtype="string")
        out["label"] = _codes(labels, "label", "prepare.label_token=false, for pictures without classes")
    return out, said


def _codes(values: pd.Series, name: str, remedy: str) -> tuple[list[str], np.ndarray]:
    words = values.dropna().nunique()
    if words > MAX_CATEGORIES:
        raise ParamsError(
            f"Column {name!r} must have 1 to {MAX_CATEGORIES} different words. Got {words}; set {remedy}."
        )
    return category_codes(values, name)


def chosen_attributes(params: Params, there: list[str]) -> list[str]:
    """The attributes named in prepare.attributes, in that order; all of them where it is empty. Raises ParamsError."""
    unknown = [a for a in params.prepare.attributes if a not in there]
    if unknown:
        raise ParamsError(
            f"Parameter 'prepare.attributes' must name attributes among {', '.join(there)}. Got {unknown}."
        )
    return list(params.prepare.attributes) or there


SOURCE = Source("image_folder", load, default_patch_size_px=DEFAULT_PATCH_PX, reads_path=True, recommended=RECOMMENDED)
