"""Fit a folder of pictures, draw new ones, complete them from a half, and edit a part of one.

    python own_pictures.py                          # makes 400 pictures of coloured discs and squares first
    python own_pictures.py --photos my-photos/      # yours, of any sizes and formats; subfolders are classes

Leaves model/ and four sheets in the folder `--out`: samples.png, halves.png, edited.png and, where there are classes,
one row of pictures a class in classes.png. Sizes in pixels; N pictures, K draws, C cells of a row (pixels, then the label).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from biglearn import Sampler

SIZE = 16  # edge of the pictures that are learnt


def make_pictures(folder: Path, count: int, seed: int) -> None:
    """`count` PNGs of discs and squares in any place, size and warm or cold colour, in subfolders of that name."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        shape = ("disc", "square")[i % 2]
        picture = Image.new("RGB", (32, 32), (245, 245, 240))
        x, y, radius = *rng.integers(10, 23, 2), rng.integers(5, 10)
        colour = (220, int(rng.integers(40, 160)), 40) if rng.random() < 0.5 else (40, int(rng.integers(60, 160)), 210)
        box = (int(x - radius), int(y - radius), int(x + radius), int(y + radius))
        pen = ImageDraw.Draw(picture)
        (pen.ellipse if shape == "disc" else pen.rectangle)(box, fill=colour)
        (folder / shape).mkdir(parents=True, exist_ok=True)
        picture.save(folder / shape / f"{i}.png")


def sheet(sampler: Sampler, rows: np.ndarray, columns: int, file: Path) -> None:
    """Saves pictures (N, C), `columns` in a line, four times as large; unknown pixels are light blue."""
    unknown = np.isnan(rows)
    low, high = sampler.schema.pixel_range
    pixels = sampler.schema.images(np.where(unknown, high, rows))  # (N, H, W, channels)
    pixels = (pixels - low) / (high - low)
    pixels[sampler.schema.images(unknown.astype(np.float32)) > 0] = 0.85
    lines = [np.concatenate(list(pixels[i : i + columns]), axis=1) for i in range(0, len(pixels), columns)]
    array = (np.concatenate(lines)[..., :3].clip(0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array)
    image.resize((4 * image.width, 4 * image.height), Image.Resampling.NEAREST).save(file)


def grid_of_cells(sampler: Sampler) -> tuple[np.ndarray, np.ndarray]:
    """(line, place in the line) of every cell, (C,) integers; −1 for cells that are no pixels."""
    height, width, channels = sampler.schema.images(np.zeros((1, len(sampler.schema.columns)), np.float32)).shape[1:]
    cells = np.arange(len(sampler.schema.columns))
    inside = cells < height * width * channels
    return np.where(inside, cells // (width * channels), -1), np.where(inside, cells // channels % width, -1)


def main(photos: Path | None, out: Path, steps: int = 2500, size: int = SIZE, seed: int = 0) -> list[Path]:
    """The sheets that were written."""
    out.mkdir(parents=True, exist_ok=True)
    if photos is None:
        photos = out / "photos"
        make_pictures(photos, 400, seed)
    settings = ["--set", f"prepare.image_size_px={size}", "--set", f"train.steps={steps}", "--seed", str(seed)]
    command = [
        sys.executable,
        "-m",
        "pipeline.app.cli",
        "fit",
        str(photos),
        "-o",
        str(out / "model"),
        "--force",
        *settings,
    ]
    subprocess.run(command, check=True)  # the same as: biglearn fit photos -o model …
    sampler = Sampler.load(out / "model" / "data" / "models" / "generator")
    new = sampler.sample(64, seed=seed)
    sheet(sampler, new, 16, out / "samples.png")

    line, place = grid_of_cells(sampler)
    upper = np.broadcast_to((line >= 0) & (line < size // 2), new[:6].shape)
    halves = sampler.complete(new[:6], observed=upper, draws=8, seed=seed)  # (8, 6, C)
    sheet(sampler, _beside(new[:6], upper, halves), 10, out / "halves.png")

    quarter, end = size // 4, size - size // 4
    hole = (line >= quarter) & (line < end) & (place >= quarter) & (place < end)
    rest = np.broadcast_to(~hole & (line >= 0), new[:6].shape)  # the label is asked for too
    edited = sampler.complete(new[:6], observed=rest, draws=8, seed=seed)
    sheet(sampler, _beside(new[:6], rest, edited), 10, out / "edited.png")
    written = [out / "samples.png", out / "halves.png", out / "edited.png"]

    if sampler.schema.label_token is not None:
        token = sampler.schema.tokens[sampler.schema.label_token]
        words = sampler.schema.categories[token.name]
        rows = np.full((8 * len(words), len(sampler.schema.columns)), np.nan, np.float32)
        rows[:, token.columns[0]] = np.repeat(np.arange(len(words)), 8)
        sheet(sampler, sampler.complete(rows, seed=seed)[0], 8, out / "classes.png")
        written.append(out / "classes.png")
    print("written:", ", ".join(map(str, written)))
    return written


def _beside(rows: np.ndarray, observed: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """(N·(K+2), C): a line a picture, with the picture, what was given, and the K draws."""
    return (
        np.concatenate([rows[None], np.where(observed, rows, np.nan)[None], draws])
        .swapaxes(0, 1)
        .reshape(-1, rows.shape[1])
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="your folder; made-up pictures if not given")
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="where results go; pictures/ if not given")
    for name, value in (("steps", 2500), ("size", SIZE), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{value} if not given")
    main(**vars(parser.parse_args()))
