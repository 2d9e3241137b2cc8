"""Data sources, one module each. A new source is a module with a `Source`, named in SOURCES."""

from __future__ import annotations

from pipeline.base.fields import ParamsError
from pipeline.datasets import digits, faces, idx, image_folder, npz, table, text
from pipeline.datasets.source import RawData, RemoteFile, Source

SOURCES = {
    s.name: s
    for s in (
        digits.SOURCE,
        idx.MNIST,
        idx.FASHION_MNIST,
        faces.SOURCE,
        image_folder.SOURCE,
        npz.SOURCE,
        table.SOURCE,
        text.SOURCE,
        text.TINYSHAKESPEARE,
    )
}

__all__ = ["SOURCES", "RawData", "RemoteFile", "Source", "get_source"]


def get_source(name: str) -> Source:
    """The source called `name`. Raises ParamsError that lists the names."""
    if name not in SOURCES:
        raise ParamsError(f"Parameter 'dataset.name' must be one of {', '.join(SOURCES)}. Got {name!r}.")
    return SOURCES[name]
