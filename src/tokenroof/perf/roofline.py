"""What every operator's time is made of: streams through memory tiers, a smooth maximum, joules.

An operator's file states its formula as free functions of named numbers; this file turns their
answer into an :class:`~tokenroof.perf.core.OpTime`. Every function broadcasts: any argument may be
a float or a numpy array.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tokenroof.catalog.core import OperandKind
from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.graph.core import Int, Num, Op, Work
from tokenroof.perf.core import Machine, OpTime
from tokenroof.perf.energy import dynamic_energy_j
from tokenroof.perf.issue import issued_factor

# Numbers of an efficiency row that shape the traffic, before a formula sees its streaming time.
TRAFFIC_PARAMETERS = ("activation_passes", "kv_passes", "cached_speedup", "cached_scale")


class Span(NamedTuple):
    """One run of an operator: what it takes, and what each resource alone would take. [s]"""

    total_s: Num
    compute_s: Num
    memory_s: Num
    latency_s: Num


def smooth_max(a: Num, b: Num, sharpness: Num) -> Num:
    """Between the sum (sharpness 1) and the maximum (sharpness to infinity) of two times.

    Parameters
    ----------
    a, b : Num
        Two non-negative times. [s]
    sharpness : Num
        Exponent p of ``(a^p + b^p)^(1/p)``; below 1 the two hinder each other.

    Returns
    -------
    Num
        At least ``max(a, b)`` for p > 0. [s]
    """
    if isinstance(a, float) and isinstance(b, float) and isinstance(sharpness, float):
        worst = max(a, b)
        ratio = min(a, b) / worst if worst > 0.0 else 0.0
        return float(worst * (1.0 + ratio**sharpness) ** (1.0 / sharpness))
    high = np.maximum(a, b)
    smaller = np.minimum(a, b) / np.maximum(high, 1e-300)
    blended: Num = high * (1.0 + smaller**sharpness) ** (1.0 / sharpness)
    return blended


def real(value: Int | Num) -> Num:
    """Whole numbers as floats, so that no formula overflows or divides integers."""
    return value.astype(np.float64) if isinstance(value, np.ndarray) else float(value)


def upper(a: Num, b: Num) -> Num:
    """The larger of two numbers; floats stay floats, which is ten times faster than numpy."""
    if isinstance(a, float | int) and isinstance(b, float | int):
        return a if a >= b else b
    out: Num = np.maximum(a, b)
    return out


def lower(a: Num, b: Num) -> Num:
    """The smaller of two numbers; floats stay floats."""
    if isinstance(a, float | int) and isinstance(b, float | int):
        return a if a <= b else b
    out: Num = np.minimum(a, b)
    return out


def up_to_whole(value: Num) -> Num:
    """Round up to a whole number, as a float."""
    if isinstance(value, float | int):
        return float(-((-value) // 1))
    out: Num = np.ceil(value)
    return out


def log2(value: Num) -> Num:
    """Binary logarithm."""
    out: Num = np.log2(value)
    return out if isinstance(value, np.ndarray) else float(out)


def root(value: Num) -> Num:
    """Square root."""
    return value**0.5


def tier_streams_s(
    work: Work, machine: Machine, passes: Mapping[OperandKind, Num] | None = None
) -> dict[str, Num]:
    """Time each memory tier needs for its share of the traffic at full bandwidth.

    Each operand kind is pulled through the tier it lives in; tiers work side by side.

    Parameters
    ----------
    work : Work
        Traffic by operand kind. [bytes]
    machine : Machine
        Tiers, and which kind lives where.
    passes : mapping of OperandKind to Num, optional
        How often each kind is moved by the kernel, where not once.

    Returns
    -------
    dict of str to Num
        By tier name, only tiers that are used. [s]
    """
    streams: dict[str, Num] = {}
    for kind, moved_bytes in work.by_kind():
        if isinstance(moved_bytes, int) and moved_bytes == 0:
            continue
        tier = machine.tier(kind)
        took = moved_bytes / tier.bandwidth_bytes_per_s
        if passes is not None and kind in passes:
            took = took * passes[kind]
        streams[tier.name] = streams[tier.name] + took if tier.name in streams else took
    return streams


def slowest_s(streams: Mapping[str, Num]) -> Num:
    """Time of the slowest of several channels that work side by side (0 when none does). [s]"""
    worst: Num = 0.0
    for took in streams.values():
        worst = upper(worst, took)
    return worst


def cached_stream_s(
    stream_s: Num, *, footprint_bytes: Num, cache_bytes: Num, cached_speedup: Num, cached_scale: Num
) -> Num:
    """Streaming time when the bytes were touched a moment ago and the last-level cache kept a part.

    True of activations between kernels. Of weights, caches and states only in benchmarks that re-read
    one small set: the predictors of ``calibrate`` use it to compare with those, serving does not.

    Parameters
    ----------
    stream_s : Num
        Time from memory. [s]
    footprint_bytes, cache_bytes : Num
        What is touched, and the last-level cache (0 = none known). [bytes]
    cached_speedup, cached_scale : Num
        Bandwidth of the cache over that of memory; footprint in caches at which half is still served:
        the part is ``1 / (1 + (footprint / (scale * cache))**4)``.

    Returns
    -------
    Num
        [s]
    """
    ratio = footprint_bytes / upper(cached_scale * cache_bytes, 1.0)
    squared = ratio * ratio
    hit = 1.0 / (1.0 + squared * squared)
    out: Num = stream_s * (1.0 - hit * (1.0 - 1.0 / cached_speedup))
    return out


def time_parameters(row: OpEfficiency) -> dict[str, float]:
    """The row's numbers that its time formula takes."""
    return {name: value for name, value in row.parameters.items() if name not in TRAFFIC_PARAMETERS}


def finish(op: Op, machine: Machine, span: Span, streams: Mapping[str, Num], peak: str, live: Num) -> OpTime:
    """An operator's time for all its runs, by limiting resource.

    Parameters
    ----------
    op : Op
        What ran.
    machine : Machine
        On what.
    span : Span
        Time of one run; ``memory_s`` is that of the slowest tier.
    streams : mapping of str to Num
        Ideal time by tier, whose proportions split ``span.memory_s``. [s]
    peak : str
        Compute dtype, for the energy of a flop.
    live : Num
        Zero where there is nothing to do (no tokens): the time there is zero.

    Returns
    -------
    OpTime
        Times ``op.count``; zero where ``live`` is zero.
    """
    runs: Num = op.count * _is_positive(live)
    ideal = upper(slowest_s(streams), 1e-300)
    stretch = span.memory_s / ideal * runs
    energy_j = dynamic_energy_j(op.work, machine, peak, span.total_s, issued_factor(op))
    return OpTime(
        op=op,
        time_s=span.total_s * runs,
        compute_s=span.compute_s * runs,
        memory_s={name: took * stretch for name, took in streams.items()},
        network_s={},
        network_bytes={},
        latency_s=span.latency_s * runs,
        energy_j=None if energy_j is None else energy_j * runs,
    )


def _is_positive(value: Num) -> Num:
    if isinstance(value, float | int):
        return 1.0 if value > 0 else 0.0
    out: Num = (np.asarray(value) > 0).astype(np.float64)
    return out
