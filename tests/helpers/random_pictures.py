"""A random folder as people have it: pictures of every kind, classes or none, files that are no pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = (
    "rgb.png",
    "grey.png",
    "16 bits.png",
    "floats.tif",
    "palette.gif",
    "alpha.png",
    "cmyk.jpg",
    "bmp.bmp",
    "webp.webp",
)
JUNK = {
    "notes.txt": b"no picture", "empty.jpg": b"", "cut.png": b"\x89PNG\r\n\x1a\n" + bytes(20), "film.mp4": b"\0\0\0\x18ftypisom" + bytes(50),
    "phone.heic": b"\0\0\0\x18ftypheic" + bytes(50), ".hidden": b"x", "Thumbs.db": b"\xd0\xcf\x11\xe0",
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """What was put into a folder. classes: class → pictures, {} when there are none. attributes: whether there is a table."""

    pictures: int
    colour: bool
    classes: dict[str, int]
    attributes: bool
    no_pictures: int


def make(folder: Path, seed: int, fewest: int = 4, most: int = 24) -> Made:
    """Fills `folder`, which must be empty, from `seed`."""
    rng = np.random.default_rng(seed)
    n, n_classes = int(rng.integers(fewest, most + 1)), int(rng.choice([1, 2, 3]))
    names = ["cat", "dög", "a b"][:n_classes] if n_classes > 1 else ["", "only one"][: int(rng.integers(1, 3))][-1:]
    colour, counts, files = False, dict.fromkeys(names, 0), []
    for i in range(n):
        place = names[i] if i < len(names) else str(rng.choice(names))
        kind = str(rng.choice(FORMATS))
        name = f"{place}/{i:03d} {kind}" if place else f"{i:03d} {kind}"
        colour |= save(folder / name, kind, rng)
        counts[place] += 1
        files.append(name)
    odd = [str(j) for j in rng.choice(list(JUNK), 3, replace=False)]
    for name in odd:
        (folder / names[0] / name).write_bytes(JUNK[name])
    attributes = bool(rng.integers(0, 2))
    if attributes:
        rows = [f"{f},{rng.choice(['yes', 'no'])}" for f in files if rng.random() < 0.8 or f == files[0]]
        (folder / "attributes.csv").write_text("file,smile\n" + "\n".join(rows) + "\n", encoding="utf8")
    system = sum(name in (".hidden", "Thumbs.db") for name in odd)
    return Made(n, colour, counts if n_classes > 1 else {}, attributes, len(odd) - system)


def save(path: Path, kind: str, rng: np.random.Generator) -> bool:
    """Writes one picture; whether it has colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = tuple(rng.integers(8, 40, 2))
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    grey = pixels[..., 0]
    image = {
        "grey": lambda: Image.fromarray(grey),
        "16 bits": lambda: Image.fromarray(grey.astype(np.uint16) * 257),
        "floats": lambda: Image.fromarray(grey.astype(np.float32) / 255),
        "palette": lambda: Image.fromarray(pixels).convert("P"),
        "alpha": lambda: Image.fromarray(pixels).convert("RGBA"),
        "cmyk": lambda: Image.fromarray(pixels).convert("CMYK"),
    }.get(kind.split(".")[0], lambda: Image.fromarray(pixels))()
    image.save(path)
    return kind.split(".")[0] not in ("grey", "16 bits", "floats")


def mixed(folder: Path) -> None:
    """200 files as a person has them after some years: the folder that docs/guide/images.md shows."""
    rng = np.random.default_rng(2026)
    numbers = iter(range(1000))

    def pixels(grey: bool = False) -> np.ndarray:
        size = tuple(int(s) for s in rng.integers(40, 200, 2))
        return rng.integers(0, 256, size if grey else (*size, 3), dtype=np.uint8)

    def put(place: str, suffix: str, count: int, image: Callable[[], Image.Image], **options: object) -> None:
        for _ in range(count):
            path = folder / place / f"{place}_{next(numbers):03d}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            image().save(path, **options)

    exif = Image.Exif()
    exif[0x0112] = 6
    put("cat", ".jpg", 70, lambda: Image.fromarray(pixels()))
    put("cat", ".jpg", 6, lambda: Image.fromarray(pixels()), exif=exif)
    put("cat", ".JPG", 4, lambda: Image.fromarray(pixels()).convert("CMYK"))
    put("dog", ".png", 55, lambda: Image.fromarray(pixels()))
    put("dog", ".png", 6, lambda: Image.fromarray(pixels(grey=True).astype(np.uint16) * 257))
    put("dog", ".png", 5, lambda: Image.fromarray(np.dstack([p := pixels(), (p[..., 0] > 60).astype(np.uint8) * 255])))
    put("dog", ".gif", 2, lambda: Image.fromarray(pixels()).convert("P"))
    put("dog", ".gif", 2, lambda: Image.fromarray(pixels()), save_all=True, append_images=[Image.fromarray(pixels())])
    put("owl", ".png", 27, lambda: Image.fromarray(pixels(grey=True)))
    put("owl", ".tif", 1, lambda: Image.fromarray(pixels(grey=True).astype(np.float32) / 255))
    put("owl", ".tif", 1, lambda: Image.fromarray(pixels(grey=True).astype(np.float32) * 10 - 1000))
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    Image.fromarray(pixels()).save(folder / "contact sheet.png")
    rows = [f"{name},{rng.choice(['in', 'out'])}" for name in names[:150]] + ["cat/deleted.jpg,in"]
    (folder / "attributes.csv").write_text("file,doors\n" + "\n".join(rows) + "\n", encoding="utf8")
    whole = (folder / names[0]).read_bytes()
    odd = {f"dog/IMG_{i}.heic": JUNK["phone.heic"] for i in range(8)}
    odd |= {
        "cat/cut.jpg": whole[:900],
        "cat/empty.jpg": b"",
        "notes.txt": b"names of the cats",
        "film.mp4": JUNK["film.mp4"],
    }
    odd |= {
        "scan.pdf": b"%PDF-1.7" + bytes(50),
        "owl/DSC_1.NEF": b"II*\0" + bytes(50),
        "cat/._cat_000.jpg": b"\0\5\x16\7",
    }
    for name, payload in {**odd, "Thumbs.db": b"\xd0\xcf", ".DS_Store": b"\0", "desktop.ini": b"[x]"}.items():
        (folder / name).write_bytes(payload)
    (folder / "dog" / "all").symlink_to("..")
