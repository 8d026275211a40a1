"""Steps that are planned while the one before runs: timelines worked out by hand, and random ones.

A step takes 1 s, 10 ms more per prompt token, 0.1 ms more per cached token of a decoding sequence.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_setups import Case, setup
from random_setups import requests as random_requests

from serve_policies import assert_crawling_is_jumping, requests, serve, steps, table, workloads
from tokenroof.serve.core import Link, PoolSetup, Setup, Stage
from tokenroof.serve.invariants import check, digest
from tokenroof.serve.policies.sglang import Sglang
from tokenroof.serve.policies.trtllm import Trtllm
from tokenroof.serve.policies.vllm import Vllm
from tokenroof.serve.results import Run
from tokenroof.serve.routers.least_loaded import LeastLoaded
from tokenroof.serve.run import simulate
from tokenroof.workload.core import Requests

VLLM = Vllm(max_num_seqs=4, max_num_batched_tokens=16, async_scheduling=True)
TRTLLM = Trtllm(max_batch_size=4, max_num_tokens=16, async_scheduling=True)
SGLANG = Sglang(max_running_requests=4, chunked_prefill_size=16, async_scheduling=True)
RULES: tuple[Any, ...] = (
    VLLM,
    replace(VLLM, long_prefill_token_threshold=6),
    replace(VLLM, max_num_seqs=2, scheduler_reserve_full_isl=False),
    replace(VLLM, enable_chunked_prefill=False),
    TRTLLM,
    replace(TRTLLM, capacity_scheduler_policy="MAX_UTILIZATION"),
    SGLANG,
    replace(SGLANG, enable_mixed_chunk=True),
    replace(SGLANG, max_running_requests=2),
)


def near(*times_s: float) -> Any:
    return pytest.approx(times_s, rel=1e-12)


@pytest.mark.parametrize("rule", [VLLM, TRTLLM])
def test_who_comes_during_a_step_waits_for_its_rest_and_for_the_next(rule: Any) -> None:
    """B comes in A's first decode step, 1.04 to 2.0404 s; the next, to 3.0409 s, has been planned."""
    asked = requests([0.0, 1.5], [4, 2], [6, 2])
    run = serve(rule, asked)
    assert run.log.start_s.tolist() == near(0.0, 3.0409)
    assert run.log.first_s.tolist() == near(1.04, 3.0409 + 1.02 + 0.0006)
    assert run.log.finish_s[1] == pytest.approx(4.0615 + 1.0 + 1e-4 * (7 + 2), rel=1e-12)
    at_once = serve(replace(rule, async_scheduling=False), asked)
    assert at_once.log.start_s.tolist() == near(0.0, 2.0404)


def test_a_batch_of_prompts_alone_waits_as_long() -> None:
    run = serve(SGLANG, requests([0.0, 1.5], [4, 2], [6, 2]))
    assert run.log.start_s.tolist() == near(0.0, 3.0409)
    assert run.log.first_s.tolist() == near(1.04, 3.0409 + 1.02)


def test_who_comes_during_a_prompt_waits_for_the_first_decode_step() -> None:
    run = serve(VLLM, requests([0.0, 0.5], [4, 2], [6, 2]))
    assert run.log.start_s.tolist() == near(0.0, 2.0404)


@pytest.mark.parametrize("rule", [VLLM, TRTLLM])
def test_a_place_is_given_away_one_step_after_it_was_left(rule: Any) -> None:
    """B's third token is out at 3.0818 s; A alone, with 6 tokens, takes the step to 4.0824 s."""
    name = "max_num_seqs" if rule is VLLM else "max_batch_size"
    run = serve(replace(rule, **{name: 2}), requests([0.0, 0.0, 0.5], [4, 4, 2], [9, 3, 2]))
    assert run.log.finish_s[1] == pytest.approx(3.0818, rel=1e-12)
    assert run.log.start_s.tolist() == near(0.0, 0.0, 4.0824)


def test_a_full_batch_of_sglang_shrinks_a_step_later_still() -> None:
    """The decode step that is planned with B's end makes room; prompts come with the plan after that."""
    rule = replace(SGLANG, max_running_requests=2)
    asked = requests([0.0, 0.0, 0.5], [4, 4, 2], [9, 3, 2])
    late = serve(rule, asked)
    sooner = serve(replace(rule, async_scheduling=False), asked)
    assert sooner.log.start_s[2] == pytest.approx(4.0824, rel=1e-12)
    assert late.log.start_s[2] == pytest.approx(4.0824 + 1.0007, rel=1e-12)


def test_blocks_are_given_away_one_step_after_they_were_left() -> None:
    """27 blocks of a token: A and B hold 20 at B's end, C needs 8."""
    run = serve(VLLM, requests([0.0, 0.0, 0.5], [8, 8, 8], [8, 3, 2]), num_blocks=27)
    end_s = 1.16 + 1.0016 + 1.0018
    assert run.log.finish_s[1] == pytest.approx(end_s, rel=1e-12)
    assert run.log.start_s[2] == pytest.approx(end_s + 1.001, rel=1e-12)
    assert run.log.preemptions.sum() == 0


