"""Factors of intervals: what they cover, how they widen, the rule for few rows."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from interval_residuals import asked, drawn

from tokenroof.calibrate.coverage import coverage
from tokenroof.calibrate.fitting import stamp
from tokenroof.calibrate.intervals import LEAST_ROWS, build, few_groups_factor, quantile_ends
from tokenroof.calibrate.residuals import from_frame, read_tunings, to_frame, write_tunings
from tokenroof.catalog.accuracy import (
    BORROWED,
    CHIP,
    CLOSED_FORM,
    ENGINE,
    MODEL,
    SEEN,
    SIMULATED,
    read,
    write,
)
from tokenroof.catalog.accuracy import shipped as shipped_accuracy
from tokenroof.catalog.tuning import NEUTRAL, Parameter, Tuning
from tokenroof.deploy.known import THROUGHPUT, log_factors, scopes
from tokenroof.errors import CatalogError, InputError

ROOT = Path(__file__).resolve().parents[2]


# --- the rule for few rows -----------------------------------------------------------------------


def test_of_ninety_nine_values_the_fifth_from_either_end_are_the_ends() -> None:
    assert quantile_ends(np.random.default_rng(0).permutation(np.arange(1.0, 100.0))) == (5.0, 95.0)


def test_nineteen_values_are_just_enough_for_their_outermost_ones() -> None:
    assert quantile_ends(np.arange(19.0)) == (0.0, 18.0)


@pytest.mark.parametrize("count", [3, 8, 18])
def test_fewer_values_than_that_reach_beyond_themselves(count: int) -> None:
    low, high = quantile_ends(np.arange(float(count)))
    assert low < 0.0
    assert high > count - 1.0


@pytest.mark.parametrize("count", [19, 40, 200])
def test_a_further_value_is_missed_in_at_most_a_tenth_of_the_cases(count: int) -> None:
    random = np.random.default_rng(count)
    inside = []
    for _ in range(2000):
        values = random.standard_normal(count + 1)
        low, high = quantile_ends(values[1:])
        inside.append(low <= values[0] <= high)
    assert 0.885 <= np.mean(inside) <= 0.96


def test_rows_of_small_weight_count_as_little() -> None:
    values = np.concatenate([np.zeros(200), np.full(30, 9.0)])
    heavy = np.concatenate([np.ones(200), np.full(30, 1.0)])
    light = np.concatenate([np.ones(200), np.full(30, 0.1)])
    assert quantile_ends(values, heavy)[1] == 9.0
    assert quantile_ends(values, light)[1] == 0.0


@pytest.mark.parametrize(("groups", "table"), [(4, 2.353), (6, 2.015), (11, 1.812), (31, 1.697)])
def test_few_groups_widen_as_students_quantile(groups: int, table: float) -> None:
    assert few_groups_factor(groups) == pytest.approx(table / 1.645, rel=4e-3)
    assert few_groups_factor(2) == few_groups_factor(4)


# --- what factors cover --------------------------------------------------------------------------


def test_factors_are_the_quantiles_of_what_is_seen() -> None:
    found = build(drawn("shape", rows=200, within=0.1)).spread(THROUGHPUT, SIMULATED, SEEN)
    assert found is not None
    end = 0.1645 * few_groups_factor(10)
    assert math.log(found.low_factor) == pytest.approx(-end, rel=0.05)
    assert math.log(found.high_factor) == pytest.approx(end, rel=0.05)
    assert (found.rows, found.groups) == (2000, 10)


def test_a_bias_moves_the_ends_and_is_said_in_the_middle() -> None:
    found = build(drawn("shape", rows=200, within=0.02, bias=0.3)).spread(THROUGHPUT, SIMULATED, SEEN)
    assert found is not None
    assert found.middle_factor == pytest.approx(math.exp(0.3), rel=0.01)
    assert found.low_factor > 1.0


@pytest.mark.parametrize("fold", ["hardware", "model", "framework", "shape"])
def test_intervals_cover_groups_that_they_were_not_made_from(fold: str) -> None:
    residuals = drawn(fold, groups=16, within=0.05, between=0.15, seed=2)
    if fold != "shape":
        seen = drawn("shape", groups=16, within=0.05, between=0.02, seed=1)
        pairs = zip(seen, list(residuals), strict=True)
        residuals += [replace(one, row=other.row, asked=other.asked) for one, other in pairs]
    scores = {each.fold: each for each in coverage(residuals)}
    assert 0.85 <= scores[fold].inside_fraction <= 0.97
    assert scores[fold].groups == 16


def test_rows_of_a_group_have_no_part_in_their_own_interval() -> None:
    residuals = drawn("shape", groups=12, within=0.05)
    odd = [replace(each, log_ratio=each.log_ratio + 3.0) for each in residuals if each.group == "g0"]
    others = [each for each in residuals if each.group != "g0"]
    (score,) = coverage([*odd, *others])
    # all of g0 is missed: 30 of 360 rows, beside a tenth of the rest at most
    assert score.inside_fraction < 0.92
    assert build(others) != build([*odd, *others])


def test_scopes_of_too_few_rows_have_no_factors() -> None:
    few = drawn("shape", groups=1, rows=LEAST_ROWS - 1)
    assert build(few).spreads == ()


def test_families_with_larger_errors_have_wider_intervals() -> None:
    calm = drawn("shape", groups=6, rows=60, within=0.03, families=("hopper",))
    wild = drawn("shape", groups=6, rows=60, within=0.3, families=("cdna3",), seed=3)
    wild = [replace(each, row=f"w{each.row}", group=f"w{each.group}") for each in wild]
    found = build([*calm, *wild])
    wide, narrow = (found.relative("total", "family", name) for name in ("cdna3", "hopper"))
    assert wide > 1.2
    assert narrow < 0.8


# --- what is not known widens --------------------------------------------------------------------


def _all_folds() -> list:
    return [
        *drawn("shape", within=0.05),
        *drawn("hardware", within=0.05, between=0.2, seed=4),
        *drawn("model", within=0.05, between=0.15, seed=5),
        *drawn("framework", within=0.05, between=0.1, seed=6),
    ]


def _width(**given: object) -> float:
    found = log_factors(asked(**given), THROUGHPUT, SIMULATED, build(_all_folds()))  # type: ignore[arg-type]
    assert found is not None
    return found[1] - found[0]


def test_what_was_measured_of_a_combination() -> None:
    accuracy = build(_all_folds())
    assert scopes(asked("chip1"), accuracy) == ()
    assert scopes(asked("other"), accuracy) == (CHIP,)
    assert scopes(asked("other", grounded=False), accuracy) == (BORROWED,)
    assert scopes(asked("chip1", engine="sglang"), accuracy) == (ENGINE,)
    assert scopes(asked("chip1", model="new"), accuracy) == (MODEL,)
    assert scopes(asked("chip1", format="nvfp4"), accuracy) == (MODEL,)
    assert scopes(asked("other", engine="new", model="new", family="new"), accuracy) == (CHIP, ENGINE, MODEL)


def test_what_nobody_measured_is_never_narrower() -> None:
    seen = _width(chip="chip1")
    chip, engine, model = _width(chip="x"), _width(chip="chip1", engine="x"), _width(chip="chip1", model="x")
    both, all_of_it = _width(chip="x", model="x"), _width(chip="x", model="x", engine="x", grounded=False)
    assert seen < engine < model < chip < both < all_of_it


def test_a_scope_that_looks_narrower_than_what_was_seen_does_not_narrow() -> None:
    residuals = [*drawn("shape", within=0.2), *drawn("hardware", within=0.02)]
    accuracy = build(residuals)
    seen = log_factors(asked("chip1"), THROUGHPUT, SIMULATED, accuracy)
    assert log_factors(asked("new"), THROUGHPUT, SIMULATED, accuracy) == seen


def test_several_unknowns_add_by_squares() -> None:
    accuracy = build(_all_folds())
    base, chip, model, both = (
        log_factors(each, THROUGHPUT, SIMULATED, accuracy)
        for each in (asked("chip1"), asked("x"), asked("chip1", model="x"), asked("x", model="x"))
    )
    assert None not in (base, chip, model, both)
    middle = math.log(accuracy.spread(THROUGHPUT, SIMULATED, SEEN).middle_factor)  # type: ignore[union-attr]
    squares = [(middle - each[0]) ** 2 for each in (base, chip, model, both)]
    assert squares[3] == pytest.approx(squares[1] + squares[2] - squares[0], rel=1e-6)


def test_the_stated_ranges_of_a_projected_chip_come_on_top() -> None:
    accuracy = build(_all_folds())
    plain = log_factors(asked("x"), THROUGHPUT, SIMULATED, accuracy)
    ranged = log_factors(asked("x", bandwidth=(-0.5, 0.3)), THROUGHPUT, SIMULATED, accuracy)
    assert plain is not None
    assert ranged is not None
    assert ranged[0] < plain[0] < plain[1] < ranged[1]
    slower = log_factors(asked("x", bandwidth=(-0.5, 0.0)), THROUGHPUT, SIMULATED, accuracy)
    assert slower is not None
    assert slower[0] < plain[0]
    assert slower[1] == plain[1]


def test_the_closed_form_widens_as_the_simulation_does() -> None:
    closed = [replace(each, prediction=CLOSED_FORM) for each in drawn("shape", within=0.1, seed=7)]
    accuracy = build([*_all_folds(), *closed])
    seen = log_factors(asked("chip1"), THROUGHPUT, CLOSED_FORM, accuracy)
    new = log_factors(asked("x"), THROUGHPUT, CLOSED_FORM, accuracy)
    assert seen is not None
    assert new is not None
    assert new[0] < seen[0] < seen[1] < new[1]


# --- files ---------------------------------------------------------------------------------------


def test_files_give_the_same_factors_again(tmp_path: Path) -> None:
    accuracy = build(_all_folds())
    write(accuracy, tmp_path)
    again = read(tmp_path)
    assert again.served == accuracy.served
    assert [each.scope for each in again.spreads] == [each.scope for each in accuracy.spreads]
    for one, other in zip(again.spreads, accuracy.spreads, strict=True):
        assert one.low_factor == pytest.approx(other.low_factor, rel=1e-3)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tpot_s,guessed,seen,0.9,1,1.1,,9,3,tokenroof", "unknown prediction 'guessed'"),
        ("tpot_s,simulated,moon,0.9,1,1.1,,9,3,tokenroof", "unknown scope 'moon'"),
        ("tpot_s,simulated,seen,1.2,1,1.1,,9,3,tokenroof", "must be in order"),
        ("tpot_s,simulated,seen,x,1,1.1,,9,3,tokenroof", "low_factor must be a number above 0"),
        ("tpot_s,simulated,seen,0.9,1,1.1,,many,3,tokenroof", "rows must be a whole number"),
        ("tpot,,colour=red,,,,1.2,9,,tokenroof", "a spread is that of a group"),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, line: str, said: str) -> None:
    header = "metric,prediction,scope,low_factor,middle_factor,high_factor,spread,rows,groups,source"
    (tmp_path / "accuracy.csv").write_text(f"{header}\n{line}\n", encoding="utf-8")
    with pytest.raises(CatalogError, match=said):
        read(tmp_path)


def test_residuals_survive_their_table() -> None:
    residuals = [replace(each, log_ratio=round(each.log_ratio, 5)) for each in drawn("shape", rows=3)]
    table = to_frame(residuals)
    assert sorted(from_frame(table), key=repr) == sorted(residuals, key=repr)
    assert to_frame(reversed(residuals)).equals(table)


def test_parameters_of_folds_survive_their_file(tmp_path: Path) -> None:
    one = Tuning(parameters=(Parameter(name="time_gemm", scope="vllm", value=1.25),))
    path = tmp_path / "without.csv"
    write_tunings({("hardware", "h100"): one, ("row", "fold 1"): one}, path)
    found = read_tunings(path, NEUTRAL)
    assert list(found) == [("hardware", "h100")]
    assert found["hardware", "h100"].value("time_gemm", ("vllm",)) == 1.25
    path.write_text("fold,group,name,scope,value\nmoon,h100,time_gemm,vllm,1\n", encoding="utf-8")
    with pytest.raises(InputError, match="unknown fold 'moon'"):
        read_tunings(path, NEUTRAL)


def test_the_shipped_factors_are_those_of_the_kept_residuals(tmp_path: Path) -> None:
    kept = from_frame(pl.read_parquet(ROOT / "calibration" / "validation" / "residuals.parquet"))
    write(build(kept), tmp_path)
    data = ROOT / "src" / "tokenroof" / "catalog" / "data"
    for name in ("accuracy.csv", "served.csv"):
        assert (tmp_path / name).read_text(encoding="utf-8") == (data / name).read_text(encoding="utf-8"), (
            "rebuild with: python scripts/fit_intervals.py"
        )


def test_the_kept_residuals_are_of_the_shipped_parameters() -> None:
    noted = stamp.read(ROOT / "calibration" / "validation" / "residuals.json")["residuals.parquet"]
    tuning = ROOT / "src" / "tokenroof" / "catalog" / "data" / "tuning.csv"
    assert noted["tuning"] == stamp.of_files([tuning]), (
        "predict anew with: python scripts/fit_intervals.py --predict"
    )


def test_every_scored_metric_has_shipped_factors_of_every_scope() -> None:
    accuracy = shipped_accuracy()
    for metric in (THROUGHPUT, "tpot_s", "tpot_p50_s", "ttft_s", "ttft_p50_s", "ttft_p99_s", "e2e_s"):
        for scope in (SEEN, CHIP, BORROWED, ENGINE, MODEL):
            found = accuracy.spread(metric, SIMULATED, scope)
            assert found is not None, (metric, scope)
            assert found.low_factor <= found.middle_factor <= found.high_factor
