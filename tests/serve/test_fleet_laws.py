"""Whatever fails, is slow, or is added: nothing is lost, and jumping is crawling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_fleets import apart, poisson, pool, setup
from tokenroof.serve.core import Autoscaler, CacheTier, Fleet, Incident, Router, Setup
from tokenroof.serve.fleet_plan import random_failures
from tokenroof.serve.invariants import check, digest
from tokenroof.serve.policies.sglang import Sglang
from tokenroof.serve.policies.static import Static
from tokenroof.serve.policies.trtllm import Trtllm
from tokenroof.serve.policies.vllm import Vllm
from tokenroof.serve.results import Run, State
from tokenroof.serve.routers.least_loaded import LeastLoaded
from tokenroof.serve.routers.power_of_two import PowerOfTwo
from tokenroof.serve.routers.prefix_affinity import PrefixAffinity
from tokenroof.serve.routers.round_robin import RoundRobin
from tokenroof.serve.routers.session_affinity import SessionAffinity
from tokenroof.serve.run import simulate
from tokenroof.workload.core import Requests

ROUTERS: tuple[Router, ...] = (
    LeastLoaded(),
    RoundRobin(),
    PowerOfTwo(),
    PrefixAffinity(balance_abs_threshold=4),
    SessionAffinity(),
)
SCHEDULERS = (
    Vllm(max_num_seqs=16, max_num_batched_tokens=512),
    Sglang(max_running_requests=16, chunked_prefill_size=256),
    Trtllm(max_batch_size=16, max_num_tokens=512, capacity_scheduler_policy="MAX_UTILIZATION"),
    Trtllm(max_batch_size=16, max_num_tokens=512),
    Static(max_batch_size=8, batch_timeout_s=0.05),
)


def asked(seed: int, count: int, rate_per_s: float) -> Requests:
    """Requests of which some share prefixes and some belong to conversations."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 6, count)
    units = [
        [*range(8 * group, 8 * group + 8), *range(48 + 30 * row, 78 + 30 * row)]
        for row, group in enumerate(groups.tolist())
    ]
    session = rng.integers(-1, 6, count).tolist()
    return poisson(count, rate_per_s, 300, 40, seed, units=units, session=session)


@st.composite
def fleets(draw: st.DrawFn, replicas: tuple[int, ...]) -> Fleet:
    """Up to eight incidents, spares and autoscalers."""
    times = st.floats(0.0, 4.0)
    incidents = []
    for _ in range(draw(st.integers(0, 8))):
        which = draw(st.integers(0, len(replicas) - 1))
        hit = draw(st.sets(st.integers(0, replicas[which] - 1), min_size=1, max_size=2))
        incidents.append(
            Incident(
                at_s=draw(st.one_of(times, st.sampled_from((0.0, 0.5, 1.0)))),
                for_s=draw(st.one_of(st.floats(1e-3, 2.0), st.sampled_from((0.5, math.inf)))),
                pool=which,
                replicas=tuple(sorted(hit)),
                slowdown=draw(st.sampled_from((math.inf, math.inf, 1.5, 4.0))),
            )
        )
    scalers = tuple(
        Autoscaler(
            signal=draw(st.sampled_from(("rate", "queue", "kv"))),
            target=draw(st.sampled_from((0.02, 0.3, 2.0, 10.0))),
            most=draw(st.integers(1, 3)),
            interval_s=draw(st.sampled_from((0.1, 0.37, 1.0))),
            down_after_s=draw(st.sampled_from((0.0, 0.5))),
            pool=which,
        )
        for which in range(len(replicas))
        if draw(st.booleans())
    )
    return Fleet(
        incidents=tuple(incidents),
        spares=draw(st.sampled_from(((), (1,)))),
        takeover_s=draw(st.sampled_from((0.0, 0.3))),
        autoscalers=scalers,
        max_retries=draw(st.integers(0, 4)),
    )


