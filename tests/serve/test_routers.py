"""Routers: who takes a request, by each rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_fleets import apart, poisson, pool, requests, setup
from tokenroof.errors import InputError
from tokenroof.serve.core import Fleet, Incident, Router
from tokenroof.serve.invariants import check
from tokenroof.serve.results import Run, State
from tokenroof.serve.routers.common import draw
from tokenroof.serve.routers.least_loaded import LeastLoaded
from tokenroof.serve.routers.power_of_two import PowerOfTwo
from tokenroof.serve.routers.prefix_affinity import PrefixAffinity
from tokenroof.serve.routers.round_robin import RoundRobin
from tokenroof.serve.routers.session_affinity import SessionAffinity
from tokenroof.serve.run import simulate
from tokenroof.serve.world import make_world
from tokenroof.workload.core import Requests

RULES: tuple[Router, ...] = (
    RoundRobin(),
    LeastLoaded(),
    PowerOfTwo(),
    PrefixAffinity(),
    SessionAffinity(),
)


def counts(run: Run, replicas: int) -> list[int]:
    """Requests by the replica that prefilled them."""
    found: list[int] = np.bincount(run.log.replica, minlength=replicas).tolist()
    return found


def test_round_robin_takes_turns_whatever_replicas_do() -> None:
    asked = requests([0.0] * 7, [100, 4000, 10, 900, 10, 10, 10], 5)
    run = simulate(setup(pool(3), router=RoundRobin()), asked)
    assert run.log.replica.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_prefill_and_decode_replicas_have_turns_of_their_own() -> None:
    run = simulate(setup(*apart(2, 3), router=RoundRobin()), requests(np.arange(12.0).tolist(), 100, 5))
    assert run.log.replica.tolist() == [0, 1] * 6
    assert run.log.decode_replica.tolist() == [2, 3, 4] * 4


def test_least_loaded_goes_where_fewest_requests_are() -> None:
    # The first keeps replica 0 busy for long; the short ones that follow it one by one go elsewhere.
    asked = requests([0.0, 0.1, 0.5, 1.0, 1.5], 100, [2000, 2, 2, 2, 2])
    run = simulate(setup(pool(2), router=LeastLoaded()), asked)
    assert run.log.replica.tolist() == [0, 1, 1, 1, 1]


def test_the_generator_is_xorshift64_star() -> None:
    world, _ = make_world(setup(seed=5), requests([0.0], 10, 2))
    state, factor, mask = int(world.g[0]["random"]), 0x2545F4914F6CDD1D, 2**64 - 1
    for count in (2, 3, 7, 1000, 12345, 1):
        state ^= state >> 12
        state = (state ^ (state << 25)) & mask
        state ^= state >> 27
        expected = ((((state * factor) & mask) >> 32) * count) >> 32
        assert draw(world, count) == expected


def test_power_of_two_spreads_evenly_and_follows_the_seed() -> None:
    # One at a time on idle replicas: pure chance, 600 over 6 replicas (100 each, standard deviation 9).
    asked = requests((np.arange(600) * 10.0).tolist(), 16, 1)
    runs = [simulate(setup(pool(6), router=PowerOfTwo(), seed=seed), asked) for seed in (1, 1, 2)]
    found = [counts(run, 6) for run in runs]
    assert all(60 < count < 140 for count in found[0])
    assert runs[0].log.replica.tolist() == runs[1].log.replica.tolist() != runs[2].log.replica.tolist()


def test_power_of_two_takes_the_less_loaded_of_two() -> None:
    # All at once: two choices keep the fullest of 20 replicas within a few of the mean of 20 (one choice
    # would be off by about 2 standard deviations, 9); with two replicas it is the least loaded of all.
    run = simulate(setup(pool(20), router=PowerOfTwo()), requests([0.0] * 400, 16, 2))
    assert 20 < max(counts(run, 20)) <= 24
    asked = poisson(60, 30.0, 200, 40)
    both = [simulate(setup(pool(2), router=rule), asked) for rule in (PowerOfTwo(), LeastLoaded())]
    loads = [np.sort(counts(each, 2)) for each in both]
    assert abs(int(loads[0][0]) - int(loads[1][0])) <= 6


def shared(groups: int, each: int, seed: int = 0) -> Requests:
    """Prompts of 320 tokens of which 256 are shared by a group, one after another."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, groups * each).tolist()
    units = [[16 * which + unit for unit in range(16)] for which in group]
    return requests((np.arange(len(group)) * 0.5).tolist(), 320, 4, units=units)


def test_prefix_affinity_goes_where_the_prefix_is_cached() -> None:
    asked = shared(8, 6)
    assert asked.prefixes is not None
    group = asked.prefixes.ids[asked.prefixes.start[:-1]] // 16
    affine, by_load = (
        simulate(setup(pool(4, prefix_caching=True), router=rule), asked)
        for rule in (PrefixAffinity(), RoundRobin())
    )
    for which in range(8):
        assert len(set(affine.log.replica[group == which].tolist())) == 1
    # Only the first of a group computes what it shares.
    assert affine.log.cached_tokens.sum() == (48 - 8) * 256
    assert affine.log.cached_tokens.sum() > 1.5 * by_load.log.cached_tokens.sum()
    assert max(counts(affine, 4)) < 48  # new groups go to the emptiest cache
    assert not check(affine)


