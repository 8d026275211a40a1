"""Rows that were left out are predicted with parameters that they had no part in."""

import numpy as np
import pytest
from fitting_rows import asked_rows, measured_rows

from tokenroof.calibrate.fitting.candidates import asked
from tokenroof.calibrate.fitting.core import FitSettings
from tokenroof.calibrate.fitting.crossval import groups, left_out
from tokenroof.calibrate.fitting.evaluate import Evaluator
from tokenroof.calibrate.fitting.fit import fit
from tokenroof.calibrate.fitting.run import Question, calibrate_servings
from tokenroof.calibrate.fitting.subjects import subjects_of
from tokenroof.catalog.catalog import load
from tokenroof.catalog.tuning import NEUTRAL

CATALOG = load().tuned(NEUTRAL)
LABELS = ("time_gemm:h100", "step_overhead_s:vllm")


def two_worlds() -> list:
    """Two shapes, of which the second is served by slower kernels."""
    rows = asked_rows()
    first = measured_rows({"time_gemm:h100": 1.2, "step_overhead_s:vllm": 2e-3}, rows[:3])
    return first + measured_rows({"time_gemm:h100": 1.3, "step_overhead_s:vllm": 2e-3}, rows[3:])


def test_parameters_without_a_group_are_those_of_a_fit_without_its_rows() -> None:
    rows = two_worlds()
    settings = FitSettings()
    subjects, _ = subjects_of(rows, CATALOG, settings)
    with Evaluator(subjects, CATALOG) as evaluator:
        whole = fit(evaluator, asked(LABELS, subjects, NEUTRAL, settings), NEUTRAL, settings, asked=True)
    for part in left_out(whole, subjects, "shape", settings, asked=True):
        others = [row for place, row in enumerate(rows) if place not in part.rows]
        again = calibrate_servings(others, CATALOG, Question(parameters=LABELS, cross_validate=()))
        for parameter in again.parameters:
            found = part.tuning.value(parameter.name, (parameter.scope,))
            scale = 1.0 if parameter.tunable.factor else 1e-3
            assert found == pytest.approx(parameter.value, abs=0.05 * scale)


def test_rows_left_out_are_off_by_what_the_others_do_not_know() -> None:
    found = calibrate_servings(
        two_worlds(), CATALOG, Question(parameters=LABELS, cross_validate=("shape", "row"))
    )
    throughput = next(each for each in found.errors if each.kind == "throughput")
    assert throughput.left_out["shape"] > throughput.after
    for each in found.residuals:
        assert set(each.left_out) == {"shape", "row"}
        assert np.isfinite(list(each.left_out.values())).all()
    assert set(found.without) >= {("shape", "300/60"), ("shape", "2000/30")}


def test_repeats_of_a_configuration_are_left_out_together() -> None:
    rows = measured_rows({}, asked_rows()[:2] + asked_rows(framework_version="2")[:2])
    subjects, _ = subjects_of(rows, CATALOG, FitSettings())
    assert sorted(map(sorted, groups(subjects, "row").values())) == [[0, 2], [1, 3]]
    assert all(each.weight == 0.5 for each in subjects)


def test_every_row_is_in_one_group_of_each_cut() -> None:
    subjects, _ = subjects_of(two_worlds(), CATALOG, FitSettings())
    for cut in ("hardware", "model", "framework", "shape", "row"):
        places = [place for rows in groups(subjects, cut).values() for place in rows]
        assert sorted(places) == list(range(5))