def test_the_next_request_of_a_client_waits_for_two_steps() -> None:
    """B ends at 3.0818 s, when the next step is planned; C is sent then, and the one after is planned too."""
    asked = replace(requests([0.0, 0.0, 0.0], [4, 4, 2], [9, 3, 2]), concurrency=2)
    run = serve(VLLM, asked)
    assert run.log.arrival_s[2] == run.log.finish_s[1] == pytest.approx(3.0818, rel=1e-12)
    assert run.log.start_s[2] == pytest.approx(3.0818 + 1.0006 + 1.0007, rel=1e-12)
    assert steps(run)[:4] == [(0, 0, 2, 8), (2, 2, 0, 0), (2, 1, 0, 0), (1, 1, 1, 2)]


@pytest.mark.parametrize("rule", [VLLM, TRTLLM, SGLANG])
def test_nobody_waits_for_a_device_that_rests(rule: Any) -> None:
    """B comes in A's last step and finds nothing planned behind it; C comes later."""
    run = serve(rule, requests([0.0, 1.5, 9.0], [4, 4, 4], [2, 2, 2]))
    assert run.log.start_s.tolist() == near(0.0, 2.0404, 9.0)
    alone = {"max_num_seqs": 1} if rule is VLLM else {}
    run = serve(replace(rule, **alone), replace(requests([0.0] * 3, [4] * 3, [2] * 3), concurrency=1))
    np.testing.assert_array_equal(run.log.start_s[1:], run.log.finish_s[:-1])


def test_all_of_a_burst_are_known_from_the_start() -> None:
    run = serve(VLLM, requests([0.0, 0.0, 0.0], [16, 16, 16], [2, 2, 2]))
    assert run.log.start_s.tolist() == near(0.0, 1.16, 1.16 + 1.15 + 0.0016)


def test_who_had_to_give_way_is_known() -> None:
    """20 blocks of a token: after two steps both have 10, B waits until 11 fit and A is seen to end."""
    run = serve(VLLM, requests([0.0, 0.0], [8, 8], [8, 8]), num_blocks=20)
    assert run.log.preemptions.tolist() == [0, 1]
    assert [row for row in steps(run) if row[2]] == [(0, 0, 2, 16), (0, 0, 1, 11)]
    assert run.segments["start_s"][-2] == run.log.finish_s[0]


@pytest.mark.parametrize("rule", RULES)
@given(asked=workloads(), cache=st.sampled_from([(70, 1), (300, 1), (18, 4), (80, 4)]))
@settings(max_examples=40)
def test_crawling_is_jumping(rule: Any, asked: Requests, cache: tuple[int, int]) -> None:
    assert_crawling_is_jumping(rule, asked, num_blocks=cache[0], block_tokens=cache[1])


def step_in_progress(start_s: Any, end_s: Any, at_s: float) -> int:
    """Number of the step inside of which a time lies; -1: none, or it is the edge of one."""
    k = int(np.searchsorted(start_s, at_s)) - 1
    return k if k >= 0 and start_s[k] < at_s < end_s[k] else -1


def taken_too_soon(run: Run) -> list[int]:
    """Requests that came in a step and were taken into the next, in which somebody was going on."""
    rows, log = run.segments, run.log
    start_s, end_s = rows["start_s"], rows["end_s"]
    found = []
    for i in range(len(log)):
        k = step_in_progress(start_s, end_s, log.arrival_s[i])
        if 0 <= k < len(rows) - 1 and log.start_s[i] == start_s[k + 1]:
            goes_on = (
                (log.start_s < start_s[k + 1]) & (start_s[k + 1] < log.finish_s) & (log.preemptions == 0)
            )
            if goes_on.any():
                found.append(i)
    return found


@pytest.mark.parametrize("rule", RULES)
@given(asked=workloads())
@settings(max_examples=30)
def test_nobody_is_in_a_step_that_was_planned_before_it_came(rule: Any, asked: Requests) -> None:
    run = serve(rule, asked, crawl=True, num_blocks=80)
    assert taken_too_soon(run) == []


def test_what_is_handed_over_decodes_a_step_later() -> None:
    """The caches of B and C arrive in steps of A on the decode replica; each joins two steps on."""
    link = Link(bytes_per_s=1e9, latency_s=0.01, bytes_per_token=1.0)
    common: dict[str, Any] = {"table": table(), "num_blocks": 1000, "block_tokens": 1, "link": link}
    asked = requests([0.0, 1.2, 6.2], [4, 6, 8], [20, 4, 4])
    for ahead in (False, True):
        rule = replace(VLLM, async_scheduling=ahead)
        pools = tuple(PoolSetup(scheduler=rule, stage=end, **common) for end in (Stage.PREFILL, Stage.DECODE))
        run = simulate(Setup(pools=pools, router=LeastLoaded(), crawl=True, record_segments=999), asked)
        assert check(run) == ()
        rows = run.segments[run.segments["replica"] == 1]
        joined = [int(np.flatnonzero(np.diff(rows["decode_seqs"]) > 0)[n]) + 1 for n in range(2)]
        came = [step_in_progress(rows["start_s"], rows["end_s"], run.log.first_s[i]) for i in (1, 2)]
        assert [to - k for to, k in zip(joined, came, strict=True)] == [1 + ahead] * 2


def test_pipeline_stages_do_not_plan_ahead() -> None:
    for ways in ("one", "stages"):
        case = Case(ways=ways, rule="vllm", seed=3)
        runs = [simulate(setup(each), random_requests(each)) for each in (case, replace(case, ahead=True))]
        assert (digest(runs[0]) == digest(runs[1])) == (ways == "stages")
