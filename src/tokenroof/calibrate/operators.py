"""Operator formulas against single-operator measurements.

A measured table has one row per timed shape; a *group* is the rows of one chip, framework and
dtype, which one row of the efficiency files explains. The predictors here describe what the
benchmark ran, with the conventions of ``tokenroof.graph`` for the bytes it moved, and call the
formulas of ``tokenroof.perf``: there is no second copy of a formula.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from tokenroof.catalog.core import Chip, OperandKind
from tokenroof.catalog.dtypes import dtype
from tokenroof.graph.core import Num
from tokenroof.graph.recurrent import CHUNK_TOKENS
from tokenroof.perf.attention import (
    decode_kernel,
    decode_numbers,
    decode_s,
    prefill_s,
)
from tokenroof.perf.elementwise import streaming_s
from tokenroof.perf.gemm import gemm_s
from tokenroof.perf.lowprec import attention_peak, compute_path
from tokenroof.perf.moe import TILE_ROWS, experts_s
from tokenroof.perf.recurrent import recurrent_s
from tokenroof.perf.roofline import cached_stream_s

Array = npt.NDArray[np.float64]
Parameters = Mapping[str, float]

# Formats of the measured tables: weights, activations.
FORMATS = {
    "bf16": ("bf16", "bf16"),
    "fp8": ("fp8", "fp8"),
    "fp8_block": ("fp8_block", "fp8"),
    "nvfp4": ("nvfp4", "nvfp4"),
    "int4_wo": ("int4", "bf16"),
    "int8_wo": ("int8_wo", "bf16"),
    "sq": ("int8", "int8"),
    "w4a16_mxfp4": ("w4a16_mxfp4", "bf16"),
    "w4a8_mxfp4_mxfp8": ("mxfp4", "mxfp8"),
    "w4afp8": ("mxfp4", "fp8"),
}
# Nemotron-3 models: (experts, topk) of the benchmark cases whose experts have no gate (relu squared).
PLAIN_EXPERTS = ((128, 6), (512, 22))
_WIDE_BYTES = 2.0
_STATE_BYTES = 4.0
_MLA_LATENT, _MLA_ROPE, _MLA_QK, _MLA_V = 512.0, 64.0, 192.0, 128.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What the formulas need to know of a chip: peaks [flop/s], bandwidth [bytes/s], units, cache [bytes]."""

    peak_flop_per_s: Mapping[str, float]
    bandwidth_bytes_per_s: float
    compute_units: float
    cache_bytes: float


def hardware_of(chip: Chip) -> Hardware:
    """The chip's peaks and the bandwidth of the tier that weights live in."""
    home = next(tier for tier in chip.memory if OperandKind.WEIGHTS in tier.holds)
    return Hardware(
        peak_flop_per_s={name: peak.value for name, peak in chip.peak_flop_per_s.items()},
        bandwidth_bytes_per_s=home.bandwidth_bytes_per_s.value,
        compute_units=float(chip.compute_units),
        cache_bytes=chip.cache_bytes,
    )


def columns(table: pl.DataFrame) -> dict[str, Array]:
    """Numeric columns as float arrays."""
    numeric = [name for name, kind in table.schema.items() if kind.is_numeric()]
    return {name: table[name].to_numpy().astype(np.float64) for name in numeric}


def _width(name: str) -> float:
    return float(dtype(name).bits) / 8.0


def gemm_seconds(table: pl.DataFrame, hardware: Hardware, parameters: Parameters) -> Array:
    """Predicted times of GEMMs whose weights come from memory. [s]"""
    column = columns(table)
    m, n, k = column["m"], column["n"], column["k"]
    weight, act = FORMATS[table["dtype"][0]]
    path = compute_path(weight, act, hardware.peak_flop_per_s)
    moved_bytes = n * k * _width(weight) + m * k * _width(act) + _WIDE_BYTES * m * n
    span = gemm_s(
        m=m,
        n=n,
        k=k,
        flop_per_s=hardware.peak_flop_per_s[path.peak],
        compute_units=hardware.compute_units,
        stream_s=moved_bytes / hardware.bandwidth_bytes_per_s,
        result_bytes_per_s=hardware.bandwidth_bytes_per_s,
        quantise_bytes=m * k * (_WIDE_BYTES + _width(act)) if path.quantises else 0.0,
        **parameters,
    )
    return np.asarray(span.total_s)


