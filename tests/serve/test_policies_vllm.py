"""vLLM's batching rule: schedules worked out by hand, and jumping equal to crawling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_policies import assert_crawling_is_jumping, merged, requests, serve, steps, workloads
from tokenroof.errors import InputError
from tokenroof.serve.policies.vllm import Vllm
from tokenroof.workload.core import Requests

SMALL = Vllm(max_num_seqs=4, max_num_batched_tokens=16)


def test_a_prompt_fills_what_the_one_before_leaves_of_the_budget() -> None:
    run = serve(SMALL, requests([0.0, 0.0], [20, 10], [3, 3]))
    assert steps(run) == [(0, 0, 1, 16), (0, 0, 2, 14), (2, 2, 0, 0)]


def test_sequences_that_decode_come_first_and_the_prompt_takes_the_rest() -> None:
    run = serve(SMALL, requests([0.0, 1.5], [4, 40], [6, 2]))
    assert steps(run) == [
        (0, 0, 1, 4),
        (1, 1, 0, 0),
        (1, 1, 1, 15),
        (1, 1, 1, 15),
        (1, 1, 1, 10),
        (1, 2, 0, 0),
    ]


def test_a_long_prompt_leaves_room_for_short_ones() -> None:
    rule = Vllm(max_num_seqs=4, max_num_batched_tokens=16, long_prefill_token_threshold=6)
    run = serve(rule, requests([0.0, 0.0], [14, 4], [2, 3]))
    assert steps(run) == [(0, 0, 2, 10), (1, 1, 1, 6), (1, 1, 1, 2), (1, 1, 0, 0)]


def test_without_chunks_a_prompt_waits_for_a_step_that_it_fits_in() -> None:
    rule = Vllm(max_num_seqs=4, max_num_batched_tokens=16, enable_chunked_prefill=False)
    run = serve(rule, requests([0.0, 0.0, 0.0], [10, 10, 5], [2, 2, 2]))
    assert steps(run) == [(0, 0, 1, 10), (1, 1, 2, 15), (1, 2, 0, 0)]


def test_the_last_one_taken_gives_way_and_is_computed_again() -> None:
    """20 blocks of a token: after two steps both have 10. B, 3 tokens out, waits until 11 fit."""
    run = serve(SMALL, requests([0.0, 0.0], [8, 8], [8, 8]), num_blocks=20)
    assert merged(run) == [(0, 0, 2, 16), (2, 2, 0, 0), (5, 1, 0, 0), (0, 0, 1, 11), (4, 1, 0, 0)]
    assert run.log.preemptions.tolist() == [0, 1]
    assert run.log.prefilled_tokens.tolist() == [8, 19]


def test_only_as_many_give_way_as_have_to() -> None:
    """One block is free and three are needed; C gives back one and needs none any longer."""
    run = serve(SMALL, requests([0.0] * 3, [6, 6, 1], [2, 2, 2]), num_blocks=14)
    assert run.log.preemptions.tolist() == [0, 0, 1]


def test_the_least_urgent_gives_way_and_the_most_urgent_is_taken_first() -> None:
    asked = requests([0.0, 0.0], [8, 8], [8, 8], levels=[1, 0])
    assert serve(SMALL, asked, num_blocks=20).log.preemptions.tolist() == [1, 0]
    alone = Vllm(max_num_seqs=1, max_num_batched_tokens=16)
    run = serve(alone, requests([0.0, 0.1, 0.2], [4, 4, 4], [3, 3, 3], levels=[1, 1, 0]))
    assert np.argsort(run.log.start_s).tolist() == [0, 2, 1]


def test_a_prompt_has_to_fit_as_a_whole_unless_told_otherwise() -> None:
    asked = requests([0.0, 0.0], [10, 15], [6, 2])
    whole = serve(Vllm(max_num_seqs=4, max_num_batched_tokens=12), asked, num_blocks=20)
    assert whole.log.start_s[1] == whole.log.finish_s[0]
    rule = Vllm(max_num_seqs=4, max_num_batched_tokens=12, scheduler_reserve_full_isl=False)
    chunk = serve(rule, asked, num_blocks=20)
    assert chunk.log.start_s[1] == 0.0
    assert chunk.log.preemptions.tolist() == [0, 1]


def test_a_beginning_that_somebody_holds_takes_no_blocks() -> None:
    """20 blocks: 12 of the first are shared with the second, which needs 4 more; alone it had to wait."""
    same, other = [[0, 1, 2], [0, 1, 2]], [[0, 1, 2], [3, 4, 5]]
    asked = [requests([0.0, 1.5], [13, 13], [5, 3], units=units) for units in (same, other)]
    shared, apart = (serve(SMALL, each, num_blocks=20) for each in asked)
    assert shared.log.cached_tokens.tolist() == [0, 12]
    assert shared.log.start_s[1] < shared.log.finish_s[0]
    assert apart.log.start_s[1] == apart.log.finish_s[0]


def test_no_more_sequences_than_allowed() -> None:
    run = serve(Vllm(max_num_seqs=2, max_num_batched_tokens=16), requests([0.0] * 5, [3] * 5, [4] * 5))
    assert max(row[1] + row[2] for row in steps(run)) == 2


@pytest.mark.parametrize(
    "wrong", [{"max_num_seqs": 0}, {"max_num_batched_tokens": 0}, {"long_prefill_token_threshold": -1}]
)
def test_limits_that_serve_nobody_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Vllm(**wrong)


RULES = (
    SMALL,
    Vllm(max_num_seqs=4, max_num_batched_tokens=16, long_prefill_token_threshold=6),
    Vllm(max_num_seqs=6, max_num_batched_tokens=16, scheduler_reserve_full_isl=False),
    Vllm(max_num_seqs=4, max_num_batched_tokens=24, enable_chunked_prefill=False),
)


@given(workloads(), st.sampled_from(RULES), st.sampled_from([(70, 1), (300, 1), (18, 4), (80, 4)]))
def test_crawling_is_jumping(asked: Requests, rule: Vllm, cache: tuple[int, int]) -> None:
    assert_crawling_is_jumping(rule, asked, num_blocks=cache[0], block_tokens=cache[1])
