"""mnist and fashion_mnist: 60,000 + 10,000 grey 28×28 images, 10 classes, in the idx format.

The reader checks a header before it allocates, and never reads more than the header declares.
MNIST: LeCun, Cortes, Burges. Fashion-MNIST: Zalando SE, MIT licence.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from pipeline.base.params import Params
from pipeline.datasets.source import RawData, RemoteFile, Source
from pipeline.rows.image_schema import image_label_schema

UNSIGNED_BYTE = 0x08
MAX_BYTES = 2**31  # no idx file of this family comes near it
FILES = tuple(f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
CLOTHES = ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The uint8 array of a gzipped idx file. Raises ValueError naming the file and what is wrong with it.

    dimensions: 3 for images (N, height, width), 1 for labels (N,).
    """
    try:
        with gzip.open(path, "rb") as stream:
            head = stream.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions or head[:2] != b"\0\0":
                raise ValueError(f"{path.name}: not an idx file.")
            if head[2] != UNSIGNED_BYTE or head[3] != dimensions:
                raise ValueError(
                    f"{path.name}: must hold unsigned bytes in {dimensions} dimensions. "
                    f"Got type {head[2]:#x} in {head[3]} dimensions."
                )
            shape = [int.from_bytes(head[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
            size = math.prod(shape)
            if not 0 < size <= MAX_BYTES:
                raise ValueError(f"{path.name}: must hold between 1 and {MAX_BYTES} bytes. Its header says {shape}.")
            body = _read_at_most(stream, size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path.name}: not a readable gzip file: {error}.") from error
    if len(body) != size:
        found = "more" if len(body) > size else str(len(body))
        raise ValueError(f"{path.name}: its header says {shape}, that is {size} bytes. Got {found}.")
    return np.frombuffer(body, np.uint8).reshape(shape)


def _read_at_most(stream: gzip.GzipFile, limit: int, chunk: int = 1 << 20) -> bytes:
    """Up to `limit` bytes; memory grows with what the file really holds, not with what its header says."""
    parts, left = [], limit
    while left > 0 and (part := stream.read(min(chunk, left))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def read_split(raw: Path, split: str, size_px: int = 28) -> tuple[np.ndarray, np.ndarray]:
    """(images (N, size, size), labels (N,)) of the split "train" or "t10k", checked against each other."""
    images = read_idx(raw / f"{split}-images-idx3-ubyte.gz", 3)
    labels = read_idx(raw / f"{split}-labels-idx1-ubyte.gz", 1)
    if images.shape[1:] != (size_px, size_px):
        raise ValueError(f"{split} images must be {size_px}×{size_px}. Got {images.shape[1]}×{images.shape[2]}.")
    if len(images) != len(labels):
        raise ValueError(f"{split} must have a label for each image. Got {len(images)} images, {len(labels)} labels.")
    if labels.max() > 9:
        raise ValueError(f"{split} labels must lie in 0…9. Got {labels.max()}.")
    return images, labels


def _source(name: str, classes: list[str], bases: tuple[str, ...], files: list[tuple[int, str]]) -> Source:
    """files: (size in bytes, SHA-256) of each of FILES."""

    def load(raw: Path, params: Params) -> RawData:
        labels = classes if params.prepare.label_token else []
        schema = image_label_schema(28, 28, 1, source.patch_size_px(params), 0.0, 255.0, labels)
        splits = []
        for split in ("train", "t10k"):
            images, codes = read_split(raw, split)
            columns = [images.reshape(len(images), -1), codes[:, None]]
            splits.append(np.concatenate(columns if labels else columns[:1], 1))
        return RawData(schema, *splits)

    named = zip(FILES, files, strict=True)
    remote = tuple(RemoteFile(f, size, digest, tuple(base + f for base in bases)) for f, (size, digest) in named)
    source = Source(name, load, remote, default_patch_size_px=4)
    return source


MNIST = _source(
    "mnist",
    [str(i) for i in range(10)],
    (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
    ),
    [
        (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ],
)

FASHION_MNIST = _source(
    "fashion_mnist",
    CLOTHES,
    (
        "https://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    [
        (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ],
)
