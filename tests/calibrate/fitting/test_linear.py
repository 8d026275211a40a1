"""Residuals that are linear in parameters: what is found, what is taken, what is known."""

from dataclasses import replace

import numpy as np
import pytest

from tokenroof.calibrate.fitting.core import Candidate, FitSettings
from tokenroof.calibrate.fitting.identify import identified
from tokenroof.calibrate.fitting.linear import Linear, posterior, select, solve

RNG = np.random.default_rng(3)


def problem(slopes: np.ndarray, truth: np.ndarray, *, noise: float = 0.0, bound: float = 50.0) -> Linear:
    """Residuals that vanish at the truth, seen from the origin."""
    rows, count = slopes.shape
    return Linear(
        slopes=slopes,
        residuals=slopes @ -truth + noise * RNG.normal(size=rows),
        weights=np.ones(rows),
        pairs=np.zeros(rows, dtype=np.int64),
        at=np.zeros(count),
        low=np.full(count, -bound),
        high=np.full(count, bound),
        huber=1e6,
    )


def candidates(count: int) -> list[Candidate]:
    return [Candidate(name="time_gemm", scope=f"s{each}", expected=0.0, spread=0.25) for each in range(count)]


def test_many_rows_outweigh_the_prior() -> None:
    truth = np.array([1.5, -0.7])
    found = solve(problem(100.0 * RNG.normal(size=(40, 2)), truth), [0, 1])
    assert found == pytest.approx(truth, abs=1e-3)


def test_one_row_as_certain_as_the_prior_goes_half_way() -> None:
    found = solve(problem(np.array([[1.0]]), np.array([1.0])), [0])
    assert found[0] == pytest.approx(0.5)


def test_what_may_not_move_stays_where_it_was_expected() -> None:
    found = solve(problem(RNG.normal(size=(20, 3)), np.array([1.0, 1.0, 1.0])), [1])
    assert found[0] == found[2] == 0.0


def test_values_stay_inside_their_bounds() -> None:
    found = solve(problem(100.0 * RNG.normal(size=(40, 2)), np.array([3.0, 0.2]), bound=1.0), [0, 1])
    assert found[0] == pytest.approx(1.0)
    assert abs(found[1]) <= 1.0


def test_a_bounded_answer_is_the_best_one() -> None:
    slopes, truth = RNG.normal(size=(30, 4)), np.array([2.0, -2.0, 0.3, 5.0])
    asked = problem(slopes, truth, bound=1.0)
    found = solve(asked, range(4))
    for index in range(4):
        for step in (-1e-3, 1e-3):
            near = found.copy()
            near[index] = np.clip(near[index] + step, -1.0, 1.0)
            assert asked.cost(near) >= asked.cost(found) - 1e-9


def test_an_outlier_pulls_less_than_its_square() -> None:
    slopes = np.full((20, 1), 10.0)
    asked = problem(slopes, np.array([1.0]))
    asked.residuals[0] += 100.0
    robust = Linear(**{name: getattr(asked, name) for name in asked.__slots__} | {"huber": 1.5})
    assert abs(solve(robust, [0])[0] - 1.0) < 0.1 * abs(solve(asked, [0])[0] - 1.0)


def test_only_parameters_with_something_to_say_are_taken() -> None:
    slopes = 5.0 * RNG.normal(size=(60, 6))
    truth = np.array([1.5, 0.0, 0.0, -1.2, 0.0, 0.0])
    active, place = select(problem(slopes, truth, noise=0.5), (), evidence=3.0, most=6)
    assert sorted(active) == [0, 3]
    assert place == pytest.approx(truth, abs=0.1)


def test_nothing_is_taken_where_nothing_is_wrong() -> None:
    active, place = select(problem(RNG.normal(size=(50, 5)), np.zeros(5)), (), evidence=3.0, most=5)
    assert active == []
    assert not place.any()


def test_a_parameter_that_would_lie_at_its_bound_is_not_taken() -> None:
    asked = problem(100.0 * RNG.normal(size=(40, 1)), np.array([3.0]), bound=1.0)
    assert select(asked, (), evidence=3.0, most=1)[0] == []


def test_rows_narrow_what_was_expected() -> None:
    few, many = (problem(RNG.normal(size=(rows, 1)), np.array([0.0])) for rows in (4, 400))
    narrow, wide = (posterior(each, np.zeros(1), [0])[0, 0] for each in (many, few))
    assert narrow < wide < 1.0


def test_a_parameter_that_rows_say_nothing_of_is_refused() -> None:
    slopes = np.column_stack([10.0 * RNG.normal(size=30), 0.01 * RNG.normal(size=30)])
    kept, refused = identified(problem(slopes, np.ones(2)), candidates(2), [0, 1], FitSettings())
    assert kept == [0]
    assert refused[0].what == "time_gemm:s1"
    assert "too little" in refused[0].reason


def test_of_two_parameters_that_do_the_same_the_narrower_is_refused() -> None:
    one = 10.0 * RNG.normal(size=30)
    slopes = np.column_stack([one, one * (1.0 + 1e-3 * RNG.normal(size=30))])
    kept, refused = identified(problem(slopes, np.ones(2)), candidates(2), [0, 1], FitSettings())
    assert kept == [0]
    assert "cannot tell it from time_gemm:s0" in refused[0].reason


def test_a_parameter_that_only_one_pair_speaks_of_is_not_taken() -> None:
    """Two parameters that would both help: one is seen by one chip and model alone, the other by three."""
    slopes = np.zeros((30, 2))
    slopes[:10, 0] = 5.0
    slopes[:, 1] = 5.0 * RNG.normal(size=30)
    asked = replace(problem(slopes, np.array([1.0, 1.0])), pairs=np.repeat([0, 1, 2], 10))
    assert list(asked.informing()) == [1, 3]
    assert sorted(select(asked, (), evidence=3.0, most=6)[0]) == [0, 1]
    assert select(asked, (), evidence=3.0, most=6, least=[3, 3])[0] == [1]
    without = asked.only(asked.pairs != 2)
    assert list(without.informing()) == [1, 2]
    assert select(without, (), evidence=3.0, most=6, least=[3, 3])[0] == []


def test_rows_without_weight_inform_nothing() -> None:
    asked = problem(np.full((4, 1), 5.0), np.array([1.0]))
    assert list(replace(asked, weights=np.zeros(4)).informing()) == [0]