def _benchmark_stream_s(moved_bytes: Array, hardware: Hardware, parameters: Parameters) -> Num:
    """Streaming time of a benchmark that re-reads the same bytes, where the row knows how (``cached_*``)."""
    stream_s = moved_bytes / hardware.bandwidth_bytes_per_s
    cached = {name: value for name, value in parameters.items() if name.startswith("cached_")}
    if not cached:
        return stream_s
    return cached_stream_s(stream_s, footprint_bytes=moved_bytes, cache_bytes=hardware.cache_bytes, **cached)


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
    stream_s = _benchmark_stream_s(cache_bytes + query_bytes, hardware, parameters)
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
        cache_bytes=batch * context * kv * 2.0 * head_dim * _width(table["kv_dtype"][0]),
        query_bytes=_WIDE_BYTES * 2.0 * batch * q * head_dim,
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
        cache_bytes=batch * context * read * _width(table["kv_dtype"][0]),
        query_bytes=_WIDE_BYTES * batch * heads * (read + _MLA_LATENT),
        flop=2.0 * batch * heads * (read + _MLA_LATENT) * context,
    )


def _prefill(
    hardware: Hardware,
    parameters: Parameters,
    *,
    q_dtype: str,
    batch: Array,
    new: Array,
    heads: Array,
    width: Array | float,
    moved_bytes: Array,
) -> Array:
    padded = np.ceil(new / 64.0) * 64.0
    peak = attention_peak(q_dtype, hardware.peak_flop_per_s)
    span = prefill_s(
        seqs=batch,
        new_tokens=new,
        mean_keys=(new + 1.0) / 2.0,
        longest_keys=new,
        masked_keys=(padded - new + 127.0) / 2.0,
        heads=heads,
        flop=2.0 * batch * heads * width * new * (new + 1.0) / 2.0,
        flop_per_query_key=2.0 * width,
        flop_per_s=hardware.peak_flop_per_s[peak],
        compute_units=hardware.compute_units,
        stream_s=moved_bytes / hardware.bandwidth_bytes_per_s,
        **parameters,
    )
    return np.asarray(span.total_s)


def attention_prefill_seconds(table: pl.DataFrame, hardware: Hardware, parameters: Parameters) -> Array:
    """Predicted times of causal attention of whole prompts. [s]"""
    column = columns(table)
    batch, new, head_dim = column["batch"], column["seq_new"], column["head_dim"]
    q, kv = column["n_q"], column["n_kv"]
    numbers = dict(parameters)
    return _prefill(
        hardware,
        numbers,
        q_dtype=table["q_dtype"][0],
        batch=batch,
        new=new,
        heads=q,
        width=2.0 * head_dim,
        moved_bytes=_WIDE_BYTES * batch * new * (q + numbers.pop("kv_passes") * kv) * 2.0 * head_dim,
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
        heads=heads,
        width=width,
        moved_bytes=_WIDE_BYTES * batch * new * heads * 2.0 * width,
    )


def moe_seconds(table: pl.DataFrame, hardware: Hardware, parameters: Parameters) -> Array:
    """Predicted times of one layer of experts, all on one chip (``ep`` = 1). [s]"""
    column = columns(table)
    tokens, hidden, topk, experts = column["tokens"], column["hidden"], column["topk"], column["experts"]
    intermediate = column["inter"] / column["tp"]
    weight, act = FORMATS[table["dtype"][0]]
    path = compute_path(weight, act, hardware.peak_flop_per_s)
    keys = zip(
        tokens.astype(int).tolist(),
        experts.astype(int).tolist(),
        topk.astype(int).tolist(),
        table["distribution"].to_list(),
        strict=True,
    )
    active, *tiles = np.array([benchmark_load(*key) for key in keys]).T
    rows = tokens * topk
    numbers = dict(parameters)
    plain = np.logical_or.reduce([(experts == e) & (topk == k) for e, k in PLAIN_EXPERTS])
    matrices = np.where(plain, 2.0, 3.0)
    weights_bytes = active * matrices * hidden * intermediate * _width(weight)
    activation_bytes = rows * (
        _width(act) * (hidden + intermediate)
        + _WIDE_BYTES * ((2.0 * matrices - 1.0) * intermediate + 2.0 * hidden)
    )
    span = experts_s(
        tiles=tuple(tiles),
        local_experts=experts,
        hidden=hidden,
        intermediate=intermediate,
        matrices=matrices,
        flop_per_s=hardware.peak_flop_per_s[path.peak],
        compute_units=hardware.compute_units,
        stream_s=(weights_bytes + numbers.pop("activation_passes") * activation_bytes)
        / hardware.bandwidth_bytes_per_s,
        **numbers,
    )
    return np.asarray(span.total_s)


