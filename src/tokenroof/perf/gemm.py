"""Dense matrix products: tiles, waves, split-k, and the two roofs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tokenroof.catalog.core import OperandKind
from tokenroof.catalog.dtypes import dtype
from tokenroof.graph.core import Gemm, Num
from tokenroof.perf.core import Machine, OpTime
from tokenroof.perf.dispatch import op_time
from tokenroof.perf.lowprec import compute_path
from tokenroof.perf.roofline import (
    Span,
    finish,
    lower,
    real,
    slowest_s,
    smooth_max,
    tier_streams_s,
    up_to_whole,
    upper,
)

# Candidate schedules: rows and columns of a tile, and ways the k loop is split over units.
_TILES = ((16.0, 128.0), (64.0, 64.0), (64.0, 128.0), (128.0, 128.0), (128.0, 256.0), (256.0, 128.0))
_WAYS = (1.0, 2.0, 4.0, 8.0)
_SPLIT_S = 0.7e-6  # launch of the kernel that adds the partial sums
_REFERENCE_TILE = 128.0 * 256.0
_CANDIDATES = np.array([(m, n, ways) for ways in _WAYS for m, n in _TILES]).T  # shape (3, 24)


class _Tiling(NamedTuple):
    """A schedule; arrays when there are several side by side."""

    tile_m: Num
    tile_n: Num
    ways: Num


class _Shape(NamedTuple):
    """Everything a candidate's time depends on beside the candidate."""

    m: Num
    n: Num
    k: Num
    unit_rate: Num  # achieved flop/s of one compute unit on the reference tile
    compute_units: Num
    stream_s: Num  # achieved streaming time of all operands
    partial_s: Num  # achieved streaming time of one set of fp32 partial sums
    tile_exponent: Num
    fill: Num
    step_s: Num


def gemm_s(
    *,
    m: Num,
    n: Num,
    k: Num,
    flop_per_s: Num,
    compute_units: Num,
    stream_s: Num,
    result_bytes_per_s: Num,
    quantise_bytes: Num,
    compute_fraction: Num,
    memory_fraction: Num,
    launch_s: Num,
    sharpness: Num,
    tile_exponent: Num,
    fill_fraction: Num,
    step_s: Num,
    split_ways: float,
    quantise_fraction: Num,
) -> Span:
    """Time of C[m, n] = A[m, k] W[n, k]^T.

    The schedule is the tile (and split of k) whose slower roof is lowest. Its compute time counts
    whole waves of tiles over the compute units; its memory time loses bandwidth when too few tiles
    are in flight; both combine as a smooth maximum.

    Parameters
    ----------
    m, n, k : Num
        Rows, columns, depth.
    flop_per_s : Num
        Peak of the compute dtype. [flop/s]
    compute_units : Num
        SMs or the like that share the peak.
    stream_s : Num
        All operands once through their memory tiers at full bandwidth. [s]
    result_bytes_per_s : Num
        Bandwidth of the tier that partial sums go to. [bytes/s]
    quantise_bytes : Num
        Traffic of a separate kernel that quantises the activations (0 = none). [bytes]
    compute_fraction, memory_fraction : Num
        Achieved parts of the peaks (tile of 128 x 256, all units busy).
    launch_s : Num
        Floor of one launch. [s]
    sharpness : Num
        Exponent of the smooth maximum.
    tile_exponent : Num
        Smaller tiles reach ``(tile / (128*256))**tile_exponent`` of the compute fraction.
    fill_fraction : Num
        Tiles per unit that fill the memory pipes.
    step_s : Num
        Serial time per 1024 of the k loop. [s]
    split_ways : float
        Largest split of k (1 or 8).
    quantise_fraction : Num
        Achieved bandwidth of the quantising kernel.

    Returns
    -------
    Span
        Time of one run and its parts. [s]

    Notes
    -----
    Form "wave" of the operator study in ``calibration/README.md``; at m = 0 the answer is a floor,
    callers zero it.
    """
    shape = _Shape(
        m=m,
        n=n,
        k=k,
        unit_rate=flop_per_s * compute_fraction / compute_units,
        compute_units=compute_units,
        stream_s=stream_s / memory_fraction,
        partial_s=m * n * 4.0 / (result_bytes_per_s * memory_fraction),
        tile_exponent=tile_exponent,
        fill=fill_fraction * compute_units,
        step_s=step_s / 1024.0,
    )
    best = _best_schedule(shape, split_ways)
    compute_s, memory_s, serial_s = _schedule_s(best, shape)
    quantise_s = quantise_bytes / (result_bytes_per_s * quantise_fraction)
    latency_s = launch_s + serial_s
    total_s = latency_s + quantise_s + smooth_max(compute_s, memory_s, sharpness)
    return Span(total_s, compute_s, memory_s + quantise_s, latency_s)


