"""How long micro-batches take that go to and fro: against a schedule that is played through."""

import doctest
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.deploy.halves.pingpong import Rounds, Station, ping_pong_s

TIMES = st.floats(0.0, 1.0)


def played_s(rounds: list[list[list[float]]]) -> float:
    """Every micro-batch at every station of every round, one after the other: [round][station][micro]."""
    stations, micro = len(rounds[0]), len(rounds[0][0])
    free, ready = [0.0] * stations, [0.0] * micro
    for each in rounds:
        for one in range(micro):
            at = ready[one]
            for station in range(stations):
                at = free[station] = max(at, free[station]) + each[station][one]
            ready[one] = at
    return max(ready)


def rounds_of(count: int, times: list[list[float]]) -> Rounds:
    stations = (Station(longest_s=np.array(max(row)), together_s=np.array(sum(row))) for row in times)
    return Rounds(count=count, stations=tuple(stations))


@given(st.lists(TIMES, min_size=4, max_size=4), st.integers(1, 5), st.integers(1, 20))
def test_equal_rounds_are_exact(station_s: list[float], micro: int, count: int) -> None:
    times = [[each] * micro for each in station_s]
    assert float(ping_pong_s([rounds_of(count, times)])) == pytest.approx(played_s([times] * count))


@given(
    st.integers(1, 4),
    st.floats(0.5, 1.0),
    st.lists(
        st.tuples(st.lists(TIMES, min_size=4, max_size=4), st.integers(1, 12), st.integers(1, 4)),
        min_size=1,
        max_size=3,
    ),
)
def test_nothing_is_faster_than_it_can_be(
    micro: int, smaller: float, kinds: list[tuple[list[float], int, int]]
) -> None:
    """Rounds of unlike kinds, micro-batches of unlike sizes, the larger ones first."""
    played, asked = [], []
    for station_s, count, large in kinds:
        times = [[each * (1.0 if one < large else smaller) for one in range(micro)] for each in station_s]
        played += [times] * count
        asked.append(rounds_of(count, times))
    assert float(ping_pong_s(asked)) >= played_s(played) * (1.0 - 1e-12)


def test_the_equation_of_megascale_infer() -> None:
    """arXiv 2504.02263, equation 5: (Ta + Te + 2 Tc) + Tf (m L - 1), when m Tf >= Ta + Te + 2 Tc."""
    attention, experts, wires, layers = 3.0, 4.0, 1.0, 32
    for micro in (3, 4, 5):
        times = [[each] * micro for each in (attention, wires, experts, wires)]
        wanted = (attention + experts + 2 * wires) + experts * (micro * layers - 1)
        assert float(ping_pong_s([rounds_of(layers, times)])) == pytest.approx(wanted)


def test_two_hide_each_other_and_the_third_the_wires() -> None:
    """Attention and feed-forward of 1 s, wires of 0.5 s; 100 rounds of three units of work per round."""

    def rate(micro: int) -> float:
        times = [[each] * micro for each in (1.0, 0.5, 1.0, 0.5)]
        return micro * 100 / float(ping_pong_s([rounds_of(100, times)]))

    assert rate(1) == pytest.approx(1 / 3)
    assert rate(2) == pytest.approx(2 / 3, rel=0.01)
    assert rate(3) == pytest.approx(1.0, rel=0.01)
    assert rate(4) == pytest.approx(1.0, rel=0.01)


def test_the_page_shows_what_comes_out() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "model" / "halves.md"
    result = doctest.testfile(str(page), module_relative=False)
    assert (result.failed, result.attempted) == (0, 4)
