"""The shipped efficiency rows against the shipped measurements, and the page that tells of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import operator_cases as cases
import polars as pl
import pytest

from tokenroof.calibrate.accuracy import accuracy, groups, hardware, row_name
from tokenroof.calibrate.operators import TABLES, benchmark_load, residual
from tokenroof.catalog.efficiency import load
from tokenroof.perf.operators import op_time

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ROOT / "calibration" / "measured"
PAGE = ROOT / "docs" / "operator-accuracy.md"


def told(table: str) -> dict[tuple[str, str, str], float]:
    """Error by chip, framework and dtype, as the page states it. [%]"""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {table}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if "| " in line]
    return {(row[0], row[1], row[2]): float(row[5]) for row in rows[2:]}


@pytest.mark.parametrize("table", sorted(TABLES))
@pytest.mark.parametrize("chip", ["h100", "rtx-pro-6000"])
def test_the_page_states_what_the_model_does(table, chip):
    found = accuracy(MEASURED, table, [chip])
    stated = told(table)
    for member in found:
        dtype = f"{member.dtype} {member.row.op.rpartition('_')[2]}" if table == "recurrent" else member.dtype
        error = 100 * member.held_out.mean_fraction
        assert stated[member.chip, member.kernels, dtype] == pytest.approx(error, abs=0.051)
        assert member.row.error_fraction == pytest.approx(member.held_out.mean_fraction, abs=2e-3)
        assert member.row.rows == member.everything.rows


def test_every_measured_group_has_a_row_and_every_row_of_ours_a_source():
    names = {(row.op, row.chip, row.kernels, row.dtype) for row in load() if row.claim == "measured"}
    for table in TABLES:
        for key, rows in groups(MEASURED, table):
            if rows.height >= 12:
                op, dtype = row_name(table, key)
                assert (op, str(key[0]), str(key[1]), dtype) in names
    assert all(row.source for row in load())


def test_no_row_moves_bytes_faster_than_its_memory_or_computes_far_above_its_peak():
    for row in load():
        assert row.parameters.get("memory_fraction", 0.0) <= 1.0, row
        assert row.parameters.get("compute_fraction", 0.0) <= 1.1, row


def test_the_benchmark_predictor_is_the_operator_formula():
    """GEMM rows: the predictor of calibrate and op_time of the shipped machine are one model."""
    rows = pl.read_parquet(MEASURED / "gemm.parquet").filter(
        (pl.col("chip") == "h100") & (pl.col("kernels") == "vllm") & (pl.col("dtype") == "bf16")
    )[:40]
    row = cases.machine("h100", "vllm").efficiency.row("gemm", "bf16")
    predicted_s = TABLES["gemm"].predict(rows, hardware("h100"), row.parameters)
    direct_s = [
        op_time(cases.gemm(shape["m"], shape["n"], shape["k"]), cases.machine("h100", "vllm")).time_s
        for shape in rows.to_dicts()
    ]
    assert predicted_s == pytest.approx(direct_s, rel=1e-12)


def test_a_balanced_benchmark_fills_experts_evenly():
    assert benchmark_load(64, 8, 2, "balanced") == (8.0, 8.0, 8.0, 8.0)
    assert benchmark_load(1, 256, 8, "balanced")[0] == 8.0
    assert benchmark_load(1000, 8, 2, "balanced") == (8.0, 8.0 * 16, 8.0 * 4, 8.0 * 2)


def test_a_power_law_benchmark_routes_every_row():
    for tokens in (1, 16, 4096):
        active, small, *_ = benchmark_load(tokens, 128, 8, "power_law_1.2")
        assert 1 <= active <= 128
        assert small >= max(active, tokens * 8 / 16)


def test_residuals_are_relative():
    found = residual(np.array([1.1, 0.5]), np.array([1.0, 1.0]))
    assert found.mean_fraction == pytest.approx(0.3)
    assert found.median_fraction == pytest.approx(0.3)
    assert found.rows == 2
