"""Stage fetch: the dataset's files, downloaded or found, verified → data/raw. Run: python -m pipeline.fetch

Verified downloads are kept in data/downloads, which DVC does not clear, so that a rerun fetches nothing.
"""

from __future__ import annotations

import os
import shutil

from pipeline.datasets import get_source
from pipeline.download import obtain
from pipeline.files import replaced_folder, write_json
from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.stage import run_stage


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
        write_json(fresh / "manifest.json", {"dataset": source.name, "files": manifest})
    print(f"fetch: {source.name}, {len(found)} files verified")


def main() -> None:
    """Entry point of the stage."""
    run_stage("fetch", run)


if __name__ == "__main__":
    main()
