"""The compiled table is the step model: table == step_time(step_ops(...)) on random batches.

Tolerances, and why they are what they are:

- 0.5 % (or 20 us) on uniform batches inside the token budget: single-number sections are exact there,
  attention is linear between knots placed where its formulas bend. The 20 us are a handful of tokens
  rounded up over context parallel ranks. The median is asserted below 0.01 %.
- The same on prompts of unlike lengths (full attention): there the table asks the formula. Sparse
  attention, whose direct formula itself rests on mean lengths, is not claimed there.
- 3.5 % beyond the token budget (steps that the engine never runs): tiles are sampled, not counted.
"""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenroof.catalog.catalog import load
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch, Parallel
from tokenroof.perf.machine import build_machine
from tokenroof.perf.step import step_time
from tokenroof.perf.table import StepTable, compile_table

CASES = {
    "dense": ("llama-3.3-70b", Parallel(tp=8)),
    "dense dp": ("llama-3.1-8b", Parallel(tp=2, dp=2)),
    "dense pp": ("llama-3.3-70b", Parallel(tp=4, pp=2)),
    "dense cp": ("llama-3.1-8b", Parallel(tp=1, cp=4)),
    "moe": ("mixtral-8x7b", Parallel(tp=2)),
    "moe window sinks": ("gpt-oss-120b", Parallel(tp=2)),
    "mla moe dp ep": ("deepseek-v3", Parallel(tp=1, dp=8, ep=8)),
    "mla indexed": ("deepseek-v3.2", Parallel(tp=8)),
    "window": ("gemma-3-27b", Parallel(tp=2)),
    "hybrid": ("nemotron-h-56b", Parallel(tp=4)),
    "delta net": ("qwen3-next-80b-a3b", Parallel(tp=2)),
}
BUDGET = 8192


@lru_cache
def table(case: str) -> StepTable:
    name, parallel = CASES[case]
    catalog = load()
    model = catalog.model(name)
    machine = build_machine(catalog.chip("h100"), catalog.engine("vllm"))
    return compile_table(model, model.precision, parallel, machine, dense_tokens=BUDGET)


def directly_s(compiled: StepTable, batch: Batch) -> float:
    ops = step_ops(compiled.subject.model, compiled.subject.precision, compiled.subject.parallel, batch)
    return float(step_time(ops, compiled.subject.machine).time_s)


def chunks(new: list[int], past: list[int], ending: int, seqs: int = 0, context: int = 0) -> Batch:
    pairs = sum(n * p + n * (n + 1) // 2 for n, p in zip(new, past, strict=True))
    return Batch(
        decode_seqs=seqs,
        decode_context_tokens=seqs * context,
        prefill_seqs=len(new),
        prefill_tokens=sum(new),
        prefill_past_tokens=sum(past),
        prefill_pairs=pairs,
        prefill_logits=ending,
    )


seqs = st.integers(0, 700)
contexts = st.integers(1, 100_000)


@st.composite
def uniform_batches(draw: st.DrawFn) -> Batch:
    """Decoding sequences, and prompts of one length, together inside the token budget."""
    decoding, count = draw(seqs), draw(st.integers(0, 6))
    if not decoding + count:
        decoding = 1
    room = max((BUDGET - decoding) // max(count, 1), 1)
    new, past = draw(st.integers(1, room)), draw(st.integers(0, 60_000))
    ending = draw(st.integers(0, count))
    return chunks([new] * count, [past] * count, ending, decoding, draw(contexts))


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=15)
@given(batch=uniform_batches())
def test_table_equals_direct_evaluation(case: str, batch: Batch) -> None:
    compiled = table(case)
    assert compiled.step_s(batch) == pytest.approx(directly_s(compiled, batch), rel=5e-3, abs=2e-5)


@pytest.mark.parametrize("case", CASES)
def test_the_median_error_is_a_ten_thousandth(case: str) -> None:
    compiled, rng, errors = table(case), np.random.default_rng(7), []
    for _ in range(30):
        count, decoding = int(rng.integers(0, 4)), int(rng.integers(1, 300))
        new, past = int(rng.integers(1, 2000)), int(rng.integers(0, 8000))
        batch = chunks([new] * count, [past] * count, count, decoding, int(rng.integers(1, 9000)))
        errors.append(abs(float(compiled.step_s(batch)) / directly_s(compiled, batch) - 1.0))
    assert np.median(errors) < 1e-4


@pytest.mark.parametrize("case", [case for case in CASES if case != "mla indexed"])
@settings(max_examples=10)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 8000)), min_size=2, max_size=4),
    decoding=st.integers(0, 200),
)
def test_prompts_of_unlike_lengths(case: str, lengths: list[tuple[int, int]], decoding: int) -> None:
    compiled = table(case)
    new, past = [n for n, _ in lengths], [p for _, p in lengths]
    batch = chunks(new, past, 1, decoding, 3000)
    assert compiled.step_s(batch) == pytest.approx(directly_s(compiled, batch), rel=5e-3, abs=2e-5)


@pytest.mark.parametrize("case", ["dense", "moe", "mla moe dp ep"])
@settings(max_examples=15)
@given(new=st.integers(BUDGET + 1, 60_000))
def test_a_step_beyond_the_budget_is_close(case: str, new: int) -> None:
    compiled = table(case)
    batch = chunks([new], [0], 1)
    assert compiled.step_s(batch) == pytest.approx(directly_s(compiled, batch), rel=3.5e-2)


@settings(max_examples=25)
@given(count=st.integers(1, 300), first=st.integers(0, 40_000), steps=st.integers(1, 3000))
def test_a_sum_of_steps_is_the_sum_of_the_steps(count: int, first: int, steps: int) -> None:
    compiled = table("dense")
    growing = first + np.arange(steps)
    one_by_one = np.sum(compiled.decode_step_s(np.full(steps, count), growing))
    assert compiled.decode_sum_steps_s(count, first, steps) == pytest.approx(one_by_one, rel=1e-9)


@settings(max_examples=25)
@given(batch=uniform_batches())
def test_energy_and_ideal_time_are_the_operators_sums(batch: Batch) -> None:
    compiled = table("dense")
    sampled = compiled.evaluate(batch)
    ops = step_ops(compiled.subject.model, compiled.subject.precision, compiled.subject.parallel, batch)
    timed = step_time(ops, compiled.subject.machine)
    dynamic_j = sum(float(item.energy_j) for item in timed.ops)
    assert float(sampled.energy_j) == pytest.approx(dynamic_j, rel=2e-3)
    assert float(sampled.compute_s) <= float(sampled.time_s)


def test_arrays_give_what_scalars_give() -> None:
    compiled = table("moe")
    counts, lengths = np.array([0, 1, 64, 300]), np.array([5, 1000, 30_000, 7])
    together = compiled.decode_step_s(counts, lengths)
    alone = [float(compiled.decode_step_s(int(n), int(c))) for n, c in zip(counts, lengths, strict=True)]
    assert together == pytest.approx(alone)
    assert alone[0] == 0.0
