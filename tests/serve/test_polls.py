"""An engine that receives requests once in so many decode steps: by hand, and by chance.

A step takes 1 s, 10 ms more per prompt token, 0.1 ms more per cached token of a decoding sequence.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from serve_policies import assert_crawling_is_jumping, requests, serve, workloads
from tokenroof.errors import InputError
from tokenroof.serve.policies.sglang import Sglang
from tokenroof.serve.results import Run
from tokenroof.workload.core import Requests

PLAIN = Sglang(max_running_requests=4, chunked_prefill_size=16, scheduler_recv_interval=3)
AHEAD = replace(PLAIN, async_scheduling=True)
RULES = (PLAIN, AHEAD, replace(AHEAD, scheduler_recv_interval=2), replace(PLAIN, enable_mixed_chunk=True))


def decode_starts(first_s: float, context: int, count: int) -> list[float]:
    """When the decode steps of a lone sequence begin."""
    starts = [first_s]
    for step in range(count):
        starts.append(starts[-1] + 1.0 + 1e-4 * (context + step))
    return starts


def test_who_comes_waits_until_requests_are_received_again() -> None:
    """A's prompt ends at 1.04 s: received then, and again after 3 decode steps, and after 3 more."""
    starts = decode_starts(1.04, 4, 8)
    for came, seen in ((0.5, 0), (1.5, 3), (starts[3] - 0.5, 3), (starts[3] + 0.5, 6)):
        run = serve(PLAIN, requests([0.0, came], [4, 2], [9, 2]))
        assert run.log.start_s[1] == pytest.approx(starts[seen], rel=1e-12)


def test_planned_ahead_the_last_to_be_seen_came_before_the_last_step_began() -> None:
    starts = decode_starts(1.04, 4, 8)
    for came, seen in ((1.5, 3), (starts[2] - 0.5, 3), (starts[2] + 0.5, 6), (0.5, 3)):
        run = serve(AHEAD, requests([0.0, came], [4, 2], [9, 2]))
        assert run.log.start_s[1] == pytest.approx(starts[seen], rel=1e-12)


def test_a_batch_of_prompts_begins_to_count_again() -> None:
    """B is taken after 3 steps; C, which came in B's prompt, right after it, not 3 steps later."""
    starts = decode_starts(1.04, 4, 3)
    asked = requests([0.0, 1.5, starts[3] + 0.5], [4, 2, 2], [9, 4, 4])
    assert serve(PLAIN, asked).log.start_s[2] == pytest.approx(starts[3] + 1.02, rel=1e-12)


def test_a_device_that_rests_receives_at_once() -> None:
    for rule in RULES:
        run = serve(rule, requests([0.0, 7.0], [4, 4], [2, 2]))
        assert run.log.start_s.tolist() == [0.0, 7.0]
        alone = replace(requests([0.0] * 3, [4] * 3, [3] * 3), concurrency=1)
        run = serve(rule, alone)
        np.testing.assert_array_equal(run.log.start_s[1:], run.log.finish_s[:-1])


def test_every_step_is_as_if_nothing_had_been_said() -> None:
    asked = requests([0.0, 0.5, 1.5, 3.2], [4, 2, 9, 30], [6, 2, 5, 3])
    one = serve(replace(AHEAD, scheduler_recv_interval=1), asked)
    other = serve(Sglang(max_running_requests=4, chunked_prefill_size=16, async_scheduling=True), asked)
    np.testing.assert_array_equal(one.log.finish_s, other.log.finish_s)


def received_s(run: Run, interval: int, ahead: bool) -> list[float]:
    """For each step of a crawl: who had come by then had been received when it was planned."""
    rows = run.segments
    found: list[float] = []
    unpolled = 0
    for k in range(len(rows)):
        rested = k == 0 or rows["start_s"][k] > rows["end_s"][k - 1]
        if not rested:
            unpolled = interval if rows["prefill_seqs"][k - 1] else unpolled + 1
        if rested:
            found.append(float(rows["start_s"][k]))
        elif unpolled >= interval:
            found.append(float(rows["start_s"][k - 1 if ahead else k]))
        else:
            found.append(found[-1])
        if rested or unpolled >= interval:
            unpolled = 0
    return found


@pytest.mark.parametrize("rule", RULES)
@given(asked=workloads())
@settings(max_examples=30)
def test_nobody_is_in_a_step_whose_plan_had_not_received_it(rule: Any, asked: Requests) -> None:
    run = serve(rule, asked, crawl=True, num_blocks=80)
    known_s = received_s(run, rule.scheduler_recv_interval, rule.async_scheduling)
    busy = [False] + [
        bool(run.segments["start_s"][k] == run.segments["end_s"][k - 1]) for k in range(1, len(known_s))
    ]
    for i in range(len(run.log)):
        k = int(np.searchsorted(run.segments["start_s"], run.log.start_s[i]))
        others = (run.log.start_s < run.log.start_s[i]) & (run.log.finish_s > run.log.start_s[i])
        if busy[k] and others.any():
            assert run.log.arrival_s[i] <= known_s[k] + 1e-9


@pytest.mark.parametrize("rule", RULES)
@given(asked=workloads())
@settings(max_examples=40)
def test_crawling_is_jumping(rule: Any, asked: Requests) -> None:
    assert_crawling_is_jumping(rule, asked, num_blocks=70)


def test_an_interval_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="scheduler_recv_interval must be at least 1"):
        Sglang(scheduler_recv_interval=0)
