"""image_folder: a folder of the user's own images (dataset.path), cropped to the middle square and resized.

Classes: the names of the subfolders, when every image lies in one. Or `attributes.csv` in the folder: a column
`file` that names each image, and columns of words (a column `label` is the class); cells may be empty. Files that
are no image, damaged or too large are named and left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.base.fields import ParamsError
from pipeline.base.params import Params
from pipeline.base.streams import progress
from pipeline.datasets.categories import category_codes, joined, with_categories
from pipeline.datasets.image_files import NotAnImage, fit_pixels, image_files, open_image
from pipeline.datasets.source import RawData, Source
from pipeline.rows.image_schema import image_label_schema

ATTRIBUTES, FILE_COLUMN = "attributes.csv", "file"
DEFAULT_SIZE_PX = 32
RECOMMENDED = ("network.convolution_channels=16",)
COLOUR_PROBES = 64  # images that decide whether a folder is grey
NAMED_FAULTS = 5  # files left out that are named one by one


def load(raw: Path, params: Params) -> RawData:
    """(N, size·size·channels + A) rows of the readable images. Raises ValueError when there are less than two."""
    folder = SOURCE.user_file(raw, params)
    files = [f for f in image_files(folder) if f != folder / ATTRIBUTES]
    size = params.prepare.image_size_px or DEFAULT_SIZE_PX
    channels = _channels(files, params.prepare.image_colour)
    pixels, kept = _read(files, size, channels)
    if len(kept) < 2:
        raise ValueError(f"{folder} must hold at least 2 readable images. Got {len(kept)} among {len(files)} files.")
    schema = image_label_schema(size, size, channels, SOURCE.patch_size_px(params), 0.0, 255.0, [])
    columns = _categories(folder, kept, params)
    words = {name: w for name, (w, _) in columns.items()}
    schema = with_categories(schema, words, "attributes", "label" if "label" in words else "")
    return RawData(schema, joined(pixels, [codes for _, codes in columns.values()]))


def _channels(files: list[Path], colour: str) -> int:
    """1 or 3: as the parameter says; auto: 1 when the first readable images have equal channels."""
    if colour != "auto":
        return 1 if colour == "grey" else 3
    probed = 0
    for file in files:
        try:
            pixels = np.asarray(open_image(file).convert("RGB").resize((32, 32)))
        except NotAnImage:
            continue
        if (pixels != pixels[..., :1]).any():
            return 3
        probed += 1
        if probed == COLOUR_PROBES:
            break
    return 1


def _read(files: list[Path], size: int, channels: int) -> tuple[np.ndarray, list[Path]]:
    """((N, size·size·channels) uint8 pixels, the files they came from); prints what was left out and why."""
    pixels = np.empty((len(files), size * size * channels), np.uint8)  # takes memory only as it is filled
    kept, faults = [], []
    for file in progress(files, "images", unit="file", leave=False):
        try:
            pixels[len(kept)] = fit_pixels(open_image(file), size, size, channels)[0].ravel()
            kept.append(file)
        except NotAnImage as error:
            faults.append(str(error))
    for fault in faults[:NAMED_FAULTS]:
        print(f"image_folder: left out {fault}")
    if len(faults) > NAMED_FAULTS:
        print(f"image_folder: left out {len(faults) - NAMED_FAULTS} more files of {len(files)}")
    return pixels[: len(kept)], kept


def _categories(folder: Path, files: list[Path], params: Params) -> dict[str, tuple[list[str], np.ndarray]]:
    """Column name → (words, (N,) codes): attributes.csv, else the subfolders as `label`, else nothing."""
    names = [f.relative_to(folder).as_posix() for f in files]
    if (folder / ATTRIBUTES).is_file():
        return _attributes(folder / ATTRIBUTES, names, params)
    classes = [name.split("/")[0] if "/" in name else None for name in names]
    if not params.prepare.label_token or None in classes or len(set(classes)) < 2:
        return {}
    return {"label": category_codes(pd.Series(classes), "label")}


def _attributes(path: Path, names: list[str], params: Params) -> dict[str, tuple[list[str], np.ndarray]]:
    try:
        table = pd.read_csv(path, dtype="string")
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not a readable table: {str(error).splitlines()[0]}") from error
    if FILE_COLUMN not in table.columns or table[FILE_COLUMN].duplicated().any():
        raise ValueError(f"{path} must have a column {FILE_COLUMN!r} that names each image once.")
    chosen = chosen_attributes(params, [c for c in table.columns if c != FILE_COLUMN])
    if not params.prepare.label_token:
        chosen = [c for c in chosen if c != "label"]
    table = table.set_index(FILE_COLUMN).reindex(names)
    if table[chosen].isna().all(axis=None) and chosen:
        raise ValueError(f"{path}: column {FILE_COLUMN!r} must name the images of the folder. Got none of them.")
    return {column: category_codes(table[column], column) for column in chosen}


def chosen_attributes(params: Params, there: list[str]) -> list[str]:
    """The attributes named in prepare.attributes, in that order; all of them where it is empty. Raises ParamsError."""
    unknown = [a for a in params.prepare.attributes if a not in there]
    if unknown:
        raise ParamsError(
            f"Parameter 'prepare.attributes' must name attributes among {', '.join(there)}. Got {unknown}."
        )
    return list(params.prepare.attributes) or there


SOURCE = Source("image_folder", load, default_patch_size_px=4, reads_path=True, recommended=RECOMMENDED)
