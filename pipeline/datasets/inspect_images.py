"""What a folder of pictures, a picture or an array is read as, in words, without training."""

from __future__ import annotations

from pathlib import Path

from pipeline.base.params import Params
from pipeline.datasets import npz
from pipeline.datasets.folder_files import folder_files, name_text
from pipeline.datasets.image_files import Picture
from pipeline.datasets.image_folder import image_size_px, patch_size_px, read_pictures
from pipeline.datasets.picture_facts import SENTENCES, left_out_lines, summary

FEWEST_TO_SPLIT = 4  # two to train on and two held out


def inspect_images(path: Path, params: Params, *, every: bool = False) -> str:
    """A paragraph of what the folder `path` is read as, then the files that are left out and why.

    every: all of them, not the first few. Raises ValueError for a folder without pictures, ParamsError for limits.
    """
    path = Path(path)
    patch = patch_size_px(params)
    files = folder_files(path)
    pictures = read_pictures(files, image_size_px(params), params)
    name = name_text(path.resolve().name)
    left_out = [f"left out: {line}" for line in left_out_lines(pictures.left_out, every=every)]
    if not pictures.names:
        raise ValueError("; ".join([f"{name}/ must hold pictures. Got none among {len(files.names)} files", *left_out]))
    lines = [summary(name, pictures, params), *left_out]
    edge, n = image_size_px(params), len(pictures.names)
    patches, held_out = (edge // patch) ** 2, round(params.prepare.test_share * n)
    split = (
        f"; about {held_out} of the {n} are held out (prepare.test_share)" if pictures.layout.held_out is None else ""
    )
    lines.append(
        f"fit would read {patches} patches of {patch}×{patch} and {len(pictures.words)} categories an image{split}."
    )
    if len(pictures.names) < FEWEST_TO_SPLIT:
        lines.append(f"Too few to train on: at least {FEWEST_TO_SPLIT} pictures are needed. Got {len(pictures.names)}.")
    return "\n".join(lines)


def inspect_array(path: Path, params: Params) -> str:
    """A paragraph of what the array in `path` is read as. Raises ValueError naming what does not fit."""
    return npz.described(Path(path), params)[1]


def picture_sentence(name: str, picture: Picture) -> str:
    """What one picture is."""
    width, height = picture.size
    notes = [SENTENCES[note].format("").strip() for note in picture.notes]
    colour = "grey" if picture.image.mode in ("1", "L", "LA") else "colour"
    return f"{name_text(name)}: a picture of {width}×{height} pixels, {'; '.join([colour, *notes])}."
