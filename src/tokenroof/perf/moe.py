"""Routed experts: the weights of the experts that are hit, and tiles that are partly empty."""

from __future__ import annotations

import numpy as np

from tokenroof.graph.core import MoeExperts, Num
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

_TILE_M = (16.0, 64.0, 128.0)
_TILE_N = 128.0


def expert_tiles(tokens_per_expert: Num, active_experts: Num, tile_m: float) -> Num:
    """Row tiles that all active experts need together.

    An expert with t tokens needs ceil(t / tile); over experts of unlike load this is t/tile plus
    half a tile, and at least one each.

    Parameters
    ----------
    tokens_per_expert : Num
        Mean over the active experts.
    active_experts : Num
        Experts with at least one token, expected.
    tile_m : float
        Rows of a tile.
    """
    return active_experts * upper(tokens_per_expert / tile_m + 0.5 * (1.0 - 1.0 / tile_m), 1.0)


def grouped_gemm_s(
    *,
    tokens_per_expert: Num,
    active_experts: Num,
    n: Num,
    k: Num,
    flop_per_s: Num,
    compute_units: Num,
    stream_s: Num,
    compute_fraction: Num,
    memory_fraction: Num,
    sharpness: Num,
    tile_exponent: Num,
    fill_fraction: Num,
    step_s: Num,
) -> Span:
    """Time of one grouped product over the active experts: the best of three row tiles.

    Parameters are as in ``perf.gemm.gemm_s``; ``n`` and ``k`` are those of one expert.
    """
    columns = up_to_whole(n / _TILE_N)
    unit_rate = flop_per_s * compute_fraction / compute_units
    best: Span | None = None
    for tile_m in _TILE_M:
        tiles = expert_tiles(tokens_per_expert, active_experts, tile_m) * columns
        waves = up_to_whole(tiles / compute_units)
        compute_s = waves * (2.0 * tile_m * _TILE_N * (128.0 / tile_m) ** tile_exponent) * k / unit_rate
        memory_s = stream_s / (memory_fraction * lower(tiles / (fill_fraction * compute_units), 1.0))
        span = Span(smooth_max(compute_s, memory_s, sharpness), compute_s, memory_s, 0.0)
        best = span if best is None else _quicker(best, span)
    assert best is not None
    latency_s = step_s * k / 1024.0
    return Span(best.total_s + latency_s, best.compute_s, best.memory_s, latency_s)


def _quicker(a: Span, b: Span) -> Span:
    if isinstance(a.total_s, float) and isinstance(b.total_s, float):
        return a if a.total_s <= b.total_s else b
    first = np.asarray(a.total_s) <= np.asarray(b.total_s)
    return Span(*(np.where(first, x, y) for x, y in zip(a, b, strict=True)))


def active_experts(tokens: Num, *, num_experts: int, local_experts: int, topk: int) -> Num:
    """Expected experts of this rank with at least one token, under uniform routing.

    ``local * (1 - (1 - topk/num)**tokens)``.
    """
    return local_experts * (1.0 - (1.0 - topk / num_experts) ** tokens)


@op_time.register
def _(op: MoeExperts, machine: Machine) -> OpTime:
    tokens = real(op.tokens)
    path = compute_path(op.weight_dtype, op.act_dtype, machine.peak_flop_per_s)
    numbers = dict(machine.efficiency.row("moe", path.row).parameters)
    launch_s, expert_s = numbers.pop("launch_s"), numbers.pop("expert_s")
    active = upper(
        active_experts(tokens, num_experts=op.num_experts, local_experts=op.local_experts, topk=op.topk),
        1e-9,
    )
    routed = tokens * op.topk * op.local_experts / op.num_experts * op.hot_factor
    streams = tier_streams_s(op.work, machine)
    ideal_s = slowest_s(streams)
    matrices = 2 if op.gated else 1
    up_share = matrices / (matrices + 1)
    shared = {
        "tokens_per_expert": routed / active,
        "active_experts": active,
        "flop_per_s": machine.peak_flop_per_s[path.peak],
        "compute_units": machine.compute_units,
        **numbers,
    }
    up = grouped_gemm_s(n=matrices * op.intermediate, k=op.hidden, stream_s=ideal_s * up_share, **shared)
    down = grouped_gemm_s(n=op.hidden, k=op.intermediate, stream_s=ideal_s * (1.0 - up_share), **shared)
    floor_s = launch_s + expert_s * op.local_experts
    span = Span(
        floor_s + up.total_s + down.total_s,
        up.compute_s + down.compute_s,
        up.memory_s + down.memory_s,
        floor_s + up.latency_s + down.latency_s,
    )
    return finish(op, machine, span, streams, path.peak, tokens)
