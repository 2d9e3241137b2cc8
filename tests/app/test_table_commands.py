"""fit, impute, sample on people's files through the command line: what is written, said, and left alone."""

from __future__ import annotations

import re

import pytest

from pipeline.sources.opening import read_frame
from tests.helpers.commands import biglearn

SMALL = ("--set", "model=network", "--set", "steps=2", "--set", "width=8", "--set", "depth=1", "--set", "batch_size=16")
ROWS = [f"0{i % 5};{1.5 + i / 10:.1f};{'ja' if i % 2 else 'nein'}".replace(".", ",") for i in range(20)]
TEXT = "# Zählung\r\nplz;größe;da\r\n" + "\r\n".join([*ROWS[:3], "03;;ja", "04;1,9;", *ROWS[5:]])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    (folder / "in.csv").write_bytes(TEXT.encode("cp1252"))
    code, out, error = biglearn("fit", folder / "in.csv", "-o", folder / "model", *SMALL, "--fit-rows", 15)
    assert code == 0, error
    assert "separator semicolon, decimal comma, cp1252 (a guess), comments #, header" in error
    assert "fitting on 15 of 20 rows, drawn at random with seed 0 (--fit-rows)" in error
    return folder / "model"


def test_impute_changes_two_cells_of_the_file(model, tmp_path):
    source = model.parent / "in.csv"
    code, out, error = biglearn("impute", source, "-o", tmp_path / "out.csv", "--model", model)
    assert code == 0 and "impute: 2 missing cells of 20 rows filled in" in out, error
    text = (tmp_path / "out.csv").read_bytes().decode("cp1252")
    pattern = (
        re.escape(TEXT).replace(re.escape("03;;ja"), r"03;\d,\d;ja").replace(re.escape("04;1,9;"), "04;1,9;(ja|nein)")
    )
    assert re.fullmatch(pattern, text)
    code, out, error = biglearn("impute", tmp_path / "out.csv", "-o", tmp_path / "again.csv")  # nothing to fill: no fit
    assert code == 0 and "impute: 0 missing cells of 20 rows" in out, error
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "out.csv").read_bytes()
    code, _, error = biglearn("impute", source, "-o", tmp_path / "out.csv", "--model", model)
    assert code == 1 and "is already there; --force overwrites it." in error


def test_draws_and_samples_go_to_other_kinds(model, tmp_path):
    source = model.parent / "in.csv"
    code, _, error = biglearn("impute", source, "-o", tmp_path / "d.parquet", "--model", model, "--draws", 2)
    assert code == 0, error
    frame = read_frame(tmp_path / "d.parquet")
    assert (
        list(frame.columns) == ["draw", "row", "plz", "größe", "da"]
        and len(frame) == 40
        and frame.notna().all(axis=None)
    )
    code, out, error = biglearn("sample", model, 30, "-o", tmp_path / "new.xlsx")
    assert code == 0 and "sample: 30 rows in" in out, error
    assert set(read_frame(tmp_path / "new.xlsx")["da"]) <= {"ja", "nein"}


PEOPLE = "id,start,end,state\n" + "\n".join(
    f"P-{100 + 7 * i},{i % 9},{'' if i % 5 == 0 else i % 9 + i % 4},{'CA' if i % 3 else 'NY'}" for i in range(40)
)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("settings", [("model=network", "rules=[start <= end]"), ("model=forest",)])
def test_every_model_of_a_table_draws_its_whole_table(tmp_path, settings):
    """Of a forest alone, under rules, and with a column that is not modelled."""
    source, fitted = tmp_path / "people.csv", tmp_path / "model"
    source.write_text(PEOPLE)
    small = [word for text in (*SMALL[3::2], *settings) for word in ("--set", text)]
    code, _, error = biglearn("fit", source, "-o", fitted, *small)
    assert code == 0 and "note: Column 'id': it looks like an identifier" in error and "Warning" not in error
    made = {}
    for name, arguments in {
        "new": ("sample", fitted, 60),
        "known": ("sample", fitted, 20, "--with", "state=NY"),
        "drawn": ("complete", fitted, source, "--erase", "end", "--draws", 2),
        "asked": ("complete", fitted, source, "--given", "start", "--ask", "end"),
    }.items():
        code, _, error = biglearn(*arguments, "-o", tmp_path / f"{name}.csv")
        assert code == 0, error
        made[name] = read_frame(tmp_path / f"{name}.csv")
    assert list(made["new"].columns) == ["id", "start", "end", "state"] and made["new"]["id"].is_unique
    assert not made["new"].isna().any(axis=None) and len(made["new"]) == 60
    assert set(made["known"]["state"]) == {"NY"} and len(made["drawn"]) == 80
    assert made["drawn"]["end"].notna().all() and made["asked"]["state"].isna().all()
    if "rules=[start <= end]" in settings:
        assert all((made[name]["start"] <= made[name]["end"]).all() for name in ("new", "known", "drawn"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("impute", "SOURCE", "-o", "x.csv", "--model", "MODEL", "--runner", "moon"), "--runner must be here or dask. Got 'moon'."),
        (("impute", "SOURCE", "-o", "x.csv", "--separator", "::"), "'separator' must be one character, or tab. Got '::'."),
        (("impute", "SOURCE", "-o", "x.csv", "--table", "t"), "'table' and 'query' must go with a workbook or a database."),
        (("impute", "SOURCE", "-o", "postgresql://nobody@127.0.0.1:9/x"), "the new table must be named (--into). Got none."),
        (("fit", "nowhere.sqlite", "-o", "m"), "There is no file nowhere.sqlite."),
    ],
)  # fmt: skip
def test_faults_are_named_before_the_work(model, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    places = {"SOURCE": model.parent / "in.csv", "MODEL": model}
    code, _, error = biglearn(*(places.get(a, a) for a in arguments))
    assert code == 1 and message in error and list(tmp_path.iterdir()) == []
