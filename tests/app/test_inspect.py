"""The command inspect: what it prints of a table, what may be said by name, faults in one line."""

from __future__ import annotations

from tests.helpers.commands import biglearn

SURVEY = "zip,age,seen\n" + "".join(
    f"{'00501' if i % 2 else '02139'},{-999 if i % 10 == 3 else 20 + i},{i % 28 + 1:02d}.03.2024\n" for i in range(40)
)


def test_columns_of_a_file_are_described_and_can_be_said_by_name(tmp_path):
    file = tmp_path / "survey.csv"
    file.write_text(SURVEY, encoding="utf8")
    code, out, error = biglearn("inspect", file)
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert code == 0 and out.startswith("40 rows, 3 columns"), error
    assert "category" in lines["zip"] and "00501 50%" in lines["zip"] and "code" in lines["zip"]
    assert "-999 … 59" in lines["age"] and "%d.%m.%Y" in lines["seen"]
    assert "age: -999 (4 cells) may mean a missing cell; --missing age=-999 says so" in out
    code, out, _ = biglearn("inspect", file, "--set", "missing={age: [-999]}", "--set", "kinds={zip: ignore}")
    assert code == 0 and "4 (10.0%): -999" in out and "20 … 59" in out and "the user named it" in out


def test_faults_are_one_line(tmp_path):
    file = tmp_path / "survey.csv"
    file.write_text(SURVEY, encoding="utf8")
    for arguments, message in (
        (
            (file, "--set", "steps=3"),
            "--set of inspect must name one of kinds, missing, formats, max_categories. Got 'steps'",
        ),
        ((file, "--set", "kinds={nowhere: float}"), "Got ['nowhere']"),
        ((tmp_path / "none.csv",), "none.csv"),
    ):
        code, _, error = biglearn("inspect", *arguments)
        assert (
            code == 1 and message in error.splitlines()[-1] and "Traceback" not in error
        )  # a line on the file may go before


def test_rules_that_all_rows_keep(tmp_path):
    file = tmp_path / "orders.csv"
    lines = [f"{i % 37},{i % 11},{i % 37 + i % 11},{['CA', 'NY', 'TX'][i % 3]}" for i in range(120)]
    file.write_text("\n".join(["net,tax,total,state", *lines]) + "\n", encoding="utf8")
    code, out, error = biglearn("inspect", file, "--rules")
    assert (
        code == 0 and "Rules that all rows keep" in out and "  net + tax == total  120 rows; the parts add up" in out
    ), error
    file.write_text(SURVEY, encoding="utf8")
    assert "Rules that all rows keep: none found." in biglearn("inspect", file, "--rules")[1]