def test_prefix_affinity_ignores_short_matches() -> None:
    # 64 of 320 tokens are shared by all: less than the threshold, more than a smaller one.
    units = [[0, 1, 2, 3, *range(4 + 16 * k, 16 + 16 * k)] for k in range(8)]
    asked = requests(np.arange(8.0).tolist(), 320, 2, units=units)
    far = simulate(setup(pool(4, prefix_caching=True), router=PrefixAffinity()), asked)
    near = simulate(setup(pool(4, prefix_caching=True), router=PrefixAffinity(cache_threshold=0.1)), asked)
    assert counts(far, 4) == [2, 2, 2, 2]
    assert counts(near, 4) == [8, 0, 0, 0]


def test_prefix_affinity_gives_way_to_load() -> None:
    # A popular prefix, once cached, draws everybody until loads are more than 5 apart.
    units = [list(range(16)) for _ in range(61)]
    asked = requests([0.0] + [5.0] * 60, 300, 400, units=units)
    rule = PrefixAffinity(balance_abs_threshold=5, balance_rel_threshold=1.5)
    here = simulate(setup(pool(3, prefix_caching=True), router=PrefixAffinity()), asked)
    spread = simulate(setup(pool(3, prefix_caching=True), router=rule), asked)
    assert counts(here, 3) == [61, 0, 0]
    assert min(counts(spread, 3)) >= 10
    assert counts(spread, 3)[0] == max(counts(spread, 3))


def test_prefix_affinity_sees_what_is_cached_at_the_moment() -> None:
    # While replica 1 is away, a prefix and then a long answer come to replica 0. The answer grows, in one
    # stretch of work, over the idle prefix: 20 blocks of 100 at first, 94 when the prefix is asked for again.
    units = [list(range(40)), list(range(40, 60)), list(range(40))]
    asked = requests([0.0, 0.3, 8.0], [656, 320, 656], [2, 1250, 2], units=units)
    away = Fleet(incidents=(Incident(at_s=0.0, for_s=1.0, replicas=(1,)),))
    cached = pool(2, prefix_caching=True, num_blocks=100, start_up_s=0.0)
    for crawl in (False, True):
        run = simulate(setup(cached, router=PrefixAffinity(), fleet=away, crawl=crawl), asked)
        assert run.log.replica.tolist() == [0, 0, 1]
        assert not check(run)


def test_prefix_affinity_without_prefixes_is_least_loaded() -> None:
    asked = poisson(80, 40.0, 200, 30)
    runs = [simulate(setup(pool(3), router=rule), asked) for rule in (PrefixAffinity(), LeastLoaded())]
    assert runs[0].log.replica.tolist() == runs[1].log.replica.tolist()


def test_a_conversation_stays_where_it_was() -> None:
    session = [0, 1, 2, 3] * 10
    asked = requests((np.arange(40) * 0.05).tolist(), 200, 30, session=session)
    run = simulate(setup(pool(4), router=SessionAffinity()), asked)
    for which in range(4):
        assert len(set(run.log.replica[asked.session == which].tolist())) == 1
    assert len(set(run.log.replica.tolist())) > 1


def test_a_conversation_moves_when_its_replica_is_lost_and_stays_there() -> None:
    asked = requests(np.arange(12.0).tolist(), 100, 5, session=[0] * 12)
    fleet = Fleet(incidents=(Incident(at_s=3.5, for_s=1.0),))
    run = simulate(setup(pool(3), router=SessionAffinity(), fleet=fleet), asked)
    assert run.log.replica.tolist() == [0] * 4 + [1] * 8


def test_conversations_with_prefill_and_decode_apart_stay_on_their_prefill_replica() -> None:
    asked = requests((np.arange(40) * 0.05).tolist(), 200, 30, session=[0, 1, 2, 3] * 10)
    run = simulate(setup(*apart(2, 3), router=SessionAffinity()), asked)
    for which in range(4):
        assert len(set(run.log.replica[asked.session == which].tolist())) == 1
    assert set(run.log.decode_replica.tolist()) == {2, 3, 4}


@settings(max_examples=15)
@given(rule=st.sampled_from(RULES), seed=st.integers(0, 1000), disaggregated=st.booleans())
def test_every_rule_serves_everybody(rule: Router, seed: int, disaggregated: bool) -> None:
    rng = np.random.default_rng(seed)
    session = rng.integers(-1, 5, 60).tolist()
    asked = poisson(60, 60.0, 250, 25, seed, session=session)
    pools = apart(2, 2) if disaggregated else (pool(3),)
    run = simulate(setup(*pools, router=rule, seed=seed), asked)
    assert not check(run)
    assert np.all(run.log.state == State.COMPLETED)
    crawled = simulate(setup(*pools, router=rule, seed=seed, crawl=True), asked)
    assert np.array_equal(run.log.replica, crawled.log.replica)
    assert np.array_equal(run.log.decode_replica, crawled.log.decode_replica)


@pytest.mark.parametrize(
    ("name", "value"),
    [("cache_threshold", 1.5), ("balance_abs_threshold", -1), ("balance_rel_threshold", 0.5)],
)
def test_thresholds_are_checked(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        PrefixAffinity(**{name: value})