def the_same(jumped: Run, crawled: Run) -> None:
    """Decisions agree, times agree to rounding."""
    for name in ("state", "reason", "replica", "decode_replica", "retries", "preemptions", "out_tokens"):
        assert np.array_equal(getattr(jumped.log, name), getattr(crawled.log, name)), name
    for name in ("prefilled_tokens", "cached_tokens"):
        assert np.array_equal(getattr(jumped.log, name), getattr(crawled.log, name)), name
    for name in ("start_s", "first_s", "finish_s", "transfer_s"):
        both = getattr(jumped.log, name), getattr(crawled.log, name)
        assert np.allclose(*both, rtol=1e-9, atol=1e-9, equal_nan=True), name
    assert np.allclose(jumped.replicas["up_s"], crawled.replicas["up_s"])
    assert np.array_equal(jumped.replicas["steps"], crawled.replicas["steps"])


def hold(given: Setup, requests: Requests) -> Run:
    run = simulate(given, requests)
    assert check(run) == ()
    assert run.past_events == 0
    assert np.all(run.log.state >= State.COMPLETED)
    return run


@settings(max_examples=30)
@given(data=st.data(), seed=st.integers(0, 10_000))
def test_nothing_is_lost_on_one_pool(data: st.DataObject, seed: int) -> None:
    fleet = data.draw(fleets((2,)))
    rule, router = data.draw(st.sampled_from(SCHEDULERS)), data.draw(st.sampled_from(ROUTERS))
    tiers = data.draw(
        st.sampled_from(((), (CacheTier(name="host", blocks=400, bytes_per_s=2e11, latency_s=1e-3),)))
    )
    some = pool(
        2,
        scheduler=rule,
        num_blocks=data.draw(st.sampled_from((60, 150, 1000))),
        prefix_caching=data.draw(st.booleans()),
        tiers=tiers,
        block_bytes=2e6,
        start_up_s=data.draw(st.sampled_from((0.0, 0.4))),
    )
    requests = asked(seed, 40, data.draw(st.sampled_from((10.0, 40.0))))
    given_: dict[str, Any] = {"router": router, "fleet": fleet, "seed": seed}
    the_same(hold(setup(some, **given_), requests), hold(setup(some, **given_, crawl=True), requests))


@settings(max_examples=30)
@given(data=st.data(), seed=st.integers(0, 10_000))
def test_nothing_is_lost_with_prefill_and_decode_apart(data: st.DataObject, seed: int) -> None:
    fleet = data.draw(fleets((2, 2)))
    pools = apart(
        2,
        2,
        num_blocks=data.draw(st.sampled_from((60, 150, 1000))),
        prefix_caching=data.draw(st.booleans()),
        start_up_s=data.draw(st.sampled_from((0.0, 0.4))),
    )
    requests = asked(seed, 40, data.draw(st.sampled_from((10.0, 40.0))))
    given_: dict[str, Any] = {"router": data.draw(st.sampled_from(ROUTERS)), "fleet": fleet, "seed": seed}
    the_same(hold(setup(*pools, **given_), requests), hold(setup(*pools, **given_, crawl=True), requests))


@pytest.mark.parametrize("router", ROUTERS, ids=lambda router: type(router).__name__)
def test_a_day_of_failures(router: Router) -> None:
    failures = random_failures(
        replicas=range(4), mtbf_s=4.0, mttr_s=1.0, until_s=20.0, seed=2, replicas_per_node=2
    )
    scaler = Autoscaler(signal="queue", target=4.0, most=6, interval_s=1.0, down_after_s=3.0)
    fleet = Fleet(incidents=failures, spares=(1,), autoscalers=(scaler,), max_retries=100)
    given_ = setup(pool(4, prefix_caching=True, start_up_s=1.0), router=router, fleet=fleet)
    requests = asked(1, 400, 20.0)
    run = hold(given_, requests)
    assert np.all(run.log.state == State.COMPLETED)
    assert run.log.retries.sum() > 10
    assert digest(run) == digest(simulate(given_, requests))
