"""The encoding of a text file: told by its first bytes, proved by reading all of it, or guessed and said.

    found = detect_encoding(Path("sales.csv"))          # Encoding("cp1252", b"", guessed=True)
    with open_text(path, found) as lines: ...           # lines with their own line ends

A compressed file (.gz, .bz2, .xz, a .zip of one file) is read and written through its compression.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

CHUNK = 1 << 20
GUESS_BYTES = 1 << 16  # of lines that are not ASCII, shown to charset-normalizer
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_RUNS = re.compile(rb"[\x80-\xff]{3,}")
LATIN = ("cp1252", "cp1250", "cp1254", "cp1257")
FEWEST_LETTERS = 4
QUIET_SIGNS = "’‘“”«»°·–—…€§©®™ºª"  # they stand beside letters in text that is rightly cp1252
GUESSED = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r",
    "cp932", "euc_jp", "gb18030", "big5", "euc_kr",
)  # fmt: skip
"""Encodings that are guessed at: those in which people's programs write tables today."""


class TableFileError(ValueError):
    """A file or database table cannot be used; one line that says which, why, and what to do."""


@dataclass(frozen=True)
class Encoding:
    """name: a codec of Python's. mark: byte order mark, kept as it is. guessed: nothing in the file proves it."""

    name: str
    mark: bytes = b""
    guessed: bool = False


def detect_encoding(path: Path, name: str = "") -> Encoding:
    """The encoding of a file; `name`: the one that its user gives, which is only checked to exist.

    Raises TableFileError for a name that is no encoding, and for UTF-8 with a few damaged lines, by line.
    """
    with open_bytes(path) as stream:
        head = stream.read(CHUNK)
    mark, marked = next(((m, n) for m, n in MARKS if head.startswith(m)), (b"", ""))
    if name:
        return Encoding(_known(name, marked), mark if marked == _known(name, marked) else b"")
    if marked:
        return Encoding(marked, mark)
    wide = _wide(head)
    if wide:
        return Encoding(wide)
    sample = _lines_that_are_no_utf8(path)
    return Encoding(_guess(sample), guessed=True) if sample else Encoding("utf-8")


def _known(name: str, marked: str) -> str:
    try:
        found = codecs.lookup(name).name
    except LookupError as error:
        raise TableFileError(f"'encoding' must be the name of an encoding, such as utf-8. Got {name!r}.") from error
    if found in ("utf-16", "utf-32"):
        return marked if marked.startswith(found) else f"{found}-le"
    return "utf-8" if found == "utf-8-sig" else found


def _wide(head: bytes) -> str:
    """utf-16-le or -be where every second byte of text without a mark is zero; else nothing."""
    if len(head) < 4 or b"\0" not in head:
        return ""
    zeros = [head[i::2].count(0) / max(1, len(head[i::2])) for i in (0, 1)]
    if max(zeros) > 0.4 and min(zeros) < 0.1:
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    return ""


