"""Rows out of files, tables in memory and the repository; which of them are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from validation_rows import KINDS, SMALL, shipped

from tokenroof.calibrate.validation import files
from tokenroof.errors import InputError

HEAD = ",".join(SMALL)
LINE = ",".join(SMALL.values())


def test_both_files_come_with_the_repository() -> None:
    serving, tables = (files.read_rows([path]) for path in files.shipped_files())
    assert (len(serving), len(tables)) == (584, 347)
    assert not any(problem for _, problem in (*serving, *tables))
    for row, _ in (*serving, *tables):
        assert row.text("source")
        assert row.text("source_url")
        assert row.text("license")
    names = [row.id for row, _ in (*serving, *tables)]
    assert len(set(names)) == len(names)
    assert len(shipped(*KINDS)) == len(KINDS)


def test_outside_the_repository_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(files, "_DIRECTORY", tmp_path)
    with pytest.raises(InputError, match=r"outside of it\. Give a file of your own"):
        files.shipped_files()


def test_files_follow_each_other(tmp_path: Path) -> None:
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text(f"{HEAD}\n{LINE}\n")
    two.write_text(f"{HEAD}\n{LINE}\nh100,1\n")
    rows = files.read_rows([one, two], {"tp": "2"})
    assert [row.id for row, _ in rows] == ["one-2", "two-2", "two-3"]
    assert [bool(problem) for _, problem in rows] == [False, False, True]
    assert {row.text("tp") for row, _ in rows} == {"2"}


def test_rows_in_memory() -> None:
    ((row, problem),) = files.rows_from([{"hardware": "h100", "tp": 2, "isl": None}], {"osl": "7"})
    assert problem == ""
    assert [row.text(name) for name in ("hardware", "tp", "isl", "osl")] == ["h100", "2", "", "7"]
    assert row.id == "line 1"
    with pytest.raises(InputError, match="row 1 must be a mapping"):
        files.rows_from([["h100"]])  # type: ignore[list-item]


def rows(*qualities: str):
    return files.rows_from([{"quality": quality, "hardware": "h100"} for quality in qualities])


def test_where_takes_rows_that_say_one_of_several() -> None:
    kept = files.only(rows("A", "B", "C", ""), {"quality": ["a", "B"]})
    assert [row.text("quality") for row, _ in kept] == ["A", "B"]
    assert len(files.only(rows("A", ""), {"quality": [""]})) == 1
    assert files.only(rows("A", "B"), {"quality": ["B"], "hardware": ["h100"]})[0][0].text("quality") == "B"


def test_where_names_what_there_is() -> None:
    with pytest.raises(InputError, match=r"no row has quality 'Z'. They have: A, B, \"\"\."):
        files.only(rows("A", "B", ""), {"quality": ["Z"]})
    with pytest.raises(InputError, match=r"no row has a column 'qualty'\. Nearest: quality"):
        files.only(rows("A"), {"qualty": ["A"]})
