"""Laws of dominance, the front and weighted choice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.search.front import dominates, front, order, thinned, weighted

costs = st.lists(st.lists(st.floats(0.1, 1e3), min_size=3, max_size=3).map(tuple), min_size=1, max_size=12)
weights = st.lists(st.floats(0.1, 10.0), min_size=3, max_size=3)


@given(costs)
def test_a_dominated_point_is_never_on_the_front(points: list[tuple[float, ...]]) -> None:
    for at in front(points):
        assert not any(dominates(other, points[at]) for other in points)


@given(costs)
def test_what_is_not_on_the_front_is_dominated_by_something_on_it(points: list[tuple[float, ...]]) -> None:
    ahead = front(points)
    assert ahead
    for at, point in enumerate(points):
        if at not in ahead:
            assert any(dominates(points[best], point) for best in ahead)


@given(costs, st.randoms())
def test_the_front_does_not_hang_on_the_order(points: list[tuple[float, ...]], random: object) -> None:
    mixed = list(points)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert {points[at] for at in front(points)} == {mixed[at] for at in front(mixed)}


@given(costs, weights)
def test_the_weighted_best_is_on_the_front(points: list[tuple[float, ...]], given: list[float]) -> None:
    best = points[order(points, given)[0]]
    assert not any(dominates(other, best) for other in points)


@given(costs, weights, st.floats(0.01, 100.0))
def test_units_do_not_decide(points: list[tuple[float, ...]], given: list[float], factor: float) -> None:
    scaled = [(point[0] * factor, *point[1:]) for point in points]
    shift = weighted(scaled, given) - weighted(points, given)
    assert np.ptp(shift) < 1e-9


@given(costs, weights)
def test_a_lower_cost_is_never_worse(points: list[tuple[float, ...]], given: list[float]) -> None:
    cheaper = [(point[0] * 0.9, *point[1:]) for point in points]
    assert (weighted(cheaper, given) < weighted(points, given)).all()


def test_what_is_to_be_large_comes_with_a_minus() -> None:
    assert order([(-10.0,), (-20.0,)], None) == [1, 0]
    assert order([(-10.0, 1.0), (-20.0, 1.0)], (1.0, 1.0)) == [1, 0]


def test_what_is_not_known_is_behind() -> None:
    assert front([(1.0, np.nan), (2.0, 2.0)]) == [1]
    assert order([(1.0, np.nan), (2.0, 2.0)], (1.0, 1.0)) == [1, 0]


def test_nothing_has_no_front() -> None:
    assert front([]) == []
    assert order([], None) == []


def test_dominance_is_strict() -> None:
    assert dominates((1.0, 2.0), (1.0, 3.0))
    assert not dominates((1.0, 2.0), (1.0, 2.0))


@given(costs, st.floats(0.0, 0.5))
def test_what_is_thinned_out_is_nearly_something_that_is_kept(
    points: list[tuple[float, ...]], tolerance: float
) -> None:
    ahead = front(points)
    kept = thinned(points, ahead, tolerance)
    assert set(kept) <= set(ahead)
    for at in ahead:
        assert any(
            all(a <= b * (1.0 + tolerance) + 1e-9 for a, b in zip(points[best], points[at], strict=True))
            for best in kept
        )