def recurrent_seconds(table: pl.DataFrame, hardware: Hardware, parameters: Parameters) -> Array:
    """Predicted times of the recurrence alone, without its convolution. [s]"""
    column = columns(table)
    batch, new, heads = column["batch"], column["seq_new"], column["n_v_heads"]
    area = column["head_k"] * column["head_v"]
    width = column["head_k"] + column["head_v"]
    decode = bool(table["decode"][0])
    flop_per_token = heads * (8.0 * area if decode else 6.0 * area + CHUNK_TOKENS * width)
    state_bytes = 2.0 * _STATE_BYTES * batch * heads * area
    activation_bytes = _WIDE_BYTES * batch * new * heads * 2.0 * width
    numbers = {name: value for name, value in parameters.items() if not name.startswith("cached_")}
    span = recurrent_s(
        tokens_per_seq=new,
        flop=batch * new * flop_per_token,
        flop_per_s=hardware.peak_flop_per_s[attention_peak("bf16", hardware.peak_flop_per_s)],
        stream_s=_benchmark_stream_s(state_bytes + activation_bytes, hardware, parameters),
        **numbers,
    )
    return np.asarray(span.total_s)


def elementwise_seconds(table: pl.DataFrame, hardware: Hardware, parameters: Parameters) -> Array:
    """Predicted times of kernels that only move bytes. [s]"""
    moved_bytes = columns(table)["moved_bytes"]
    span = streaming_s(
        stream_s=moved_bytes / hardware.bandwidth_bytes_per_s,
        footprint_bytes=moved_bytes,
        cache_bytes=hardware.cache_bytes,
        **parameters,
    )
    return np.asarray(span.total_s)


@lru_cache(maxsize=65536)
def benchmark_load(tokens: int, experts: int, topk: int, distribution: str) -> tuple[float, ...]:
    """Active experts, and row tiles for each of ``TILE_ROWS``, of a benchmark's routing.

    "balanced" spreads the routed rows evenly. "power_law_<a>" draws loads from a truncated power law
    of exponent a between 1 and 0.8 x tokens (0.01 and 2 when there are fewer rows than experts), as
    the collector of aiconfigurator does; its quantiles stand for the draw.
    """
    rows = tokens * topk
    if distribution == "balanced":
        load = np.full(experts, rows // experts, dtype=np.float64)
        load[: rows % experts] += 1.0
    else:
        exponent = 1.0 - float(distribution.rpartition("_")[2])
        low, high = (1.0, tokens * 0.8) if rows > experts else (0.01, 2.0)
        quantile = (np.arange(experts) + 0.5) / experts
        drawn = ((high**exponent - low**exponent) * quantile + low**exponent) ** (1.0 / exponent)
        load = np.round(drawn / drawn.sum() * rows)
        short = int(rows - load.sum())  # the collector gives what rounding lost to the fullest experts
        np.add.at(load, np.argsort(-load)[np.arange(abs(short)) % experts], np.sign(short))
    busy = load[load > 0]
    return (float(len(busy)), *(float(np.ceil(busy / size).sum()) for size in TILE_ROWS))


Predictor = Callable[[pl.DataFrame, Hardware, Parameters], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A measured table: what explains it, and the columns that make a group (chip and kernels first)."""

    op: str
    predict: Predictor
    group: tuple[str, ...]


TABLES = {
    "gemm": Table(op="gemm", predict=gemm_seconds, group=("chip", "kernels", "dtype")),
    "attention_decode": Table(
        op="attention_decode",
        predict=attention_decode_seconds,
        group=("chip", "kernels", "kv_dtype", "head_dim"),
    ),
    "attention_prefill": Table(
        op="attention_prefill",
        predict=attention_prefill_seconds,
        group=("chip", "kernels", "q_dtype", "kv_dtype", "head_dim"),
    ),
    "mla_decode": Table(op="mla_decode", predict=mla_decode_seconds, group=("chip", "kernels", "kv_dtype")),
    "mla_prefill": Table(
        op="mla_prefill", predict=mla_prefill_seconds, group=("chip", "kernels", "kv_dtype")
    ),
    "recurrent": Table(
        op="recurrent", predict=recurrent_seconds, group=("chip", "kernels", "kind", "decode")
    ),
    "elementwise": Table(op="elementwise", predict=elementwise_seconds, group=("chip", "kernels")),
    "moe": Table(op="moe", predict=moe_seconds, group=("chip", "kernels", "dtype")),
}


def read_table(directory: Path, name: str) -> pl.DataFrame:
    """A measured table of ``calibration/measured``."""
    return pl.read_parquet(directory / f"{name}.parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """How far predictions are from measurements: mean and median absolute relative error, and rows."""

    mean_fraction: float
    median_fraction: float
    rows: int


def residual(predicted_s: Array, measured_s: Array) -> Residual:
    """Absolute relative errors of predictions."""
    errors = np.abs(predicted_s / measured_s - 1.0)
    return Residual(
        mean_fraction=float(errors.mean()), median_fraction=float(np.median(errors)), rows=len(errors)
    )
