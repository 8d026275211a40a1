"""Board power: against measured power, within the board's limit, unknown where no limit is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenroof as tr
from tokenroof.calibrate.power import CHIP, power_w
from tokenroof.catalog.catalog import Catalog, load
from tokenroof.catalog.efficiency import load as load_rows
from tokenroof.catalog.tuning import NEUTRAL
from tokenroof.errors import CatalogError
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Collective, Parallel, Work, decode_batch, prefill_batch
from tokenroof.perf.core import Machine
from tokenroof.perf.energy import (
    dynamic_energy_j,
    power_interval,
    power_shares,
    whole_energy_j,
    within_limit,
)
from tokenroof.perf.issue import decode_factor, expert_factor, prefill_factor
from tokenroof.perf.machine import build_machine
from tokenroof.perf.operators import op_time
from tokenroof.perf.step import step_time

CATALOG = load()
ENGINE = CATALOG.engine("vllm")
SHIPPED = next(row for row in load_rows() if row.op == "power")


def machine(chip: str, catalog: Catalog = CATALOG) -> Machine:
    return build_machine(catalog.chip(chip), catalog.engine("vllm"))


@pytest.mark.parametrize(
    ("op", "rate", "keys", "measured_w"),
    [("attention_prefill", 0.43 * 2.25e15, 4096.0, 934.0), ("attention_decode", 0.88 * 8e12, 32768.0, 700.0)],
)
def test_busy_attention_draws_what_was_measured(op, rate, keys, measured_w):
    """Mean NVML board power of B200 attention, bf16 at 43 % of the peak and decode at 88 % of 8 TB/s."""
    prefill = op == "attention_prefill"
    one_second = pl.DataFrame({
        "op": [op], "dtype": ["bf16"], "latency_us": [1e6],
        "keys": [keys], "rows": [8192.0 if prefill else 1.0],
        "flop": [rate], "bytes": [0.0 if prefill else rate],
    })  # fmt: skip
    assert power_w(one_second, machine(CHIP))[0] == pytest.approx(measured_w, rel=0.12)


@pytest.mark.parametrize("chip", ["h100", "b200", "mi300x", "l4", "rtx4090"])
def test_no_operator_and_no_step_passes_the_limit(chip):
    """Corrections from servings leave the energy of an operator and bend that of the step once more."""
    model, on, tuned = CATALOG.model("llama-3.1-8b"), machine(chip, CATALOG.tuned(NEUTRAL)), machine(chip)
    batches = (
        decode_batch(np.array([1, 64, 512]), np.array([100, 4000, 2000])),
        prefill_batch(np.ones(3, dtype=int), np.array([1, 1000, 60_000])),
    )
    for batch in batches:
        timed = step_time(step_ops(model, model.precision, Parallel(), batch), on)
        watts = timed.energy_j / timed.time_s
        assert np.all(watts <= on.tdp_w * (1 + 1e-12))
        assert np.all(watts >= on.idle_w)
        served = step_time(step_ops(model, model.precision, Parallel(), batch), tuned)
        assert np.all(served.energy_j / served.time_s <= tuned.tdp_w * (1 + 1e-12))
        for item in timed.ops:
            took_s = np.asarray(item.time_s)
            assert np.all(item.energy_j <= (on.tdp_w - on.idle_w) * took_s * (1 + 1e-9))
    assert whole_energy_j(1e9, on, 2.0) == 2.0 * on.tdp_w


def test_a_chip_of_unknown_power_has_no_energy_at_all():
    unknown = [name for name in CATALOG.chips() if CATALOG.chip(name).tdp_w is None]
    assert "tpu-v6e" in unknown
    for name in unknown:
        on = machine(name)
        assert (on.idle_w, on.tdp_w, on.energy_j_per_flop) == (None, None, None)
    on = machine("tpu-v6e")
    model = CATALOG.model("llama-3.1-8b")
    timed = step_time(step_ops(model, model.precision, Parallel(tp=4), decode_batch(8, 1000)), on)
    assert any(isinstance(item.op, Collective) for item in timed.ops)
    assert all(item.energy_j is None for item in timed.ops)
    assert timed.energy_j is None
    assert not any(said.startswith("power:") for said in on.assumptions)


def test_an_answer_of_unknown_power_says_so_and_shows_none():
    found = tr.estimate(model="llama-3.1-8b", chip="tpu-v6e", isl=512, osl=128, concurrency=4)
    estimate = found.estimates[0]
    assert not any("energy" in name or "power" in name for name in estimate.metrics)
    assert all(phase.energy_j is None for phase in estimate.phases.values())
    assert all(op.energy_j is None for phase in estimate.phases.values() for op in phase.ops)
    assert any(said.startswith("energy: no power figure") for said in estimate.assumptions)


def test_other_chips_say_whose_shares_they_take():
    assert not any(said.startswith("power:") for said in machine("b200").assumptions)
    (said,) = [said for said in machine("h100").assumptions if said.startswith("power:")]
    assert "measured on b200" in said
    assert f"{100 * SHIPPED.error_fraction:.0f} %" in said


def test_a_measurement_of_the_users_own_wins():
    own = replace(SHIPPED, chip="h100", parameters={"static_share": 0.2, "half_fraction": 0.5})
    assert power_shares("h100", "", "hopper", (own, SHIPPED))[:2] == (0.2, 0.5)
    assert (
        power_shares("b200", "", "blackwell", (own, SHIPPED)).static_share
        == SHIPPED.parameters["static_share"]
    )


def test_a_row_without_its_numbers_is_refused():
    own = replace(SHIPPED, chip="h100", parameters={"static_share": 0.2, "compute_share": 0.5})
    with pytest.raises(CatalogError, match="no half_fraction, given are static_share, compute_share"):
        power_shares("h100", "", "hopper", (own,))


def test_arithmetic_alone_at_the_half_rate_draws_half_of_what_the_limit_leaves():
    on = machine("b200")
    half = SHIPPED.parameters["half_fraction"]
    work = Work(flop=int(half * on.peak_flop_per_s["bf16"]))
    room_w = on.tdp_w - on.idle_w
    assert dynamic_energy_j(work, on, "bf16", 1.0) == pytest.approx(room_w / 2)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e5), st.floats(0, 1e5))
def test_more_activity_and_more_room_never_give_less_energy(activity_j, room_j, more_j, wider_j):
    bent = within_limit(activity_j, room_j)
    assert 0.0 <= bent <= min(activity_j, room_j) * (1 + 1e-12)
    assert within_limit(activity_j + more_j, room_j) >= bent * (1 - 1e-12)
    assert within_limit(activity_j, room_j + wider_j) >= bent * (1 - 1e-12)
    arrays = within_limit(np.array([activity_j, 0.0]), np.array([room_j, 0.0]))
    assert arrays == pytest.approx([bent, 0.0])


@pytest.mark.parametrize("chip", ["b200", "mi300x"])
def test_energy_grows_with_tokens_and_context(chip):
    model, on = CATALOG.model("qwen3-30b-a3b"), machine(chip)
    # Products of ragged rows take longer than full ones, so whole blocks of rows.
    seqs = np.append(np.arange(1, 16), np.arange(16, 400, 16))
    by_seqs = step_time(step_ops(model, model.precision, Parallel(), decode_batch(seqs, 1000)), on)
    assert np.all(np.diff(by_seqs.energy_j) > 0)
    context = np.arange(1, 20_000, 37)
    wide = step_ops(model, model.precision, Parallel(), decode_batch(np.full_like(context, 8), context))
    assert np.all(np.diff(step_time(wide, on).energy_j) > 0)


@pytest.mark.parametrize(
    ("factor", "rows", "expected"),
    [
        (lambda rows: decode_factor(rows, 32.0), 4.0, 4.0 * 2.0),  # 16 rows for 4; a block of keys half empty
        (lambda rows: decode_factor(rows, 1e9), 20.0, 32 / 20),
        (lambda rows: prefill_factor(rows, (rows + 1) / 2), 256.0, (256 + 1 + 128) / (256 + 1)),
        (expert_factor, 1.0, 64.0),
        (expert_factor, 1000.0, 1.0315),
    ],
)
def test_kernels_issue_whole_tiles(factor, rows, expected):
    assert factor(rows) == pytest.approx(expected)
    assert factor(np.array([rows, rows])) == pytest.approx([expected] * 2)


@pytest.mark.parametrize("op", ["attention_decode", "attention_prefill", "moe", "any", "gemm"])
def test_intervals_of_power_straddle_one_and_widen_away_from_the_measured_chip(op):
    own, other = power_interval("b200", op), power_interval("h100", op)
    assert 0.5 < own.low_factor < 1.0 < own.high_factor < 1.6
    assert other.low_factor < own.low_factor
    assert other.high_factor > own.high_factor
    assert "widened" in other.note
    assert "widened" not in own.note


def test_operators_without_measured_power_get_the_interval_of_all():
    assert power_interval("b200", "gemm") == power_interval("b200")


def test_no_work_takes_no_dynamic_energy():
    on = machine("b200")
    assert whole_energy_j(0.0, on, 1.0) == on.idle_w
    op = step_ops(
        CATALOG.model("llama-3.1-8b"), CATALOG.model("llama-3.1-8b").precision, Parallel(), decode_batch(1, 1)
    )[0]
    assert op_time(replace(op, work=Work()), on).energy_j == 0.0
