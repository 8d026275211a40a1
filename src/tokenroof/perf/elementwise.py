"""Norms, activations, rotary embeddings, gathers: a launch and the bytes."""

from __future__ import annotations

from tokenroof.graph.core import Elementwise, Num
from tokenroof.perf.core import Machine, OpTime
from tokenroof.perf.dispatch import op_time
from tokenroof.perf.lowprec import wide_peak
from tokenroof.perf.roofline import Span, finish, slowest_s, tier_streams_s


def streaming_s(*, stream_s: Num, launch_s: Num, memory_fraction: Num) -> Span:
    """Time of a kernel that only moves bytes.

    Parameters
    ----------
    stream_s : Num
        Its traffic at full bandwidth. [s]
    launch_s : Num
        Floor of one launch. [s]
    memory_fraction : Num
        Achieved part of the bandwidth.

    Returns
    -------
    Span
        Time of one run and its parts. [s]
    """
    memory_s = stream_s / memory_fraction
    return Span(launch_s + memory_s, 0.0, memory_s, launch_s)


@op_time.register
def _(op: Elementwise, machine: Machine) -> OpTime:
    row = machine.efficiency.row("elementwise", "bf16")
    streams = tier_streams_s(op.work, machine)
    stream_s = slowest_s(streams)
    span = streaming_s(stream_s=stream_s, **row.parameters)
    return finish(op, machine, span, streams, wide_peak(machine.peak_flop_per_s), stream_s)
