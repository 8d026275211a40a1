"""Steady states counted in steps: conservation laws, and cases small enough to step through by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.deploy.generation import chunk_batch, chunk_sizes, even_chunks
from tokenroof.deploy.schedule import (
    mixed_pace,
    mixed_schedule,
    prompts_together,
    separate_pace,
)
from tokenroof.workload.core import RequestShape

loads = {
    "sequences": st.integers(1, 400),
    "prompt_tokens": st.integers(1, 50_000),
    "decode_steps": st.integers(0, 4000),
    "budget_tokens": st.integers(600, 16_384),
}


def test_one_sequence_prefills_then_decodes() -> None:
    plan = mixed_schedule(sequences=1, prompt_tokens=1000, decode_steps=99, budget_tokens=8192)
    assert int(plan.chunks) == 1
    assert float(plan.decoder_mixed_fraction) == 0.0  # nobody else disturbs it
    pace = mixed_pace(plan, sequences=1, decode_steps=99, mixed_step_s=0.1, pure_step_s=0.01)
    assert float(pace.requests_per_s) == pytest.approx(1.0 / (0.1 + 99 * 0.01))


def test_two_sequences_disturb_each_other_once_per_request() -> None:
    """Each of the two decodes 9 steps; the other's one prefill step falls among them once."""
    plan = mixed_schedule(sequences=2, prompt_tokens=100, decode_steps=9, budget_tokens=1000)
    pace = mixed_pace(plan, sequences=2, decode_steps=9, mixed_step_s=0.5, pure_step_s=0.1)
    assert float(pace.decode_step_s) == pytest.approx((1 * 0.5 + 8 * 0.1) / 9)
    assert float(pace.prefill_s) == 0.5


def test_a_long_prompt_is_cut_to_the_room_beside_the_decoders() -> None:
    plan = mixed_schedule(sequences=101, prompt_tokens=10_000, decode_steps=100_000, budget_tokens=2200)
    assert int(plan.chunks) == 5  # 2200 - 101 leaves 2099; 4.8 of them


def test_prompts_that_exceed_the_budget_wait() -> None:
    """64 requests of 4000 + 10 tokens: each step can take 8192 tokens, so 2.04 requests a step."""
    plan = mixed_schedule(sequences=64, prompt_tokens=4000, decode_steps=10, budget_tokens=8192)
    assert float(plan.requests_per_step) == pytest.approx(8192 / 4010)
    assert float(plan.mixed_fraction) == 1.0
    stay = 64 / float(plan.requests_per_step)
    assert float(plan.waiting_steps) == pytest.approx(stay - 10 - int(plan.chunks))


def test_every_rank_brings_its_own_budget() -> None:
    one = mixed_schedule(sequences=64, prompt_tokens=4000, decode_steps=10, budget_tokens=8192)
    four = mixed_schedule(sequences=64, prompt_tokens=4000, decode_steps=10, budget_tokens=8192, ranks=4)
    assert float(one.requests_per_step) == pytest.approx(8192 / 4010)
    assert float(four.requests_per_step) == pytest.approx(64 / 11)  # no longer short of budget


@given(**loads)
def test_requests_are_conserved(
    sequences: int, prompt_tokens: int, decode_steps: int, budget_tokens: int
) -> None:
    """Little's law: rate x stay = sequences, and the prompts' tokens fit the steps that carry them."""
    plan = mixed_schedule(
        sequences=sequences,
        prompt_tokens=prompt_tokens,
        decode_steps=decode_steps,
        budget_tokens=budget_tokens,
    )
    pace = mixed_pace(
        plan, sequences=sequences, decode_steps=decode_steps, mixed_step_s=0.05, pure_step_s=0.01
    )
    stay = float(pace.prefill_s + pace.waiting_s + decode_steps * pace.decode_step_s)
    assert float(pace.requests_per_s) * stay == pytest.approx(sequences)
    assert 0.0 <= float(plan.mixed_fraction) <= 1.0
    assert 0.0 <= float(plan.decoder_mixed_fraction) <= 1.0
    assert 1.0 <= float(plan.prompts) <= sequences
    assert float(plan.requests_per_step) * (prompt_tokens + decode_steps) <= budget_tokens * (1 + 1e-9)


@given(**loads, ranks=st.sampled_from([1, 2, 8]))
def test_work_is_conserved(
    sequences: int, prompt_tokens: int, decode_steps: int, budget_tokens: int, ranks: int
) -> None:
    """What arrives in prompts and decoded tokens is what the steps carry, and no step is over budget."""
    plan = mixed_schedule(
        sequences=sequences,
        prompt_tokens=prompt_tokens,
        decode_steps=decode_steps,
        budget_tokens=budget_tokens,
        ranks=ranks,
    )
    rate, mixed = float(plan.requests_per_step), float(plan.mixed_fraction)
    assert mixed * float(plan.prompts) / int(plan.chunks) == pytest.approx(rate, rel=1e-9)
    assert float(plan.kinds @ plan.kind_fraction) == pytest.approx(float(plan.prompts), rel=1e-9)
    tokens = plan.kinds * prompt_tokens / int(plan.chunks) + plan.kind_decoding
    assert np.all(tokens <= budget_tokens * ranks * (1 + 1e-9))
    if float(plan.kinds[1]) == np.ceil(plan.prompts) and float(plan.waiting_steps) == 0.0:
        decoded = mixed * float(plan.kind_decoding @ plan.kind_fraction) + (1.0 - mixed) * sequences
        assert decoded == pytest.approx(rate * decode_steps, rel=1e-9, abs=1e-6)


