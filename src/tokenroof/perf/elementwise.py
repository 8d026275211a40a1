"""Norms, activations, rotary embeddings, gathers: a launch and the bytes."""

from __future__ import annotations

from dataclasses import replace

from tokenroof.graph.core import Elementwise, Num, Work
from tokenroof.perf.core import Machine, OpTime
from tokenroof.perf.dispatch import op_time
from tokenroof.perf.lowprec import wide_peak
from tokenroof.perf.roofline import Span, cached_stream_s, finish, real, slowest_s, tier_streams_s


def streaming_s(
    *,
    stream_s: Num,
    footprint_bytes: Num,
    cache_bytes: Num,
    launch_s: Num,
    memory_fraction: Num,
    cached_speedup: Num,
    cached_scale: Num,
    far_stream_s: Num = 0.0,
) -> Span:
    """Time of a kernel that only moves bytes, which the kernel before may have left in the cache.

    Parameters
    ----------
    stream_s : Num
        Its activations at full bandwidth. [s]
    footprint_bytes, cache_bytes : Num
        Activations it touches, and the last-level cache. [bytes]
    launch_s : Num
        Floor of one launch. [s]
    memory_fraction : Num
        Achieved part of the bandwidth.
    cached_speedup, cached_scale : Num
        As in :func:`tokenroof.perf.roofline.cached_stream_s`.
    far_stream_s : Num
        Weights, caches and states at full bandwidth: touched once a step, never left in the cache. [s]

    Returns
    -------
    Span
        Time of one run and its parts. [s]
    """
    streamed_s = cached_stream_s(
        stream_s,
        footprint_bytes=footprint_bytes,
        cache_bytes=cache_bytes,
        cached_speedup=cached_speedup,
        cached_scale=cached_scale,
    )
    memory_s = (streamed_s + far_stream_s) / memory_fraction
    return Span(launch_s + memory_s, 0.0, memory_s, launch_s)


@op_time.register
def _(op: Elementwise, machine: Machine) -> OpTime:
    row = machine.efficiency.row("elementwise", "bf16")
    streams = tier_streams_s(op.work, machine)
    moved_bytes = op.work.activation_bytes + op.work.weights_bytes + op.work.kv_bytes + op.work.state_bytes
    span = streaming_s(
        stream_s=slowest_s(tier_streams_s(Work(activation_bytes=op.work.activation_bytes), machine)),
        footprint_bytes=real(op.work.activation_bytes),
        cache_bytes=machine.cache_bytes,
        far_stream_s=slowest_s(tier_streams_s(replace(op.work, activation_bytes=0), machine)),
        **row.parameters,
    )
    return finish(op, machine, span, streams, wide_peak(machine.peak_flop_per_s), real(moved_bytes))
