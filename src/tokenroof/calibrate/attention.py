"""Attention benchmarks, as the formulas of ``perf.attention`` see them."""

from __future__ import annotations

import numpy as np
import polars as pl

from tokenroof.calibrate.benchmark import (
    Array,
    Hardware,
    Parameters,
    benchmark_stream_s,
    columns,
    width_bytes,
)
from tokenroof.graph.ints import WIDE_BYTES
from tokenroof.perf.attention import (
    decode_kernel,
    decode_numbers,
    decode_s,
    longest_row_keys,
    prefill_s,
)
from tokenroof.perf.lowprec import attention_peak
from tokenroof.perf.roofline import TRAFFIC_PARAMETERS

_MLA_LATENT, _MLA_ROPE, _MLA_QK, _MLA_V = 512.0, 64.0, 192.0, 128.0


def _decode(
    hardware: Hardware,
    parameters: Parameters,
    *,
    q_dtype: str,
    batch: Array,
    context: Array,
    heads: Array,
    streams: Array | float,
    rows: Array,
    cache_bytes: Array,
    query_bytes: Array,
    flop: Array,
) -> Array:
    stream_s = benchmark_stream_s(cache_bytes + query_bytes, hardware, parameters)
    choice, numbers = decode_numbers(parameters)
    kernel = decode_kernel(rows, **choice)
    span = decode_s(
        seqs=batch,
        mean_context=context,
        heads=heads,
        streams=streams,
        flop=flop * kernel.flop_factor,
        split_tokens=kernel.split_tokens,
        flop_per_s=hardware.peak_flop_per_s[attention_peak(q_dtype, hardware.peak_flop_per_s)],
        compute_units=hardware.compute_units,
        stream_s=stream_s,
        **numbers,
    )
    return np.asarray(span.total_s)


def attention_decode_seconds(table: pl.DataFrame, hardware: Hardware, parameters: Parameters) -> Array:
    """Predicted times of decode attention that re-reads one cache, as the benchmark does. [s]"""
    column = columns(table)
    batch, context, head_dim = column["batch"], column["context"], column["head_dim"]
    q, kv = column["n_q"], column["n_kv"]
    return _decode(
        hardware,
        parameters,
        q_dtype="bf16",
        batch=batch,
        context=context,
        heads=q,
        streams=kv,
        rows=q / kv,
        cache_bytes=batch * context * kv * 2.0 * head_dim * width_bytes(table["kv_dtype"][0]),
        query_bytes=WIDE_BYTES * 2.0 * batch * q * head_dim,
        flop=4.0 * batch * q * head_dim * context,
    )


def mla_decode_seconds(table: pl.DataFrame, hardware: Hardware, parameters: Parameters) -> Array:
    """Predicted times of absorbed latent attention (512 + 64). [s]"""
    column = columns(table)
    batch, context, heads = column["batch"], column["context"], column["n_heads_local"]
    read = _MLA_LATENT + _MLA_ROPE
    return _decode(
        hardware,
        parameters,
        q_dtype=table["kv_dtype"][0],
        batch=batch,
        context=context,
        heads=heads,
        streams=1.0,
        rows=heads,
        cache_bytes=batch * context * read * width_bytes(table["kv_dtype"][0]),
        query_bytes=WIDE_BYTES * batch * heads * (read + _MLA_LATENT),
        flop=2.0 * batch * heads * (read + _MLA_LATENT) * context,
    )


def _prefill(
    hardware: Hardware,
    parameters: Parameters,
    *,
    q_dtype: str,
    batch: Array,
    new: Array,
    past: Array | float,
    pairs: Array,
    heads: Array,
    width: Array | float,
    moved_bytes: Array,
) -> Array:
    partial_rows = np.ceil(new / 64.0) * 64.0 - new
    peak = attention_peak(q_dtype, hardware.peak_flop_per_s)
    mean_keys = pairs / new
    span = prefill_s(
        seqs=batch,
        new_tokens=new,
        mean_keys=mean_keys,
        longest_keys=longest_row_keys(mean_keys, past, new),
        masked_keys=(partial_rows + 127.0) / 2.0,
        heads=heads,
        flop=2.0 * batch * heads * width * pairs,
        flop_per_query_key=2.0 * width,
        flop_per_s=hardware.peak_flop_per_s[peak],
        compute_units=hardware.compute_units,
        stream_s=benchmark_stream_s(moved_bytes, hardware, parameters),
        **{name: value for name, value in parameters.items() if name not in TRAFFIC_PARAMETERS},
    )
    return np.asarray(span.total_s)


def attention_prefill_seconds(table: pl.DataFrame, hardware: Hardware, parameters: Parameters) -> Array:
    """Predicted times of causal attention of prompts, over a past and in a window where there is one. [s]"""
    column = columns(table)
    batch, new, head_dim = column["batch"], column["seq_new"], column["head_dim"]
    past = column.get("seq_past", np.zeros_like(new))
    window = column.get("window", np.zeros_like(new))
    limit = np.where(window > 0, window, new + past)
    growing = np.clip(limit - past, 0.0, new)  # queries that still see one key more than the one before
    pairs = growing * past + growing * (growing + 1.0) / 2.0 + (new - growing) * limit
    seen_past = np.minimum(past, limit - 1.0)
    q, kv = column["n_q"], column["n_kv"]
    kv_passes, cached_bytes = parameters["kv_passes"], seen_past * kv * width_bytes(table["kv_dtype"][0])
    return _prefill(
        hardware,
        parameters,
        q_dtype=table["q_dtype"][0],
        batch=batch,
        new=new,
        past=seen_past,
        pairs=pairs,
        heads=q,
        width=2.0 * head_dim,
        moved_bytes=2.0
        * batch
        * head_dim
        * (WIDE_BYTES * new * (q + kv_passes * kv) + kv_passes * cached_bytes),
    )


def mla_prefill_seconds(table: pl.DataFrame, hardware: Hardware, parameters: Parameters) -> Array:
    """Predicted times of expanded latent attention (192 / 128) of whole prompts. [s]"""
    column = columns(table)
    batch, new, heads = column["batch"], column["seq_new"], column["n_heads_local"]
    width = _MLA_QK + _MLA_V
    return _prefill(
        hardware,
        parameters,
        q_dtype=table["kv_dtype"][0],
        batch=batch,
        new=new,
        past=0.0,
        pairs=new * (new + 1.0) / 2.0,
        heads=heads,
        width=width,
        moved_bytes=WIDE_BYTES * batch * new * heads * 2.0 * width,
    )


def attention_beyond_seconds(table: pl.DataFrame, hardware: Hardware, parameters: Parameters) -> Array:
    """Predicted times of attention outside the fitted domain: windows, and prompts over a past. [s]"""
    if table["phase"][0] == "prefill":
        return attention_prefill_seconds(table, hardware, parameters)
    window = pl.when(pl.col("window") > 0).then("window").otherwise("seq_past")
    seen = table.with_columns(context=pl.min_horizontal("seq_past", window))
    return attention_decode_seconds(seen, hardware, parameters)
