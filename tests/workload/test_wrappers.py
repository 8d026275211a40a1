"""Workloads made faster, moved, cut and merged keep their links, classes and shared prefixes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.errors import InputError
from tokenroof.workload.arrivals import Constant, Poisson
from tokenroof.workload.core import NOBODY, Prefixes, RequestClass, Requests, Workload
from tokenroof.workload.delays import FixedDelay
from tokenroof.workload.identities import SharedPrompt
from tokenroof.workload.lengths import Fixed, Uniform
from tokenroof.workload.pairs import Independent
from tokenroof.workload.sessions import ClosedSessions, Conversation, OpenSessions
from tokenroof.workload.synthetic import ClosedLoop, OpenLoop, Traffic
from tokenroof.workload.wrappers import Limited, Merged, Scaled, Shifted

SINGLE = Traffic(
    lengths=Independent(isl=Uniform(low_tokens=1, high_tokens=99), osl=Fixed(tokens=5)),
    request_class=RequestClass(name="single"),
)
PROMPTED = Traffic(lengths=SINGLE.lengths, shared=SharedPrompt(tokens=96, groups=2))
CHAT = Conversation(
    turns=Uniform(low_tokens=1, high_tokens=4),
    new_tokens=Uniform(low_tokens=1, high_tokens=99),
    osl=Uniform(low_tokens=1, high_tokens=50),
    think=FixedDelay(delay_s=7.0),
    shared=SharedPrompt(tokens=64),
    request_class=RequestClass(name="chat", priority=1),
)
SINGLES = OpenLoop(arrivals=Poisson(rate_per_s=3.0), mix=(SINGLE,), num_requests=200)
TENANTS = OpenLoop(arrivals=Poisson(rate_per_s=3.0), mix=(PROMPTED,), num_requests=100, block_tokens=16)
CHATS = OpenSessions(arrivals=Poisson(rate_per_s=1.0), mix=(CHAT,), num_sessions=60, block_tokens=16)
CLOSED = ClosedLoop(concurrency=4, mix=(SINGLE,), num_requests=30)


@dataclass(frozen=True)
class Recorded:
    """A workload that is always the same, as a trace is."""

    table: Requests

    def requests(self, seed: int) -> Requests:
        return self.table


def ids_of(prefixes: Prefixes | None, row: int) -> list[int]:
    return [] if prefixes is None else prefixes.ids[prefixes.start[row] : prefixes.start[row + 1]].tolist()


def free(requests: Requests) -> np.ndarray:
    return requests.arrival_s[requests.follows == NOBODY]


def shared_structure(requests: Requests, rows: list[int]) -> list[int]:
    """Identities of rows, numbered by first appearance: what is equal to what, whatever the numbers."""
    seen: dict[int, int] = {}
    return [seen.setdefault(one, len(seen)) for row in rows for one in ids_of(requests.prefixes, row)]


@given(st.floats(0.01, 100.0))
def test_a_faster_workload_is_the_same_in_less_time(factor: float) -> None:
    plain, fast = CHATS.requests(1), Scaled(workload=CHATS, rate_factor=factor).requests(1)
    assert free(fast) * factor == pytest.approx(free(plain), rel=1e-12)
    follows = plain.follows != NOBODY
    assert set(fast.arrival_s[follows]) == {7.0}
    assert fast.isl_tokens.tolist() == plain.isl_tokens.tolist()


def test_a_moved_workload_keeps_its_gaps() -> None:
    plain = SINGLES.requests(1)
    later = Shifted(workload=SINGLES, by_s=100.0).requests(1)
    assert later.arrival_s - 100.0 == pytest.approx(plain.arrival_s)
    earlier = Shifted(workload=Shifted(workload=SINGLES, by_s=100.0), by_s=-100.0).requests(1)
    assert earlier.arrival_s == pytest.approx(plain.arrival_s)


@given(count=st.integers(1, 200), from_s=st.floats(0.0, 50.0), long_s=st.floats(5.0, 60.0))
def test_a_cut_keeps_whole_conversations_of_its_time(count: int, from_s: float, long_s: float) -> None:
    plain = CHATS.requests(3)
    began = free(plain)[plain.session]
    rows = np.flatnonzero((began >= from_s) & (began < from_s + long_s))
    part = Limited(workload=CHATS, from_s=from_s, to_s=from_s + long_s).requests(3)
    assert part.isl_tokens.tolist() == plain.isl_tokens[rows].tolist()
    assert free(part) + from_s == pytest.approx(free(plain)[np.unique(plain.session[rows])], abs=1e-9)
    assert np.unique(part.session).tolist() == list(range(np.unique(plain.session[rows]).size))
    assert shared_structure(part, list(range(len(part)))) == shared_structure(plain, rows.tolist())
    assert part.prefixes is not None
    assert np.unique(part.prefixes.ids).tolist() == list(range(int(part.prefixes.ids.max()) + 1))
    few = Limited(workload=CHATS, from_s=from_s, to_s=from_s + long_s, num_requests=count).requests(3)
    assert few.isl_tokens.tolist() == part.isl_tokens[:count].tolist()


def test_a_closed_loop_can_be_cut_by_number() -> None:
    part = Limited(workload=CLOSED, num_requests=7).requests(1)
    assert len(part) == 7
    assert part.concurrency == 4


def test_wrappers_take_recorded_tables_too() -> None:
    trace = Recorded(table=CHATS.requests(9))
    fast = Scaled(workload=Limited(workload=trace, num_requests=50), rate_factor=2.0).requests(0)
    assert len(fast) == 50
    assert free(fast) * 2.0 == pytest.approx(free(trace.table)[: free(fast).size])


@given(seed=st.integers(0, 2**31))
def test_merged_workloads_are_all_there_in_order_of_time(seed: int) -> None:
    merged = Merged(workloads=(SINGLES, CHATS, TENANTS)).requests(seed)
    assert np.all(np.diff(free(merged)) >= 0.0)
    names = [one.name for one in merged.classes]
    assert names == ["single", "chat", "all"]
    for index, workload in enumerate((SINGLES, CHATS, TENANTS)):
        rows = np.flatnonzero(merged.class_index == index)
        # one of the seeds that Merged hands out gives this very table; its content must be the same
        place = np.full(len(merged), NOBODY)
        place[rows] = np.arange(rows.size)
        part = Requests(
            arrival_s=merged.arrival_s[rows],
            isl_tokens=merged.isl_tokens[rows],
            osl_tokens=merged.osl_tokens[rows],
            follows=np.where(merged.follows[rows] == NOBODY, NOBODY, place[merged.follows[rows]]),
            session=merged.session[rows],
            class_index=np.zeros(rows.size, dtype=np.int64),
        )
        own = int(_seeds(seed)[index])
        expected = workload.requests(own)
        for name in ("arrival_s", "isl_tokens", "osl_tokens", "follows"):
            assert getattr(part, name).tolist() == getattr(expected, name).tolist()
        assert shared_structure(merged, rows.tolist()) == shared_structure(
            expected, list(range(len(expected)))
        )
    talking = merged.class_index == 1
    assert np.unique(merged.session[talking]).tolist() == list(range(60))
    assert set(merged.session[~talking]) == {NOBODY}


def _seeds(seed: int) -> list[int]:
    return [
        int(np.random.default_rng(child).integers(2**62)) for child in np.random.SeedSequence(seed).spawn(3)
    ]


def test_merged_workloads_share_no_prefix_and_leave_no_gap() -> None:
    merged = Merged(workloads=(TENANTS, CHATS, TENANTS)).requests(2)
    assert merged.prefixes is not None
    firsts = {ids_of(merged.prefixes, row)[0] for row in range(len(merged))}
    assert len(firsts) == 5
    assert np.unique(merged.prefixes.ids).tolist() == list(range(int(merged.prefixes.ids.max()) + 1))


def test_two_equal_processes_are_drawn_apart() -> None:
    merged = Merged(workloads=(SINGLES, SINGLES)).requests(5)
    assert np.unique(merged.arrival_s).size == 400
    assert merged.label == SINGLES.requests(5).label
    assert merged.prefixes is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scaled(workload=SINGLES, rate_factor=0.0), "Scaled: rate_factor must be above 0, got 0.0"),
        (lambda: Scaled(workload=CLOSED, rate_factor=2.0).requests(1), r"Scaled: a closed loop \(of 4\)"),
        (lambda: Shifted(workload=SINGLES, by_s=-1e6).requests(1), "Shifted: by_s -1e.06 is more than the"),
        (lambda: Shifted(workload=CLOSED, by_s=1.0).requests(1), r"Shifted: a closed loop \(of 4\)"),
        (lambda: Limited(workload=SINGLES, num_requests=0), "Limited: num_requests must be at least 1"),
        (lambda: Limited(workload=SINGLES, from_s=-1.0), "Limited: from_s must be at least 0, got -1.0"),
        (lambda: Limited(workload=SINGLES, from_s=5.0, to_s=5.0), "Limited: to_s must be above 5, got 5.0"),
        (
            lambda: Limited(workload=SINGLES, from_s=1e6).requests(1),
            "nothing is sent in from_s 1e.06 to to_s None",
        ),
        (lambda: Limited(workload=CLOSED, to_s=5.0).requests(1), r"Limited: a closed loop \(of 4\)"),
        (lambda: Merged(workloads=()), "Merged: no workloads"),
        (
            lambda: Merged(
                workloads=(SINGLES, ClosedSessions(concurrency=2, mix=(CHAT,), num_sessions=2))
            ).requests(1),
            r"Merged: a closed loop \(of 2\)",
        ),
        (
            lambda: Merged(
                workloads=(
                    CHATS,
                    OpenLoop(
                        arrivals=Constant(rate_per_s=1.0), mix=(PROMPTED,), num_requests=2, block_tokens=32
                    ),
                )
            ).requests(1),
            "identities stand for 16, 32 tokens. Give all workloads the same block_tokens",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(make: Callable[[], Workload], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
