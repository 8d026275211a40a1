"""Errors by hand: what is scored, how, and which rows are together."""

from __future__ import annotations

import math

import pytest
from validation_rows import outcome

from tokenroof.calibrate.validation.core import METRICS
from tokenroof.calibrate.validation.score import error, groups, reasons, score, scores, validation, worst

TPUT, TPOT, TTFT = "total_tput_per_gpu", "mean_tpot_s", "median_ttft_s"

# errors +10 %, -20 %, +40 %
THREE = [
    outcome("a", {TPUT: 100.0}, {TPUT: 110.0, TPOT: 0.01}, hardware="h100", model="m"),
    outcome("b", {TPUT: 200.0, TTFT: 1.0}, {TPUT: 160.0, TTFT: 2.0}, hardware="h100", model="n"),
    outcome("c", {TPUT: 10.0}, {TPUT: 14.0}, hardware="b200", model="m"),
]
LOST = outcome("d", {TPUT: 5.0}, reason="unknown chip 'x'.", hardware="x", model="m")


def test_an_error_is_relative_to_what_was_measured() -> None:
    assert error(THREE[0], TPUT) == pytest.approx(0.1)
    assert error(THREE[1], TPUT) == pytest.approx(-0.2)
    assert error(THREE[0], TPOT) is None  # not measured
    assert error(LOST, TPUT) is None  # not predicted
    assert error(outcome("e", {TPUT: 1.0}, {TPUT: math.inf}), TPUT) is None


def test_a_score_by_hand() -> None:
    found = score([*THREE, LOST], TPUT)
    assert found.n == 3
    assert found.median_fraction == pytest.approx(0.2)
    assert found.mean_fraction == pytest.approx(0.7 / 3)
    assert found.p90_fraction == pytest.approx(0.36)  # 0.8 of the way from 0.2 to 0.4
    assert found.bias_fraction == pytest.approx(0.1)
    assert found.interval_fraction is None


def test_nothing_to_score_is_none_not_zero() -> None:
    found = score([LOST], TPUT)
    assert found.n == 0
    assert found.median_fraction is found.mean_fraction is found.p90_fraction is found.bias_fraction is None


def test_every_metric_has_a_score() -> None:
    assert list(scores(THREE)) == list(METRICS)
    assert scores(THREE)[TTFT].n == 1


def test_coverage_counts_rows_that_have_an_interval() -> None:
    rows = [
        outcome("in", {TPUT: 100.0}, {TPUT: 110.0}, intervals={TPUT: (95.0, 120.0)}),
        outcome("edge", {TPUT: 100.0}, {TPUT: 110.0}, intervals={TPUT: (100.0, 120.0)}),
        outcome("out", {TPUT: 100.0}, {TPUT: 110.0}, intervals={TPUT: (101.0, 120.0)}),
        outcome("none", {TPUT: 100.0}, {TPUT: 110.0}),
    ]
    assert score(rows, TPUT).interval_fraction == pytest.approx(2 / 3)


def test_groups_are_sorted_and_count_what_is_not_predicted() -> None:
    found = groups([*THREE, LOST], ("hardware",))
    assert [group.key for group in found] == [("b200",), ("h100",), ("x",)]
    assert [(group.rows, group.predicted) for group in found] == [(1, 1), (2, 2), (1, 0)]
    assert found[1].scores[TPUT].median_fraction == pytest.approx(0.15)
    assert found[2].scores[TPUT].n == 0


def test_groups_are_made_by_all_columns_and_by_each() -> None:
    found = validation([*THREE, LOST], ("hardware", "model")).groups
    by = [group.by for group in found]
    assert by == [("hardware", "model")] * 4 + [("hardware",)] * 3 + [("model",)] * 2
    assert [group.by for group in validation(THREE, ("model", "model")).groups] == [("model",)] * 2


def test_reasons_that_differ_in_numbers_are_counted_together() -> None:
    lost = [
        outcome("a", reason="tp=3 x pp=1 does not divide the 8 chips of the row."),
        outcome("b", reason="tp=5 x pp=1 does not divide the 8 chips of the row."),
        outcome("c", reason="unknown model 'llama-3-8b'."),
        outcome("d", reason="unknown model 'llama-2-8b'."),
        outcome("e", reason="num_gpus must be above 0, got '-3'."),
    ]
    assert reasons([*lost, *THREE]) == {
        "tp=… x pp=1 does not divide the 8 chips of the row.": 2,
        "num_gpus must be above 0, got '-3'.": 1,
        "unknown model 'llama-2-8b'.": 1,
        "unknown model 'llama-3-8b'.": 1,
    }


def test_reasons_add_up_to_the_rows_without_a_prediction() -> None:
    found = validation([*THREE, LOST, LOST], ("model",))
    assert sum(found.reasons.values()) == len(found.unmapped) == 2
    assert len(found.predicted) == 3


def test_the_worst_rows_weigh_half_and_double_the_same() -> None:
    rows = [
        outcome("half", {TPUT: 100.0}, {TPUT: 49.0}),
        outcome("double", {TPUT: 100.0}, {TPUT: 200.0}),
        outcome("fine", {TPUT: 100.0}, {TPUT: 101.0}),
        outcome("queue", {TTFT: 1.0}, {TTFT: 9.0}),
        LOST,
    ]
    assert [(each.row.id, metric) for each, metric, _ in worst(rows, 2)] == [("half", TPUT), ("double", TPUT)]
    assert worst(rows, 1)[0][2] == pytest.approx(-0.51)
    assert [each.row.id for each, _, _ in worst(rows, 9)] == ["half", "double", "fine"]
    assert [each.row.id for each, _, _ in worst(rows, 9, (TTFT,))] == ["queue"]
    assert worst(rows, 0) == ()
