"""CSV with the columns of the table: cells stay text, a bad row stops nobody."""

from __future__ import annotations

import pytest
from result_clients import Read, Refused

from tokenroof.calibrate.readers import COLUMNS

HEAD = "hardware,model,tp,load,median_ttft_s,mean_tpot_s\n"
ROW = "h100,llama-3.1-8b,1,closed:conc=4,0.05,0.012\n"


def test_rows_are_text(read: Read) -> None:
    (row,) = read(HEAD + "h100, llama-3.1-8b ,-3,,NaN,abc\n")
    assert dict(row.values) == {
        "hardware": "h100",
        "model": "llama-3.1-8b",
        "tp": "-3",
        "load": "",
        "median_ttft_s": "NaN",
        "mean_tpot_s": "abc",
        "id": "result-2",
    }
    assert (row.line, row.problem) == (2, "")


def test_the_columns_are_those_of_the_published_tables() -> None:
    assert len(set(COLUMNS)) == len(COLUMNS)
    wanted = {"total_tput_per_gpu_warm_est", "output_tput_total", "scenario", "constraint", "stream_chunk"}
    assert wanted <= set(COLUMNS)


def test_unknown_columns_and_ids_are_kept(read: Read) -> None:
    (row,) = read("id,team," + HEAD + "mine,blue," + ROW)
    assert (row.values["id"], row.values["team"]) == ("mine", "blue")


def test_a_row_of_another_length_stops_nobody(read: Read) -> None:
    rows = read(HEAD + ROW + "h100,llama\n" + ROW.strip() + ",7\n\n" + ROW)
    assert [row.line for row in rows] == [2, 3, 4, 6]
    assert [bool(row.problem) for row in rows] == [False, True, True, False]
    assert rows[1].problem.startswith("2 cells instead of 6.")
    assert rows[2].problem.startswith("7 cells instead of 6.")


def test_given_columns_replace_and_add(read: Read) -> None:
    rows = read("model,mean_tpot_s,tp\na,0.01,2\nb,0.02,4\n", hardware="h200", tp="8")
    assert [(row.values["hardware"], row.values["tp"]) for row in rows] == [("h200", "8")] * 2


def test_quoted_lines_and_byte_order_marks(read: Read) -> None:
    rows = read(
        ("\ufeff" + HEAD.replace("load", '"load"') + ROW.replace("llama-3.1-8b", '"a,\nb"') + ROW).encode()
    )
    assert [row.line for row in rows] == [2, 4]
    assert rows[0].values["model"] == "a,\nb"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD, "a header and no rows."),
        ("tp," + HEAD + "1," + ROW, "line 1: column 'tp' stands there twice."),
        (HEAD.strip() + ',"x\n' + ROW, "line 1: no CSV (unexpected end of data). Is a quote missing?"),
    ],
)
def test_what_is_refused(refused: Refused, text: str, message: str) -> None:
    assert refused(text).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD.replace("model", "modle") + ROW, "no column 'model'. Nearest: 'modle'. Rename it"),
        (HEAD.replace("hardware", "x") + ROW, "no column 'hardware'. Add it, or give it: --set hardware=..."),
        ("hardware,model,tp\nh100,m,1\n", "no column with something measured."),
        (HEAD + "x" * 200_000 + "\n", "no CSV (field larger than field limit"),
    ],
)
def test_a_missing_column_is_the_problem_of_every_row(read: Read, text: str, message: str) -> None:
    (row,) = read(text)
    assert row.problem.startswith(message)


def test_a_quote_that_does_not_close_costs_its_own_line(read: Read) -> None:
    rows = read(HEAD + ROW + 'h100,"llama,1\n' + ROW.replace("llama-3.1-8b", '"a,b"'))
    assert [row.line for row in rows] == [2, 3, 4]
    assert rows[1].problem == "no CSV (unexpected end of data). Is a quote missing?"
    assert [rows[0].problem, rows[2].problem] == ["", ""]
    assert rows[2].values["model"] == "a,b"
