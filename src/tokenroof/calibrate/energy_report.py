"""The numbers of docs/energy-accuracy.md: modelled power and energy against measured and published ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from tokenroof.calibrate.power import (
    CHIP,
    Array,
    Fit,
    part,
    peak_name,
    ratios,
    with_shares,
)
from tokenroof.catalog.catalog import Catalog
from tokenroof.cost.basis import basis
from tokenroof.cost.energy import energy_j_per_token, facility_power_w
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Parallel, decode_batch, prefill_batch
from tokenroof.perf.core import Machine
from tokenroof.perf.machine import build_machine
from tokenroof.perf.step import step_time

FORMER_STATIC_SHARES = tuple(round(0.2 + 0.025 * step, 3) for step in range(23))
FORMER_COMPUTE_SHARES = tuple(round(0.1 * step, 1) for step in range(1, 11))
"""Of the former formula: static power, and arithmetic at the full peak, as parts of the limit."""
LOADS = (0.0, 0.1, 0.3, 0.6, 1.0)
CALLS_US = (20.0, 50.0, 100.0, 200.0, 300.0, 1e6)
MODEL = "llama-3.1-8b"
DECODE_SEQS, CONTEXT_TOKENS, PROMPT_TOKENS = 64, 4000, 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Modelled against measured power of some rows.

    Attributes
    ----------
    name : str
        Which rows.
    rows : int
        How many.
    median_fraction, mean_fraction : float
        Median and mean absolute relative error.
    bias_fraction : float
        Mean relative error; positive where the model draws too much.
    measured_w : float
        Median measured power. [W]
    """

    name: str
    rows: int
    median_fraction: float
    mean_fraction: float
    bias_fraction: float
    measured_w: float


def errors(name: str, ratio: Array, measured_w: Array) -> Errors:
    """The errors of rows by their modelled over measured power."""
    off = np.abs(ratio - 1.0)
    return Errors(
        name=name,
        rows=int(ratio.size),
        median_fraction=float(np.median(off)),
        mean_fraction=float(off.mean()),
        bias_fraction=float((ratio - 1.0).mean()),
        measured_w=float(np.median(measured_w)),
    )


def by_left_out(measured: pl.DataFrame, found: Fit, by: str) -> list[Errors]:
    """Each group predicted from a fit to all others."""
    rows = part(measured, "fitted")
    label = rows[by] if by != "family" else rows["op"] + " " + rows["family"]
    return [
        errors(name, ratio, rows.filter(label == name)["power_w"].to_numpy())
        for name, ratio in found.held_out[by].items()
    ]


def by_load(measured: pl.DataFrame, found: Fit, machine: Machine) -> list[Errors]:
    """Rows by operator and by the larger of their fractions of bandwidth and of peak, operator left out."""
    rows = part(measured, "fitted")
    load = load_fraction(rows, machine)
    out = []
    for op, ratio in found.held_out["op"].items():
        own = (rows["op"] == op).to_numpy()
        for low, high in pairwise(LOADS):
            inside = (load[own] >= low) & ((load[own] < high) | (high == LOADS[-1]))
            if inside.sum() >= 10:
                name = f"{op}, {100 * low:.0f} to {100 * high:.0f} %"
                out.append(errors(name, ratio[inside], rows["power_w"].to_numpy()[own][inside]))
    return out


def peaks_flop_per_s(rows: pl.DataFrame, machine: Machine) -> Array:
    """Dense peak of the dtype that each row computes in. [flop/s]"""
    return np.array(
        [
            float(machine.peak_flop_per_s[peak_name(op, dtype)])
            for op, dtype in rows.select("op", "dtype").iter_rows()
        ]
    )


def load_fraction(rows: pl.DataFrame, machine: Machine) -> Array:
    """The larger of a row's fractions of the memory bandwidth and of the dense peak."""
    time_s = rows["latency_us"].to_numpy().astype(np.float64) * 1e-6
    flop_fraction = rows["flop"].to_numpy() / time_s / peaks_flop_per_s(rows, machine)
    bandwidth = float(machine.tiers[0].bandwidth_bytes_per_s)
    return np.asarray(np.maximum(flop_fraction, rows["bytes"].to_numpy() / time_s / bandwidth))


def former(measured: pl.DataFrame, machine: Machine) -> list[Errors]:
    """The former formula on the same rows: static, flop and bytes under a hard limit; operator left out."""
    rows = part(measured, "fitted")
    assert machine.tdp_w is not None
    limit_w = float(machine.tdp_w)
    time_s = rows["latency_us"].to_numpy().astype(np.float64) * 1e-6
    bytes_w = float(machine.tiers[0].energy_j_per_byte) * rows["bytes"].to_numpy() / time_s
    flop_fraction = rows["flop"].to_numpy() / time_s / peaks_flop_per_s(rows, machine)
    measured_w = rows["power_w"].to_numpy().astype(np.float64)
    op = rows["op"].to_numpy()
    names = np.unique(op)
    tried = [
        np.minimum(static * limit_w + compute * limit_w * flop_fraction + bytes_w, limit_w) / measured_w
        for static in FORMER_STATIC_SHARES
        for compute in FORMER_COMPUTE_SHARES
    ]

    def error(ratio: Array, left_out: str) -> float:
        return sum(float(np.abs(ratio[op == name] - 1.0).mean()) for name in names if name != left_out)

    out = []
    for name in names:
        best = min(tried, key=lambda ratio, name=name: error(ratio, name))  # type: ignore[misc]
        out.append(errors(str(name), best[op == name], measured_w[op == name]))
    return out


