"""Static batching: schedules worked out by hand, and jumping equal to crawling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_policies import (
    CONTEXT_TOKEN_S,
    PROMPT_TOKEN_S,
    STEP_S,
    assert_crawling_is_jumping,
    requests,
    serve,
    steps,
    workloads,
)
from tokenroof.errors import InputError
from tokenroof.serve.policies.static import Static
from tokenroof.workload.core import Requests

PAIR = Static(max_batch_size=2)


def test_a_batch_is_padded_and_its_places_are_kept_until_its_longest_answer_ends() -> None:
    run = serve(PAIR, requests([0.0, 0.0, 0.5], [3, 7, 4], [2, 5, 2]))
    assert steps(run) == [(0, 0, 2, 10), (1, 2, 0, 0), (3, 2, 0, 0), (0, 0, 1, 4), (1, 1, 0, 0)]
    padded_s = STEP_S + 2 * 7 * PROMPT_TOKEN_S
    assert run.log.first_s[:2].tolist() == pytest.approx([padded_s, padded_s])
    assert run.log.finish_s[0] == pytest.approx(padded_s + STEP_S + 10 * CONTEXT_TOKEN_S)
    # From then on the first has 4 cached tokens for good, the second 8, 9 and 10.
    rest_s = 3 * STEP_S + (3 * 4 + 8 + 9 + 10) * CONTEXT_TOKEN_S
    assert run.log.finish_s[1] - run.log.finish_s[0] == pytest.approx(rest_s)
    assert run.log.start_s[2] == run.log.finish_s[1]
    assert run.segments["used_blocks"].tolist() == [10, 10, 12, 4, 4]


def test_a_batch_waits_for_its_first_request_s_timeout_or_until_it_is_full() -> None:
    rule = Static(max_batch_size=4, batch_timeout_s=3.0)
    run = serve(rule, requests([0.0, 1.0, 2.5], [3] * 3, [2] * 3))
    assert run.log.start_s.tolist() == [3.0] * 3
    run = serve(rule, requests([0.0, 1.0, 2.5, 2.9, 2.95], [3] * 5, [2] * 5))
    assert run.log.start_s[:4].tolist() == [2.9] * 4
    assert run.log.start_s[4] == pytest.approx(5.95)


def test_whoever_has_waited_long_enough_does_not_wait_again() -> None:
    run = serve(Static(max_batch_size=2, batch_timeout_s=3.0), requests([0.0, 0.0, 0.5], [3] * 3, [9] * 3))
    assert run.log.start_s[2] == run.log.finish_s[1] > 3.5


def test_blocks_of_whole_requests_are_there_before_a_batch_begins() -> None:
    """20 blocks: 8 + 7 of A leave room for 4 + 1, not for 4 + 2, whatever A has in the beginning."""
    fits = serve(PAIR, requests([0.0, 0.0], [8, 4], [8, 2]), num_blocks=20)
    assert fits.log.start_s.tolist() == [0.0, 0.0]
    waits = serve(PAIR, requests([0.0, 0.0], [8, 4], [8, 3]), num_blocks=20)
    assert waits.log.start_s[1] == waits.log.finish_s[0]


def test_answers_of_one_token_end_with_the_prompts() -> None:
    run = serve(PAIR, requests([0.0] * 3, [3, 5, 4], [1, 1, 1]))
    assert steps(run) == [(0, 0, 2, 8), (0, 0, 1, 4)]
    held = serve(PAIR, requests([0.0] * 3, [3, 5, 4], [1, 3, 1]))
    assert steps(held) == [(0, 0, 2, 8), (2, 2, 0, 0), (0, 0, 1, 4)]


def test_the_most_urgent_come_into_the_batch_first() -> None:
    run = serve(PAIR, requests([0.0] * 4, [3] * 4, [2] * 4, levels=[1, 0, 1, 0]))
    assert (run.log.start_s == 0.0).tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    "wrong", [{"max_batch_size": 0}, {"batch_timeout_s": -1.0}, {"batch_timeout_s": float("inf")}]
)
def test_limits_that_serve_nobody_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Static(**wrong)  # type: ignore[arg-type]


RULES = (PAIR, Static(max_batch_size=3, batch_timeout_s=2.0), Static(max_batch_size=8, batch_timeout_s=20.0))


@given(workloads(), st.sampled_from(RULES), st.sampled_from([(70, 1), (300, 1), (18, 4), (80, 4)]))
def test_crawling_is_jumping_and_nobody_is_preempted(
    asked: Requests, rule: Static, cache: tuple[int, int]
) -> None:
    run = assert_crawling_is_jumping(rule, asked, num_blocks=cache[0], block_tokens=cache[1])
    assert run.log.preemptions.sum() == 0