def _schedule_s(tiling: _Tiling, shape: _Shape) -> tuple[Num, Num, Num]:
    """Compute, memory and serial time of one candidate schedule. [s]"""
    tile_m, tile_n, ways = tiling
    area = tile_m * tile_n
    tiles = upper(up_to_whole(shape.m / tile_m), 1.0) * up_to_whole(shape.n / tile_n) * ways
    waves = up_to_whole(tiles / shape.compute_units)
    slice_flop = 2.0 * area * (_REFERENCE_TILE / area) ** shape.tile_exponent * shape.k / ways
    compute_s = waves * slice_flop / shape.unit_rate
    split = ways > 1
    streamed = shape.stream_s + shape.partial_s * (ways * split)
    memory_s = streamed / lower(tiles / shape.fill, 1.0)
    serial_s = shape.step_s * shape.k / ways + _SPLIT_S * split
    return compute_s, memory_s, serial_s


def _best_schedule(shape: _Shape, split_ways: float) -> _Tiling:
    """The candidate whose slower roof, plus its serial time, is lowest."""
    candidates = _CANDIDATES[:, : len(_TILES) * (1 + _WAYS.index(split_ways))]
    if not any(isinstance(value, np.ndarray) for value in shape):
        compute_s, memory_s, serial_s = _schedule_s(_Tiling(*candidates), shape)
        first = int(np.argmin(np.maximum(compute_s, memory_s) + serial_s))
        return _Tiling(*candidates[:, first].tolist())
    best_s, chosen = np.array(np.inf), np.array(0, dtype=np.int8)
    for index, column in enumerate(candidates.T.tolist()):
        compute_s, memory_s, serial_s = _schedule_s(_Tiling(*column), shape)
        roof_s = np.maximum(compute_s, memory_s) + serial_s
        if index == 0:
            best_s, chosen = np.array(roof_s), np.zeros(roof_s.shape, dtype=np.int8)
            continue
        better = roof_s < best_s
        np.copyto(best_s, roof_s, where=better)
        np.copyto(chosen, np.int8(index), where=better)
    return _Tiling(*candidates[:, chosen])


@op_time.register
def _(op: Gemm, machine: Machine) -> OpTime:
    rows = real(op.m)
    path = compute_path(op.weight_dtype, op.act_dtype, machine.peak_flop_per_s)
    row = machine.efficiency.row("gemm", path.row)
    streams = tier_streams_s(op.work, machine)
    quantise_bytes = rows * op.k * (2.0 + float(dtype(op.act_dtype).bits) / 8.0) if path.quantises else 0.0
    span = gemm_s(
        m=rows,
        n=float(op.n),
        k=float(op.k),
        flop_per_s=machine.peak_flop_per_s[path.peak],
        compute_units=machine.compute_units,
        stream_s=slowest_s(streams),
        result_bytes_per_s=machine.tier(OperandKind.ACTIVATIONS).bandwidth_bytes_per_s,
        quantise_bytes=quantise_bytes,
        **row.parameters,
    )
    return finish(op, machine, span, streams, path.peak, rows)
