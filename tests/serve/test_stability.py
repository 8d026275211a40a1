"""A rate above saturation is told from one below it, in queues whose saturation is known."""

import dataclasses
import heapq
import math

import numpy as np
import pytest

from serve_runs import changed, run_of
from tokenroof.serve.results import Run, State
from tokenroof.serve.stability import growth


def queue(load: float, *, count: int = 2000, servers: int = 16, seed: int = 0, shape: float = 1.0) -> Run:
    """First come, first served by equal servers with lognormal service of mean 1 s; load 1 is saturation."""
    rng = np.random.default_rng(seed)
    service = rng.lognormal(-0.125, 0.5, count)
    arrival = np.cumsum(rng.gamma(shape, 1.0 / shape, count)) / (load * servers)
    start, finish = np.empty(count), np.empty(count)
    free = [0.0] * servers
    for row in range(count):
        start[row] = max(arrival[row], heapq.heappop(free))
        finish[row] = start[row] + service[row]
        heapq.heappush(free, finish[row])
    return run_of(arrival, start, start + 1e-3, finish, [10] * count, [5] * count)


@pytest.mark.parametrize("load", [0.3, 0.7, 0.9, 0.95])
@pytest.mark.parametrize("servers", [1, 16, 128])
def test_a_rate_below_saturation_is_stable(load: float, servers: int) -> None:
    for seed in range(3):
        got = growth(queue(load, servers=servers, seed=seed))
        assert got.judged
        assert not got.unstable
        assert got.reason == "the requests in the system do not keep growing"


@pytest.mark.parametrize("load", [1.3, 2.0, 5.0])
@pytest.mark.parametrize("servers", [1, 16, 128])
def test_a_rate_above_saturation_is_unstable_and_grows_by_what_is_not_served(
    load: float, servers: int
) -> None:
    got = growth(queue(load, servers=servers))
    assert got.unstable
    assert got.requests_per_s_of_growth == pytest.approx((load - 1.0) * servers, rel=0.25)
    assert got.arrivals_per_s == pytest.approx(load * servers, rel=0.1)
    assert got.score > 3.0
    assert got.reason.startswith("unstable: ")


def test_bursts_are_no_growth() -> None:
    assert not any(growth(queue(0.8, shape=0.25, seed=seed)).unstable for seed in range(5))


def test_the_fill_of_an_empty_system_is_no_growth() -> None:
    # 200 s of service at 10 requests/s: the system fills until 200 s of 1000, and holds 2000 then
    arrival = np.arange(10_000) / 10.0
    run = run_of(arrival, arrival, arrival + 1.0, arrival + 200.0, [10] * 10_000, [5] * 10_000)
    got = growth(run)
    assert got.judged
    assert not got.unstable
    assert got.in_system_at_last_arrival == 2000


def test_filling_all_the_while_cannot_be_told() -> None:
    arrival = np.arange(1000) / 10.0
    got = growth(run_of(arrival, arrival, arrival + 1.0, arrival + 200.0, [10] * 1000, [5] * 1000))
    assert not got.judged
    assert not got.unstable
    assert "too short to tell" in got.reason
    assert got.in_system_at_last_arrival == 1000


def test_a_short_run_far_above_saturation_is_told_by_its_waiting_line() -> None:
    got = growth(queue(5.0, count=150, servers=16))
    assert got.unstable
    assert "waiting requests" in got.reason


def test_a_regular_queue_just_above_its_limit_has_a_sure_slope() -> None:
    arrival = np.arange(1000) / 1.05
    start = np.arange(1000.0)
    got = growth(run_of(arrival, start, start + 0.5, start + 1.0, [10] * 1000, [5] * 1000))
    assert got.unstable
    assert got.requests_per_s_of_growth == pytest.approx(0.05, rel=0.1)


def test_in_a_closed_loop_nothing_grows_without_end() -> None:
    got = growth(changed(queue(3.0), requests=_closed(queue(3.0))))
    assert not got.unstable
    assert not got.judged
    assert "closed loop" in got.reason
    assert math.isnan(got.requests_per_s_of_growth)


def _closed(run: Run) -> object:
    return dataclasses.replace(run.requests, concurrency=4)


def test_few_arrivals_are_not_judged() -> None:
    got = growth(queue(3.0, count=50))
    assert not got.judged
    assert "50 arrivals are too few" in got.reason


def test_nothing_completed_is_not_judged() -> None:
    run = queue(1.0, count=200)
    nothing = np.full(200, np.nan)
    got = growth(changed(run, log={"finish_s": nothing, "state": np.full(200, int(State.DECODING))}))
    assert not got.judged
    assert got.in_system_at_last_arrival == 200


def test_refused_requests_do_not_wait() -> None:
    run = queue(0.5, count=1000)
    odd = np.arange(1000) % 2 == 1
    gone = {
        name: np.where(odd, np.nan, getattr(run.log, name)) for name in ("start_s", "first_s", "finish_s")
    }
    state = np.where(odd, int(State.REJECTED), int(State.COMPLETED))
    got = growth(changed(run, log={**gone, "state": state}))
    assert got.judged
    assert not got.unstable
