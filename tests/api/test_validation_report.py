"""``tr.validate`` and its report, as Python sees them."""

from pathlib import Path

import polars as pl
import pytest

import tokenroof as tr
from tokenroof.calibrate.validation import files

RUNS = Path(__file__).resolve().parents[2] / "examples" / "runs.csv"
ROW = {
    "id": "mine",
    "hardware": "h100",
    "num_gpus": 1,
    "tp": 1,
    "model": "llama-3.1-8b",
    "framework": "vllm",
    "isl": 200,
    "osl": 50,
    "load": "closed:conc=4",
    "total_tput_per_gpu": 2500.0,
}


@pytest.fixture(scope="module")
def report():
    return tr.validate(RUNS, by="hardware")


def test_the_report_in_numbers(report):
    assert (len(report), len(report.found.predicted)) == (4, 3)
    assert report.feasible
    assert report.error("mean_tpot_s") == report.metrics["mean_tpot_s"].median_fraction
    assert 0.0 < report.error("total_tput_per_gpu") < 0.5
    assert [group.key for group in report.groups] == [("h100",), ("h200",)]
    assert sum(report.reasons.values()) == 1
    assert [outcome.row.id for outcome in report] == [outcome.row.id for outcome in report.found.outcomes]


def test_errors_are_those_of_the_rows(report):
    frame = report.to_frame()
    assert frame.height == 4
    off = (frame["predicted_mean_tpot_s"] / frame["measured_mean_tpot_s"] - 1.0).drop_nulls()
    assert off.to_list() == pytest.approx(frame["error_mean_tpot_s"].drop_nulls().to_list())
    assert report.metrics["mean_tpot_s"].median_fraction == pytest.approx(off.abs().median())
    assert report.document()["metrics"]["mean_tpot_s"]["median_ape"] == pytest.approx(
        100 * off.abs().median()
    )
    assert frame.filter(pl.col("reason") != "")["id"].to_list() == ["h200-tp3-conc64"]


def test_every_interval_is_that_of_an_estimate(report):
    for outcome in report.found.predicted:
        for metric, (low, high) in outcome.intervals.items():
            assert low <= outcome.predicted[metric] <= high


def test_it_shows_itself(report):
    assert "3 of 4 (75.0 %) rows predicted" in str(report)
    assert repr(report).startswith("ValidationReport: 3 of 4 (75.0 %) rows predicted, total tok/s off by ")


def test_metrics_that_are_none(report):
    with pytest.raises(tr.InputError, match=r"unknown metric 'tpot'\. Known: total_tput"):
        report.error("tpot")
    with pytest.raises(tr.InputError, match="no row has p99_ttft_s both measured and predicted"):
        report.error("p99_ttft_s")


def test_what_is_saved(report, tmp_path):
    for name in ("a.json", "a.html", "a.csv", "a.parquet"):
        assert report.save(tmp_path / name).stat().st_size > 0
    assert pl.read_parquet(tmp_path / "a.parquet").equals(report.to_frame())
    with pytest.raises(tr.InputError, match="unknown extension"):
        report.save(tmp_path / "a.xlsx")
    with pytest.raises(tr.InputError, match="cannot write"):
        report.save_all(tmp_path / "a.csv" / "b")


def test_rows_as_mappings_frames_and_files_are_the_same(tmp_path):
    path = tmp_path / "rows.csv"
    pl.DataFrame([ROW]).write_csv(path)
    told = [
        tr.validate(data).document()["rows"]
        for data in ([ROW], iter([ROW]), pl.DataFrame([ROW]), path, str(path), [path])
    ]
    assert all(each == told[0] for each in told)
    assert told[0][0]["predicted"]


def test_given_replaces_and_where_takes():
    rows = [ROW, ROW | {"id": "other", "tp": 3}]
    assert tr.validate(rows, given={"tp": 1}).reasons == {}
    assert [o.row.id for o in tr.validate(rows, where={"id": "other"})] == ["other"]
    assert len(tr.validate(rows, where={"id": ["mine", "other"]})) == 2


def test_nothing_given_and_nothing_there(monkeypatch, tmp_path):
    with pytest.raises(tr.InputError, match="no rows are given"):
        tr.validate([])
    monkeypatch.setattr(files, "_DIRECTORY", tmp_path)
    with pytest.raises(tr.InputError, match="the package runs outside of it"):
        tr.validate()


def test_a_chip_of_the_users_own(tmp_path):
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips" / "mine.yaml").write_text("extends: h100\n")
    rows = [ROW, ROW | {"id": "own", "hardware": "mine"}]
    assert [bool(each.predicted) for each in tr.validate(rows)] == [True, False]
    assert [bool(each.predicted) for each in tr.validate(rows, catalog=tmp_path)] == [True, True]
    assert [bool(each.predicted) for each in tr.validate(rows, catalog=tmp_path, workers=2)] == [True, True]
