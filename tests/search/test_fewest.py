"""The search for the fewest replicas, against what is known to be enough."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from tokenroof.search.core import Record
from tokenroof.search.fewest import DEARER, Counts, Found, Verdict, fewest


def verdict(missed: str = "", short: int = 0, value: float = 0.0) -> Verdict:
    record = Record(key="", label="", replicas=(), seed=0, rate_factor=1.0, values={}, low={}, high={})
    return Verdict(missed=missed, short=short, record=record, value=value)


def search(
    start: Counts,
    answer: Callable[[Counts], Verdict],
    unit: tuple[float, ...] = (1.0, 1.0),
    allowed: Callable[[Counts], bool] = lambda counts: True,
    floor: Counts | None = None,
) -> tuple[Found, list[Counts]]:
    asked = []
    going = fewest(start, unit[: len(start)], allowed, floor=floor)
    try:
        counts = next(going)
        while True:
            asked.append(counts)
            counts = going.send(answer(counts))
    except StopIteration as stop:
        return stop.value, asked


@given(start=st.integers(1, 60), needed=st.integers(1, 100))
def test_the_fewest_of_one_pool_are_found(start: int, needed: int) -> None:
    def answer(counts: Counts) -> Verdict:
        return verdict("" if counts[0] >= needed else "late", value=2.0 * needed / counts[0])

    found, asked = search((start,), answer)
    if needed <= 3 * start:
        assert found.replicas == (needed,)
        assert len(asked) <= 16
    else:
        assert found.replicas is None or found.replicas == (needed,)


@given(
    start=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    needed=st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
def test_the_fewest_of_two_pools_are_found(start: Counts, needed: Counts) -> None:
    def answer(counts: Counts) -> Verdict:
        short = [index for index in (0, 1) if counts[index] < needed[index]]
        return verdict("late" if short else "", short=short[0] if short else 0)

    found, _ = search(start, answer)
    if all(need <= 3 * first for need, first in zip(needed, start, strict=True)):
        assert found.replicas == needed


def test_a_dear_replica_is_exchanged_for_cheap_ones() -> None:
    def answer(counts: Counts) -> Verdict:
        return verdict("" if 3 * counts[0] + counts[1] >= 8 else "late", short=1)

    found, _ = search((2, 2), answer, unit=(6.0, 1.0))
    assert found.replicas == (1, 5)


def test_what_no_count_helps_ends_soon() -> None:
    found, asked = search((10,), lambda counts: verdict("late", value=1.5))
    assert found.replicas is None
    assert found.reason == "late"
    assert len(asked) <= 6


def test_nothing_is_asked_that_is_not_worth_it() -> None:
    found, asked = search((4,), lambda counts: verdict("late"), allowed=lambda counts: counts[0] < 5)
    assert found.replicas is None
    assert found.reason == DEARER
    assert found.asked == (5,)
    assert asked == [(4,)]


def test_never_fewer_than_the_floor_however_short_the_simulated_load() -> None:
    found, asked = search((2, 1), lambda counts: verdict(""), floor=(5, 1))
    assert found.replicas == (5, 1)
    assert all(counts[0] >= 5 for counts in asked)
