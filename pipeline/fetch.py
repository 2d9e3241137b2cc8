"""Stage fetch: the dataset's files, downloaded or found, verified → data/raw. Run: python -m pipeline.fetch

The user's own file or folder (dataset.path), for the sources that read one, is copied, so that data/raw is all a run needs.
Verified downloads are kept in data/downloads, which DVC does not clear, so that a rerun fetches nothing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pipeline.base.fields import ParamsError
from pipeline.base.files import replaced_folder, sha256, write_json
from pipeline.base.params import Params
from pipeline.base.paths import Paths
from pipeline.base.stage import run_stage
from pipeline.datasets import get_source
from pipeline.datasets.download import obtain
from pipeline.datasets.folder_files import folder_files
from pipeline.datasets.local import fingerprint


def run(params: Params, where: Paths) -> None:
    """Writes data/raw/<files> and data/raw/manifest.json (name, size, SHA-256 of each)."""
    source = get_source(params.dataset.name)
    cache = where.data / "downloads" / source.name
    found = [obtain(file, source.name, cache, params.fetch) for file in source.files]
    with replaced_folder(where.raw) as fresh:
        for path in found:
            try:
                os.link(path, fresh / path.name)
            except OSError:  # another file system, or one without hard links
                shutil.copyfile(path, fresh / path.name)
        manifest = [{"name": f.name, "size": f.size, "sha256": f.sha256} for f in source.files]
        if source.reads_path:
            manifest += _copy_user_data(params.dataset.path, fresh, where.root)
        if source.local is not None:
            manifest.append(fingerprint(source.local(params)))
        write_json(fresh / "manifest.json", {"dataset": source.name, "files": manifest})
    found += manifest[len(found) :]
    print(f"fetch: {source.name}, {len(found)} files verified")


def _copy_user_data(path: str, folder: Path, root: Path) -> list[dict]:
    """Copies the file or folder `path` into `folder`; its entries of the manifest. Raises ParamsError.

    Of a folder: what `folder_files` finds, under names that are text; what it leaves out is printed. Rights are not
    copied: the copy can be replaced by the next run, whatever the rights of the user's own files are.
    """
    if not path or not Path(path).exists():
        raise ParamsError(f"Parameter 'dataset.path' must name a file or folder that exists. Got {path!r}.")
    kept, target = Path(path), folder / Path(path).name
    copied, left_out = [], []
    if kept.is_dir():
        target.mkdir()
        found = folder_files(kept, own=root)
        pairs, left_out = [(source, target / name) for name, source in found.names.items()], found.left_out
    else:
        pairs = [(kept, target)]
    for source, place in pairs:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, place)
            copied.append(place)
        except PermissionError as error:
            if not kept.is_dir():
                raise
            left_out.append((place.relative_to(target).as_posix(), f"cannot be read: {error.strerror}"))
    for name, why in left_out:
        print(f"fetch: left out {name}: {why}")
    return [{"name": f.relative_to(folder).as_posix(), "size": f.stat().st_size, "sha256": sha256(f)} for f in copied]


def main() -> None:
    """Entry point of the stage."""
    run_stage("fetch", run)


if __name__ == "__main__":
    main()
