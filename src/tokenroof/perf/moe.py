"""Routed experts: the weights of the experts that are hit, and tiles that are partly empty."""

from __future__ import annotations

import numpy as np

from tokenroof.catalog.core import OperandKind
from tokenroof.graph.core import MoeExperts, Num
from tokenroof.graph.moe import active_experts
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
    time_parameters,
    up_to_whole,
    upper,
)

TILE_ROWS = (16.0, 64.0, 128.0)
_TILE_COLUMNS = 128.0


def expected_tiles(tokens_per_expert: Num, active_experts: Num) -> tuple[Num, ...]:
    """Row tiles that all active experts need together, for each of ``TILE_ROWS``.

    An expert with t tokens needs ceil(t / rows); over experts of unlike load this is on average
    t / rows and half a tile, and at least one each.

    Parameters
    ----------
    tokens_per_expert : Num
        Mean over the active experts.
    active_experts : Num
        Experts with at least one token, expected.
    """
    return tuple(
        active_experts * upper(tokens_per_expert / rows + 0.5 * (1.0 - 1.0 / rows), 1.0) for rows in TILE_ROWS
    )


def experts_s(
    *,
    tiles: tuple[Num, ...],
    local_experts: Num,
    hidden: Num,
    intermediate: Num,
    matrices: Num,
    flop_per_s: Num,
    compute_units: Num,
    stream_s: Num,
    compute_fraction: Num,
    memory_fraction: Num,
    launch_s: Num,
    expert_s: Num,
    sharpness: Num,
    tile_exponent: Num,
    fill_fraction: Num,
    step_s: Num,
    width_step: Num,
) -> Span:
    """Time of the routed experts of one layer: two grouped products over the active experts.

    Parameters
    ----------
    tiles : tuple of Num
        Row tiles of all active experts together, for each of ``TILE_ROWS``.
    local_experts : Num
        Experts on this chip, busy or not.
    hidden, intermediate : Num
        Width of the model, and of one expert on this chip.
    matrices : Num
        2 for a plain expert, 3 for a gated one.
    flop_per_s, compute_units : Num
        Peak of the compute dtype [flop/s] and the units that share it.
    stream_s : Num
        Weights of the active experts and activations once through their tiers at full bandwidth. [s]
    compute_fraction, memory_fraction : Num
        Achieved parts of the peaks.
    launch_s, expert_s : Num
        Floor of the layer, and per local expert (routing, sorting). [s]
    sharpness, tile_exponent, fill_fraction, step_s : Num
        As in ``perf.gemm.gemm_s``.
    width_step : Num
        Each expert's width is padded to a multiple of this, in arithmetic and in traffic.

    Returns
    -------
    Span
        Time of one run and its parts. [s]
    """
    up_share = (matrices - 1) / matrices
    width = up_to_whole(intermediate / width_step) * width_step
    padded_stream_s = stream_s * (width / intermediate)
    unit_rate = flop_per_s * compute_fraction / compute_units
    floor_s = launch_s + expert_s * local_experts
    total: Span = Span(floor_s, 0.0, 0.0, floor_s)
    for n, k, share in (
        ((matrices - 1) * width, hidden, up_share),
        (hidden, width, 1.0 - up_share),
    ):
        columns = up_to_whole(n / _TILE_COLUMNS)
        best: Span | None = None
        for rows, row_tiles in zip(TILE_ROWS, tiles, strict=True):
            blocks = row_tiles * columns
            block_flop = 2.0 * rows * _TILE_COLUMNS * (TILE_ROWS[-1] / rows) ** tile_exponent * k
            compute_s = up_to_whole(blocks / compute_units) * block_flop / unit_rate
            memory_s = (
                share
                * padded_stream_s
                / (memory_fraction * lower(blocks / (fill_fraction * compute_units), 1.0))
            )
            span = Span(smooth_max(compute_s, memory_s, sharpness), compute_s, memory_s, 0.0)
            best = span if best is None else _quicker(best, span)
        assert best is not None
        serial_s = step_s * k / 1024.0
        total = Span(
            total.total_s + best.total_s + serial_s,
            total.compute_s + best.compute_s,
            total.memory_s + best.memory_s,
            total.latency_s + serial_s,
        )
    return total


def _quicker(a: Span, b: Span) -> Span:
    if isinstance(a.total_s, float) and isinstance(b.total_s, float):
        return a if a.total_s <= b.total_s else b
    first = np.asarray(a.total_s) <= np.asarray(b.total_s)
    return Span(*(np.where(first, x, y) for x, y in zip(a, b, strict=True)))


@op_time.register
def _(op: MoeExperts, machine: Machine) -> OpTime:
    tokens = real(op.tokens)
    path = compute_path(op.weight_dtype, op.act_dtype, machine.peak_flop_per_s)
    row = machine.efficiency.row("moe", path.row)
    active = upper(
        active_experts(op.tokens, op.local_experts, op.topk, op.num_experts, op.routing_skew), 1e-9
    )
    routed = tokens * op.topk * op.local_experts / op.num_experts * op.hot_factor
    streams = tier_streams_s(op.work, machine, {OperandKind.ACTIVATIONS: row.parameters["activation_passes"]})
    span = experts_s(
        tiles=expected_tiles(routed / active, active),
        local_experts=op.local_experts,
        hidden=op.hidden,
        intermediate=op.intermediate,
        matrices=3 if op.gated else 2,
        flop_per_s=machine.peak_flop_per_s[path.peak],
        compute_units=machine.compute_units,
        stream_s=slowest_s(streams),
        **time_parameters(row),
    )
    return finish(op, machine, span, streams, path.peak, tokens)
