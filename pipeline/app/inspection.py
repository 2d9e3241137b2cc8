"""What `fit` would read, in words, by the kind of data."""

from __future__ import annotations

from pathlib import Path

from pipeline.app.project import project_defaults, source_name
from pipeline.app.table_options import TableInput
from pipeline.app.tables import inspect_table
from pipeline.datasets import get_source
from pipeline.datasets.image_files import NotAnImage, read_picture
from pipeline.datasets.inspect_images import inspect_array, inspect_images, picture_sentence


def inspection(
    data: str, settings: list[str], fit_rows: int, given: TableInput, *, every: bool = False, rules: bool = False
) -> str:
    """The text. every: of a folder, name every file that is left out. rules: of a table, name those that its rows keep. Raises ValueError for data that is none of the
    kinds, and for settings that do not exist."""
    path = Path(data)
    if not given.plain or not path.exists():
        return inspect_table(given.place(data), given, settings, fit_rows, rules=rules)
    try:
        name = source_name(path)
    except ValueError:
        return _picture(path)
    if rules and name in ("image_folder", "npz"):
        raise ValueError(f"--rules must go with a table. Got {path}.")
    params = project_defaults([*get_source(name).recommended, *settings]) if name in ("image_folder", "npz") else None
    if name == "image_folder":
        return inspect_images(path, params, every=every)
    if name == "npz":
        return inspect_array(path, params)
    if name == "text":
        raise ValueError(f"inspect takes a folder of images, a picture, .npz, .npy or a table. Got {path}.")
    return inspect_table(given.place(data), given, settings, fit_rows, rules=rules)


def _picture(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"inspect takes a folder of images, a picture, .npz, .npy or a table. Got {path}.")
    try:
        return picture_sentence(path.name, read_picture(path))
    except NotAnImage as error:
        raise ValueError(str(error)) from error
