"""Autoscaling: when replicas are added, when they serve, when they leave."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serve_fleets import apart, pool, requests, setup
from tokenroof.serve.core import Autoscaler, Fleet, Incident, Setup
from tokenroof.serve.invariants import check
from tokenroof.serve.results import TIMELINE, Run, State
from tokenroof.serve.routers.round_robin import RoundRobin
from tokenroof.serve.run import simulate
from tokenroof.workload.core import Requests


def checked(given: Setup, asked: Requests) -> Run:
    run = simulate(given, asked)
    assert not check(run)
    return run


def scaled(asked: Requests, scaler: Autoscaler, replicas: int = 1, **fleet: object) -> Run:
    changes = Fleet(autoscalers=(scaler,), **fleet)  # type: ignore[arg-type]
    return checked(setup(pool(replicas), fleet=changes), asked)


def test_the_rate_decides_and_new_replicas_serve_after_their_start_up() -> None:
    # 4 requests per second for 10 s; 2 per second and replica: two replicas, seen at the first look.
    asked = requests((0.01 + np.arange(80) * 0.25).tolist(), 50, 2)
    fleet = Fleet(autoscalers=(Autoscaler(signal="rate", target=2.0, interval_s=5.0, most=4),))
    run = checked(setup(pool(), fleet=fleet, router=RoundRobin()), asked)
    second = run.log.arrival_s[run.log.replica == 1]
    assert second.min() == pytest.approx(7.01, abs=0.25)  # 5 s and 2 s of start-up
    assert set(run.log.replica.tolist()) == {0, 1}
    # It is paid for from the decision on.
    assert run.replicas["up_s"].tolist() == [run.end_s, pytest.approx(run.end_s - 5.0), 0.0, 0.0]


def test_waiting_requests_decide() -> None:
    # 16 run, 84 wait: at the first look some 20 per replica are wanted, so 4 to 5 replicas.
    run = scaled(requests([0.0] * 100, 50, 400), Autoscaler(signal="queue", target=20.0, interval_s=1.0))
    paid = run.replicas["up_s"]
    assert np.count_nonzero(paid) == math.ceil((100 - 16) / 20)
    # Who waits where it is stays there; nobody came later.
    assert set(run.log.replica.tolist()) == {0}


def test_the_cache_in_use_decides() -> None:
    # 8 sequences of 1,600 to 2,000 tokens take 100 to 125 of 2,000 blocks each.
    asked = requests([0.0] * 8 + [4.0] * 8, 1600, 400)
    run = scaled(asked, Autoscaler(signal="kv", target=0.25, interval_s=1.0, most=3))
    assert np.count_nonzero(run.replicas["up_s"]) == 2
    assert set(run.log.replica[8:].tolist()) == {0, 1}


def test_the_cache_in_use_is_that_of_the_moment() -> None:
    # Eight answers grow in one stretch of work: 56 blocks at first, 800 at the end; more than half of 1,000
    # is seen at the first look after that.
    fleet = Fleet(autoscalers=(Autoscaler(signal="kv", target=0.5, interval_s=0.5, most=2),))
    asked = requests([0.0] * 8, 100, 1500)
    jumped, crawled = (
        checked(setup(pool(num_blocks=1000), fleet=fleet, crawl=crawl), asked) for crawl in (False, True)
    )
    assert 0.0 < jumped.replicas["up_s"][1] < 0.5 * jumped.end_s
    assert jumped.replicas["up_s"][1] == pytest.approx(crawled.replicas["up_s"][1])


def test_bounds_are_kept() -> None:
    asked = requests([0.0] * 100, 50, 400)
    for most in (1, 2, 3):
        run = scaled(asked, Autoscaler(signal="queue", target=1.0, interval_s=1.0, most=most))
        assert np.count_nonzero(run.replicas["up_s"]) == most
    idle = scaled(
        requests([0.0, 60.0], 50, 5),
        Autoscaler(signal="rate", target=1.0, least=2, interval_s=1.0, down_after_s=2.0),
        replicas=4,
    )
    up = idle.timeline[0, TIMELINE.index("up_replicas")]
    assert (up[0], up[-1]) == (4.0, 2.0)


def test_fewer_replicas_only_after_the_need_was_lower_for_long() -> None:
    # Nothing happens between 0 and 100 s: looks at 10, 20, ... find a need of 1; at 10 + 30 s it has been so
    # for 30 s, and two of three are given back at once.
    asked = requests([0.0, 100.0], 50, 5)
    scaler = Autoscaler(signal="queue", target=1.0, interval_s=10.0, down_after_s=30.0)
    run = scaled(asked, scaler, replicas=3)
    assert sorted(run.replicas["up_s"][:3].tolist()) == [40.0, 40.0, run.end_s]


def test_who_leaves_ends_what_it_has_and_takes_nothing_new() -> None:
    # The rate falls to nothing after 64 requests; each of three replicas has one that decodes for long.
    times = [0.0, 0.0, 0.0, *np.arange(5.0, 12.0, 0.5).tolist()]
    asked = requests(times, 50, [4000, 4000, 4000] + [2] * 14)
    scaler = Autoscaler(signal="rate", target=10.0, interval_s=1.0, down_after_s=2.0)
    run = scaled(asked, scaler, replicas=3)
    assert np.all(run.log.state == State.COMPLETED)
    assert run.log.retries.sum() == 0
    assert len(set(run.log.replica[3:].tolist())) == 1  # only one still takes requests
    leaving = run.replicas["up_s"][:3]
    assert np.all(leaving > 3.0 + 20.0)  # those who leave are paid for until they are empty


def test_a_replica_that_was_given_back_has_lost_its_cache() -> None:
    # Both have the prefix; at 3 s one is given back, from 10 s on it is needed again and serves at 13 s.
    times = [0.0, 0.0, *(10.05 + np.arange(50) * 0.1).tolist()]
    asked = requests(times, 300, 2, units=[list(range(18))] * 52)
    scaler = Autoscaler(signal="rate", target=6.0, interval_s=1.0, down_after_s=2.0, most=2)
    cached = pool(2, prefix_caching=True)
    run = checked(setup(cached, router=RoundRobin(), fleet=Fleet(autoscalers=(scaler,))), asked)
    given_back = int(np.argmin(run.replicas["up_s"]))
    later = np.flatnonzero((run.log.replica == given_back) & (run.log.arrival_s > 5.0))
    assert later.size > 5
    assert run.log.cached_tokens[later[0]] == 0
    assert np.all(run.log.cached_tokens[later[1:]] == 288)


def test_a_replica_that_was_leaving_is_called_back_first() -> None:
    times = [0.0, 0.0, *np.arange(6.0, 10.0, 0.01).tolist()]
    asked = requests(times, 20, [4000, 4000] + [2] * 400)
    scaler = Autoscaler(signal="rate", target=50.0, interval_s=1.0, down_after_s=2.0, most=2)
    run = scaled(asked, scaler, replicas=2)
    later = run.log.arrival_s[2:]
    both = [int(run.log.replica[2:][(later >= at) & (later < at + 1)].max()) for at in (6.0, 8.0)]
    few = [int(np.ptp(run.log.replica[2:][(later >= at) & (later < at + 1)])) for at in (6.0, 8.0)]
    assert few == [0, 1]  # from the look at 7 s on both, without a start-up
    assert both[1] == 1


def test_autoscaling_replaces_what_failed_for_good() -> None:
    asked = requests((np.arange(40) * 0.5).tolist(), 50, 5)
    scaler = Autoscaler(signal="queue", target=5.0, most=1, interval_s=4.0)
    run = scaled(asked, scaler, incidents=(Incident(at_s=5.2, for_s=math.inf),))
    # Nobody is left: the next request, at 5.5 s, has another machine started, 2 s until it serves.
    assert np.all(run.log.state == State.COMPLETED)
    waited = run.log.start_s - run.log.arrival_s
    assert waited[11] == pytest.approx(2.0)
    assert np.all(waited[16:] < 0.1)


def test_pools_are_scaled_apart() -> None:
    asked = requests((np.arange(100) * 0.1).tolist(), 100, 50)
    fleet = Fleet(
        autoscalers=(
            Autoscaler(signal="rate", target=20.0, interval_s=1.0, most=4, pool=0),
            Autoscaler(signal="rate", target=4.0, interval_s=1.0, most=4, pool=1),
        )
    )
    run = checked(setup(*apart(1, 1), fleet=fleet), asked)
    assert np.count_nonzero(run.replicas["up_s"][:4]) == 1
    assert np.count_nonzero(run.replicas["up_s"][4:]) == 3


def test_spares_are_not_for_load() -> None:
    asked = requests([0.0] * 60, 50, 200)
    scaler = Autoscaler(signal="queue", target=1.0, most=2, interval_s=1.0)
    run = scaled(asked, scaler, spares=(1,))
    assert run.replicas["up_s"][2] == run.end_s
    assert 2 not in run.log.replica
