"""What a data source is: its remote files, and how they become rows with a schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.params import Params
from pipeline.rows.row_file import Rows
from pipeline.rows.schema import Schema


@dataclass(frozen=True)
class RemoteFile:
    """name: file name. size: bytes. sha256: hex digest. urls: public addresses, tried in turn."""

    name: str
    size: int
    sha256: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class RawData:
    """train, test: (N, C) rows in the units of the source, NaN where missing; test None: prepare splits train.

    Rows may stay in a file: they are read in chunks.
    """

    schema: Schema
    train: Rows
    test: Rows | None = None


@dataclass(frozen=True)
class Source:
    """One dataset. files: what fetch downloads. load(raw folder, params): reads it.

    default_patch_size_px: used where prepare.patch_size_px is 0. reads_path: fetch copies dataset.path to data/raw.
    local(params): a file that must not be copied; fetch records its fingerprint; raises ParamsError when it is not
    there. recommended: parameters that `biglearn fit` and `biglearn init` start from. recommended_for(path, params):
    more of them, that depend on the user's file.
    """

    name: str
    load: Callable[[Path, Params], RawData]
    files: tuple[RemoteFile, ...] = ()
    default_patch_size_px: int = 1
    reads_path: bool = False
    local: Callable[[Params], Path] | None = None
    recommended: tuple[str, ...] = ()
    recommended_for: Callable[[Path, Params], tuple[str, ...]] = lambda path, params: ()

    def patch_size_px(self, params: Params) -> int:
        """Edge of a patch: the parameter, or the source's own default where it is 0."""
        return params.prepare.patch_size_px or self.default_patch_size_px

    def user_file(self, raw: Path, params: Params) -> Path:
        """Where fetch has put the file or folder that dataset.path names."""
        return raw / Path(params.dataset.path).name
