"""docs/accuracy.md is what its files say, and the files are what the simulator says now."""

import csv
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import accuracy_page
import accuracy_page_charts
import accuracy_page_data as data
import accuracy_page_intervals
import accuracy_page_tables as tables
import accuracy_page_text as text
import predict_validation

from tokenroof.calibrate.intervals import FOLDS
from tokenroof.calibrate.validation.core import Outcome, Row
from tokenroof.calibrate.validation.fields import measured
from tokenroof.catalog.tuning import Parameter, Tuning, shipped
from tokenroof.errors import TokenroofError

ROOT = Path(__file__).resolve().parents[2]
STALE = "is out of date: run make accuracy"
A_DOZEN = {
    "imx-ab00cc4931": "closed loop, vLLM",
    "imx-3cb658bbe0": "closed loop, TensorRT-LLM",
    "imx-153143bbc0": "SGLang with a cold start",
    "neb-h200-gptoss-eagle3k1-c2-x10": "drafts",
    "imx-2b229f7dd1": "disaggregated",
    "imx-54a9784b0d": "MI300X",
    "imx-394f7237b6": "MI355X, ATOM",
    "tpu-v6e8-llama70b-c128": "TPU",
    "isim-20260217-155451-llama-2-7b-tp1-codegen-s0": "open loop",
    "trtmain-Llama-3.3-70B-Instruct-B200-TP1-FP4-1000-1000": "offline, TensorRT-LLM",
    "mlperf-v4.1-MI300X-x1-llama2-70b-Offline-fp8": "offline, MLPerf",
    "mlperf-v4.1-H100-NVL-94GB-x4-gptj-Server-fp16": "highest rate within limits",
    "ds-h800-prefill": "no prediction",
}
"""Rows of every kind that are simulated again."""

PREDICTED = data.read_predictions()
COVERAGE = data.read_lines(data.COVERAGE, data.COVERAGE_HEADER)
LINES = data.read_lines(data.PREDICTIONS, data.HEADER)


def made(row_id="r", *, total=100.0, predicted=110.0, file="serving.csv", without=None, **columns):
    row = Row(line=2, texts={"id": row_id, "quality": "A", "load": "closed:conc=4"} | columns)
    names = ("total_tput_per_gpu", "throughput")
    outcome = Outcome(
        row=row,
        measured=dict.fromkeys(names, total),
        predicted=dict.fromkeys(names, predicted) if predicted else {},
        reason="" if predicted else "no such chip",
    )
    held_out = {fold: dict.fromkeys(names, value) for fold, value in (without or {}).items()}
    return data.Predicted(file=file, outcome=outcome, without=held_out)


# --- what is shipped -----------------------------------------------------------------------------


def test_the_page_is_what_the_files_say():
    page = accuracy_page.page(PREDICTED, COVERAGE, shipped())
    assert accuracy_page.PAGE.read_text(encoding="utf-8") == page, f"docs/accuracy.md {STALE}"


def test_a_dozen_rows_of_every_kind_are_predicted_as_stored():
    now = predict_validation.predicted_lines(A_DOZEN)
    stored = [line for line in LINES if line["id"] in A_DOZEN]
    assert {line["id"] for line in now} == set(A_DOZEN)
    assert differences(stored, now) == [], f"predictions.csv {STALE}"


def differences(stored, now):
    """Where lines differ by more than a unit of the last digit, without what is held out."""
    found = []
    for old, new in zip(stored, now, strict=True):
        texts = [name for name in ("file", "id", "metric", "reason") if old[name] != new[name]]
        found += [f"{old['id']} {name}: {old[name]} is now {new[name]}" for name in texts]
        for name in ("measured", "predicted", "low", "high"):
            pair = (old[name], new[name])
            same = pair[0] == pair[1] or (all(pair) and math.isclose(*map(float, pair), rel_tol=1.01e-4))
            if not same:
                found.append(f"{old['id']} {old['metric']} {name}: {pair[0]} is now {pair[1]}")
    return found


def test_a_prediction_that_moves_is_noticed():
    stored = [line for line in LINES if line["id"] in A_DOZEN and line["predicted"]]
    moved = [dict(line) for line in stored]
    moved[0]["predicted"] = data.digits(1.001 * float(moved[0]["predicted"]))
    moved[-1]["high"] = ""
    assert differences(stored, stored) == []
    assert len(differences(stored, moved)) == 2