def outside(measured: pl.DataFrame, found: Fit, machine: Machine) -> list[Errors]:
    """Rows that no fit used: loops too short for the meter, kernels and shapes without a formula."""
    fitted = with_shares(machine, found.shares)
    out = []
    for name in ("short loop", "other kernel"):
        for op in sorted(part(measured, name)["op"].unique()):
            rows = part(measured, name).filter(pl.col("op") == op)
            out.append(errors(f"{name}: {op}", ratios(rows, fitted), rows["power_w"].to_numpy()))
    return out


def by_call_length(measured: pl.DataFrame, machine: Machine) -> Iterator[tuple[str, int, float, float]]:
    """Decode calls that use most of the bandwidth: length, rows, fraction of the bandwidth, watts read."""
    load = load_fraction(measured, machine)
    keep = (measured["op"] == "attention_decode").to_numpy() & (measured["dtype"] == "bf16").to_numpy()
    busy = measured.filter(pl.Series(keep & (load > 0.6)))
    fraction = load[keep & (load > 0.6)]
    length = busy["latency_us"].to_numpy()
    for low, high in pairwise(CALLS_US):
        inside = (length >= low) & (length < high)
        if inside.sum() >= 5:
            name = f"{low:.0f} to {high:.0f} us" if high < 1e6 else f"{low:.0f} us and more"
            watts = float(np.median(busy["power_w"].to_numpy()[inside]))
            yield name, int(inside.sum()), float(np.median(fraction[inside])), watts


def long_prompts(measured: pl.DataFrame) -> tuple[float, float]:
    """Median power of bf16 prefill attention on prompts of 2,000 to 10,000 tokens, and beyond. [W]"""
    rows = part(measured, "fitted").filter(
        (pl.col("op") == "attention_prefill") & (pl.col("dtype") == "bf16")
    )
    short = rows.filter(pl.col("rows").is_between(2000, 10_000))["power_w"].to_numpy()
    return float(np.median(short)), float(
        np.median(rows.filter(pl.col("rows") > 10_000)["power_w"].to_numpy())
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a chip of the catalog draws in our model, serving one model alone.

    Attributes
    ----------
    chip : str
        Name in the catalog.
    static_w, decode_w, prefill_w, tdp_w : float
        Awake and idle; during a decode and a prefill step; the limit. [W]
    facility_w : float
        At the meter while decoding: with server factor and PUE. [W]
    published_w : float
        All-in power that was published for it, nan where none was. [W]
    decode_j, published_j : float
        Energy of an output token at the meter from ``facility_w`` and ``published_w``. [J]
    """

    chip: str
    static_w: float
    decode_w: float
    prefill_w: float
    tdp_w: float
    facility_w: float
    published_w: float
    decode_j: float
    published_j: float


def drawn(catalog: Catalog, name: str) -> Drawn:
    """Power of a chip in a decode step and in a prefill step of ``MODEL``."""
    chip, model = catalog.chip(name), catalog.model(MODEL)
    machine = build_machine(chip, catalog.engine("vllm"))
    assert machine.idle_w is not None
    assert machine.tdp_w is not None
    watts, seconds = [], []
    for batch in (decode_batch(DECODE_SEQS, CONTEXT_TOKENS), prefill_batch(1, PROMPT_TOKENS)):
        step = step_time(step_ops(model, model.precision, Parallel(), batch), machine)
        assert step.energy_j is not None
        watts.append(float(step.energy_j / step.time_s))
        seconds.append(float(step.time_s))
    money = basis(catalog.economics(), chip)
    facility_w = facility_power_w(
        chip_w=watts[0], server_overhead_factor=money.server_overhead_factor, pue=money.pue
    )
    published = catalog.economics().groups["all_in_power"].get(name)
    published_w = float("nan") if published is None else published.value
    tokens_per_s = DECODE_SEQS / seconds[0]
    return Drawn(
        chip=name,
        static_w=float(machine.idle_w),
        decode_w=watts[0],
        prefill_w=watts[1],
        tdp_w=float(machine.tdp_w),
        facility_w=float(facility_w),
        published_w=published_w,
        decode_j=float(energy_j_per_token(power_w=facility_w, tokens_per_s=tokens_per_s)),
        published_j=float(energy_j_per_token(power_w=published_w, tokens_per_s=tokens_per_s)),
    )


def measured_machine(catalog: Catalog) -> Machine:
    """The board whose power was measured, under the engine that ran."""
    return build_machine(catalog.chip(CHIP), catalog.engine("vllm"))