def _lines_that_are_no_utf8(path: Path) -> bytes:
    """Lines of the file that are not ASCII, where some are not UTF-8; nothing for a file that is UTF-8."""
    with open_bytes(path) as stream:
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while chunk := stream.read(CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", True)
            return b""
        except UnicodeDecodeError:
            pass  # which lines they are is found below
    good, bad, size = 0, [], 0
    with open_bytes(path) as stream:
        for number, line in enumerate(stream, 1):
            if line.isascii():
                continue
            try:
                line.decode("utf-8")
                good += 1
            except UnicodeDecodeError:
                bad.append((number, line))
                size += len(line)
            if size > GUESS_BYTES:
                break
    if good > len(bad):
        raise TableFileError(
            f"{path.name}, line {bad[0][0]}: must be UTF-8 as the rest of the file is. Got {bad[0][1][:40]!r}. "
            "Mend the line, or name the encoding (--encoding)."
        )
    return b"".join(line for _, line in bad)


def _guess(sample: bytes) -> str:
    """The likeliest encoding of lines that are no UTF-8.

    Words of Latin script are hardly ever all beyond ASCII: cp1252, unless it would put signs into words (cp1250) or be full of
    Icelandic letters (cp1254). Words of other scripts are: charset-normalizer tells them apart.
    """
    from charset_normalizer import from_bytes

    high = sum(byte > 127 for byte in sample)
    whole = sum(len(run) for run in _RUNS.findall(sample)) > 0.5 * high
    signs = sum(128 <= byte < 160 for byte in sample) > 0.5 * high
    if (high < FEWEST_LETTERS or not (whole or signs)) and _decodes(sample, "cp1252"):
        text = sample.decode("cp1252")
        letters = [c for c in text if ord(c) > 127]
        beside = zip(text, text[1:] + "\n", strict=True)
        signs = [c for c, after in beside if ord(c) > 127 and not c.isalpha() and after.isalpha()]
        in_words = sum(c not in QUIET_SIGNS for c in signs)
        if sum(c in "ÝýÞþÐð" for c in letters) > 0.3 * len(letters):
            return "cp1254"
        return "cp1250" if in_words > 0.1 * len(letters) and _decodes(sample, "cp1250") else "cp1252"
    words = b"\n".join(word for word in re.split(rb'[;,"\s]+', sample) if not word.isascii()) + b"\n"
    repeated = words * (1 + 2000 // len(words))  # a few words are too few for its statistics
    found = from_bytes(repeated, cp_isolation=[name for name in GUESSED if name not in LATIN]).best()
    if found is not None and found.encoding in GUESSED and _decodes(sample, found.encoding):
        return found.encoding
    return "cp1252" if _decodes(sample, "cp1252") else "latin-1"


def _decodes(sample: bytes, name: str) -> bool:
    try:
        sample.decode(name)
    except UnicodeDecodeError:
        return False
    return True


# -- opening -----------------------------------------------------------------------------------------
@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed as its suffix says. Raises TableFileError for a zip of several files."""
    suffix = Path(path).suffix.lower()
    openers = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    if suffix in openers:
        with openers[suffix](path, "rb") as stream:
            yield stream
    elif suffix == ".zip":
        with _archive(Path(path)) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX")]
            if len(names) != 1:
                raise TableFileError(f"{Path(path).name} must hold one file. Got {len(names)}: {names[:8]}.")
            with _member(archive, names[0], Path(path).name) as stream:
                yield stream
    else:
        with open(path, "rb") as stream:
            yield stream


def _archive(path: Path) -> zipfile.ZipFile:
    """The zip `path`. Raises TableFileError for one of a version that Python does not know."""
    try:
        return zipfile.ZipFile(path)
    except NotImplementedError as error:
        raise TableFileError(
            f"{path.name}: must be a zip that Python reads. Got: {error}. Unpack it, and give the file."
        ) from error


def _member(archive: zipfile.ZipFile, name: str, of: str) -> IO[bytes]:
    """A file of a zip. Raises TableFileError for one with a password or a compression that Python does not know."""
    try:
        return archive.open(name)
    except (NotImplementedError, RuntimeError) as error:
        raise TableFileError(
            f"{of}: must be a plain zip. Got {name!r}: {error}. Unpack it, and give the file."
        ) from error


@contextmanager
def open_text(path: Path, encoding: Encoding) -> Iterator[io.TextIOWrapper]:
    """The text after the byte order mark; its lines keep their own ends."""
    with open_bytes(path) as stream:
        stream.read(len(encoding.mark))
        with io.TextIOWrapper(io.BufferedReader(_Unseekable(stream), CHUNK), encoding.name, newline="") as text:
            yield text


class _Unseekable(io.RawIOBase):
    """A stream for TextIOWrapper to begin in the middle of, which it must not seek back from."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        payload = self.stream.read(len(buffer))
        buffer[: len(payload)] = payload
        return len(payload)


@contextmanager
def compressed(stream: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    """A stream that writes to `stream` with the compression that the suffix of `path` says."""
    suffix = Path(path).suffix.lower()
    if suffix == ".gz":
        with gzip.GzipFile("", "wb", fileobj=stream, mtime=0) as out:
            yield out
    elif suffix == ".bz2":
        with bz2.BZ2File(stream, "wb") as out:
            yield out
    elif suffix == ".xz":
        with lzma.LZMAFile(stream, "wb") as out:
            yield out
    elif suffix == ".zip":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(Path(path).stem, "w") as out:
            yield out
    else:
        yield stream


@contextmanager
def explained(path: Path, encoding: Encoding) -> Iterator[None]:
    """Turns what codecs and decompressors raise into one line on the file."""
    try:
        yield
    except UnicodeError as error:
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error
        raise TableFileError(
            f"{path.name}: must be text in the encoding {encoding.name!r}. Got bytes that are none ({reason}). "
            "Name another (--encoding)."
        ) from error
