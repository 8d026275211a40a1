"""Multi-head latent attention: absorbed over the latent cache in decode, expanded in prefill."""

from __future__ import annotations

from tokenroof.graph.core import MlaDecode, MlaPrefill
from tokenroof.perf.attention import (
    decode_kernel,
    decode_numbers,
    decode_s,
    fresh_stream_s,
    longest_row_keys,
    prefill_s,
)
from tokenroof.perf.core import Machine, OpTime
from tokenroof.perf.dispatch import op_time
from tokenroof.perf.lowprec import attention_peak, short_name
from tokenroof.perf.roofline import (
    finish,
    real,
    slowest_s,
    tier_streams_s,
    time_parameters,
    up_to_whole,
    upper,
)


@op_time.register
def _(op: MlaDecode, machine: Machine) -> OpTime:
    row = machine.efficiency.row("mla_decode", short_name(op.kv_dtype))
    choice, numbers = decode_numbers(row.parameters)
    kernel = decode_kernel(float(op.heads * op.query_tokens), **choice)
    seqs = upper(real(op.seqs), 1.0)
    streams = tier_streams_s(op.work, machine)
    peak = attention_peak(row.dtype, machine.peak_flop_per_s)
    span = decode_s(
        seqs=seqs,
        mean_context=op.context_tokens / seqs,
        heads=op.heads,
        streams=1.0,
        flop=real(op.work.flop) * kernel.flop_factor,
        split_tokens=kernel.split_tokens,
        flop_per_s=machine.peak_flop_per_s[peak],
        compute_units=machine.compute_units,
        stream_s=slowest_s(streams),
        **numbers,
    )
    return finish(op, machine, span, streams, peak, real(op.seqs))


@op_time.register
def _(op: MlaPrefill, machine: Machine) -> OpTime:
    row = machine.efficiency.row("mla_prefill", short_name(op.kv_dtype))
    seqs = upper(real(op.seqs), 1.0)
    new = upper(op.new_tokens / seqs, 1e-9)
    past = op.past_tokens / seqs
    mean_keys = upper(op.pairs / upper(real(op.new_tokens), 1.0), 1e-9)
    partial_rows = up_to_whole(new / 64.0) * 64.0 - new
    streams = tier_streams_s(op.work, machine)
    peak = attention_peak(row.dtype, machine.peak_flop_per_s)
    span = prefill_s(
        seqs=seqs,
        new_tokens=new,
        mean_keys=mean_keys,
        longest_keys=longest_row_keys(mean_keys, past, new),
        masked_keys=(partial_rows + 127.0) / 2.0,
        heads=op.heads,
        flop=real(op.work.flop),
        flop_per_query_key=2.0 * (op.qk_dim + op.v_dim),
        flop_per_s=machine.peak_flop_per_s[peak],
        compute_units=machine.compute_units,
        stream_s=fresh_stream_s(op.work, slowest_s(streams), machine, row.parameters),
        **time_parameters(row),
    )
    return finish(op, machine, span, streams, peak, real(op.seqs * op.new_tokens))
