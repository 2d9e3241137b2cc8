"""Verified, resumable downloads: mirrors in turn, a .part file that survives, checksums before use.

`DATA_MIRROR` (a folder or a URL, laid out <mirror>/<dataset>/<file>) is tried before the public addresses.
A file that does not match its checksum is kept aside as <name>.rejected and fetched from the next mirror.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests

from pipeline.base.data_groups import FetchParams
from pipeline.base.files import sha256
from pipeline.base.streams import progress
from pipeline.datasets.source import RemoteFile

CHUNK_BYTES = 1 << 16


class DownloadError(OSError):
    """No mirror gave a file with the right checksum."""


def obtain(file: RemoteFile, dataset: str, folder: Path, params: FetchParams) -> Path:
    """Path of the verified file below `folder`, downloaded if it is not there yet.

    Raises DownloadError listing every address tried and why it failed.
    """
    if Path(file.name).name != file.name or file.name in ("", ".."):
        raise ValueError(f"'name' of a remote file must have no folder. Got {file.name!r}.")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / file.name
    if target.is_file():
        if _matches(target, file):
            return target
        _set_aside(target, file)
    part, failures = folder / f"{file.name}.part", []
    for address in addresses(file, dataset):
        begun = part.is_file()
        try:
            _fetch(address, part, file, params)
            if begun and not _matches(part, file):  # the mirror may be good and what lay here from before was not
                _set_aside(part, file)
                _fetch(address, part, file, params)
        except OSError as error:  # requests' errors are OSErrors too; a full disk is not the mirror's fault
            if error.errno is not None and not isinstance(error, requests.RequestException | FileNotFoundError):
                raise
            failures.append(_without_secrets(f"{address}: {error}", address))
            continue
        if _matches(part, file):
            os.replace(part, target)
            return target
        said = f"{address}: {part.stat().st_size} bytes whose SHA-256 is not {file.sha256[:12]}…"
        failures.append(_without_secrets(said, address))
        _set_aside(part, file)
    raise DownloadError(
        f"no mirror gave {dataset}/{file.name}. Tried:\n  "
        + "\n  ".join(failures)
        + "\nSet DATA_MIRROR to a folder or URL that holds it."
    )


def addresses(file: RemoteFile, dataset: str) -> Iterator[str]:
    """DATA_MIRROR's address if it is set, then the public ones."""
    mirror = os.environ.get("DATA_MIRROR", "").rstrip("/")
    if mirror:
        yield f"{mirror}/{dataset}/{file.name}"
    yield from file.urls


def _without_secrets(text: str, address: str) -> str:
    """`text` without the user's name, password and query (a signature, say) that `address` may hold."""
    parts = urlsplit(address)
    for secret in (parts.netloc.rpartition("@")[0], parts.query):
        text = text.replace(secret, "…") if secret else text
    return text


def _matches(path: Path, file: RemoteFile) -> bool:
    return path.stat().st_size == file.size and sha256(path) == file.sha256


def _set_aside(path: Path, file: RemoteFile) -> None:
    kept = path.with_name(f"{file.name}.rejected")
    print(f"{path.name}: does not match its checksum; kept as {kept.name}", flush=True)
    os.replace(path, kept)


def _fetch(address: str, part: Path, file: RemoteFile, params: FetchParams) -> None:
    """Brings `address` into `part`, resuming what is there. Raises OSError when all attempts fail."""
    if "://" not in address:
        _copy(Path(address), part, file)
        return
    for attempt in range(params.attempts):
        try:
            _stream(address, part, file, params.timeout_s)
            return
        except requests.HTTPError:
            raise
        except requests.RequestException:
            if attempt + 1 == params.attempts:
                raise
            time.sleep(min(2.0**attempt, 30.0) * 0.5)


def _copy(source: Path, part: Path, file: RemoteFile) -> None:
    if not source.is_file():
        raise FileNotFoundError(f"no such file: {source}")
    if source.stat().st_size != file.size:
        raise FileNotFoundError(f"has {source.stat().st_size} bytes instead of {file.size}")
    shutil.copyfile(source, part)


def _stream(url: str, part: Path, file: RemoteFile, timeout_s: float) -> None:
    have = part.stat().st_size if part.is_file() else 0
    if have > file.size:
        part.unlink()
        have = 0
    if have == file.size:
        return
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {"Accept-Encoding": "identity"}
    with requests.get(url, stream=True, timeout=timeout_s, headers=headers) as response:
        response.raise_for_status()
        resumed = have > 0 and response.status_code == requests.codes.partial_content
        have = have if resumed else 0
        with (
            open(part, "ab" if resumed else "wb") as out,
            progress(desc=file.name, total=file.size, initial=have, unit="B", unit_scale=True) as bar,
        ):
            for chunk in response.iter_content(CHUNK_BYTES):
                out.write(chunk[: max(0, file.size + 1 - have)])  # never more than one byte past what is declared
                have += len(chunk)
                bar.update(len(chunk))
                if have > file.size:
                    return
    if have < file.size:
        raise requests.ConnectionError(f"ended after {have} of {file.size} bytes")
