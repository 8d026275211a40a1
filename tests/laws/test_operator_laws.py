"""Laws of operator times: faster hardware never slows, arrays are loops, halves add up."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.perf.operators import op_time

sys.path.insert(0, str(Path(__file__).parents[1] / "perf"))
import operator_cases as cases

CHIPS = st.sampled_from(["h100", "b200", "a100", "l40s", "rtx-pro-6000", "mi300x", "tpu-v6e"])
ENGINES = st.sampled_from(["vllm", "sglang", "trtllm"])
SIZES = st.integers(1, 3000)
KINDS = st.integers(0, len(cases.of_every_kind(1)) - 1)
FACTORS = st.floats(1.0, 20.0)


@given(CHIPS, ENGINES, KINDS, SIZES, FACTORS)
def test_more_bandwidth_never_slows(chip, engine, kind, size, factor):
    op, base = cases.of_every_kind(size)[kind], cases.machine(chip, engine)
    assert op_time(op, cases.with_bandwidth(base, factor)).time_s <= op_time(op, base).time_s * (1 + 1e-12)


@given(CHIPS, ENGINES, KINDS, SIZES, FACTORS)
def test_more_arithmetic_never_slows(chip, engine, kind, size, factor):
    op, base = cases.of_every_kind(size)[kind], cases.machine(chip, engine)
    assert op_time(op, cases.with_flop_rate(base, factor)).time_s <= op_time(op, base).time_s * (1 + 1e-12)


@given(CHIPS, ENGINES, KINDS, st.lists(SIZES, min_size=2, max_size=5))
def test_an_array_of_shapes_is_a_loop(chip, engine, kind, sizes):
    base = cases.machine(chip, engine)
    together = op_time(cases.of_every_kind(np.array(sizes))[kind], base)
    alone = [op_time(cases.of_every_kind(size)[kind], base) for size in sizes]
    assert together.time_s == pytest.approx([one.time_s for one in alone], rel=1e-9)
    assert np.broadcast_to(together.compute_s, len(sizes)) == pytest.approx([one.compute_s for one in alone])
    if together.energy_j is not None:  # a chip whose power is unknown has no energy
        assert together.energy_j == pytest.approx([one.energy_j for one in alone])


@given(CHIPS, KINDS, SIZES, st.lists(FACTORS, min_size=2, max_size=4))
def test_an_array_of_machines_is_a_loop(chip, kind, size, factors):
    op, base = cases.of_every_kind(size)[kind], cases.machine(chip)
    many = cases.with_flop_rate(cases.with_bandwidth(base, np.array(factors)), np.array(factors)[::-1])
    alone = [
        op_time(op, cases.with_flop_rate(cases.with_bandwidth(base, a), b)).time_s
        for a, b in zip(factors, factors[::-1], strict=True)
    ]
    assert op_time(op, many).time_s == pytest.approx(alone, rel=1e-9)


@given(CHIPS, ENGINES, KINDS, SIZES)
def test_time_covers_every_resource_it_names(chip, engine, kind, size):
    took = op_time(cases.of_every_kind(size)[kind], cases.machine(chip, engine))
    assert took.time_s * (1 + 1e-9) >= max(took.compute_s, took.latency_s, *took.memory_s.values())


@given(CHIPS, ENGINES, SIZES)
def test_no_gemm_beats_the_roofline(chip, engine, m):
    base, op = cases.machine(chip, engine), cases.gemm(m)
    roof_s = max(
        op.work.flop / (1.1 * base.peak_flop_per_s["bf16"]),
        (op.work.weights_bytes + op.work.activation_bytes) / base.tiers[0].bandwidth_bytes_per_s,
    )
    assert op_time(op, base).time_s >= roof_s


@given(CHIPS, ENGINES, st.integers(1, 512), st.integers(1, 30000))
def test_longer_contexts_never_take_less(chip, engine, seqs, context):
    base = cases.machine(chip, engine)
    short, long = (op_time(cases.decode(seqs, c), base).time_s for c in (context, context + 512))
    assert short <= long * (1 + 1e-12)


@given(ENGINES, st.integers(1, 64), st.integers(64, 8000))
def test_decode_attention_is_continuous_in_its_context(engine, seqs, context):
    base = cases.machine("h100", engine)
    here, there = (op_time(cases.decode(seqs, c), base).time_s for c in (context, context + 1))
    assert there == pytest.approx(here, rel=0.03)


@given(CHIPS, KINDS, SIZES)
def test_efficiencies_may_be_arrays(chip, kind, size):
    op, base = cases.of_every_kind(size)[kind], cases.machine(chip)
    twice = {
        key: replace(row, parameters={**row.parameters, "launch_s": np.full(2, row.parameters["launch_s"])})
        for key, row in base.efficiency.rows.items()
        if "launch_s" in row.parameters
    }
    rows = {**base.efficiency.rows, **twice}
    many = replace(base, efficiency=replace(base.efficiency, rows=rows))
    assert op_time(op, many).time_s == pytest.approx([op_time(op, base).time_s] * 2)
