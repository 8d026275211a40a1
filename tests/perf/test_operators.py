"""Operator times: zero work, tiers, formats, borrowed rows, and the published roofline bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import operator_cases as cases
import pytest

from tokenroof.catalog.catalog import load
from tokenroof.catalog.core import OperandKind
from tokenroof.errors import InputError
from tokenroof.graph.core import Op, Work
from tokenroof.perf.core import Tier
from tokenroof.perf.lowprec import compute_path
from tokenroof.perf.machine import achievable_bandwidth_bytes_per_s, build_machine
from tokenroof.perf.operators import op_time
from tokenroof.perf.roofline import smooth_max


def test_every_operator_takes_a_finite_positive_time_on_every_chip():
    catalog = load()
    for chip in catalog.chips():
        built = build_machine(catalog.chip(chip), catalog.engine("vllm"))
        for op in cases.of_every_kind(3):
            took = op_time(op, built)
            parts = [took.time_s, took.compute_s, took.latency_s, *took.memory_s.values()]
            assert np.all(np.isfinite(parts)), (chip, op)
            assert took.time_s > 0, (chip, op)
            assert min(parts) >= 0, (chip, op)


@pytest.mark.parametrize("index", range(len(cases.of_every_kind(0))))
def test_no_tokens_take_no_time(index):
    assert op_time(cases.of_every_kind(0)[index], cases.machine()).time_s == 0.0
    mixed = op_time(cases.of_every_kind(np.array([0, 5]))[index], cases.machine()).time_s
    assert mixed[0] == 0.0
    assert mixed[1] == pytest.approx(
        op_time(cases.of_every_kind(5)[index], cases.machine()).time_s, rel=1e-12
    )


def test_runs_add_up():
    once, many = (op_time(cases.gemm(64, count=count), cases.machine()) for count in (1, 80))
    assert many.time_s == pytest.approx(80 * once.time_s)
    assert many.energy_j == pytest.approx(80 * once.energy_j)
    assert many.memory_s["hbm"] == pytest.approx(80 * once.memory_s["hbm"])


def test_an_unknown_operator_is_our_bug():
    with pytest.raises(TypeError, match="no time formula"):
        op_time(Op(name="x", count=1, work=Work()), cases.machine())


def test_decode_gemm_is_its_bytes_and_prefill_gemm_its_flop():
    """Roofline: on H100 the ridge is 295 flop/byte; one row is far left of it, 8192 rows far right."""
    thin, thick = (op_time(cases.gemm(m), cases.machine()) for m in (1, 8192))
    assert thin.memory_s["hbm"] > 5 * thin.compute_s  # which counts a tile of 16 rows
    assert thick.compute_s > 1.5 * thick.memory_s["hbm"]
    stream_s, flop_s = 2 * 8192 * 8192 / 3.35e12, 2 * 8192**3 / 989.4e12
    assert stream_s < thin.time_s < 1.5 * stream_s
    assert flop_s < thick.time_s < 1.5 * flop_s


def test_each_operand_streams_through_its_own_tier():
    base = cases.machine()
    slow = Tier(name="flash", bandwidth_bytes_per_s=1e11, energy_j_per_byte=1e-9)
    split = replace(
        base, tiers=(*base.tiers, slow), placement={**base.placement, OperandKind.WEIGHTS: "flash"}
    )
    took, before = op_time(cases.gemm(1), split), op_time(cases.gemm(1), base)
    assert set(took.memory_s) == {"flash", "hbm"}
    assert took.memory_s["flash"] > 30 * before.memory_s["hbm"]
    assert took.memory_s["hbm"] < before.memory_s["hbm"]
    assert took.energy_j > before.energy_j
    attention = op_time(cases.decode(32, 2048), split)
    assert attention.time_s == pytest.approx(op_time(cases.decode(32, 2048), base).time_s)


def test_bandwidth_is_capped_by_what_is_in_flight():
    assert achievable_bandwidth_bytes_per_s(8e12, outstanding_bytes=1e6, read_latency_s=1e-6) == 1e12
    assert achievable_bandwidth_bytes_per_s(5e11, outstanding_bytes=1e6, read_latency_s=1e-6) == 5e11
    assert achievable_bandwidth_bytes_per_s(8e12, outstanding_bytes=None, read_latency_s=1e-6) == 8e12
    assert achievable_bandwidth_bytes_per_s(8e12, outstanding_bytes=1e6, read_latency_s=None) == 8e12


@pytest.mark.parametrize(
    ("weight", "act", "peaks", "row", "peak"),
    [
        ("bf16", "bf16", ("bf16", "fp8"), "bf16", "bf16"),
        ("fp16", "fp16", ("fp16", "fp32"), "bf16", "fp16"),
        ("fp8", "fp8", ("bf16", "fp8"), "fp8", "fp8"),
        ("fp8_block", "fp8", ("bf16", "fp8"), "fp8_block", "fp8"),
        ("fp8", "fp8", ("bf16", "int8"), "int8_wo", "bf16"),
        ("fp8", "bf16", ("bf16", "fp8"), "int8_wo", "bf16"),
        ("nvfp4", "nvfp4", ("bf16", "fp8", "fp4"), "nvfp4", "fp4"),
        ("nvfp4", "nvfp4", ("bf16", "fp8"), "int4_wo", "bf16"),
        ("mxfp4", "bf16", ("bf16", "fp4"), "w4a16_mxfp4", "bf16"),
        ("mxfp4", "mxfp8", ("bf16", "fp8", "fp4"), "w4a8_mxfp4_mxfp8", "fp8"),
        ("mxfp4", "mxfp8", ("bf16", "fp8"), "w4a16_mxfp4", "bf16"),
        ("mxfp4", "mxfp8", ("bf16",), "w4a16_mxfp4", "bf16"),
        ("mxfp4", "fp8", ("bf16", "fp8"), "w4a8_mxfp4_mxfp8", "fp8"),
        ("int4_g32", "bf16", ("bf16", "fp8", "fp4"), "int4_wo", "bf16"),
        ("int8", "int8", ("bf16", "int8"), "int8", "int8"),
        ("int4", "bf16", ("bf16", "fp8", "fp4"), "int4_wo", "bf16"),
    ],
)
def test_formats_run_on_the_arithmetic_the_chip_has(weight, act, peaks, row, peak):
    path = compute_path(weight, act, dict.fromkeys(peaks, 1e15))
    assert (path.row, path.peak) == (row, peak)
    assert path.quantises == (peak not in ("bf16", "fp16"))


def test_a_chip_without_peaks_is_refused():
    with pytest.raises(InputError, match="no 16-bit peak"):
        compute_path("bf16", "bf16", {})


def test_a_measured_chip_uses_its_own_rows_and_others_say_whose():
    own = cases.machine("h100", "vllm").efficiency
    assert own.row("gemm", "bf16").chip == "h100"
    assert own.row("gemm", "bf16").kernels == "vllm"
    assert not any(sentence.startswith("gemm bf16 ") for sentence in own.borrowed)
    other = cases.machine("mi300x", "vllm").efficiency
    assert other.row("gemm", "bf16").chip == load().chip("mi300x").relative
    assert any("gemm bf16 was not measured on mi300x" in sentence for sentence in other.borrowed)
    assert len(other.borrowed) > len(own.borrowed)


def test_dynamic_energy_is_issued_flop_and_bytes_bent_by_the_limit():
    base = cases.machine()
    op = cases.gemm(16)
    flop_j = op.work.flop * base.energy_j_per_flop["bf16"]
    bytes_j = (op.work.weights_bytes + op.work.activation_bytes) * base.tiers[0].energy_j_per_byte
    took = op_time(op, base)
    room_j = (base.tdp_w - base.idle_w) * took.time_s
    activity_j = flop_j + bytes_j  # 16 rows are a whole tile: what is issued is what was asked for
    assert took.energy_j == pytest.approx(activity_j * room_j / (activity_j + room_j))
    assert took.energy_j < room_j


def test_windows_cost_their_width_not_their_length():
    full, windowed = (op_time(cases.prefill(4, 4096, window=w), cases.machine()).time_s for w in (None, 256))
    assert windowed < 0.45 * full


def test_a_causal_mask_saves_about_half():
    causal, whole = (op_time(cases.prefill(2, 8192, causal=c), cases.machine()).time_s for c in (True, False))
    assert 1.6 < whole / causal < 2.2


def test_a_hot_rank_takes_longer():
    even, hot = (op_time(cases.moe(4096, hot=h), cases.machine()).time_s for h in (1.0, 2.0))
    assert even < hot < 2.5 * even


def test_smooth_max_lies_between_maximum_and_sum():
    assert smooth_max(3.0, 4.0, 2.0) == pytest.approx(5.0)
    assert smooth_max(3.0, 4.0, 1.0) == pytest.approx(7.0)
    assert smooth_max(0.0, 0.0, 4.0) == 0.0
    together = smooth_max(np.array([3.0, 0.0]), np.array([4.0, 0.0]), 2.0)
    assert together == pytest.approx([5.0, 0.0])
