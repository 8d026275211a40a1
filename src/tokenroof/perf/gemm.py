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
    if any(isinstance(value, np.ndarray) for value in shape):
        quickest = _quickest_of_many(shape, 1.0, doublings)
        if split_ways > 1.0:
            quickest = _quicker(quickest, _quickest_of_many(shape, split_ways, doublings))
    else:
        quickest = _quickest_of_one(shape, split_ways, doublings)
    total_s, compute_s, memory_s, serial_s = quickest
    ragged = 1.0 + ragged_fraction * ((up_to_whole(m / 16.0) * 16.0 != m) & (m > 16))
    quantise_s = quantise_bytes / (result_bytes_per_s * quantise_fraction)
    return Span(
        launch_s + quantise_s + total_s * ragged,
        compute_s * ragged,
        memory_s * ragged + quantise_s,
        launch_s + serial_s * ragged,
    )


def _schedule_s(
    tile_m: Num, tile_n: Num, ways: Num, shape: _Shape, row_tiles: Num, streamed_s: Num
) -> tuple[Num, Num]:
    """Compute and memory time of one tile size. [s]

    ``row_tiles`` and ``streamed_s`` are shared by candidates, hence arguments. Numbers that are scalar
    in a sweep over m are multiplied first: this runs up to 8 times per product.
    """
    area = tile_m * tile_n
    slice_flop = 2.0 * area * (_REFERENCE_TILE / area) ** shape.tile_exponent * (shape.k / ways)
    tiles = row_tiles * (up_to_whole(shape.n / tile_n) * ways)
    compute_s = up_to_whole(tiles * (1.0 / shape.compute_units)) * (slice_flop / shape.unit_rate)
    return compute_s, streamed_s * upper(shape.fill / tiles, 1.0)


def _row_tiles(m: Num, tile_m: Num) -> Num:
    """Tiles along the rows; one where there are no rows, so that nothing divides by zero."""
    return upper(up_to_whole(m / tile_m), 1.0)


def _norm(compute_s: Num, memory_s: Num, doublings: int) -> Num:
    """``compute**p + memory**p`` with p = 2**doublings: orders candidates as their p-norm does."""
    for _ in range(doublings):
        compute_s, memory_s = compute_s * compute_s, memory_s * memory_s
    return compute_s + memory_s


def _splitting(shape: _Shape, ways: Num) -> tuple[Num, Num]:
    """Streaming and serial time when k is split ``ways`` ways (1 = whole). [s]"""
    split = ways > 1.0
    return shape.stream_s + shape.partial_s * (ways * split), shape.step_s * (
        shape.k / ways
    ) + _SPLIT_S * split


@lru_cache(maxsize=64)
def _candidates(split_ways: float) -> npt.NDArray[np.float64]:
    """Every tile with k whole and with k split, shape (3, candidates)."""
    ways = (1.0, split_ways) if split_ways > 1.0 else (1.0,)
    return np.array([(*tile, way) for way in ways for tile in _TILES]).T


def _quickest_of_one(shape: _Shape, split_ways: float, doublings: int) -> Span:
    """Time of the best schedule of one product: all candidates side by side in one small array."""
    tile_m, tile_n, ways = _candidates(split_ways)
    streamed_s, serial_s = _splitting(shape, ways)
    times = _schedule_s(tile_m, tile_n, ways, shape, _row_tiles(shape.m, tile_m), streamed_s)
    total_s = _norm(*times, doublings) ** (0.5**doublings) + serial_s
    parts = np.array((total_s, *times, serial_s))
    return Span(*parts[:, parts[0].argmin()].tolist())


def _quickest_of_many(shape: _Shape, ways: float, doublings: int) -> Span:
    """Time of the best tile of many products: tile by tile, keeping the best so far."""
    streamed_s, serial_s = _splitting(shape, ways)
    row_tiles: dict[float, Num] = {}
    best = compute_s = memory_s = np.array(np.inf)
    for tile_m, tile_n in _TILES:
        if tile_m not in row_tiles:
            row_tiles[tile_m] = _row_tiles(shape.m, tile_m)
        compute_one, memory_one = _schedule_s(tile_m, tile_n, ways, shape, row_tiles[tile_m], streamed_s)
        norm = np.asarray(_norm(compute_one, memory_one, doublings))
        if best.ndim == 0:
            best = norm
            compute_s = np.array(np.broadcast_to(compute_one, norm.shape))
            memory_s = np.array(np.broadcast_to(memory_one, norm.shape))
            continue
        better = norm < best
        np.copyto(best, norm, where=better)
        np.copyto(compute_s, compute_one, where=better)
        np.copyto(memory_s, memory_one, where=better)
    return Span(best ** (0.5**doublings) + serial_s, compute_s, memory_s, serial_s)


def _quicker(a: Span, b: Span) -> Span:
    """Element by element the one that takes less time."""
    first = a.total_s <= b.total_s
    return Span(*(np.where(first, x, y) for x, y in zip(a, b, strict=True)))


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
