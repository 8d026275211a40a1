"""Tables of machines that differ in their corrections alone: the same samples, other sums."""

from dataclasses import replace

import pytest

from tokenroof.catalog.catalog import load
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch, Parallel, decode_batch
from tokenroof.perf import parts
from tokenroof.perf.core import Machine, Tuned
from tokenroof.perf.machine import build_machine
from tokenroof.perf.step import step_time
from tokenroof.perf.table import compile_table

CATALOG = load()
MODEL = CATALOG.model("gpt-oss-20b")
MACHINE = replace(build_machine(CATALOG.chip("h100"), CATALOG.engine("vllm")), tuned=Tuned())
ALL = {"gemm": 1.3, "attention": 0.8, "experts": 1.7, "small": 0.5, "collective": 2.0}
TUNED = (
    Tuned(),
    *(Tuned(factors={name: factor}) for name, factor in ALL.items()),
    Tuned(launch=0.4),
    Tuned(prompt_layer_s=1e-4),
    Tuned(factors=ALL, launch=0.6, prompt_layer_s=5e-5),
)
PROMPTS = Batch(
    decode_seqs=32,
    decode_context_tokens=32 * 1000,
    prefill_seqs=1,
    prefill_tokens=960,
    prefill_pairs=960 * 961 // 2,
    prefill_logits=1,
)
BATCHES = (decode_batch(1, 500), decode_batch(64, 2000), PROMPTS)


def step_s(machine: Machine, batch: Batch) -> float:
    return float(
        compile_table(MODEL, MODEL.precision, Parallel(tp=2), machine, dense_tokens=2048).step_s(batch)
    )


@pytest.mark.parametrize("tuned", TUNED)
@pytest.mark.parametrize("batch", BATCHES)
def test_a_table_has_the_corrections_of_its_machine(tuned: Tuned, batch: Batch) -> None:
    machine = replace(MACHINE, tuned=tuned)
    directly = step_time(step_ops(MODEL, MODEL.precision, Parallel(tp=2), batch), machine)
    assert step_s(machine, batch) == pytest.approx(float(directly.time_s), rel=1e-3)


@pytest.mark.parametrize("tuned", TUNED[1:])
def test_every_correction_is_felt(tuned: Tuned) -> None:
    assert step_s(replace(MACHINE, tuned=tuned), PROMPTS) != pytest.approx(step_s(MACHINE, PROMPTS), rel=1e-4)


def test_other_corrections_and_host_times_are_not_sampled_again() -> None:
    parts._sampled.cache_clear()
    for tuned in TUNED:
        step_s(replace(MACHINE, tuned=tuned), BATCHES[0])
    step_s(replace(MACHINE, step_overhead_s=1e-3), BATCHES[0])
    assert parts._sampled.cache_info().misses == 1


def test_another_chip_is_sampled_by_itself() -> None:
    other = build_machine(CATALOG.chip("h200"), CATALOG.engine("vllm"))
    assert step_s(other, BATCHES[1]) < step_s(MACHINE, BATCHES[1])
