"""TensorRT-LLM's batching rules: schedules worked out by hand, and jumping equal to crawling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_policies import assert_crawling_is_jumping, merged, requests, serve, steps, workloads
from tokenroof.errors import InputError
from tokenroof.serve.policies.trtllm import MAX_UTILIZATION, NO_EVICT, Trtllm
from tokenroof.workload.core import Requests

SMALL = Trtllm(max_batch_size=4, max_num_tokens=16)
FULL = Trtllm(max_batch_size=4, max_num_tokens=16, capacity_scheduler_policy=MAX_UTILIZATION)


def test_generation_comes_first_and_contexts_take_the_rest() -> None:
    run = serve(SMALL, requests([0.0, 1.5], [4, 40], [6, 2]))
    assert steps(run) == [
        (0, 0, 1, 4),
        (1, 1, 0, 0),
        (1, 1, 1, 15),
        (1, 1, 1, 15),
        (1, 1, 1, 10),
        (1, 2, 0, 0),
    ]


def test_chunks_are_whole_blocks_and_the_whole_prompt_has_its_blocks() -> None:
    rule = Trtllm(max_batch_size=4, max_num_tokens=10)
    run = serve(rule, requests([0.0], [13], [2]), block_tokens=4)
    assert steps(run) == [(0, 0, 1, 8), (0, 0, 1, 5), (1, 1, 0, 0)]
    assert run.segments["used_blocks"].tolist() == [4, 4, 4]


def test_without_chunks_a_context_waits_for_a_step_that_it_fits_in() -> None:
    rule = Trtllm(max_batch_size=4, max_num_tokens=12, enable_chunked_context=False)
    run = serve(rule, requests([0.0, 0.0, 0.0], [8, 8, 2], [2, 2, 2]))
    assert steps(run) == [(0, 0, 1, 8), (1, 1, 2, 10), (1, 2, 0, 0)]


def test_no_evict_reserves_prompt_and_answer() -> None:
    """20 blocks of a token: 8 + 7 of A leave 5, which 4 + 1 of B take and 4 + 2 do not."""
    fits = serve(SMALL, requests([0.0, 0.0], [8, 4], [8, 2]), num_blocks=20)
    assert fits.log.start_s.tolist() == [0.0, 0.0]
    waits = serve(SMALL, requests([0.0, 0.0], [8, 4], [8, 3]), num_blocks=20)
    assert waits.log.start_s[1] == waits.log.finish_s[0]


def test_max_utilization_pauses_the_last_one_and_computes_it_again() -> None:
    asked = requests([0.0, 0.0], [8, 8], [8, 8])
    run = serve(FULL, asked, num_blocks=20)
    assert merged(run) == [(0, 0, 2, 16), (2, 2, 0, 0), (5, 1, 0, 0), (0, 0, 1, 11), (4, 1, 0, 0)]
    assert run.log.preemptions.tolist() == [0, 1]
    kept = serve(SMALL, asked, num_blocks=20)
    assert kept.log.preemptions.tolist() == [0, 0]
    assert kept.log.start_s[1] == kept.log.finish_s[0]


def test_the_least_urgent_is_paused() -> None:
    asked = requests([0.0, 0.0], [8, 8], [8, 8], levels=[1, 0])
    assert serve(FULL, asked, num_blocks=20).log.preemptions.tolist() == [1, 0]


@pytest.mark.parametrize(
    "wrong", [{"max_batch_size": 0}, {"max_num_tokens": 0}, {"capacity_scheduler_policy": "NO_EVICT"}]
)
def test_limits_that_serve_nobody_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Trtllm(**wrong)  # type: ignore[arg-type]


RULES = (
    SMALL,
    FULL,
    Trtllm(max_batch_size=6, max_num_tokens=24, enable_chunked_context=False),
    Trtllm(max_batch_size=6, max_num_tokens=10, capacity_scheduler_policy=MAX_UTILIZATION),
)


@given(workloads(), st.sampled_from(RULES), st.sampled_from([(70, 1), (300, 1), (18, 4), (80, 4)]))
def test_crawling_is_jumping_and_no_evict_means_it(
    asked: Requests, rule: Trtllm, cache: tuple[int, int]
) -> None:
    run = assert_crawling_is_jumping(rule, asked, num_blocks=cache[0], block_tokens=cache[1])
    if rule.capacity_scheduler_policy == NO_EVICT:
        assert run.log.preemptions.sum() == 0
