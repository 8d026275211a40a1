"""Dense matrix products: tiles, waves, split-k, and the two roofs."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.core import OperandKind
from tokenroof.catalog.dtypes import dtype
from tokenroof.graph.core import Gemm, Num
from tokenroof.perf.core import Machine, OpTime
from tokenroof.perf.dispatch import op_time
from tokenroof.perf.lowprec import compute_path
from tokenroof.perf.roofline import (
    Span,
    finish,
    real,
    slowest_s,
    tier_streams_s,
    up_to_whole,
    upper,
)

_TILES = ((16.0, 128.0), (64.0, 128.0), (128.0, 128.0), (128.0, 256.0))  # rows and columns
_SPLIT_S = 0.7e-6  # launch of the kernel that adds the partial sums
_REFERENCE_TILE = 128.0 * 256.0


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
    sharpness: float,
    tile_exponent: Num,
    fill_fraction: Num,
    step_s: Num,
    split_ways: float,
    quantise_fraction: Num,
    ragged_fraction: Num,
) -> Span:
    """Time of C[m, n] = A[m, k] W[n, k]^T.

    The schedule is the quickest of 4 tiles, with k whole or split. Its compute time counts whole waves
    of tiles over the compute units; its memory time loses bandwidth when too few tiles are in flight;
    both combine as a smooth maximum.

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
    sharpness : float
        Exponent of the smooth maximum, rounded to a power of two.
    tile_exponent : Num
        Smaller tiles reach ``(tile / (128*256))**tile_exponent`` of the compute fraction.
    fill_fraction : Num
        Tiles per unit that fill the memory pipes.
    step_s : Num
        Serial time per 1024 of the k loop. [s]
    split_ways : float
        Ways that k may be split (1 = never).
    quantise_fraction : Num
        Achieved bandwidth of the quantising kernel.
    ragged_fraction : Num
        Extra time when m is above 16 and no multiple of 16 (unaligned rows).

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
    doublings = round(math.log2(sharpness))
    compute_s, memory_s = _best_schedule(shape, split_ways, doublings)
    root = _norm(compute_s, memory_s, doublings) ** (0.5**doublings)
    ragged = 1.0 + ragged_fraction * ((m % 16 != 0) & (m > 16))
    quantise_s = quantise_bytes / (result_bytes_per_s * quantise_fraction)
    return Span(
        launch_s + quantise_s + root * ragged,
        compute_s * ragged,
        memory_s * ragged + quantise_s,
        launch_s,
    )


def _schedule_s(tiling: _Tiling, shape: _Shape, row_tiles: Num, streamed_s: Num) -> tuple[Num, Num]:
    """Compute (serial part included) and memory time of one candidate schedule. [s]

    ``row_tiles`` and ``streamed_s`` (see below) are shared by candidates, hence arguments. Numbers that
    are scalar in a sweep over m are multiplied first: this runs up to 8 times per product.
    """
    tile_m, tile_n, ways = tiling
    area = tile_m * tile_n
    slice_flop = 2.0 * area * (_REFERENCE_TILE / area) ** shape.tile_exponent * (shape.k / ways)
    tiles = row_tiles * (up_to_whole(shape.n / tile_n) * ways)
    serial_s = shape.step_s * (shape.k / ways) + _SPLIT_S * (ways > 1)
    compute_s = up_to_whole(tiles * (1.0 / shape.compute_units)) * (slice_flop / shape.unit_rate) + serial_s
    return compute_s, streamed_s * upper(shape.fill / tiles, 1.0)


def _row_tiles(m: Num, tile_m: Num) -> Num:
    """Tiles along the rows; one where there are no rows, so that nothing divides by zero."""
    return upper(up_to_whole(m / tile_m), 1.0)


def _streamed_s(shape: _Shape, ways: Num) -> Num:
    """Streaming time of the operands, and of the partial sums when k is split. [s]"""
    return shape.stream_s + shape.partial_s * (ways * (ways > 1))


def _norm(compute_s: Num, memory_s: Num, doublings: int) -> Num:
    """``compute**p + memory**p`` with p = 2**doublings: orders candidates as their p-norm does."""
    for _ in range(doublings):
        compute_s, memory_s = compute_s * compute_s, memory_s * memory_s
    return compute_s + memory_s


@lru_cache(maxsize=64)
def _candidates(split_ways: float) -> npt.NDArray[np.float64]:
    """Every tile with k whole and with k split, shape (3, candidates)."""
    ways = (1.0,) if split_ways <= 1.0 else (1.0, split_ways)
    return np.array([(*tile, way) for way in ways for tile in _TILES]).T


def _best_schedule(shape: _Shape, split_ways: float, doublings: int) -> tuple[Num, Num]:
    """Compute and memory time of the candidate with the smallest norm."""
    candidates = _candidates(split_ways)
    if not any(isinstance(value, np.ndarray) for value in shape):
        tilings = _Tiling(*candidates)
        row_tiles, streamed_s = _row_tiles(shape.m, tilings.tile_m), _streamed_s(shape, tilings.ways)
        compute_all, memory_all = _schedule_s(tilings, shape, row_tiles, streamed_s)
        first = np.asarray(_norm(compute_all, memory_all, doublings)).argmin()
        return float(np.asarray(compute_all)[first]), float(np.asarray(memory_all)[first])
    row_tiles_of = {tile_m: _row_tiles(shape.m, tile_m) for tile_m, _ in _TILES}
    streamed_of = {ways: _streamed_s(shape, ways) for ways in (1.0, split_ways)}
    best, chosen = np.array(np.inf), np.array(0, dtype=np.int8)
    for index, (tile_m, tile_n, ways) in enumerate(candidates.T.tolist()):
        tiling = _Tiling(tile_m, tile_n, ways)
        times = _schedule_s(tiling, shape, row_tiles_of[tile_m], streamed_of[ways])
        norm = np.asarray(_norm(*times, doublings))
        if index == 0:
            best, chosen = norm, np.zeros(norm.shape, dtype=np.int8)
            continue
        better = norm < best
        np.copyto(best, norm, where=better)
        np.copyto(chosen, np.int8(index), where=better)
    tiling = _Tiling(*candidates[:, chosen])
    return _schedule_s(tiling, shape, _row_tiles(shape.m, tiling.tile_m), _streamed_s(shape, tiling.ways))


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
