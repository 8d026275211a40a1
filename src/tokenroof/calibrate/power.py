"""Board power against measured board power: the shipped energy formula on what a benchmark ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tokenroof.graph.core import Work
from tokenroof.perf.core import Machine
from tokenroof.perf.energy import dynamic_energy_j, whole_energy_j

CHIP = "b200"
STATIC_SHARES = tuple(round(0.2 + 0.025 * step, 3) for step in range(23))
COMPUTE_SHARES = tuple(round(0.1 * step, 1) for step in range(1, 11))
"""Tried values; arithmetic at its full rate takes at most the board's limit."""


class Shares(NamedTuple):
    """Board power with nothing to do, and arithmetic at its full rate on top, as parts of the limit."""

    static_share: float
    compute_share: float


def with_shares(machine: Machine, shares: Shares) -> Machine:
    """The same machine drawing power by ``shares``; its limit must be known."""
    assert machine.tdp_w is not None
    limit_w = machine.tdp_w
    return replace(
        machine,
        idle_w=shares.static_share * limit_w,
        energy_j_per_flop={
            name: shares.compute_share * limit_w / peak for name, peak in machine.peak_flop_per_s.items()
        },
    )


def power_w(measured: pl.DataFrame, machine: Machine) -> npt.NDArray[np.float64]:
    """Modelled mean board power of every measured row.

    Parameters
    ----------
    measured : DataFrame
        Columns dtype, latency_us, flop, bytes (``calibration/measured/power.parquet``).
    machine : Machine
        Whose power is known.

    Returns
    -------
    FloatArray
        Shape (num_rows,). [W]
    """
    out = np.empty(measured.height)
    for name in measured["dtype"].unique():
        mask = (measured["dtype"] == name).to_numpy()
        rows = measured.filter(pl.Series(mask))
        work = Work(flop=rows["flop"].to_numpy(), activation_bytes=rows["bytes"].to_numpy())
        time_s = rows["latency_us"].to_numpy() * 1e-6
        whole_j = whole_energy_j(dynamic_energy_j(work, machine, str(name), time_s), machine, time_s)
        assert whole_j is not None
        out[mask] = whole_j / time_s
    return out


def errors(measured: pl.DataFrame, machine: Machine) -> dict[str, float]:
    """Mean absolute relative error of the power by operator."""
    off = np.abs(power_w(measured, machine) / measured["power_w"].to_numpy() - 1.0)
    return {
        str(op): float(off[(measured["op"] == op).to_numpy()].mean())
        for op in sorted(measured["op"].unique())
    }


def fit(measured: pl.DataFrame, machine: Machine) -> tuple[Shares, dict[str, float]]:
    """The best shares over all operators, and the error of each when the others alone are fitted.

    Each operator counts the same, however many rows it has.
    """
    tried = {
        shares: errors(measured, with_shares(machine, shares))
        for shares in (Shares(*pair) for pair in product(STATIC_SHARES, COMPUTE_SHARES))
    }

    def best(ops: Sequence[str]) -> Shares:
        return min(tried, key=lambda shares: sum(tried[shares][op] for op in ops))

    ops = sorted(measured["op"].unique())
    held_out = {op: tried[best([other for other in ops if other != op])][op] for op in ops}
    return best(ops), held_out


def load_measured(directory: Path) -> pl.DataFrame:
    """The shipped sample of measured board power."""
    return pl.read_parquet(directory / "power.parquet")