@given(sequences=st.integers(1, 200), ranks=st.sampled_from([1, 4]))
def test_the_steps_evaluated_carry_the_prompts(sequences: int, ranks: int) -> None:
    """Tokens of the batches, in whole numbers, against the rate of the schedule."""
    plan = mixed_schedule(
        sequences=sequences, prompt_tokens=5601, decode_steps=30, budget_tokens=4096, ranks=ranks
    )
    sizes = even_chunks(5601, int(plan.chunks))
    assert int(sizes.sum()) == 5601
    batch = chunk_batch(RequestShape(isl_tokens=5601, osl_tokens=31), sizes, prompts=plan.kinds[:, None])
    tokens = np.mean(batch.prefill_tokens, axis=1) @ plan.kind_fraction
    carried = float(plan.mixed_fraction) * float(tokens)
    assert carried == pytest.approx(float(plan.requests_per_step) * 5601, abs=1.0)


@given(**loads)
def test_arrays_give_what_scalars_give(
    sequences: int, prompt_tokens: int, decode_steps: int, budget_tokens: int
) -> None:
    alone = mixed_schedule(
        sequences=sequences,
        prompt_tokens=prompt_tokens,
        decode_steps=decode_steps,
        budget_tokens=budget_tokens,
    )
    together = mixed_schedule(
        sequences=np.array([3, sequences]),
        prompt_tokens=prompt_tokens,
        decode_steps=decode_steps,
        budget_tokens=budget_tokens,
    )
    assert float(together.requests_per_step[1]) == pytest.approx(float(alone.requests_per_step))
    assert float(together.prompts[1]) == pytest.approx(float(alone.prompts))
    assert together.kinds[:, 1] == pytest.approx(alone.kinds)


@given(sequences=st.integers(1, 300), decode_steps=st.integers(1, 2000), prompts=st.integers(1, 8))
def test_prefill_first_engines_conserve_requests(sequences: int, decode_steps: int, prompts: int) -> None:
    together = min(prompts, sequences)
    pace = separate_pace(
        sequences=sequences, decode_steps=decode_steps, prompts=float(together), prefill_s=0.2, step_s=0.01
    )
    stay = float(pace.prefill_s + pace.waiting_s + decode_steps * pace.decode_step_s)
    assert float(pace.requests_per_s) * stay == pytest.approx(sequences)


def test_prefill_first_by_hand() -> None:
    """4 sequences, 10 steps of 0.01 s, prefills of 0.2 s one by one: a round takes 0.1 + 0.8 s."""
    pace = separate_pace(sequences=4, decode_steps=10, prompts=1.0, prefill_s=0.2, step_s=0.01)
    assert float(pace.requests_per_s) == pytest.approx(4 / 0.9)
    assert float(pace.decode_step_s) == pytest.approx(0.01 + 0.6 / 10)


def test_prompts_come_together_when_answers_are_short() -> None:
    few = prompts_together(sequences=64, prompt_tokens=1000, decode_steps=500, budget_tokens=8192)
    many = prompts_together(sequences=64, prompt_tokens=1000, decode_steps=8, budget_tokens=8192)
    assert (int(few), int(many)) == (1, 8)


def test_chunks_cover_the_prompt() -> None:
    assert chunk_sizes(5000, 2048).tolist() == [2048, 2048, 904]
    shape = RequestShape(isl_tokens=5000, osl_tokens=10, image_tokens=1000)
    batch = chunk_batch(shape, chunk_sizes(5000, 2048), prompts=1)
    assert int(np.sum(batch.prefill_tokens)) == 5000
    assert int(np.sum(batch.prefill_pairs)) == 5000 * 5001 // 2
    assert np.asarray(batch.prefill_past_tokens).tolist() == [0, 2048, 4096]
    assert np.asarray(batch.prefill_logits).tolist() == [0, 0, 1]
    assert int(np.sum(batch.image_tokens)) == 1000


@pytest.mark.parametrize("sequences", [3, 7, 64, 199])
def test_prompts_that_all_run_at_once_leave_no_wait(sequences: int) -> None:
    """Sums that differ by rounding only are no wait."""
    pace = separate_pace(
        sequences=sequences, decode_steps=0, prompts=float(sequences), prefill_s=0.1 / 3, step_s=0.01 / 7
    )
    assert float(pace.waiting_s) == 0.0
