"""The readers of people's tables and of what is asked of them: text in any dialect, JSON lines, workbooks, databases,
Parquet, compressed files, the column descriptions of schema.json, saved imputers, conditions, rules, formats, addresses.
"""

from __future__ import annotations

import io
import sqlite3
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.app.tables import keywords
from pipeline.asking.conditions import parse_conditions
from pipeline.asking.rules import Rules
from pipeline.asking.units import Units
from pipeline.base.data_groups import TableParams
from pipeline.datasets.folder_attributes import read_attributes
from pipeline.estimators.imputer import BigLearnImputer
from pipeline.rows.schema import Schema
from pipeline.sources.opening import open_sink, open_source
from pipeline.sources.places import place_of
from pipeline.tables.codec import TableCodec, fit_codec
from pipeline.tables.dates import DateFormat
from tests.fuzz.target import Target, in_folder

TEXTS = (
    b'id;name;price;on\n1;"M\xc3\xbcller; Anna";1.234,50;31.12.2024\n2;?;;\n3;"a ""b""";0,5;01.01.2025\n',
    b"# made by x\nTitle of it\n\na\tb\tc\n1\t\tTRUE\n2\t3.5\tFALSE\n\t-\tTRUE\n",
    b"\xef\xbb\xbfa,b\r\n007,'x, y'\r\n'012',NA\r\n013,'z, z'\r\n'014',\r\n",
    "a|b\n1|Łódź\n|São Paulo\n3|".encode("utf-16"),
    "name,where\nJosé,Málaga\n,Cádiz\n".encode("cp1252"),
    b"x y   z\n1 2   3\n4 5   6\n",
    b"1,2,3\n4,,6\n7,8,9\n",
)
LINES = (
    b'{"a": 1, "b": "x", "c": [1, 2]}\n\n{"a": null, "b": "\\u00e9"}\n{"b": "NA", "d": true}\n',
    b'{"n": 12345678901234567890, "x": 1.50}\r\n{"n": 2, "x": -1e-5}\r\n{"x": NaN}\r\n',
)
CONDITIONS = (
    b"age >= 30 and state in CA, New York",
    b"born between 2024-01-01 and '2024-03-01' and not smoker",
    b"18 <= age < 65 and wait is missing",
    b"`two words` == 1.5 and wait <= 2 days 3 hours",
    b"state != 'CA' and age not in (20, 30)",
)
RULES = (
    b"born <= left",
    b"age + 2*`two words` == 100 - age",
    b"(state, smoker) seen",
    b"left - born >= 3 days",
    b"age in 20, 30",
)


@cache
def asked() -> tuple[TableCodec, pd.DataFrame]:
    """A table with a column of each kind, and its codec."""
    rng, n = np.random.default_rng(0), 60
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D")
    frame = pd.DataFrame(
        {
            "state": rng.choice(["CA", "NY", "New York"], n),
            "age": rng.integers(18, 90, n),
            "two words": rng.normal(size=n).round(1),
            "smoker": rng.random(n) < 0.5,
            "born": days,
            "left": (days + pd.to_timedelta(rng.integers(0, 90, n), unit="D")).strftime("%d.%m.%Y"),
            "wait": pd.to_timedelta(rng.integers(0, 90, n), unit="m"),
            "quarter": pd.period_range("2019Q1", periods=24, freq="Q")[rng.integers(0, 24, n)],
            "at": [f"{v // 60:02d}:{v % 60:02d}" for v in rng.integers(0, 1440, n)],
            "price": [f"{v:.2f}" for v in rng.normal(20, 3, n)],
            "key": [f"C-{v:05d}" for v in rng.permutation(99999)[:n]],
            "number_id": rng.permutation(99999)[:n],
            "note": [f"they said that day {i} was a {'very ' * (i % 9)}long day indeed" for i in range(n)],
        }
    ).astype({"smoker": "boolean"})
    return fit_codec(frame, TableParams()), frame


def _filled_from(path: Path, target: Path) -> None:
    """Reads a table block by block and writes it elsewhere with its gaps as they are, as `impute` does."""
    with open_source(place_of(path), tell=str) as source, open_sink(place_of(target), source, force=True) as sink:
        for block in source.blocks():
            sink.write(block, block.frame.ffill().bfill())


def _table_reader(*outputs: str) -> Callable[[Path], None]:
    """A reader of a table's file that writes it again as each of `outputs`, names of files."""

    def read(path: Path) -> None:
        for name in outputs:
            _filled_from(path, path.parent / name)

    return read


def _compressed(path: Path) -> None:
    """The bytes as what each suffix says."""
    for suffix in (".gz", ".bz2", ".xz", ".zip"):
        place = path.with_name(f"y.csv{suffix}")
        place.write_bytes(path.read_bytes())
        try:
            _filled_from(place, path.parent / f"out.csv{suffix}")
        except (ValueError, OSError):
            continue


def _packed(suffix: str) -> bytes:
    import bz2
    import gzip
    import lzma

    payload = b"a,b\n1,x\n,y\n2,\n"
    if suffix == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("y.csv", payload)
        return buffer.getvalue()
    return {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix](payload)


def _workbook() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["n", "when", "who"], [1.5, pd.Timestamp("2024-01-05").to_pydatetime(), "x"], [None, None, "=A2"]):
        book.active.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def _member(name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(_workbook())) as archive:
        return archive.read(name)


