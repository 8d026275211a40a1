"""Prompts of data parallel ranks that wait for one another: schedules worked out by hand."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_policies import requests, table, workloads
from tokenroof.errors import InputError
from tokenroof.graph.core import Parallel
from tokenroof.serve.core import PoolSetup, Setup
from tokenroof.serve.invariants import check
from tokenroof.serve.policies.balance import prompts_for_all
from tokenroof.serve.policies.trtllm import MAX_UTILIZATION, Trtllm
from tokenroof.serve.results import Run
from tokenroof.serve.routers.least_loaded import LeastLoaded
from tokenroof.serve.run import simulate
from tokenroof.workload.core import Requests

RULE = Trtllm(
    max_batch_size=8, max_num_tokens=64, enable_balance=True, timeout_iters=6, batching_wait_iters=2
)


def serve(
    rule: Trtllm, asked: Requests, *, ranks: int = 2, crawl: bool = False, num_blocks: int = 900
) -> Run:
    timed = table()
    subject: Any = SimpleNamespace(
        parallel=Parallel(dp=ranks), decode_tokens=1, machine=timed.subject.machine
    )
    pool = PoolSetup(
        table=replace(timed, subject=cast(Any, subject)),
        scheduler=rule,
        num_blocks=num_blocks,
        block_tokens=1,
    )
    run = simulate(Setup(pools=(pool,), router=LeastLoaded(), crawl=crawl, record_segments=20_000), asked)
    assert check(run) == ()
    return run


def prompts(run: Run) -> list[tuple[int, int]]:
    """Decode steps done before each step with prompts, and how many prompts it has."""
    found, done = [], 0
    for row in run.segments:
        if row["prefill_seqs"]:
            found.append((done, int(row["prefill_seqs"])))
        done += int(row["steps"])
    return found


def test_a_prompt_that_stays_alone_is_let_in_after_the_timeout() -> None:
    asked = requests([0.0, 0.0, 2.5], [4, 4, 4], [30, 30, 2])
    # Prompts until 1.08 s; it comes in the second decode step, at whose end the six begin.
    assert prompts(serve(RULE, asked)) == [(0, 2), (8, 1)]
    assert prompts(serve(replace(RULE, enable_balance=False), asked)) == [(0, 2), (2, 1)]
    assert prompts(serve(RULE, asked, ranks=1)) == [(0, 2), (2, 1)]


def test_when_every_rank_has_one_they_wait_for_a_few_more() -> None:
    asked = requests([0.0, 0.0, 2.5, 3.5, 4.5, 6.2], [4] * 6, [30, 30, 2, 2, 2, 2])
    assert prompts_for_all(2) == 3.0
    # The third of them is there after four steps.
    assert prompts(serve(RULE, asked)) == [(0, 2), (6, 4)]


def test_while_a_rank_has_nothing_to_decode_nobody_waits() -> None:
    asked = requests([0.0, 2.5], [4, 4], [30, 2])
    assert prompts(serve(RULE, asked)) == [(0, 1), (2, 1)]


@pytest.mark.parametrize("wrong", [{"timeout_iters": -1}, {"batching_wait_iters": -1}])
def test_negative_waits_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Trtllm(**wrong)


@given(
    workloads(shared=False),
    st.sampled_from([RULE, replace(RULE, max_batch_size=2, capacity_scheduler_policy=MAX_UTILIZATION)]),
    st.sampled_from([2, 3]),
    st.sampled_from([90, 900]),
    st.booleans(),
)
def test_crawling_is_jumping(asked: Requests, rule: Trtllm, ranks: int, blocks: int, ahead: bool) -> None:
    rule = replace(rule, async_scheduling=ahead)
    jumps = serve(rule, asked, ranks=ranks, num_blocks=blocks)
    crawls = serve(rule, asked, ranks=ranks, num_blocks=blocks, crawl=True)
    assert jumps.log.first_s.tolist() == pytest.approx(crawls.log.first_s.tolist(), rel=1e-12, nan_ok=True)
    assert jumps.log.finish_s.tolist() == pytest.approx(crawls.log.finish_s.tolist(), rel=1e-12, nan_ok=True)
