"""Softmax attention: decode is bytes over the cache, prefill is query-key pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from tokenroof.catalog.core import OperandKind
from tokenroof.graph.core import AttentionDecode, AttentionPrefill, IndexScore, Num, Work
from tokenroof.perf.core import Machine, OpTime
from tokenroof.perf.dispatch import op_time
from tokenroof.perf.lowprec import attention_peak, short_name
from tokenroof.perf.roofline import (
    TRAFFIC_PARAMETERS,
    Span,
    cached_stream_s,
    finish,
    log2,
    lower,
    real,
    root,
    slowest_s,
    smooth_max,
    tier_streams_s,
    time_parameters,
    up_to_whole,
    upper,
)

HEAD_DIMS = (64, 128, 256)
_FALLBACK_TOKENS = 256.0  # keys of a block in kernels that do not group queries
_REDUCE_TOKENS = 256.0  # contexts below this need no merging of splits
_WIDE_BYTES = 2.0
_Q_BLOCK = 128.0  # queries one unit takes in prefill


def decode_s(
    *,
    seqs: Num,
    mean_context: Num,
    heads: Num,
    streams: Num,
    flop: Num,
    flop_per_s: Num,
    compute_units: Num,
    stream_s: Num,
    compute_fraction: Num,
    memory_fraction: Num,
    launch_s: Num,
    sharpness: Num,
    fill_fraction: Num,
    split_tokens: Num,
    reduce_s: Num,
    head_s: Num,
) -> Span:
    """Time of attention for one (or a few) new tokens per sequence over a cache.

    Parameters
    ----------
    seqs : Num
        Sequences.
    mean_context : Num
        Cached tokens each sees, mean.
    heads : Num
        Query heads on this chip.
    streams : Num
        Key-value heads: separate streams of the cache per sequence.
    flop : Num
        Arithmetic, in units of the kernel's best path. [flop]
    flop_per_s, compute_units : Num
        Peak [flop/s] and units that share it.
    stream_s : Num
        Cache and queries once through their tiers at full bandwidth. [s]
    compute_fraction, memory_fraction : Num
        Achieved parts of the peaks when every unit is busy.
    launch_s, reduce_s, head_s : Num
        Floor; time per doubling of the context (merging the splits); time per sequence and head. [s]
    sharpness : Num
        Exponent of the smooth maximum.
    fill_fraction : Num
        Blocks of keys per unit that fill the chip.
    split_tokens : Num
        Keys of one block; huge where the kernel does not split a sequence's cache.

    Returns
    -------
    Span
        Time of one run and its parts. [s]

    Notes
    -----
    Form "decode" of the operator study. Benchmarks that re-read one small cache measure the
    last-level cache; pass ``stream_s`` through :func:`cached_stream_s` to compare with them.
    """
    blocks = seqs * streams * upper(mean_context / split_tokens, 1.0)
    busy = lower(blocks / (fill_fraction * compute_units), 1.0)
    memory_s = stream_s / (memory_fraction * busy)
    compute_s = flop / (compute_fraction * flop_per_s * busy)
    latency_s = launch_s + head_s * seqs * heads + reduce_s * log2(1.0 + mean_context / _REDUCE_TOKENS)
    return Span(latency_s + smooth_max(memory_s, compute_s, sharpness), compute_s, memory_s, latency_s)


class DecodeKernel(NamedTuple):
    """Which decode kernel runs: its arithmetic in units of the flop asked for, and its split of the cache."""

    flop_factor: Num
    split_tokens: Num


def decode_kernel(
    rows: Num, *, min_rows: Num, max_rows: Num, least_rows: Num, ungrouped_cost: Num, split_tokens: Num
) -> DecodeKernel:
    """The kernel for ``rows`` queries that share a key-value head.

    The grouped kernel pads rows to ``min_rows``. Fewer than ``least_rows`` or more than ``max_rows`` do
    not fit it: the fallback pays ``ungrouped_cost`` per flop and splits the cache in blocks of 256 keys.

    Parameters
    ----------
    rows : Num
        Query heads per key-value head, times query tokens.
    min_rows, max_rows, least_rows, ungrouped_cost, split_tokens : Num
        Of the efficiency row.
    """
    grouped = (rows >= least_rows) & (rows <= max_rows)
    factor = grouped * (upper(rows, min_rows) / rows - ungrouped_cost) + ungrouped_cost
    return DecodeKernel(factor, grouped * (split_tokens - _FALLBACK_TOKENS) + _FALLBACK_TOKENS)


_KERNEL_PARAMETERS = ("min_rows", "max_rows", "least_rows", "ungrouped_cost", "split_tokens")


def decode_numbers(parameters: Mapping[str, Num]) -> tuple[dict[str, Num], dict[str, Num]]:
    """A decode row's numbers for :func:`decode_kernel` and for :func:`decode_s`.

    What only benchmarks need (``cached_*``) is left out.
    """
    kernel = {name: parameters[name] for name in _KERNEL_PARAMETERS}
    timing = {
        name: value
        for name, value in parameters.items()
        if name not in kernel and name not in TRAFFIC_PARAMETERS
    }
    return kernel, timing


def prefill_s(
    *,
    seqs: Num,
    new_tokens: Num,
    mean_keys: Num,
    longest_keys: Num,
    masked_keys: Num,
    heads: Num,
    flop: Num,
    flop_per_query_key: Num,
    flop_per_s: Num,
    compute_units: Num,
    stream_s: Num,
    compute_fraction: Num,
    memory_fraction: Num,
    launch_s: Num,
    sharpness: Num,
    chain_weight: Num,
    tile_s: Num,
) -> Span:
    """Time of attention of prompt chunks over themselves and their past.

    Rows are padded to 64; the compute unit with the longest row of keys finishes last.

    Parameters
    ----------
    seqs : Num
        Chunks.
    new_tokens : Num
        Queries per chunk, mean.
    mean_keys, longest_keys : Num
        Keys a query sees on average, and the last one.
    masked_keys : Num
        Keys computed for nothing per query, at the edges of tiles.
    heads : Num
        Query heads on this chip.
    flop : Num
        Arithmetic without padding. [flop]
    flop_per_query_key : Num
        Arithmetic of one query, key and head. [flop]
    flop_per_s, compute_units, stream_s, compute_fraction, memory_fraction, launch_s, sharpness : Num
        As in :func:`decode_s`.
    chain_weight : Num
        How much of the longest unit's time is exposed.
    tile_s : Num
        Scheduling time per tile of 128 queries and head. [s]

    Returns
    -------
    Span
        Time of one run and its parts. [s]
    """
    padded_rows = up_to_whole(new_tokens / 64.0) * 64.0
    padded_flop = flop * (padded_rows / new_tokens) * ((mean_keys + masked_keys) / mean_keys)
    unit_rate = flop_per_s * compute_fraction / compute_units
    chain_s = flop_per_query_key * _Q_BLOCK * (longest_keys + padded_rows - new_tokens) / unit_rate
    compute_s = padded_flop / (compute_fraction * flop_per_s) + chain_weight * chain_s
    memory_s = stream_s / memory_fraction
    latency_s = launch_s + tile_s * seqs * heads * up_to_whole(new_tokens / _Q_BLOCK)
    return Span(latency_s + smooth_max(compute_s, memory_s, sharpness), compute_s, memory_s, latency_s)


def longest_row_keys(mean_keys: Num, mean_past: Num, new_tokens: Num) -> Num:
    """Keys that the last query of a causal chunk sees, from the mean over its queries.

    Exact for full causal attention (``past + new``) and for a sliding window (its width).
    """
    grown = upper(mean_keys - mean_past, 0.0)
    return mean_past + new_tokens * (1.0 - root(upper(1.0 - 2.0 * grown / new_tokens, 0.0)))


def fresh_stream_s(work: Work, stream_s: Num, machine: Machine, parameters: Mapping[str, Num]) -> Num:
    """Streaming time of queries, keys and values that the kernel before has just written. [s]"""
    return cached_stream_s(
        stream_s,
        footprint_bytes=real(work.activation_bytes + work.kv_bytes),
        cache_bytes=machine.cache_bytes,
        cached_speedup=parameters["cached_speedup"],
        cached_scale=parameters["cached_scale"],
    )


def nearest_head_dim(head_dim: int) -> int:
    """The measured head dimension whose efficiency stands for this one (by ratio)."""
    return min(HEAD_DIMS, key=lambda known: abs(math.log(known / max(1, head_dim))))


@op_time.register
def _(op: AttentionDecode, machine: Machine) -> OpTime:
    row = machine.efficiency.row(
        "attention_decode", f"{short_name(op.kv_dtype)}/hd{nearest_head_dim(op.head_dim)}"
    )
    choice, numbers = decode_numbers(row.parameters)
    kernel = decode_kernel(op.q_heads / op.kv_heads * op.query_tokens, **choice)
    seqs = upper(real(op.seqs), 1.0)
    streams = tier_streams_s(op.work, machine)
    peak = attention_peak("bf16", machine.peak_flop_per_s)
    span = decode_s(
        seqs=seqs,
        mean_context=op.context_tokens / seqs,
        heads=op.q_heads,
        streams=op.kv_heads,
        flop=real(op.work.flop) * kernel.flop_factor,
        split_tokens=kernel.split_tokens,
        flop_per_s=machine.peak_flop_per_s[peak],
        compute_units=machine.compute_units,
        stream_s=slowest_s(streams),
        **numbers,
    )
    return finish(op, machine, span, streams, peak, real(op.seqs))


@op_time.register
def _(op: AttentionPrefill, machine: Machine) -> OpTime:
    row = machine.efficiency.row(
        "attention_prefill",
        f"{short_name(op.q_dtype)}/{short_name(op.kv_dtype)}/hd{nearest_head_dim(op.head_dim)}",
    )
    seqs = upper(real(op.seqs), 1.0)
    new = upper(op.new_tokens / seqs, 1e-9)
    past = op.past_tokens / seqs
    mean_keys = upper(op.pairs / upper(real(op.new_tokens), 1.0), 1e-9)
    partial_rows = up_to_whole(new / 64.0) * 64.0 - new
    streams = tier_streams_s(op.work, machine, _prefill_passes(op, row.parameters["kv_passes"]))
    peak = attention_peak(row.dtype.split("/")[0], machine.peak_flop_per_s)
    span = prefill_s(
        seqs=seqs,
        new_tokens=new,
        mean_keys=mean_keys,
        longest_keys=longest_row_keys(mean_keys, past, new) if op.causal else mean_keys,
        masked_keys=(partial_rows + 127.0) / 2.0 if op.causal else partial_rows,
        heads=op.q_heads,
        flop=real(op.work.flop),
        flop_per_query_key=2.0 * (op.head_dim + op.v_head_dim),
        flop_per_s=machine.peak_flop_per_s[peak],
        compute_units=machine.compute_units,
        stream_s=fresh_stream_s(op.work, slowest_s(streams), machine, row.parameters),
        **time_parameters(row),
    )
    return finish(op, machine, span, streams, peak, real(op.seqs * op.new_tokens))


def _prefill_passes(op: AttentionPrefill, kv_passes: Num) -> dict[OperandKind, Num]:
    """Keys and values, new and cached, are moved ``kv_passes`` times (written, converted), queries once."""
    query_bytes = real(op.new_tokens) * (_WIDE_BYTES * op.q_heads * (op.head_dim + op.v_head_dim))
    all_bytes = upper(real(op.work.activation_bytes), 1.0)
    query_share = lower(query_bytes / all_bytes, 1.0)
    return {
        OperandKind.KV: kv_passes,
        OperandKind.ACTIVATIONS: query_share + (1.0 - query_share) * kv_passes,
    }


@op_time.register
def _(op: IndexScore, machine: Machine) -> OpTime:
    peak = attention_peak("fp8", machine.peak_flop_per_s)
    row = machine.efficiency.row("index_score", "fp8")
    numbers = row.parameters
    streams = tier_streams_s(op.work, machine)
    compute_s = op.work.flop / (numbers["compute_fraction"] * machine.peak_flop_per_s[peak])
    memory_s = slowest_s(streams) / numbers["memory_fraction"]
    latency_s = numbers["launch_s"]
    total_s = latency_s + smooth_max(compute_s, memory_s, numbers["sharpness"])
    return finish(op, machine, Span(total_s, compute_s, memory_s, latency_s), streams, peak, real(op.seqs))
