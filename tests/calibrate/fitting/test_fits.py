"""Parameters of a made-up world are found again from a few rows; what cannot be told is refused."""

import math

import pytest
from fitting_rows import asked_rows, measured_rows, tuning

from tokenroof.calibrate.fitting.core import Fit, coordinate
from tokenroof.calibrate.fitting.run import Question, calibrate_servings
from tokenroof.calibrate.validation.predict import predict_row
from tokenroof.catalog.catalog import load
from tokenroof.catalog.tuning import NEUTRAL
from tokenroof.errors import InputError

CATALOG = load().tuned(NEUTRAL)


def fitted(rows: list, **asked: object) -> Fit:
    return calibrate_servings(rows, CATALOG, Question(**{"cross_validate": ()} | asked))


@pytest.mark.parametrize(
    ("label", "value"),
    [("time_gemm:h100", 1.25), ("step_overhead_s:h100", 3e-3), ("client_s:vllm", 0.01)],
)
def test_five_rows_find_a_parameter_again(label: str, value: float) -> None:
    found = fitted(measured_rows({label: value}), parameters=(label,))
    (parameter,) = found.parameters
    off = abs(coordinate(parameter.tunable, parameter.value) - coordinate(parameter.tunable, value))
    assert off < 1.5 * parameter.standard_error
    assert 0.0 < parameter.standard_error < 0.5 * parameter.prior_spread
    assert parameter.rows >= 3
    for each in found.errors:
        assert each.after < 0.03
        assert each.after < 0.3 * each.before or each.before < 0.01


def test_errors_before_and_after_are_those_of_the_simulator() -> None:
    rows = measured_rows({"time_gemm:h100": 1.2})
    found = fitted(rows, parameters=("time_gemm:h100",))
    for residual in found.residuals:
        row = found.subjects[residual.subject].row
        column = found.subjects[residual.subject].columns[residual.kind]
        for catalog, said in (
            (CATALOG, residual.before),
            (CATALOG.tuned(found.tuning), residual.after),
        ):
            outcome = predict_row(row, catalog)
            off = math.log(outcome.predicted[column] / outcome.measured[column])
            assert said == pytest.approx(off, abs=1e-6)


def test_by_rule_something_is_found_that_explains_slower_steps() -> None:
    found = fitted(measured_rows({"step_overhead_s:h100": 4e-3}))
    assert not found.reason
    assert all(each.scope in ("h100", "vllm/h100") for each in found.parameters)
    for each in found.errors:
        assert each.after < 0.5 * each.before


def test_rows_that_are_right_already_identify_nothing() -> None:
    found = fitted(measured_rows({}))
    assert found.parameters == ()
    assert "identify no parameter" in found.reason


def test_no_rows_are_refused_with_their_reasons() -> None:
    rows = [(row, "") for row in asked_rows(hardware="h1000", total_tput_per_gpu="100")]
    found = fitted(rows)
    assert "no row can be fitted on" in found.reason
    assert len(found.refused_rows) == 5
    assert "h1000" in found.refused_rows[0].reason


def test_a_parameter_that_no_row_depends_on_is_refused() -> None:
    found = fitted(
        measured_rows({"time_gemm:h100": 1.2}), parameters=("time_gemm:h100", "time_collective:h100")
    )
    assert [each.name for each in found.parameters] == ["time_gemm"]
    assert [each.what for each in found.refused] == ["time_collective:h100"]


def test_two_scopes_of_the_same_rows_are_not_told_apart() -> None:
    found = fitted(
        measured_rows({"step_overhead_s:h100": 3e-3}),
        parameters=("step_overhead_s:h100", "step_overhead_s:vllm"),
    )
    assert len(found.parameters) == 1
    assert "cannot tell it from" in found.refused[0].reason


def test_what_a_family_has_is_where_a_chip_begins() -> None:
    known = tuning({"time_gemm:hopper": 1.2})
    rows = measured_rows({"time_gemm:h100": 1.2})
    found = calibrate_servings(rows, load().tuned(known), Question(cross_validate=()))
    assert "identify no parameter" in found.reason  # the family explains the chip


def test_processes_do_not_change_the_values() -> None:
    rows = measured_rows({"time_gemm:h100": 1.2})
    asked = Question(parameters=("time_gemm:h100",), cross_validate=("row",))
    alone, together = (calibrate_servings(rows, CATALOG, asked, workers=count) for count in (1, 2))
    assert alone.parameters == together.parameters
    assert alone.residuals == together.residuals


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"parameters": ("time_gem:h100",)}, "Nearest: time_gemm"),
        ({"parameters": ("time_gemm:h200",)}, "unknown scope 'h200'"),
        ({"parameters": ("time_gemm",)}, "has no scope"),
        ({"parameters": ("routing_skew:h100",)}, "routing_skew:all"),
        ({"parameters": ("time_gemm:h100", "time_gemm:h100")}, "given twice"),
        ({"scopes": "some"}, "narrow or wide"),
        ({"cross_validate": ("colour",)}, "hardware, model, framework, shape, row"),
    ],
)
def test_slips_in_the_question_say_what_to_write(asked: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        fitted([(row, "") for row in measured_rows_once()], **asked)


def measured_rows_once() -> list:
    return [row for row, _ in measured_rows({}, asked_rows()[:1])]