def _sheet_reader(member: str) -> Callable[[Path], None]:
    """A reader of a workbook one part of which is spoilt."""

    def read(path: Path) -> None:
        place = path.with_name("book.xlsx")
        with zipfile.ZipFile(io.BytesIO(_workbook())) as whole, zipfile.ZipFile(place, "w") as spoilt:
            for name in whole.namelist():
                spoilt.writestr(name, path.read_bytes() if name == member else whole.read(name))
        _filled_from(place, path.with_name("filled.xlsx"))

    return read


def _database(folder: Path) -> bytes:
    path = folder / "seed.sqlite"
    folder.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as base:
        base.execute("PRAGMA page_size = 512")
        base.execute("CREATE TABLE t (n INTEGER, x REAL, w TEXT, b BLOB)")
        base.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", [(1, 1.5, "a", b"x"), (None, None, None, None)] * 4)
    base.close()
    return path.read_bytes()


def _parquet() -> bytes:
    buffer = io.BytesIO()
    asked()[1].drop(columns="quarter").iloc[:5].astype({"age": "Int64"}).mask(np.eye(5, 12) > 0).to_parquet(buffer)
    return buffer.getvalue()


def _read_codec(path: Path) -> None:
    frame = asked()[1]
    codec = TableCodec(Schema.load(path))
    gaps = frame.astype(object).mask(np.random.default_rng(1).random(frame.shape) < 0.3)
    rows = codec.rows(gaps)
    rows = np.where(np.isnan(rows), np.float32(0), rows)
    codec.filled(gaps.reindex(columns=[c.name for c in codec.columns]), rows, 0)
    codec.new_frame(rows, 0)
    parse_conditions("age >= 30", Units(codec))


def _save_imputer(folder: Path) -> None:
    frame = asked()[1][["state", "age", "key"]]
    BigLearnImputer(model="forest", preset="fast", progress=False).fit(frame).save(folder)


def _read_imputer(folder: Path) -> None:
    frame = asked()[1][["state", "age", "key"]].astype({"age": "Int64"}).copy()
    frame.iloc[0] = None
    imputer = BigLearnImputer.load(folder)
    imputer.progress = False
    imputer.transform(frame)


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf8", "surrogateescape")


def _read_condition(path: Path) -> None:
    parse_conditions(_text(path), Units(asked()[0]))


def _read_rule(path: Path) -> None:
    codec, frame = asked()
    rows = codec.rows(frame)
    rules = Rules.read([_text(path)], Units(codec)).learnt_from(rows)
    rules.broken(rules.units.values(rows), rows)


def _read_format(path: Path) -> None:
    form, _, date = _text(path).partition("\n")
    found = DateFormat(form).read(date)
    if found is not None:
        DateFormat(form).write(found)


def _quiet(read: Callable[[Path], object]) -> Callable[[Path], object]:
    def quiet(path: Path) -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(path)

    return quiet


def table_targets(scratch: Path) -> dict[str, Target]:
    """Name → target. scratch: an empty folder."""
    _save_imputer(scratch / "imputer")
    saved = {n: (scratch / "imputer" / n).read_bytes() for n in ("imputer.json", "mixture.json", "forest/forest.json")}
    codec = asked()[0].schema.to_json().encode()
    sheet, styles = "xl/worksheets/sheet1.xml", "xl/styles.xml"
    found = {
        "dialect": Target("x.csv", TEXTS, _table_reader("out.csv", "out.jsonl")),
        "plain_text": Target("x.txt", TEXTS, _table_reader("out.txt", "out.tsv")),
        "json_lines": Target("x.jsonl", LINES, _table_reader("out.jsonl", "out.csv"), is_json=False),
        "compressed": Target("x", tuple(_packed(s) for s in (".gz", ".bz2", ".xz", ".zip")), _compressed),
        "workbook": Target("x.xlsx", (_workbook(),), _table_reader("out.xlsx")),
        "sheet": Target("sheet.xml", (_member(sheet),), _sheet_reader(sheet)),
        "styles": Target("styles.xml", (_member(styles),), _sheet_reader(styles)),
        "sqlite": Target("x.sqlite", (_database(scratch / "base"),), _table_reader("out.csv")),
        "parquet": Target("x.parquet", (_parquet(),), _table_reader("out.parquet", "out.csv")),
        "columns": Target("schema.json", (codec,), _read_codec, is_json=True),
        "condition": Target("x", CONDITIONS, _read_condition),
        "rule": Target("x", RULES, _read_rule),
        "date_format": Target("x", (b"%d.%m.%Y\n31.12.2024", b"%-I:%M %p\n1:05 PM"), _read_format),
        "address": Target(
            "x", (b"postgresql://me:pw@host:5432/base", b"a/b.csv.gz"), lambda p: place_of(_text(p)).name
        ),
        "setting": Target("x", (b"kinds={a: category}", b"steps=3"), lambda p: keywords([_text(p)])),
        "attributes": Target("attributes.csv", (b"file,colour\na.png,red\nb.png,?\n",), read_attributes),
    }
    for name, payload in saved.items():
        reader = in_folder(name, _save_imputer, _read_imputer)
        found[Path(name).stem] = Target(Path(name).name, (payload,), reader, is_json=True)
    return {n: Target(t.file_name, t.seeds, _quiet(t.read), t.is_json) for n, t in found.items()}
