"""State-space and linear attention: the state in decode, a chunked scan in prefill."""

from __future__ import annotations

from tokenroof.graph.core import Num, RecurrentMix
from tokenroof.perf.core import Machine, OpTime
from tokenroof.perf.dispatch import op_time
from tokenroof.perf.lowprec import attention_peak
from tokenroof.perf.roofline import (
    Span,
    finish,
    real,
    slowest_s,
    smooth_max,
    tier_streams_s,
    time_parameters,
    upper,
)

_CHUNK_TOKENS = 64.0


def recurrent_s(
    *,
    tokens_per_seq: Num,
    flop: Num,
    flop_per_s: Num,
    stream_s: Num,
    compute_fraction: Num,
    memory_fraction: Num,
    launch_s: Num,
    chunk_s: Num,
    sharpness: Num,
) -> Span:
    """Time of one recurrent mixer.

    Chunks of 64 tokens pass the state on one after another, so a single long sequence is bound by
    that chain; many sequences are bound by arithmetic or traffic.

    Parameters
    ----------
    tokens_per_seq : Num
        New tokens of one sequence, mean.
    flop : Num
        Arithmetic of the scan. [flop]
    flop_per_s : Num
        Peak. [flop/s]
    stream_s : Num
        State and activations through their tiers at full bandwidth. [s]
    compute_fraction, memory_fraction : Num
        Achieved parts.
    launch_s, chunk_s : Num
        Floor of its kernels, and time of one chunk of the chain. [s]
    sharpness : Num
        Exponent of the smooth maximum.

    Returns
    -------
    Span
        Time of one run and its parts. [s]
    """
    compute_s = flop / (compute_fraction * flop_per_s)
    memory_s = stream_s / memory_fraction
    chain_s = chunk_s * tokens_per_seq / _CHUNK_TOKENS
    work_s = smooth_max(smooth_max(compute_s, memory_s, sharpness), chain_s, sharpness)
    return Span(launch_s + work_s, compute_s, memory_s, launch_s + chain_s)


@op_time.register
def _(op: RecurrentMix, machine: Machine) -> OpTime:
    row = machine.efficiency.row("recurrent_decode" if op.decode else "recurrent_prefill", op.kind)
    peak = attention_peak("bf16", machine.peak_flop_per_s)
    streams = tier_streams_s(op.work, machine)
    seqs = upper(real(op.seqs), 1.0)
    span = recurrent_s(
        tokens_per_seq=op.tokens / seqs,
        flop=real(op.work.flop),
        flop_per_s=machine.peak_flop_per_s[peak],
        stream_s=slowest_s(streams),
        **time_parameters(row),
    )
    return finish(op, machine, span, streams, peak, real(op.tokens))
