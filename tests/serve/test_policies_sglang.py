"""SGLang's batching rule: schedules worked out by hand, and jumping equal to crawling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_policies import assert_crawling_is_jumping, merged, requests, serve, steps, workloads
from tokenroof.errors import InputError
from tokenroof.serve.policies.sglang import Sglang
from tokenroof.workload.core import Requests

SMALL = Sglang(max_running_requests=4, chunked_prefill_size=16, max_prefill_tokens=64)
WIDE = Sglang(max_running_requests=4, chunked_prefill_size=64, max_prefill_tokens=64)


def test_prompts_come_first_and_alone() -> None:
    run = serve(SMALL, requests([0.0, 1.5], [4, 40], [6, 2]))
    assert steps(run) == [
        (0, 0, 1, 4),
        (1, 1, 0, 0),
        (0, 0, 1, 16),
        (0, 0, 1, 16),
        (0, 0, 1, 8),
        (1, 2, 0, 0),
        (3, 1, 0, 0),
    ]


def test_with_mixed_chunks_sequences_decode_beside_the_prompt() -> None:
    rule = Sglang(max_running_requests=4, chunked_prefill_size=16, enable_mixed_chunk=True)
    run = serve(rule, requests([0.0, 1.5], [4, 40], [6, 2]))
    assert steps(run) == [
        (0, 0, 1, 4),
        (1, 1, 0, 0),
        (1, 1, 1, 15),
        (1, 1, 1, 15),
        (1, 1, 1, 10),
        (1, 2, 0, 0),
    ]


def test_without_chunks_the_first_prompt_may_be_longer_than_the_limit_and_is_alone_then() -> None:
    rule = Sglang(max_running_requests=4, chunked_prefill_size=-1, max_prefill_tokens=32)
    run = serve(rule, requests([0.0] * 4, [40, 10, 10, 20], [1, 1, 1, 1]))
    assert steps(run) == [(0, 0, 1, 40), (0, 0, 2, 20), (0, 0, 1, 20)]


def test_an_answer_is_reserved_as_a_whole_with_its_prompt() -> None:
    """100 tokens: 20 + 50 + 1 of A leave 29; B asks for 20 + 20 + 1 and waits until A is over."""
    run = serve(WIDE, requests([0.0, 0.0], [20, 20], [50, 20]), num_blocks=100)
    assert run.log.start_s[1] == run.log.finish_s[0]


def test_a_full_batch_looks_at_nobody_until_a_step_after_somebody_has_left() -> None:
    """A 16 and B 61 of 100 leave 23 for C's 26. A ends after 4 steps, seen at the 5th; then C fits."""
    run = serve(WIDE, requests([0.0] * 3, [10, 20, 15], [5, 40, 10]), num_blocks=100)
    assert steps(run) == [
        (0, 0, 2, 30),
        (4, 2, 0, 0),
        (1, 1, 0, 0),
        (0, 0, 1, 15),
        (9, 2, 0, 0),
        (25, 1, 0, 0),
    ]


def test_more_is_reserved_the_more_conservative_the_schedule() -> None:
    """B comes when A has 2 of 50 tokens and 79 of 100 are free: 48 are left, of which a part counts."""
    asked = requests([0.0, 1.5], [20, 20], [50, 20])
    for conservativeness, taken in ((0.5, True), (1.0, True), (1.2, False), (3.0, False)):
        rule = Sglang(max_running_requests=4, schedule_conservativeness=conservativeness)
        run = serve(rule, asked, num_blocks=100)
        assert (run.log.start_s[1] < run.log.finish_s[0]) == taken


def test_what_is_reserved_falls_with_every_step() -> None:
    """32 tokens are free when B asks for 16: 0.7 of the rest of A would leave 15.2; it is less by then."""
    run = serve(WIDE, requests([0.0, 61.0], [8, 9], [85, 6]), num_blocks=100)
    before = int(run.segments["steps"][:2].sum())
    left, free = 85 - 1 - before, 100 - 8 - before
    fallen = before * (0.7 - 0.7 * 0.14) / 600
    assert free - 0.7 * left <= 9 + 6 + 1 < free - (0.7 - fallen) * left
    assert run.log.start_s[1] < run.log.finish_s[0]


LITTLE = Sglang(max_running_requests=4, chunked_prefill_size=64, schedule_conservativeness=0.01)


def test_whoever_has_the_fewest_tokens_is_retracted_and_the_ratio_rises() -> None:
    """60 tokens: A has 11 and B 12 when both decode; 18 steps fit. Then 43 for B are there when A is over."""
    run = serve(LITTLE, requests([0.0, 1.5], [10, 12], [30, 30]), num_blocks=60)
    assert merged(run) == [
        (0, 0, 1, 10),
        (1, 1, 0, 0),
        (0, 0, 1, 12),
        (18, 2, 0, 0),
        (10, 1, 0, 0),
        (0, 0, 1, 31),
        (10, 1, 0, 0),
    ]
    assert run.log.preemptions.tolist() == [0, 1]


def test_of_equal_answers_the_longest_prompt_is_retracted_until_the_others_have_room() -> None:
    """C has the fewest tokens, but what it had is less than 20 more for A and B each: B goes too."""
    run = serve(LITTLE, requests([0.0, 0.0, 1.5], [10, 14, 12], [20, 20, 20]), num_blocks=80)
    assert run.log.preemptions.tolist() == [0, 1, 1]


def test_who_is_retracted_waits_behind_the_line() -> None:
    """C came while A and B ran and did not fit; B is retracted later and starts again after C."""
    run = serve(LITTLE, requests([0.0, 1.5, 6.0], [10, 12, 12], [30, 30, 30]), num_blocks=60)
    assert run.log.preemptions.tolist() == [0, 1, 0]
    assert np.argsort(run.log.finish_s).tolist() == [0, 2, 1]


def test_the_most_urgent_is_taken_first() -> None:
    rule = Sglang(max_running_requests=1)
    run = serve(rule, requests([0.0, 0.1, 0.2], [4, 4, 4], [3, 3, 3], levels=[1, 1, 0]))
    assert np.argsort(run.log.start_s).tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_running_requests": 0},
        {"chunked_prefill_size": 0},
        {"max_prefill_tokens": 0},
        {"schedule_conservativeness": 0.0},
    ],
)
def test_limits_that_serve_nobody_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Sglang(**wrong)


RULES = (
    SMALL,
    Sglang(max_running_requests=4, chunked_prefill_size=16, enable_mixed_chunk=True),
    Sglang(max_running_requests=6, chunked_prefill_size=-1, max_prefill_tokens=32),
    Sglang(max_running_requests=6, chunked_prefill_size=24, schedule_conservativeness=0.05),
)


@given(workloads(), st.sampled_from(RULES), st.sampled_from([(70, 1), (300, 1), (18, 4), (80, 4)]))
def test_crawling_is_jumping(asked: Requests, rule: Sglang, cache: tuple[int, int]) -> None:
    assert_crawling_is_jumping(rule, asked, num_blocks=cache[0], block_tokens=cache[1])
