"""Board power: against measured power, within the board's limit, unknown where no limit is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import polars as pl
import pytest

import tokenroof as tr
from tokenroof.calibrate.power import CHIP, Shares, errors, fit, load_measured, power_w, with_shares
from tokenroof.catalog.catalog import load
from tokenroof.catalog.efficiency import load as load_rows
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Collective, Parallel, Work, decode_batch, prefill_batch
from tokenroof.perf.core import Machine
from tokenroof.perf.energy import power_shares, whole_energy_j
from tokenroof.perf.machine import build_machine
from tokenroof.perf.operators import op_time
from tokenroof.perf.step import step_time

ROOT = Path(__file__).resolve().parents[2]
MEASURED = load_measured(ROOT / "calibration" / "measured")
CATALOG = load()
ENGINE = CATALOG.engine("vllm")
SHIPPED = next(row for row in load_rows() if row.op == "power")
PAGE = (ROOT / "docs" / "model" / "cost.md").read_text(encoding="utf-8")


def machine(chip: str) -> Machine:
    return build_machine(CATALOG.chip(chip), ENGINE)


def test_the_shipped_shares_are_the_fit_and_the_stated_error_its_error():
    shares, held_out = fit(MEASURED, machine(CHIP))
    assert SHIPPED.parameters == shares._asdict()
    assert SHIPPED.rows == MEASURED.height
    assert SHIPPED.error_fraction == pytest.approx(mean(held_out.values()), abs=1e-4)
    seen = errors(MEASURED, machine(CHIP))
    for op, label in (("attention_prefill", "prefill attention"), ("attention_decode", "decode attention"),
                      ("moe", "experts")):  # fmt: skip
        assert f"| {label} | {100 * seen[op]:.0f} % | {100 * held_out[op]:.0f} % |" in PAGE


def test_the_page_tells_how_far_the_split_used_before_was_off():
    before = errors(MEASURED, with_shares(machine(CHIP), Shares(0.3, 0.4)))
    told = [f"{100 * before[op]:.0f}" for op in ("attention_prefill", "attention_decode", "moe")]
    assert f"is off by {told[0]}, {told[1]} and {told[2]} %" in PAGE


@pytest.mark.parametrize(
    ("flop_fraction", "bandwidth_fraction", "measured_w"), [(0.43, 0.0, 934.0), (0.0, 0.89, 698.0)]
)
def test_busy_attention_draws_what_was_measured(flop_fraction, bandwidth_fraction, measured_w):
    """Mean NVML board power of B200 attention, bf16 at 43 % of the peak and decode at 89 % of 8 TB/s."""
    one_second = pl.DataFrame({
        "dtype": ["bf16"], "latency_us": [1e6],
        "flop": [flop_fraction * 2.25e15], "bytes": [bandwidth_fraction * 8e12],
    })  # fmt: skip
    assert power_w(one_second, machine(CHIP))[0] == pytest.approx(measured_w, rel=0.1)


@pytest.mark.parametrize("chip", ["h100", "b200", "mi300x", "l4", "rtx4090"])
def test_no_operator_and_no_step_passes_the_limit(chip):
    model, on = CATALOG.model("llama-3.1-8b"), machine(chip)
    batches = (
        decode_batch(np.array([1, 64, 512]), np.array([100, 4000, 2000])),
        prefill_batch(np.ones(3, dtype=int), np.array([1, 1000, 60_000])),
    )
    for batch in batches:
        timed = step_time(step_ops(model, model.precision, Parallel(), batch), on)
        watts = timed.energy_j / timed.time_s
        assert np.all(watts <= on.tdp_w * (1 + 1e-12))
        assert np.all(watts >= on.idle_w)
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
    own = replace(SHIPPED, chip="h100", parameters={"static_share": 0.2, "compute_share": 0.5})
    assert power_shares("h100", "", "hopper", (own, SHIPPED))[:2] == (0.2, 0.5)
    assert (
        power_shares("b200", "", "blackwell", (own, SHIPPED)).static_share
        == SHIPPED.parameters["static_share"]
    )


def test_no_work_takes_no_dynamic_energy():
    on = machine("b200")
    assert whole_energy_j(0.0, on, 1.0) == on.idle_w
    op = step_ops(
        CATALOG.model("llama-3.1-8b"), CATALOG.model("llama-3.1-8b").precision, Parallel(), decode_batch(1, 1)
    )[0]
    assert op_time(replace(op, work=Work()), on).energy_j == 0.0
