"""``tokenroof calibrate``: streams, files, exit codes, and what other commands make of the files."""

import csv
import json
from pathlib import Path

import polars as pl
import pytest

from tokenroof.cli import main

ROW = {
    "hardware": "h100",
    "num_gpus": "1",
    "tp": "1",
    "model": "llama-3.1-8b",
    "framework": "vllm",
    "isl": "300",
    "osl": "60",
    "length_distribution": "fixed",
}
SLOW = [
    ROW
    | {"id": f"c{load}", "load": f"closed:conc={load}", "n_requests": str(4 * load)}
    | {"mean_tpot_s": tpot}
    for load, tpot in ((1, "0.0108"), (8, "0.0114"), (32, "0.0126"))
]
"""Tokens take some 4 ms longer than the model says."""


@pytest.fixture
def file(tmp_path: Path):
    def write(*rows: dict[str, str]) -> str:
        with (tmp_path / "runs.csv").open("w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return str(tmp_path / "runs.csv")

    return write


def tpot_s(capsys, *more: str) -> float:
    asked = ("--model", "llama-3.1-8b", "--chip", "h100", "--isl", "300", "--osl", "60", "--concurrency", "8")
    assert main(["estimate", *asked, "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)["estimates"][0]["metrics"]["tpot_s"]["value"]


def test_a_fit_writes_a_catalog_that_other_commands_take(capsys, file, tmp_path):
    mine = tmp_path / "mine"
    asked = ["calibrate", "--data", file(*SLOW), "--out", str(mine), "--workers", "1", "--cv", "row"]
    assert main([*asked, "--parameters", "step_overhead_s:h100"]) == 0
    captured = capsys.readouterr()
    assert "1 parameter fitted to 3 rows" in captured.out
    assert "host time of every step" in captured.out
    assert f"wrote {mine / 'tuning.csv'}" in captured.err
    with (mine / "tuning.csv").open(newline="") as table:
        (row,) = csv.DictReader(table)
    assert (row["name"], row["scope"], row["unit"], row["source"]) == ("step_overhead_s", "h100", "s", "user")
    assert float(row["value"]) > 1e-3
    more_s = tpot_s(capsys, "--catalog", str(mine)) - tpot_s(capsys)
    assert more_s == pytest.approx(float(row["value"]), rel=0.02)


def test_a_catalog_made_by_hand_is_not_replaced(capsys, file, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "tuning.csv").write_text("my hand work", encoding="utf-8")
    asked = ["calibrate", "--data", file(*SLOW), "--workers", "1", "--out"]
    assert main([*asked, str(mine)]) == 2
    assert "files that no calibration wrote" in capsys.readouterr().err
    assert (mine / "tuning.csv").read_text(encoding="utf-8") == "my hand work"
    assert main([*asked, str(mine / "tuning.csv")]) == 2
    assert "is a file" in capsys.readouterr().err


def test_json_stands_alone_and_says_what_is_off(capsys, file):
    asked = ["calibrate", "--data", file(*SLOW), "--json", "--workers", "1", "--cv", "row"]
    assert main([*asked, "--parameters", "step_overhead_s:h100"]) == 0
    told = json.loads(capsys.readouterr().out)
    (parameter,) = told["parameters"]
    assert parameter["unit"] == "s"
    assert parameter["rows"] == 3
    assert parameter["standard_error"] > 0.0
    (errors,) = told["errors"]
    assert errors["metric"] == "tpot"
    assert errors["median_ape"] < errors["before_median_ape"]
    assert set(errors["left_out_median_ape"]) == {"row"}
    assert {each["id"] for each in told["rows"]} == {"c1", "c8", "c32"}
    assert told["coverage"] == {"rows": 3, "fitted": 3, "refused": []}


def test_rows_that_cannot_be_used_are_named_and_the_rest_is_fitted(capsys, file):
    lost = SLOW[0] | {"id": "lost", "hardware": "h1000"}
    asked = ["calibrate", "--data", file(*SLOW, lost), "--workers", "1", "--cv", ""]
    assert main([*asked, "--parameters", "step_overhead_s:h100"]) == 0
    out = capsys.readouterr().out
    assert "Rows that were not used: 1 of 4" in out
    assert "lost" in out


@pytest.mark.parametrize("changes", [{"hardware": "h1000"}, {"mean_tpot_s": ""}, {"load": "some"}])
def test_nothing_to_fit_to_is_exit_code_three_with_the_reason(capsys, file, tmp_path, changes):
    mine = tmp_path / "mine"
    asked = ["calibrate", "--data", file(*(row | changes for row in SLOW)), "--out", str(mine)]
    assert main([*asked, "--workers", "1"]) == 3
    captured = capsys.readouterr()
    assert "Nothing was fitted: no row can be fitted on" in captured.out
    assert "Rows that were not used: 3 of 3" in captured.out
    assert not mine.exists()


def test_what_the_rows_do_not_depend_on_is_refused(capsys, file):
    asked = ["calibrate", "--data", file(*SLOW), "--workers", "1", "--cv", ""]
    assert main([*asked, "--parameters", "time_collective:h100"]) == 3
    out = capsys.readouterr().out
    assert "time_collective:h100" in out
    assert "too little" in out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "nothing to fit to"),
        (["--data", "gone.csv"], "gone.csv"),
        (["--operators", "gone"], "no directory 'gone'"),
        (["--data", "FILE", "--parameters", "time_gem:h100"], "Nearest: time_gemm"),
        (["--data", "FILE", "--scopes", "some"], "narrow or wide"),
        (["--data", "FILE", "--cv", "colour"], "colour"),
        (["--data", "FILE", "--workers", "0"], "at least 1"),
        (["--data", "FILE", "--set", "tp"], "COLUMN=VALUE"),
    ],
)
def test_slips_are_one_line(capsys, file, more, said):
    path = file(*SLOW)
    assert main(["calibrate", *(path if word == "FILE" else word for word in more)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_measured_operators_become_forms_of_the_catalog(capsys, tmp_path):
    pytest.importorskip("scipy")
    moved = [2.0**power for power in range(12, 32)]
    table = pl.DataFrame(
        {
            "chip": "h100",
            "kernels": "vllm",
            "op": "norm",
            "moved_bytes": moved,
            "latency_us": [5.0 + each / 2e12 * 1e6 for each in moved],
        }
    )
    (tmp_path / "mine").mkdir()
    table.write_parquet(tmp_path / "mine" / "elementwise.parquet")
    out = tmp_path / "catalog"
    assert main(["calibrate", "--operators", str(tmp_path / "mine"), "--out", str(out)]) == 0
    assert "elementwise" in capsys.readouterr().out
    with (out / "efficiency" / "elementwise.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    parameters = dict(pair.split("=") for pair in row["parameters"].split())
    assert float(parameters["launch_s"]) == pytest.approx(5e-6, rel=0.1)
    assert float(parameters["memory_fraction"]) == pytest.approx(2.0 / 3.35, rel=0.05)
    assert (row["source"], row["rows"]) == ("user", "20")
    assert tpot_s(capsys, "--catalog", str(out)) != tpot_s(capsys)
