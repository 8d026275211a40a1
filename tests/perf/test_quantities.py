"""Quantities on a table's knots are the operators' own sums, and by hand where a hand can do it.

Tolerances are the table's (``tests/laws/test_table_laws.py``): exact on its knots, half a
percent between. An operator's own time is held to half a percent of its step.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenroof.catalog.catalog import load
from tokenroof.catalog.core import OperandKind
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch, Parallel, decode_batch, prefill_batch
from tokenroof.perf.compile import Samples
from tokenroof.perf.core import Machine
from tokenroof.perf.flat import FlatLayout, Sections, flat_layout, flat_quantities
from tokenroof.perf.machine import build_machine
from tokenroof.perf.operators import op_time
from tokenroof.perf.quantities import Quantities, compile_quantities
from tokenroof.perf.table import StepTable, compile_table

FloatArray = npt.NDArray[np.float64]
CASES = {
    "dense": ("llama-3.1-8b", Parallel()),
    "dense dp tp": ("llama-3.1-8b", Parallel(tp=2, dp=2)),
    "dense pp": ("llama-3.3-70b", Parallel(tp=4, pp=2)),
    "moe over two nodes": ("deepseek-v3", Parallel(dp=16, ep=16)),
    "hybrid": ("nemotron-h-56b", Parallel(tp=4)),
}
BUDGET = 4096
MAX_SEQS = 300


def machine_of(chip: str = "h100") -> Machine:
    catalog = load()
    return build_machine(catalog.chip(chip), catalog.engine("vllm"))


def compiled(model: str, parallel: Parallel, machine: Machine) -> Quantities:
    spec = load().model(model)
    return compile_quantities(compile_table(spec, spec.precision, parallel, machine, dense_tokens=BUDGET))


@lru_cache
def of_case(case: str) -> Quantities:
    return compiled(*CASES[case], machine_of())


def all_arrays(sections: Sections) -> list[FloatArray]:
    return [*(array for lane in sections.lanes for array in lane), sections.decode, sections.prefill]


def at(quantities: Quantities, name: str, batch: Batch) -> float:
    """One quantity of one step, interpolated exactly as the table interpolates its times."""
    table, sections = quantities.table, quantities[name]

    def alone(array: FloatArray) -> Samples:
        return Samples(np.zeros(array.shape), np.zeros(array.shape), array)

    lanes = tuple(
        replace(lane, dense=alone(dense), tail_samples=alone(tail))
        for lane, (dense, tail) in zip(table.lanes, sections.lanes, strict=True)
    )
    other = replace(table, lanes=lanes, decode=alone(sections.decode), prefill=alone(sections.prefill))
    return float(other.evaluate(batch).compute_s)


def directly(table: StepTable, batch: Batch) -> dict[str, float]:
    """The same from the operators of this one step."""
    subject = table.subject
    machine, total = subject.machine, dict[str, float]()

    def add(name: str, value: object) -> None:
        total[name] = total.get(name, 0.0) + float(value)  # type: ignore[arg-type]

    for op in step_ops(subject.model, subject.precision, subject.parallel, batch):
        timed = op_time(op, machine)
        add("time_s", timed.time_s)
        add(f"time_s:{op.name}", timed.time_s)
        add("energy_j", timed.energy_j)
        add("flop", op.work.flop * op.count)
        add("latency_s", timed.latency_s)
        for kind, moved_bytes in op.work.by_kind():
            add(f"memory_bytes:{machine.placement[kind]}", moved_bytes * op.count)
        for fabric, carried in timed.network_bytes.items():
            add(f"network_bytes:{fabric}", carried)
    return total


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Decoding sequences and prompts of one length together, inside the token budget."""
    decoding, count = draw(st.integers(0, MAX_SEQS)), draw(st.integers(0, 4))
    decoding = decoding or (0 if count else 1)
    prompts = prefill_batch(
        count,
        draw(st.integers(1, (BUDGET - decoding) // max(count, 1))),
        past_tokens=draw(st.integers(0, 30_000)),
    )
    return replace(
        prompts,
        decode_seqs=decoding,
        decode_context_tokens=decoding * draw(st.integers(1, 60_000)),
    )


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=12)
@given(batch=batches())
def test_quantities_equal_the_operators_sums(case: str, batch: Batch) -> None:
    quantities = of_case(case)
    expected = directly(quantities.table, batch)
    for name, value in expected.items():
        whole = max(value, expected["time_s"]) if name.startswith("time_s:") else value
        # The limit bends energy, so it is less straight between the knots than time.
        share = 1.5e-2 if name == "energy_j" else 5e-3
        allowed = max(share * whole, 2e-5 if name.split(":")[0].endswith("_s") else 0.0)
        assert at(quantities, name, batch) == pytest.approx(value, rel=0.0, abs=allowed), name


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("parts", ["limit_s:", "time_s:"])
def test_parts_sum_to_the_time_at_every_knot(case: str, parts: str) -> None:
    quantities = of_case(case)
    named = [name for name in quantities if name.startswith(parts)]
    summed = [sum(arrays) for arrays in zip(*(all_arrays(quantities[name]) for name in named), strict=True)]
    for part, whole in zip(summed, all_arrays(quantities["time_s"]), strict=True):
        assert np.allclose(part, whole, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("case", CASES)
def test_what_the_table_holds_is_the_same_here(case: str) -> None:
    quantities = of_case(case)
    table = quantities.table
    for name in Samples._fields:
        here = quantities[name]
        pairs = [(here.decode, table.decode), (here.prefill, table.prefill)]
        for lane, (dense, tail) in zip(table.lanes, here.lanes, strict=True):
            pairs += [(dense, lane.dense), (tail, lane.tail_samples)]
        for found, samples in pairs:  # summed in another order
            np.testing.assert_allclose(found, getattr(samples, name), rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=12)
@given(seqs=st.integers(1, MAX_SEQS), context=st.integers(0, 100_000))
def test_visits_of_a_flat_vector_give_what_the_table_gives(case: str, seqs: int, context: int) -> None:
    quantities = of_case(case)
    table = quantities.table
    seqs *= table.subject.parallel.dp
    layout = flat_layout(table, MAX_SEQS)
    visits = decode_visits(table, layout, seqs, context)
    batch = decode_batch(seqs, context)
    assert quantities.sum("time_s", visits, layout) + table.overhead_s == pytest.approx(table.step_s(batch))
    for name in ("flop", "memory_bytes:hbm", "limit_s:memory:hbm"):
        assert quantities.sum(name, visits, layout) == pytest.approx(at(quantities, name, batch), rel=1e-9)


def decode_visits(table: StepTable, layout: FlatLayout, seqs: int, context: int) -> FloatArray:
    visits = np.zeros(layout.size)
    rank_seqs = seqs // table.subject.parallel.dp
    for lane in layout.lanes:
        count = {"whole_tokens": seqs, "tokens": rank_seqs, "logits": rank_seqs, "decode_seqs": rank_seqs}
        place = count.get(lane.feature, 0)
        if place < lane.dense_size:
            visits[lane.dense_offset + place] += 1.0
        else:
            tail = next(one.tail for one in table.lanes if one.feature == lane.feature)
            low = int(tail.searchsorted(place, side="right")) - 1
            share = (place - tail[low]) / (tail[low + 1] - tail[low])
            visits[lane.tail_offset + low : lane.tail_offset + low + 2] += (1.0 - share, share)
    low = min(int(table.contexts.searchsorted(context, side="right")), table.contexts.size - 1) - 1
    share = (context - table.contexts[low]) / (table.contexts[low + 1] - table.contexts[low])
    entry = layout.decode_offset + rank_seqs * layout.decode_columns + low
    visits[entry : entry + 2] += (1.0 - share, share)
    return visits


def test_sums_are_those_of_the_flat_vectors() -> None:
    quantities = of_case("dense")
    layout = flat_layout(quantities.table, 64)
    visits = np.random.default_rng(5).random(layout.size)
    vectors = flat_quantities(quantities, layout)
    assert set(vectors) == set(quantities)
    assert quantities.sums(visits, layout) == {name: float(visits @ array) for name, array in vectors.items()}


def test_decode_of_a_dense_model_reads_its_weights_and_its_cache() -> None:
    """Llama-3.1-8B in 16 bit: 8.03e9 values less the embedding's 128256 x 4096, and 128 KiB per token.

    The rest is activations, under 1 % of these.
    """
    quantities = of_case("dense")
    seqs, context = 32, 12_000
    weights_bytes = 2 * (8_030_261_248 - 128_256 * 4096)
    cache_bytes = seqs * context * 2 * 32 * 8 * 128 * 2
    moved_bytes = at(quantities, "memory_bytes:hbm", decode_batch(seqs, context))
    assert moved_bytes > weights_bytes + cache_bytes
    assert moved_bytes == pytest.approx(weights_bytes + cache_bytes, rel=0.01)
    hbm = quantities.table.subject.machine.tier(OperandKind.WEIGHTS)
    busy_s = at(quantities, "memory_s:hbm", decode_batch(seqs, context))
    assert busy_s == pytest.approx(moved_bytes / float(hbm.bandwidth_bytes_per_s), rel=1e-12)


def test_flop_of_a_prompt_are_two_per_weight_and_token() -> None:
    quantities = of_case("dense")
    tokens, layers, width = 2000, 32, 4096
    body = 8_030_261_248 - 2 * 128_256 * width
    attention = layers * 4 * width * (tokens * (tokens + 1) // 2)
    by_hand = 2 * tokens * body + 2 * 128_256 * width + attention
    assert at(quantities, "flop", prefill_batch(1, tokens)) == pytest.approx(by_hand, rel=1e-3)
    compute_s = at(quantities, "compute_s", prefill_batch(1, tokens))
    assert compute_s == pytest.approx(by_hand / 989.4e12, rel=2e-3)


def test_a_pair_of_chips_sends_each_message_once() -> None:
    """Between two chips an all-reduce sends 2 (n - 1)/n = 1 of the buffer, an all-gather half of it."""
    quantities = of_case("dense dp tp")
    seqs = 64
    rows = seqs // 2
    by_hand = rows * 2 * ((2 * 32 + 1) * 4096 + 128_256 / 2)
    batch = decode_batch(seqs, 1000)
    assert at(quantities, "network_bytes:nvlink4", batch) == pytest.approx(by_hand, rel=1e-9)
    assert at(quantities, "network_s:nvlink4", batch) == pytest.approx(by_hand / 450e9, rel=1e-9)


def test_experts_on_two_nodes_use_both_fabrics() -> None:
    quantities, batch = of_case("moe over two nodes"), decode_batch(1024, 2000)
    within, between = (at(quantities, f"network_bytes:{name}", batch) for name in ("nvlink4", "ib-ndr400"))
    assert within > between > 0.0
    assert at(quantities, "limit_s:network:ib-ndr400", batch) > 0.0


def test_a_tier_carries_what_is_placed_there() -> None:
    machine = machine_of("h200-hbf")
    placed = replace(machine, placement=dict.fromkeys(OperandKind, "hbm") | {OperandKind.WEIGHTS: "hbf"})
    quantities, batch = compiled("llama-3.1-8b", Parallel(), placed), decode_batch(8, 500)
    weights_bytes = 2 * (8_030_261_248 - 128_256 * 4096)
    assert at(quantities, "memory_bytes:hbf", batch) == pytest.approx(weights_bytes, rel=1e-3)
    cache_bytes = 8 * 500 * 131_072
    assert cache_bytes < at(quantities, "memory_bytes:hbm", batch) < 1.2 * cache_bytes


def test_energy_is_unknown_where_power_is() -> None:
    machine = replace(machine_of(), tdp_w=None, idle_w=None, energy_j_per_flop=None)
    quantities, batch = compiled("llama-3.1-8b", Parallel(tp=2), machine), decode_batch(8, 500)
    assert np.isnan(at(quantities, "energy_j", batch))
    assert at(quantities, "flop", batch) > 0.0


def test_the_same_table_is_sampled_once() -> None:
    quantities = of_case("dense")
    assert compile_quantities(quantities.table) is quantities