def test_every_row_is_there_with_what_was_measured():
    rows = data.shipped_rows()
    assert [each.outcome.row.id for each in PREDICTED] == [row.id for _, (row, _) in rows]
    for each in PREDICTED:
        try:
            seen = measured(each.outcome.row)
        except TokenroofError:
            continue
        kept = {name: value for name, value in each.outcome.measured.items() if name not in data.KINDS}
        assert kept == {name: float(data.digits(value)) for name, value in seen.items()}
        assert each.outcome.predicted or each.outcome.reason


def test_what_is_held_out_is_what_residuals_say():
    residuals = predict_validation.read_residuals()
    filled = data.with_held_out(LINES, residuals)
    assert filled == LINES, (
        "predictions.csv is older than residuals.parquet: predict_validation.py --held-out"
    )


def test_rows_of_parameters_are_those_of_the_shipped_ones():
    lines = data.read_lines(data.INFORMED, data.INFORMED_HEADER)
    names = [(line["name"], line["scope"]) for line in lines]
    assert names == [(each.name, each.scope) for each in shipped().parameters], STALE


def test_operator_numbers_are_counted():
    counts = {name: numbers for name, *numbers in text.operator_counts(accuracy_page.EFFICIENCY)}
    with (accuracy_page.EFFICIENCY / "gemm.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(counts["gemm"][::2]) == len(rows)
    assert sum(counts["gemm"][1::2]) == sum(row["parameters"].count("=") for row in rows)


@pytest.mark.parametrize("name", list(accuracy_page_charts.CHARTS.values()))
def test_charts_are_there_and_have_a_dot_per_row(name):
    drawn = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert drawn.startswith("<svg")
    assert "aria-label" not in drawn
    if "scatter" in name:
        names = ("total_tput_per_gpu", "output_tput_per_gpu", "mean_tpot_s", "median_tpot_s")
        names += ("median_ttft_s", "mean_e2e_s")
        dots = sum(line["metric"] in names and line["predicted"] != "" for line in LINES)
        assert len(re.findall(r"<circle[^>]*opacity", drawn)) == dots


def test_check_says_whether_the_page_is_current():
    found = subprocess.run([sys.executable, ROOT / "scripts" / "accuracy_page.py", "--check"], check=False)
    assert found.returncode == 0


# --- how it is made ------------------------------------------------------------------------------


def test_lines_of_a_row_have_five_digits_and_a_reason():
    outcome = Outcome(
        row=Row(line=1, texts={"id": "a"}),
        measured={"total_tput_per_gpu": 1234.5678, "mean_tpot_s": 0.01},
        predicted={"total_tput_per_gpu": 1000.004},
        intervals={"total_tput_per_gpu": (900.0, 1100.0)},
        reason="why",
    )
    first, second = data.lines_of("f.csv", outcome)
    assert (first["measured"], first["predicted"], first["low"], first["high"]) == (
        "1234.6",
        "1000",
        "900",
        "1100",
    )
    assert (second["metric"], second["predicted"], second["low"]) == ("mean_tpot_s", "", "")
    (alone,) = data.lines_of("f.csv", replace(outcome, measured={}, reason="no load"))
    assert (alone["metric"], alone["reason"]) == ("", "no load")


def test_predictions_of_other_rows_are_refused(tmp_path):
    path = tmp_path / "predictions.csv"
    data.write_lines(path, data.HEADER, LINES[:-1])
    with pytest.raises(ValueError, match="make accuracy"):
        data.read_predictions(path)


def test_errors_held_out_stand_beside_those_of_the_same_rows():
    rows = [
        made("a", predicted=110.0, without={"model": 130.0}),
        made("b", predicted=150.0),
        made("c", predicted=None),
    ]
    fit, without = tables.held_out(rows, "throughput", "model")
    assert (fit.n, fit.median_fraction) == (1, pytest.approx(0.1))
    assert (without.n, without.median_fraction) == (1, pytest.approx(0.3))
    assert set(FOLDS) == set(tables.FOLD_WORDS)


def test_a_group_over_the_bar_is_named_and_a_small_one_is_not():
    good = [made(f"g{n}", predicted=105.0, hardware="A", model="m", framework="f") for n in range(5)]
    bad = [made(f"b{n}", predicted=120.0, hardware="B", model="m", framework="f") for n in range(5)]
    few = [made(f"f{n}", predicted=200.0, hardware="C", model="m", framework="f") for n in range(4)]
    over = tables.over_bar([*good, *bad, *few])
    assert list(over) == [("B", "m", "f")]
    page = accuracy_page.page([*good, *bad, *few], (), Tuning())
    assert "1 groups above; worst B, m, f: 20 %" in page
    assert "| **B** | **m** | **f** | **5** |" in page


def test_a_bar_is_missed_or_met():
    assert tables.verdict(0.06, 0.06) == "met"
    assert tables.verdict(0.085, 0.06) == "**missed** by 2.5 points"
    assert tables.verdict(None, 0.06) == "no rows"


def test_subsets_are_what_they_say():
    counts = {title: sum(map(test, PREDICTED)) for title, _, test in tables.SUBSETS}
    serving = [each for each in PREDICTED if each.file == "serving.csv"]
    assert counts[tables.MAIN] + counts["Disaggregated"] == counts[tables.MAIN_WITH_APART]
    assert counts[tables.MAIN_WITH_APART] + counts["Servings of quality C"] == len(serving)
    assert counts["Offline tables"] + counts["Highest rate within limits"] == len(PREDICTED) - len(serving)


def test_coverage_of_all_folds_weighs_by_rows():
    line = {"prediction": "simulated", "metric": "tpot_s", "groups": "2", "width": "1"}
    lines = [
        line | {"left_out": "model", "rows": "30", "inside": "0.9"},
        line | {"left_out": "hardware", "rows": "10", "inside": "0.5"},
    ]
    (found,) = accuracy_page_intervals.pooled(lines)
    assert (found["rows"], found["groups"], found["inside"], found["width"]) == ("40", "4", "0.8", "1")
    page = "\n".join(accuracy_page_intervals.intervals(lines))
    assert "| simulated | TPOT, mean | each | 40 | 4 | 80.0 % | 2 | **missed** |" in page
    assert "| simulated | TPOT, mean | model | 30 | 2 | 90.0 % | 2 | met |" in page


def test_parameters_are_listed_with_their_evidence(monkeypatch):
    name = next(iter(accuracy_page.TUNABLES))
    each = Parameter(name=name, scope="vllm", value=1.2345678, standard_error=0.02, prior_spread=0.25, rows=7)
    monkeypatch.setattr(data, "read_lines", lambda *_: [{"name": name, "scope": "vllm", **WHICH}])
    section = "\n".join(accuracy_page.parameters(Tuning(parameters=(each,))))
    assert f"| `{name}` | vllm | 1 | 1.235 | 0.02 | 0.25 | 7 | H100 7; vllm 7; m 7 |" in section
    assert "1 in all." in section
    assert text.NO_PARAMETERS not in section


WHICH = {"rows": "7", "hardware": "H100 7", "framework": "vllm 7", "model": "m 7"}


def test_held_out_predictions_older_than_the_parameters_are_called_so():
    tuning = Tuning(parameters=(Parameter(name="launch", scope="all", value=0.5),))
    same = [made("a", predicted=110.0, without=dict.fromkeys(FOLDS, 110.0))]
    moved = [made("a", predicted=110.0, without=dict.fromkeys(FOLDS, 120.0))]
    assert text.SAME_HELD_OUT in accuracy_page.held_out(same, tuning)
    assert text.SAME_HELD_OUT not in accuracy_page.held_out(moved, tuning)
    assert text.NOT_HELD_OUT in accuracy_page.held_out([made("a")], tuning)
    assert text.NO_PARAMETERS in accuracy_page.held_out(same, Tuning())


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ("closed:conc=1", "1 to 3"),
        ("closed:conc=4", "4 to 15"),
        ("closed:conc=63", "16 to 63"),
        ("closed:conc=64", "64 to 255"),
        ("open:rps=5", "open"),
    ],
)
def test_concurrency_is_told_in_steps(load, said):
    assert tables.concurrency_of(made(load=load)) == said


def test_every_weakness_has_rows_that_show_it():
    told = text.weak(PREDICTED)
    assert len(told) == len(text.WEAKNESSES) + 2
    for weakness, line in zip(text.WEAKNESSES, told, strict=False):
        assert re.search(r"median error [\d.,]+ %, bias [+-][\d.,]+ % \(\d+ rows\)", line), weakness.title


def test_counts_of_rows_are_sorted():
    assert data._counted(np.array(["b", "a", "b"])) == "b 2, a 1"
