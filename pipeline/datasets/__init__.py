"""Data sources, one module each. A new source is a module with a `Source`, named in SOURCES and in `_load`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.base.fields import ParamsError
from pipeline.datasets.source import RawData, RemoteFile, Source

NAMES = ("digits", "mnist", "fashion_mnist", "celeba10k", "image_folder", "npz", "table", "text", "tinyshakespeare")


class _Sources(Mapping):
    """Name → Source. A source's module is loaded when it is asked for: one needs scikit-learn, others pandas or Pillow."""

    def __getitem__(self, name: str) -> Source:
        if name not in NAMES:
            raise KeyError(name)
        return _load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


SOURCES = _Sources()

__all__ = ["SOURCES", "RawData", "RemoteFile", "Source", "get_source"]


def get_source(name: str) -> Source:
    """The source called `name`. Raises ParamsError that lists the names."""
    if name not in NAMES:
        raise ParamsError(f"Parameter 'dataset.name' must be one of {', '.join(NAMES)}. Got {name!r}.")
    return SOURCES[name]


def _load(name: str) -> Source:
    match name:
        case "digits":
            from pipeline.datasets.digits import SOURCE as found
        case "mnist":
            from pipeline.datasets.idx import MNIST as found
        case "fashion_mnist":
            from pipeline.datasets.idx import FASHION_MNIST as found
        case "celeba10k":
            from pipeline.datasets.faces import SOURCE as found
        case "image_folder":
            from pipeline.datasets.image_folder import SOURCE as found
        case "npz":
            from pipeline.datasets.npz import SOURCE as found
        case "table":
            from pipeline.datasets.table import SOURCE as found
        case "text":
            from pipeline.datasets.text import SOURCE as found
        case _:
            from pipeline.datasets.text import TINYSHAKESPEARE as found
    return found
