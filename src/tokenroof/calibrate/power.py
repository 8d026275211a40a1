"""Board power against measured board power: the shipped energy formula on what a benchmark ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tokenroof.graph.core import Work
from tokenroof.perf.core import Machine
from tokenroof.perf.energy import PowerShares, activity_j_per_flop, dynamic_energy_j, whole_energy_j
from tokenroof.perf.issue import decode_factor, expert_factor, prefill_factor

CHIP = "b200"
WHOLE_LOOP_US = 300.0
"""Shortest call whose power was metered over about a second: the collector of AIConfigurator repeats a call
at most 3000 times, and the power that NVML gives is an average over up to a second."""
CACHE_FOOTPRINTS = 2.0
"""Last-level caches that a re-read cache or set of experts must exceed to come from memory."""
STATIC_QUANTILE = 0.05
HALF_FRACTIONS = tuple(float(value) for value in np.round(np.geomspace(0.005, 0.3, 83), 4))
"""Tried values."""
INTERVAL = (0.05, 0.95)
GROUPS = ("op", "dtype", "family")
"""What is left out, one group at a time, to tell the error of the unseen; families within an operator."""
TRANSFER_FACTOR = 1.3
"""By how much a board that nobody measured may be off besides: an assumption, there is no data on it."""
COVERAGE = 0.9
WIDENINGS = tuple(round(1.0 + 0.05 * step, 2) for step in range(41))
"""Tried exponents of the interval of operators without measured power."""

Array = npt.NDArray[np.float64]


class Shares(NamedTuple):
    """Board power with nothing to do, and the arithmetic rate that draws half of the rest, as fractions."""

    static_share: float
    half_fraction: float


def load_measured(directory: Path) -> pl.DataFrame:
    """The shipped sample of measured board power."""
    return pl.read_parquet(directory / "power.parquet")


def part(measured: pl.DataFrame, name: str) -> pl.DataFrame:
    """The rows that are "fitted", or of another part ("short loop", "other kernel")."""
    return measured.filter(pl.col("part") == name)


def with_shares(machine: Machine, shares: Shares) -> Machine:
    """The same machine drawing power by ``shares``; its limit must be known."""
    assert machine.tdp_w is not None
    limit_w = float(machine.tdp_w)
    split = PowerShares(*shares, "")
    return replace(
        machine,
        idle_w=shares.static_share * limit_w,
        energy_j_per_flop={
            name: activity_j_per_flop(split, limit_w, float(peak))
            for name, peak in machine.peak_flop_per_s.items()
        },
    )


def issued_factors(measured: pl.DataFrame) -> Array:
    """Issued over asked-for arithmetic of every measured row."""
    rows, keys = (measured[name].to_numpy().astype(np.float64) for name in ("rows", "keys"))
    op = measured["op"].to_numpy()
    return np.select(
        [op == "attention_decode", op == "attention_prefill"],
        [decode_factor(np.maximum(rows, 1.0), keys), prefill_factor(rows, keys)],
        expert_factor(rows),
    )


def peak_name(op: str, dtype: str) -> str:
    """Compute dtype of a measured row: bf16 in attention, that of the weights in experts."""
    return "fp8" if op == "moe" and dtype.startswith("fp8") else "bf16"


def power_w(measured: pl.DataFrame, machine: Machine) -> Array:
    """Modelled mean board power of every measured row, over the time it was measured to take.

    Parameters
    ----------
    measured : DataFrame
        Columns op, dtype, latency_us, flop, bytes, rows, keys (``calibration/measured/power.parquet``).
    machine : Machine
        Whose power is known.

    Returns
    -------
    Array
        Shape (num_rows,). [W]
    """
    factors = issued_factors(measured)
    out = np.empty(measured.height)
    for op, dtype in measured.select("op", "dtype").unique().iter_rows():
        mask = ((measured["op"] == op) & (measured["dtype"] == dtype)).to_numpy()
        rows = measured.filter(pl.Series(mask))
        flop, moved, time_us = (
            rows[name].to_numpy().astype(np.float64) for name in ("flop", "bytes", "latency_us")
        )
        time_s = time_us * 1e-6
        work = Work(flop=flop, activation_bytes=moved)  # type: ignore[arg-type]
        dynamic_j = dynamic_energy_j(work, machine, peak_name(op, dtype), time_s, factors[mask])
        whole_j = whole_energy_j(dynamic_j, machine, time_s)
        assert whole_j is not None
        out[mask] = whole_j / time_s
    return out


def ratios(measured: pl.DataFrame, machine: Machine) -> Array:
    """Modelled over measured power of every row."""
    out: Array = power_w(measured, machine) / measured["power_w"].to_numpy().astype(np.float64)
    return out


def static_share(measured: pl.DataFrame, machine: Machine) -> float:
    """Share of the limit that a board draws awake with next to nothing to do.

    The 5 % quantile of what was read while short decode calls ran. Those readings reach back into what
    ran before, so only the lightest of them tell of an idle board.
    """
    assert machine.tdp_w is not None
    light = part(measured, "short loop").filter(pl.col("op") == "attention_decode")
    quantile_w = light["power_w"].quantile(STATIC_QUANTILE)
    assert quantile_w is not None
    return round(float(quantile_w) / float(machine.tdp_w) / 0.005) * 0.005


class Fit(NamedTuple):
    """The best shares, and what they say of rows they were not fitted to.

    Attributes
    ----------
    shares : Shares
        Fitted to all rows.
    held_out : dict of str to dict of str to Array
        By what is left out ("op", "dtype", "family") and group: modelled over measured power of the rows of
        that group, with the shares fitted to all others.
    """

    shares: Shares
    held_out: dict[str, dict[str, Array]]


def fit(measured: pl.DataFrame, machine: Machine) -> Fit:
    """One number fitted to the "fitted" rows, each operator counting the same; one read off light calls."""
    share = round(static_share(measured, machine), 4)
    rows = part(measured, "fitted")
    tried = [(half, ratios(rows, with_shares(machine, Shares(share, half)))) for half in HALF_FRACTIONS]
    op = rows["op"].to_numpy()
    names = np.unique(op)

    def best(seen: npt.NDArray[np.bool_]) -> int:
        def error(index: int) -> float:
            off = np.abs(tried[index][1] - 1.0)
            known = [off[seen & (op == name)] for name in names]
            return float(np.mean([part.mean() for part in known if part.size]))

        return min(range(len(tried)), key=error)

    held_out = {}
    for by in GROUPS:
        label = rows[by].to_numpy() if by != "family" else (rows["op"] + " " + rows["family"]).to_numpy()
        held_out[by] = {str(name): tried[best(label != name)][1][label == name] for name in np.unique(label)}
    chosen = best(np.ones(rows.height, dtype=bool))
    return Fit(Shares(share, tried[chosen][0]), held_out)


def held_out_error(found: Fit, by: str = "op") -> float:
    """Mean over groups of the mean absolute relative error where the group was left out."""
    return float(np.mean([np.abs(ratio - 1.0).mean() for ratio in found.held_out[by].values()]))


def coverage(found: Fit, widening: float) -> dict[str, float]:
    """Part of each operator's rows inside the interval of the two other operators, raised to ``widening``."""
    out = {}
    for op, ratio in found.held_out["op"].items():
        low, high = _between([other for name, other in found.held_out["op"].items() if name != op])
        out[op] = float(((1.0 / ratio >= low**widening) & (1.0 / ratio <= high**widening)).mean())
    return out


def widening(found: Fit) -> float:
    """Exponent at which intervals cover operators they were not made from, nine of ten rows on average."""
    covers = (
        exponent for exponent in WIDENINGS if np.mean(list(coverage(found, exponent).values())) >= COVERAGE
    )
    return next(covers, WIDENINGS[-1])


def intervals(found: Fit) -> dict[str, tuple[float, float]]:
    """Quantiles of measured over modelled power by operator that was left out, and for others ("any").

    "any" takes all operators alike and is widened until it covers operators it was not made from.
    """
    by_op = found.held_out["op"]
    exponent = widening(found)
    low, high = _between(list(by_op.values()))
    return {**{op: _between([ratio]) for op, ratio in by_op.items()}, "any": (low**exponent, high**exponent)}


def _between(members: Sequence[Array]) -> tuple[float, float]:
    """Quantiles of measured over modelled power, every member counting the same."""
    least = min(ratio.size for ratio in members)
    alike = np.concatenate([np.quantile(1.0 / ratio, np.linspace(0.0, 1.0, least)) for ratio in members])
    low, high = np.quantile(alike, INTERVAL)
    return float(low), float(high)
