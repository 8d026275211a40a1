"""Rows predicted for real: every kind, in their order, on one process and on two, bad rows among them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from validation_rows import KINDS, SMALL, shipped

import tokenroof as tr
from tokenroof.calibrate.validation import run
from tokenroof.calibrate.validation.core import METRICS
from tokenroof.calibrate.validation.files import read_rows, rows_from, shipped_files
from tokenroof.calibrate.validation.run import predict_rows
from tokenroof.errors import InputError

CATALOG = tr.load_catalog()
BAD = {
    "tp": "3",
    "num_gpus": "-1",
    "model": "lama-5",
    "hardware": "h1000",
    "isl": "many",
    "load": "closed:conc=0",
    "total_tput_per_gpu": "0",
    "framework": "",
    "osl": "1e30",
    "mean_tpot_s": "nan",
    "weight_precision": "fp5",
    "kv_precision": "fp5",
    "spec_decoding": "magic",
    "dp_attention": "maybe",
}


def test_every_kind_of_row_is_predicted_and_near_what_was_measured() -> None:
    report = tr.validate(shipped(*KINDS), workers=1)
    assert report.reasons == {}
    assert len(report) == len(KINDS)
    for outcome in report:
        assert set(outcome.measured) & set(METRICS) <= set(outcome.predicted)
        assert outcome.measured
        for metric, value in outcome.measured.items():
            if "tput" in metric or "tpot" in metric:
                assert value / 2.5 < outcome.predicted[metric] < 2.5 * value, (outcome.row.id, metric)


def test_bad_rows_are_named_and_the_rest_is_scored() -> None:
    rows = [SMALL, *(SMALL | {"id": column, column: value} for column, value in BAD.items()), SMALL]
    report = tr.validate(rows, workers=1)
    lost = {outcome.row.id: outcome.reason for outcome in report.found.unmapped}
    assert set(lost) == set(BAD)
    assert not any("report it" in reason for reason in lost.values())
    assert "lama-5" in lost["model"]
    assert "tp=3" in lost["tp"]
    assert "total_tput_per_gpu must be above 0, got '0'" in lost["total_tput_per_gpu"]
    assert report.metrics["total_tput_per_gpu"].n == 2
    assert report[0].predicted == report[len(report) - 1].predicted


def test_order_and_numbers_do_not_depend_on_the_number_of_processes() -> None:
    rows = rows_from(
        [
            SMALL | {"id": str(place), "isl": str(100 + 50 * place), "tp": ("1", "3")[place % 3 == 2]}
            for place in range(7)
        ]
    )
    told: list[int] = []
    alone = predict_rows(rows, CATALOG, workers=1)
    apart = predict_rows(rows, CATALOG, workers=2, progress=told.append)
    assert [outcome.row.id for outcome in apart] == list("0123456")
    assert [(each.predicted, each.reason) for each in apart] == [
        (each.predicted, each.reason) for each in alone
    ]
    assert sum(told) == len(rows)


def test_rows_with_the_same_tables_stay_together_and_are_spread_when_there_are_many() -> None:
    rows = [(place, row) for place, (row, _) in enumerate(read_rows(shipped_files()[:1]))]
    chunks = run._chunks(rows, workers=2)
    assert sorted(place for chunk in chunks for place, _ in chunk) == list(range(len(rows)))
    keys = [{tuple(row.text(name) for name in run._SAME_TABLES) for _, row in chunk} for chunk in chunks]
    assert all(len(key) == 1 for key in keys)
    assert len(chunks) == len({key for found in keys for key in found})  # none is split: each is short
    assert [len(chunk) for chunk in chunks] == sorted((len(chunk) for chunk in chunks), reverse=True)
    alike = [(place, rows[0][1]) for place in range(100)]
    assert [len(chunk) for chunk in run._chunks(alike, workers=2)] == [13] * 7 + [9]


def test_a_fault_of_ours_costs_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(row, catalog):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(run, "predict_row", broken)
    (outcome,) = predict_rows(rows_from([SMALL]), CATALOG)
    assert outcome.reason == "fault of tokenroof, please report it: ZeroDivisionError: division by zero"


def test_workers_must_be_some() -> None:
    with pytest.raises(InputError, match="workers must be at least 1, got 0"):
        predict_rows(rows_from([SMALL]), CATALOG, workers=0)


def test_a_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    """Processes are started afresh; a plain script must not run again in each of them."""
    script = tmp_path / "script.py"
    script.write_text(
        "import tokenroof as tr\n"
        f"row = {SMALL!r}\n"
        "print('once')\n"
        "report = tr.validate([row, row | {'tp': '3'}], workers=2)\n"
        "print(len(report.found.predicted), len(report.found.unmapped))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("once\n1 1\n", "", 0)
