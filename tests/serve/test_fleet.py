"""Failures and stragglers, in scenarios small enough to be followed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serve_fleets import apart, pool, requests, setup
from tokenroof.serve import kernel
from tokenroof.serve.arrays import DECODING
from tokenroof.serve.core import Autoscaler, CacheTier, Fleet, Incident, Setup
from tokenroof.serve.invariants import check
from tokenroof.serve.lists import COUNT
from tokenroof.serve.progress import steps_done, steps_take_s
from tokenroof.serve.replica import begin
from tokenroof.serve.results import ITL_BINS_PER_OCTAVE, ITL_LEAST_S, Run, State
from tokenroof.serve.routers.round_robin import RoundRobin
from tokenroof.serve.routers.session_affinity import SessionAffinity
from tokenroof.serve.run import simulate
from tokenroof.serve.world import make_world
from tokenroof.workload.core import Requests

FOREVER = math.inf


def served(asked: Requests, *incidents: Incident, replicas: int = 1, **fleet: object) -> Run:
    """A run on one pool; whatever happens, the invariants hold."""
    return checked(setup(pool(replicas), fleet=Fleet(incidents=incidents, **fleet)), asked)  # type: ignore[arg-type]


def checked(given: Setup, asked: Requests) -> Run:
    run = simulate(given, asked)
    assert not check(run)
    assert not run.past_events
    return run


def tokens_by(run: Run, at_s: float) -> int:
    """Tokens of the only request of a run that crawls which are out by ``at_s``."""
    first = int(run.log.first_s[0] <= at_s)
    return first + int(np.count_nonzero((run.segments["steps"] > 0) & (run.segments["end_s"] <= at_s)))


def test_a_failure_in_the_middle_of_decode_keeps_the_tokens() -> None:
    asked = requests([0.0], 64, 200)
    alone = simulate(setup(pool(), crawl=True, record_segments=1000), asked)
    at_s = 0.5 * float(alone.log.finish_s[0]) + 1e-4
    out = tokens_by(alone, at_s)
    assert 50 < out < 150
    run = served(asked, Incident(at_s=at_s, for_s=FOREVER), replicas=2)
    log = run.log
    assert log.state[0] == State.COMPLETED
    assert (log.replica[0], log.retries[0], log.preemptions[0]) == (1, 1, 0)
    # Prompt and tokens so far are computed again; that prefill yields the next token.
    assert log.prefilled_tokens[0] == 64 + (64 + out)
    rest = simulate(setup(pool()), requests([0.0], 64 + out, 200 - out))
    assert log.finish_s[0] == pytest.approx(at_s + float(rest.log.finish_s[0]), rel=1e-9)
    assert log.first_s[0] == alone.log.first_s[0]
    assert run.replicas["decode_tokens"].tolist() == [out - 1, 200 - out - 1]
    # The longest gap is that from the last token before to the first one after.
    gap_s = at_s + float(rest.log.first_s[0]) - float(alone.segments["end_s"][out - 1])
    longest = int(np.flatnonzero(run.itl_counts[0])[-1])
    assert longest == int(math.log2(gap_s / ITL_LEAST_S) * ITL_BINS_PER_OCTAVE)
    # It is not paid for after its failure.
    assert run.replicas["up_s"].tolist() == [at_s, run.end_s]


def test_a_failure_in_the_middle_of_a_prefill_loses_it() -> None:
    asked = requests([0.0], 2000, 5)
    alone = simulate(setup(pool(), record_segments=100), asked)
    step_s = float(alone.segments["end_s"][0])
    run = served(asked, Incident(at_s=1.5 * step_s, for_s=FOREVER), replicas=2)
    assert run.log.prefilled_tokens[0] == 512 + 2000  # one step of four was done
    assert run.log.start_s[0] == 0.0
    assert run.log.first_s[0] == pytest.approx(1.5 * step_s + float(alone.log.first_s[0]))


def test_a_spare_takes_over_and_the_repaired_one_is_the_next_spare() -> None:
    asked = requests([1.2, 10.0, 10.0, 20.0, 40.0], 100, 5)
    first, second = Incident(at_s=1.0, for_s=1.0), Incident(at_s=19.0, for_s=FOREVER, replicas=(1,))
    run = served(asked, first, second, spares=(1,), takeover_s=0.5)
    # Down at 1 s, the spare serves at 1.5 s; down at 19 s, the other one at 19.5 s.
    assert run.log.replica.tolist() == [1, 1, 1, 0, 0]
    assert run.log.start_s.tolist() == [1.5, 10.0, 10.0, 20.0, 40.0]
    # Paid: replica 0 but for its second of repair, the spare from the start until it fails for good.
    assert run.replicas["up_s"].tolist() == [pytest.approx(run.end_s - 1.0), 19.0]
    serving = run.timeline[0, 6].sum() * run.timeline_bin_s
    assert serving <= run.replicas["up_s"].sum() - 1.5


def test_a_spare_stands_by_where_nothing_fails() -> None:
    run = served(requests([0.0, 0.0, 0.0], 100, 5), spares=(2,))
    assert run.log.replica.tolist() == [0, 0, 0]
    assert run.replicas["up_s"].tolist() == [run.end_s] * 3


def test_requests_wait_for_the_only_replica() -> None:
    asked = requests([0.0, 1.5, 2.0], 100, [3000, 5, 5])
    run = served(asked, Incident(at_s=1.0, for_s=3.0))
    # Repaired after 3 s, its weights are loaded in 2 s. Only the first one had been there.
    assert run.log.start_s.tolist() == [0.0, 6.0, 6.0]
    assert run.log.retries.tolist() == [1, 0, 0]
    assert run.replicas["up_s"].tolist() == [pytest.approx(run.end_s - 3.0)]
    assert np.all(run.log.state == State.COMPLETED)


def test_the_router_s_line_goes_to_whoever_serves_first() -> None:
    # Both are down; requests that came meanwhile are sent when the first of them serves, wherever it is.
    asked = requests([2.0, 2.1, 2.2], 100, 5)
    both = (Incident(at_s=1.0, for_s=9.0), Incident(at_s=1.5, for_s=1.0, replicas=(1,)))
    run = served(asked, *both, replicas=2)
    assert run.log.replica.tolist() == [1, 1, 1]
    assert run.log.start_s.tolist() == [4.5, 4.5, 4.5]


def test_without_any_replica_left_requests_are_reported() -> None:
    asked = requests([0.0, 0.0, 2.0], 100, [3000, 5, 5])
    run = served(asked, Incident(at_s=1.0, for_s=FOREVER))
    assert run.log.state.tolist() == [State.FAILED, State.COMPLETED, State.REJECTED]
    assert run.log.reason.tolist() == [2, 0, 2]
    assert run.log.retries.tolist() == [1, 0, 0]
    assert 10 < run.log.out_tokens[0] < 3000  # what had come out


def test_too_many_failures_are_reported() -> None:
    asked = requests([0.0], 100, 3000)
    incidents = [Incident(at_s=0.5 * k + 0.5, for_s=FOREVER, replicas=(k,)) for k in range(3)]
    for most, ends in ((3, State.COMPLETED), (2, State.FAILED)):
        run = served(asked, *incidents, replicas=4, max_retries=most)
        assert (run.log.state[0], run.log.retries[0]) == (ends, 3)
        assert run.log.reason[0] == (3 if ends == State.FAILED else 0)


def test_a_node_takes_all_its_replicas_with_it() -> None:
    # Least loaded: 0, 1, 2, 0, 1, 2; replicas 0 and 1 fail at once, nobody is sent from one to the other.
    asked = requests([0.0] * 6, 100, 500)
    run = served(asked, Incident(at_s=1.0, for_s=FOREVER, replicas=(0, 1)), replicas=3)
    assert run.log.retries.tolist() == [1, 1, 0, 1, 1, 0]
    assert run.log.replica.tolist() == [2] * 6


def test_failures_of_one_replica_overlap() -> None:
    asked = requests([2.0], 100, 5)
    run = served(asked, Incident(at_s=1.0, for_s=2.0), Incident(at_s=1.5, for_s=6.0))
    assert run.log.start_s.tolist() == [9.5]  # 7.5 s, and 2 s of loading


def test_who_waits_for_one_that_will_never_come_back_is_reported() -> None:
    run = served(requests([1.5], 100, 5), Incident(at_s=1.0, for_s=3.0), Incident(at_s=2.0, for_s=FOREVER))
    assert (run.log.state[0], run.log.reason[0], run.log.retries[0]) == (State.REJECTED, 2, 0)


def test_a_failure_while_weights_are_loaded_begins_anew() -> None:
    asked = requests([2.5], 100, 5)
    run = served(asked, Incident(at_s=1.0, for_s=1.0), Incident(at_s=3.0, for_s=1.0))
    assert run.log.start_s.tolist() == [6.0]
    assert run.log.retries.tolist() == [0]  # it was with the router all the time


def test_what_is_planned_after_the_end_does_not_prolong_a_run() -> None:
    asked = requests([0.0], 100, 5)
    calm = served(asked)
    scaler = Autoscaler(signal="queue", target=1.0, most=1)
    later = served(asked, Incident(at_s=1e6, for_s=1.0), autoscalers=(scaler,))
    assert later.end_s == calm.end_s


def test_a_straggler_takes_longer_from_its_next_step_on() -> None:
    asked = requests([0.0], 64, 200)
    alone = simulate(setup(pool(), crawl=True, record_segments=1000), asked)
    steps = alone.segments
    cut = 100
    at_s = 0.5 * float(steps["start_s"][cut] + steps["end_s"][cut])
    run = served(asked, Incident(at_s=at_s, for_s=FOREVER, slowdown=3.0))
    whole, until = float(alone.log.finish_s[0]), float(steps["end_s"][cut])
    assert run.log.finish_s[0] == pytest.approx(until + 3.0 * (whole - until))
    assert run.replicas["slowed_s"][0] == pytest.approx(2.0 * (whole - until))


def test_a_straggler_recovers_and_the_slowest_of_two_causes_counts() -> None:
    asked = requests([0.0], 64, 400)
    alone = simulate(setup(pool(), crawl=True, record_segments=1000), asked)
    step_s = float(np.diff(alone.segments["end_s"]).mean())
    slow = (
        Incident(at_s=0.5, for_s=1.0, slowdown=2.0),
        Incident(at_s=0.7, for_s=0.2, slowdown=5.0),
    )
    run = served(asked, *slow)
    # 0.8 s at half the pace and 0.2 s at a fifth: 0.4 s and 0.16 s are lost, give or take a step or two.
    lost_s = float(run.log.finish_s[0] - alone.log.finish_s[0])
    assert lost_s == pytest.approx(0.56, abs=12 * step_s)
    assert run.replicas["slowed_s"][0] == pytest.approx(lost_s)


def test_a_straggler_gets_fewer_requests() -> None:
    asked = requests((np.arange(60) * 0.05).tolist(), 200, 40)
    run = served(asked, Incident(at_s=0.0, for_s=FOREVER, slowdown=4.0), replicas=2)
    assert np.bincount(run.log.replica).tolist()[0] < 25


def test_steps_count_as_done_from_the_moment_they_end() -> None:
    world, _ = make_world(setup(), requests([0.0, 0.0], [64, 900], [300, 500]))
    while world.lists[0, DECODING, COUNT] < 2:
        assert kernel.advance(world, 1)
    begin(world, 0, float(world.g[0]["now_s"]))
    start_s, steps = float(world.rep[0]["start_s"]), int(world.rep[0]["steps"])
    assert steps > 100
    for count in range(1, steps):
        end_s = start_s + steps_take_s(world, 0, count)
        assert steps_done(world, 0, end_s + 1e-9) == count
        assert steps_done(world, 0, end_s) in (count - 1, count)  # rounding
        assert steps_done(world, 0, end_s - 1e-9) == count - 1
    assert steps_done(world, 0, start_s) == 0


# Prefill and decode apart: replicas 0 and 1 prefill, 2 and 3 decode.


def apart_run(asked: Requests, *incidents: Incident) -> Run:
    return checked(setup(*apart(2, 2), fleet=Fleet(incidents=incidents)), asked)


def test_a_decode_replica_fails_and_its_requests_are_prefilled_again() -> None:
    asked = requests([0.0], 300, 400)
    calm = apart_run(asked)
    assert calm.log.decode_replica[0] == 2
    at_s = 0.5 * float(calm.log.finish_s[0])
    run = apart_run(asked, Incident(at_s=at_s, for_s=FOREVER, pool=1))
    assert (run.log.retries[0], run.log.decode_replica[0]) == (1, 3)
    again = int(run.log.prefilled_tokens[0]) - 300
    assert 300 + 100 < again < 300 + 300  # the prompt and what was out
    assert run.log.state[0] == State.COMPLETED


@pytest.mark.parametrize(("which", "computed"), [(0, 2), (1, 1)])
def test_a_failure_during_the_hand_off(which: int, computed: int) -> None:
    # The cache of 4,000 tokens moves for 52 ms. The sender lost: all is computed again. The receiver
    # lost: the cache is still where it was, and goes to the other one.
    asked = requests([0.0], 4000, 10)
    calm = apart_run(asked)
    at_s = float(calm.log.first_s[0]) - 0.02
    assert calm.log.transfer_s[0] > 0.05
    run = apart_run(asked, Incident(at_s=at_s, for_s=FOREVER, pool=which))
    assert run.log.retries[0] == 1
    assert run.log.prefilled_tokens[0] == computed * 4000
    assert run.log.state[0] == State.COMPLETED
    assert run.log.decode_replica[0] == (2 if which == 0 else 3)


def test_a_failure_between_the_arrival_of_a_cache_and_the_next_step() -> None:
    # The second request has its first token, in the middle of a step of the first, when the replica fails.
    asked = requests([0.0, 0.5], [100, 300], [500, 20])
    pools = apart(1, 2)
    calm = checked(setup(*pools, router=SessionAffinity()), asked)
    assert calm.log.decode_replica.tolist() == [1, 2]
    busy = Incident(at_s=0.0, for_s=0.6, pool=1, replicas=(1,))
    alone = checked(setup(*pools, fleet=Fleet(incidents=(busy,))), asked)
    assert alone.log.decode_replica.tolist() == [1, 1]
    fails = Incident(at_s=float(alone.log.first_s[1]) + 1e-6, for_s=FOREVER, pool=1)
    run = checked(setup(*pools, fleet=Fleet(incidents=(busy, fails))), asked)
    assert run.log.first_s[1] == alone.log.first_s[1]
    assert run.log.retries.tolist() == [1, 1]
    assert run.log.prefilled_tokens[1] == 300 + 301


def test_a_request_given_up_in_the_middle_of_its_hand_off_leaves_nothing_behind() -> None:
    asked = requests([0.0, 1.0], [4000, 100], 10)
    at_s = float(apart_run(asked).log.first_s[0]) - 0.02
    fleet = Fleet(incidents=(Incident(at_s=at_s, for_s=FOREVER, pool=1),), max_retries=0)
    run = checked(setup(*apart(2, 2), fleet=fleet), asked)
    assert run.log.state.tolist() == [State.FAILED, State.COMPLETED]
    assert run.log.reason.tolist() == [3, 0]
    assert run.replicas["taken_blocks"][0] == run.replicas["freed_blocks"][0] > 0


def test_caches_that_wait_for_a_decode_replica_are_lost_with_their_prefill_replica() -> None:
    # No decode replica until 3 s: the prompts are computed and wait; at 1 s one of their homes fails.
    asked = requests([0.0] * 4, 400, 10)
    no_decode = Incident(at_s=0.0, for_s=1.0, pool=1, replicas=(0, 1))
    run = apart_run(asked, no_decode, Incident(at_s=1.0, for_s=FOREVER))
    assert run.log.retries.tolist() == [1, 0, 1, 0]
    assert run.log.prefilled_tokens.tolist() == [800, 400, 800, 400]
    assert np.all(run.log.state == State.COMPLETED)
    assert run.log.first_s.min() >= 3.0


def test_who_waits_behind_a_lost_one_moves_up_at_once() -> None:
    # Beside the first there is room for the third but not for the second, whose home fails at 1.5 s.
    asked = requests([0.0, 0.5, 0.7], [1600, 2400, 100], [1000, 2, 2])
    first, second = apart(2, 1, num_blocks=200)
    for crawl in (False, True):
        fleet = Fleet(incidents=(Incident(at_s=1.5, for_s=FOREVER, replicas=(1,)),))
        run = checked(setup(first, second, router=RoundRobin(), fleet=fleet, crawl=crawl), asked)
        assert run.log.replica.tolist() == [0, 0, 0]
        assert run.log.retries.tolist() == [0, 1, 0]
        assert 1.5 < run.log.first_s[2] < 1.53
        assert run.log.first_s[1] > run.log.finish_s[0]


def test_prefilled_requests_without_any_decode_replica_are_reported() -> None:
    run = apart_run(requests([0.0], 400, 10), Incident(at_s=0.0, for_s=FOREVER, pool=1, replicas=(0, 1)))
    assert (run.log.state[0], run.log.reason[0]) == (State.FAILED, 2)


def test_the_cache_is_lost_with_its_replica_and_a_shared_tier_stays() -> None:
    # The same prompt three times, the replica fails before the third.
    asked = requests([0.0, 1.0, 8.0], 1040, 5, units=[list(range(65))] * 3)
    fails = Fleet(incidents=(Incident(at_s=2.0, for_s=1.0),))
    tier = CacheTier(name="store", blocks=10_000, bytes_per_s=1e12, latency_s=1e-5, shared=True)
    host = CacheTier(name="host", blocks=10_000, bytes_per_s=1e12, latency_s=1e-5)
    found = []
    for tiers in ((), (host,), (tier,)):
        cached = pool(prefix_caching=True, tiers=tiers, block_bytes=2e6)
        found.append(checked(setup(cached, fleet=fails), asked).log.cached_tokens.tolist())
    assert found == [[0, 1024, 0], [0, 1024, 0], [0, 1024, 1024]]
