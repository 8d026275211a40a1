"""``tokenroof validate``: streams, files and exit codes."""

import csv
import json
import re
from pathlib import Path

import pytest

from tokenroof.cli import main

SMALL = {
    "id": "small",
    "hardware": "h100",
    "num_gpus": "1",
    "tp": "1",
    "model": "llama-3.1-8b",
    "framework": "vllm",
    "isl": "200",
    "osl": "50",
    "load": "closed:conc=4",
    "total_tput_per_gpu": "2500",
}
LOST = SMALL | {"id": "lost", "tp": "3"}


@pytest.fixture
def file(tmp_path: Path):
    """Writes rows as a CSV file and gives its path."""

    def write(*rows: dict[str, str], name: str = "runs.csv") -> str:
        with (tmp_path / name).open("w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return str(tmp_path / name)

    return write


def test_a_table_and_zero_when_one_row_was_predicted(capsys, file):
    assert main(["validate", "--data", file(SMALL, LOST)]) == 0
    captured = capsys.readouterr()
    assert "1 of 2 (50.0 %) rows predicted" in captured.out
    assert "does not divide" in captured.out
    assert "Worst rows" in captured.out
    assert captured.err == ""


def test_json_stands_alone(capsys, file, tmp_path):
    assert main(["validate", "--data", file(SMALL, LOST), "--json", "--out", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert told["coverage"]["rows"] == 2
    assert captured.err.count("wrote ") == 3
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == told
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!doctype html>")
    rows = list(csv.DictReader((tmp_path / "out" / "rows.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == ["small", "lost"]
    assert float(rows[0]["error_total_tput_per_gpu"]) == pytest.approx(
        float(rows[0]["predicted_total_tput_per_gpu"]) / 2500 - 1
    )


def test_three_when_none_was_predicted_and_the_reasons_all_the_same(capsys, file):
    assert main(["validate", "--data", file(LOST), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["coverage"]["predicted"] == 0
    assert told["rows"][0]["predicted"] == {}
    assert "tp=3" in told["rows"][0]["reason"]


@pytest.mark.parametrize(
    "missing", ["hardware", "model", "framework", "load", "num_gpus", "isl", "total_tput_per_gpu"]
)
def test_a_missing_column_is_named_for_every_row(capsys, file, missing):
    row = {column: text for column, text in SMALL.items() if column != missing}
    others = SMALL | {"id": "whole"}
    assert main(["validate", "--data", file(row), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["rows"][0]["reason"]
    command = ["validate", "--data", file(row), "--data", file(others, name="b.csv"), "--json"]
    assert main(command) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [bool(row["predicted"]) for row in rows] == [False, True]
    assert rows[0]["reason"]


def test_set_says_what_the_file_does_not(capsys, file):
    row = {column: text for column, text in SMALL.items() if column not in ("hardware", "tp")}
    assert main(["validate", "--data", file(row), "--set", "hardware=h100", "--set", "tp=1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"][0]["key"] == "h100,llama-3.1-8b,vllm"


def test_where_takes_some_rows(capsys, file):
    data = file(SMALL, LOST, SMALL | {"id": "far", "tp": "5"})
    assert main(["validate", "--data", data, "--where", "id=lost,far", "--where", "tp=3", "--json"]) == 3
    assert [row["id"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["lost"]


def test_by_any_column(capsys, file):
    assert main(["validate", "--data", file(LOST), "--by", "tp, load", "--json"]) == 3
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert [(group["by"], group["key"]) for group in groups] == [
        ("tp,load", "3,closed:conc=4"),
        ("tp", "3"),
        ("load", "closed:conc=4"),
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--by", "hardwar"], "by: no row has a column 'hardwar'. Nearest: hardware"),
        (["--by", ","], "by names no column"),
        (["--where", "quality"], "--where takes COLUMN=VALUE, got 'quality'"),
        (["--where", "tp=9"], "no row has tp '9'. They have: 3."),
        (["--set", "hardwear=h100"], "unknown column 'hardwear'. Nearest: hardware"),
        (["--set", "tp=1", "--set", "tp=2"], "--set gives tp twice"),
        (["--worst", "-1"], "worst must be at least 0"),
        (["--workers", "0"], "workers must be at least 1"),
        (["--html", "report.pdf"], "unknown extension"),
        (["--catalog", "/nowhere/at/all"], "no catalog directory"),
        (["--nonsense"], "no such option"),
    ],
)
def test_wrong_options_are_one_line_and_two(capsys, file, options, words):
    assert main(["validate", "--data", file(LOST), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert words.lower() in captured.err.lower()


@pytest.mark.parametrize("content", [None, b"", b"\x00\x01", b"hello\n", b"{", b"a,b\n1,2\n"])
def test_a_file_that_cannot_be_read_is_two(capsys, tmp_path, content):
    path = tmp_path / "runs.csv"
    if content is not None:
        path.write_bytes(content)
    assert main(["validate", "--data", str(path), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"tokenroof: .*runs\.csv.*\n", captured.err)
