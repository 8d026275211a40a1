"""The JSON of a validation is a contract: these names, percent, null for what is not known."""

from __future__ import annotations

import json
import math

import pytest
from validation_rows import outcome

from tokenroof.calibrate.validation.core import METRICS
from tokenroof.calibrate.validation.files import references
from tokenroof.calibrate.validation.score import validation, worst
from tokenroof.report.validation import about, document, dumps, headline
from tokenroof.report.validation_charts import histogram_rows, scatter_rows
from tokenroof.report.validation_page import page

TPUT, TPOT = "total_tput_per_gpu", "mean_tpot_s"
OUTCOMES = [
    outcome("a", {TPUT: 100.0}, {TPUT: 112.0, TPOT: math.inf}, hardware="h100", model="m,n", source="S"),
    outcome("b", {TPUT: 100.0}, {TPUT: 60.0}, hardware="h100", model="m", notes="<script>alert(1)</script>"),
    outcome("c", {TPUT: 100.0}, {TPUT: 900.0}, hardware="mi300x", model="m", quality="C", run_spread="0.3"),
    outcome("d", {TPUT: 100.0}, reason="tp=3 does not divide.", hardware="<b>", model="m"),
]
FOUND = validation(OUTCOMES, ("hardware", "model"), references())
ROWS = validation([OUTCOMES[3]], ("hardware",))
SCORE = {"n", "median_ape", "mean_ape", "p90_ape", "bias", "interval_coverage"}


def test_the_contract_to_the_letter() -> None:
    told = json.loads(dumps(FOUND))
    assert list(told) == ["coverage", "metrics", "groups", "rows"]
    assert told["coverage"] == {"rows": 4, "predicted": 3, "reasons": {"tp=3 does not divide.": 1}}
    assert set(told["metrics"]) == set(METRICS)
    assert all(set(score) == SCORE for score in told["metrics"].values())
    assert {tuple(group) for group in told["groups"]} == {("by", "key", "metrics")}
    assert {tuple(row) for row in told["rows"]} == {("id", "predicted", "measured", "reason")}
    for name in ("output_tput_per_gpu", "median_tpot_s", "median_ttft_s", "mean_ttft_s", "p99_ttft_s"):
        assert told["metrics"][name] == dict.fromkeys(sorted(SCORE), None) | {"n": 0}


def test_errors_are_in_percent() -> None:
    told = document(FOUND)["metrics"][TPUT]
    assert told["n"] == 3
    assert told["median_ape"] == pytest.approx(40.0)
    assert told["mean_ape"] == pytest.approx((12 + 40 + 800) / 3)
    assert told["bias"] == pytest.approx((12 - 40 + 800) / 3)
    assert told["interval_coverage"] is None


def test_groups_are_by_all_columns_and_by_each() -> None:
    told = [(group["by"], group["key"]) for group in document(FOUND)["groups"]]
    assert ("hardware,model", "h100,m,n") in told
    assert ("hardware", "mi300x") in told
    assert ("model", "m") in told


def test_rows_have_only_metrics_and_no_number_that_json_lacks() -> None:
    told = json.loads(dumps(FOUND), parse_constant=lambda name: pytest.fail(name))["rows"]
    assert told[0]["predicted"] == {TPUT: 112.0, TPOT: None}
    assert told[3] == {
        "id": "d",
        "predicted": {},
        "measured": {TPUT: 100.0},
        "reason": "tp=3 does not divide.",
    }


def test_what_a_row_says_of_itself() -> None:
    assert about(OUTCOMES[2]) == ("quality C", "runs differ by 30 %")
    assert about(OUTCOMES[0]) == ()
    assert about(outcome("x", run_spread="much", cold_start="True")) == ("cold start", "run_spread much")


def test_the_headline_counts_rows_and_errors() -> None:
    assert headline(FOUND) == "3 of 4 (75.0 %) rows predicted, total tok/s off by 40 % in the median"
    assert headline(ROWS) == "0 of 1 (0.0 %) rows predicted"


def test_a_dot_per_row_and_a_bin_per_error() -> None:
    assert [row["predicted"] for row in scatter_rows(FOUND, TPUT)] == [112.0, 60.0, 900.0]
    bins = {round(row["from"], 2): row["rows"] for row in histogram_rows(FOUND, TPUT)}
    assert bins == {0.1: 1, -0.4: 1, 0.95: 1}  # what is beyond 100 % stands at the end


@pytest.mark.parametrize("found", [FOUND, ROWS])
def test_the_page_loads_nothing_and_escapes_everything(found) -> None:
    listed = worst(found.outcomes, 5)
    text = page(found, listed, {TPUT: listed})
    assert "<script" not in text
    assert "<b>" not in text
    assert "tp=3 does not divide." in text
    for loads in ("http://", "https://"):
        assert loads not in text.replace("http://www.w3.org/", "")


def test_the_page_has_the_noise_floor_other_tools_and_both_charts() -> None:
    text = page(FOUND, worst(OUTCOMES, 5), {})
    assert text.count("<figure>") == 2
    assert "3.8 %" in text  # noise of throughput, p90
    assert "27 to 300 %" in text
    assert "S: 1 rows" in text


def test_references_have_metrics_and_sources() -> None:
    found = references()
    assert {each.kind for each in found} == {"noise", "tool"}
    assert all(each.metric in METRICS and each.source and each.median for each in found)
    assert {each.metric for each in found if each.kind == "noise"} >= {TPUT, TPOT, "median_ttft_s"}
