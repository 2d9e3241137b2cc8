"""celeba10k: 10,000 aligned faces of CelebA at 64×64 with 40 yes/no attributes, from a file you have yourself.

CelebA may be used for non-commercial research only and must not be passed on: this project neither ships nor
downloads it, and data/tokens and models trained on it must not be published either. The file is
`celeba10k_jpeg.npz`: `jpeg` (all JPEG bytes, 89×109 each), `offset` (N+1), `attr` (N, 40) 0/1, `attr_names`.
Liu, Luo, Wang, Tang: Deep Learning Face Attributes in the Wild, ICCV 2015.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.base.params import Params
from pipeline.base.streams import progress
from pipeline.datasets.categories import joined, with_categories
from pipeline.datasets.image_folder import chosen_attributes
from pipeline.datasets.local import local_path
from pipeline.datasets.npz import read_array
from pipeline.datasets.source import RawData, Source
from pipeline.rows.image_schema import image_label_schema

FILE = "celeba10k_jpeg.npz"
NOTICE = f"CelebA's licence forbids passing it on: put your own {FILE} in <DATA_MIRROR>/celeba10k/, or name it in dataset.path."
CROP_BOX = (7.5, 17.5, 81.5, 91.5)  # the usual 148-pixel centre crop, in pixels of the halved images
DEFAULT_SIZE_PX = 64
WORDS = ["no", "yes"]


def load(raw: Path, params: Params) -> RawData:
    """(N, size·size·3 + A) uint8 rows: pixels, then the chosen attributes. Raises ValueError for a damaged file."""
    path = path_of(params)
    jpeg, offset, codes, names = (read_array(path, name) for name in ("jpeg", "offset", "attr", "attr_names"))
    if any(part is None for part in (jpeg, offset, codes, names)):
        raise ValueError(f"{path} must have the arrays jpeg, offset, attr and attr_names.")
    if offset[-1] != len(jpeg) or len(offset) != len(codes) + 1 or codes.shape[1] != len(names) or codes.max() > 1:
        raise ValueError(f"{path}: its arrays must fit one another. Got {jpeg.shape}, {offset.shape}, {codes.shape}.")
    size = params.prepare.image_size_px or DEFAULT_SIZE_PX
    n = len(codes)
    pixels = np.empty((n, size * size * 3), np.uint8)
    for i in progress(range(n), "faces", unit="image", leave=False):
        pixels[i] = face(jpeg[offset[i] : offset[i + 1]].tobytes(), size, f"{path.name}, image {i}").ravel()
    chosen = chosen_attributes(params, [str(name) for name in names])
    index = [[str(name) for name in names].index(a) for a in chosen]
    schema = image_label_schema(size, size, 3, SOURCE.patch_size_px(params), 0.0, 255.0, [])
    schema = with_categories(schema, dict.fromkeys(chosen, WORDS), "attributes")
    return RawData(schema, joined(pixels, [codes[:, i].astype(np.float32) for i in index]))


def face(payload: bytes, size_px: int, name: str) -> np.ndarray:
    """(size, size, 3) uint8 face of one JPEG. Raises ValueError naming the image when it is damaged."""
    try:
        with Image.open(io.BytesIO(payload)) as image:
            resized = image.convert("RGB").resize((size_px, size_px), Image.Resampling.LANCZOS, box=CROP_BOX)
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise ValueError(f"{name}: damaged image: {error}") from error
    return np.asarray(resized)


def path_of(params: Params) -> Path:
    """The file in dataset.path or below DATA_MIRROR."""
    return local_path(params, f"celeba10k/{FILE}", NOTICE)


SOURCE = Source("celeba10k", load, default_patch_size_px=8, local=path_of)
