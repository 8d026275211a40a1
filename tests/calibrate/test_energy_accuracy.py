"""The page on energy, the shipped power rows, and the pages that quote them are what the data say now."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from tokenroof.calibrate import energy_report as report
from tokenroof.calibrate.power import (
    CHIP,
    COVERAGE,
    WHOLE_LOOP_US,
    Shares,
    coverage,
    fit,
    held_out_error,
    load_measured,
    part,
    power_w,
    ratios,
    widening,
    with_shares,
)
from tokenroof.catalog.catalog import load
from tokenroof.perf.machine import build_machine

ROOT = Path(__file__).resolve().parents[2]
MEASURED = load_measured(ROOT / "calibration" / "measured")
CATALOG = load()
MACHINE = build_machine(CATALOG.chip(CHIP), CATALOG.engine("vllm"))
FOUND = fit(MEASURED, MACHINE)


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current():
    text = (ROOT / "docs" / "energy-accuracy.md").read_text(encoding="utf-8")
    assert text == script("energy_accuracy").page(), "docs/energy-accuracy.md is out of date: run make docs"


def test_the_shipped_rows_are_the_fit():
    module = script("fit_power")
    with module.TARGET.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [list(row) for row in module.rows()]


def test_the_cost_page_quotes_the_same_errors():
    page = (ROOT / "docs" / "model" / "cost.md").read_text(encoding="utf-8")
    before = {one.name: one.mean_fraction for one in report.former(MEASURED, MACHINE)}
    for op, label in (
        ("attention_decode", "decode attention"),
        ("attention_prefill", "prefill attention"),
        ("moe", "experts"),
    ):
        now = np.abs(FOUND.held_out["op"][op] - 1.0).mean()
        assert f"| {label} | {100 * now:.0f} % | {100 * before[op]:.0f} % |" in page
    static, half = FOUND.shares
    assert f"static {100 * static:.0f} % of the TDP" in page
    assert f"arithmetic at {100 * half:.1f} % of the dense peak" in page
    assert f"The mean is {100 * held_out_error(FOUND):.0f} %" in page


@pytest.mark.parametrize(("by", "bar"), [("op", 0.20), ("dtype", 0.20), ("family", 0.20)])
def test_what_was_left_out_is_predicted_within_a_fifth(by, bar):
    assert held_out_error(FOUND, by) < bar


def test_the_former_formula_is_worse_for_every_operator():
    now = {name: np.abs(ratio - 1.0).mean() for name, ratio in FOUND.held_out["op"].items()}
    for one in report.former(MEASURED, MACHINE):
        assert one.mean_fraction > now[one.name]


def test_only_calls_whose_loop_the_meter_could_follow_are_fitted():
    assert part(MEASURED, "fitted")["latency_us"].min() >= WHOLE_LOOP_US
    before = fit(part(MEASURED, "fitted").vstack(part(MEASURED, "short loop")), MACHINE)
    assert before.shares == FOUND.shares  # rows of other kernels change nothing


def test_modelled_power_stays_between_idle_and_the_limit():
    modelled = power_w(MEASURED, with_shares(MACHINE, FOUND.shares))
    assert np.all(modelled > FOUND.shares.static_share * MACHINE.tdp_w)
    assert np.all(modelled <= MACHINE.tdp_w)


def test_the_shipped_machine_draws_what_the_fit_says():
    rows = part(MEASURED, "fitted")
    assert power_w(rows, MACHINE) == pytest.approx(power_w(rows, with_shares(MACHINE, FOUND.shares)))


def test_a_fit_recovers_the_shares_that_made_the_power():
    rows = part(MEASURED, "fitted")
    made = with_shares(MACHINE, Shares(FOUND.shares.static_share, 0.0552))
    watts = power_w(rows, made)
    light = part(MEASURED, "short loop")
    synthetic = rows.with_columns(power_w=watts.astype(np.float32)).vstack(light)
    again = fit(synthetic, MACHINE)
    assert again.shares.half_fraction == pytest.approx(0.0552, rel=0.04)
    assert np.abs(ratios(part(synthetic, "fitted"), with_shares(MACHINE, again.shares)) - 1.0).max() < 0.02


def test_intervals_cover_operators_they_were_not_made_from():
    assert np.mean(list(coverage(FOUND, widening(FOUND)).values())) >= COVERAGE
    assert min(coverage(FOUND, 1.0).values()) < COVERAGE
