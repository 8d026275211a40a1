"""Operator formulas against single-operator measurements.

A measured table has one row per timed shape; a *group* is the rows of one chip, framework and
dtype, which one row of the efficiency files explains. The predictors here and in
``calibrate.attention`` describe what the benchmark ran, with the conventions of ``tokenroof.graph``
for the bytes it moved, and call the formulas of ``tokenroof.perf``: there is no second copy of a
formula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from tokenroof.calibrate.attention import (
    attention_decode_seconds,
    attention_prefill_seconds,
    mla_decode_seconds,
    mla_prefill_seconds,
)
from tokenroof.calibrate.benchmark import (
    Array,
    Hardware,
    Parameters,
    benchmark_stream_s,
    columns,
    width_bytes,
)
from tokenroof.graph.ints import WIDE_BYTES
from tokenroof.graph.recurrent import CHUNK_TOKENS
from tokenroof.perf.elementwise import streaming_s
from tokenroof.perf.gemm import gemm_s
from tokenroof.perf.lowprec import attention_peak, compute_path
from tokenroof.perf.moe import TILE_ROWS, experts_s
from tokenroof.perf.recurrent import recurrent_s
from tokenroof.perf.roofline import TRAFFIC_PARAMETERS

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
# Nemotron-3 cases of the benchmark, by (experts, topk): their experts have no gate (relu squared) ...
PLAIN_EXPERTS = ((128, 6), (512, 22))
# ... but these kernels were run with a gate all the same: on them such cases take 3/2 of the time.
GATED_KERNELS = (
    "sglang_fused_moe_triton",
    "vllm_fused_moe",
    "vllm_marlin_int4_moe",
    "vllm_compressedtensorsw4a4nvfp4moe",
)
_STATE_BYTES = 4.0


def gemm_seconds(table: pl.DataFrame, hardware: Hardware, parameters: Parameters) -> Array:
    """Predicted times of GEMMs whose weights come from memory. [s]"""
    column = columns(table)
    m, n, k = column["m"], column["n"], column["k"]
    weight, act = FORMATS[table["dtype"][0]]
    path = compute_path(weight, act, hardware.peak_flop_per_s)
    moved_bytes = n * k * width_bytes(weight) + m * k * width_bytes(act) + WIDE_BYTES * m * n
    span = gemm_s(
        m=m,
        n=n,
        k=k,
        flop_per_s=hardware.peak_flop_per_s[path.peak],
        compute_units=hardware.compute_units,
        stream_s=moved_bytes / hardware.bandwidth_bytes_per_s,
        result_bytes_per_s=hardware.bandwidth_bytes_per_s,
        quantise_bytes=m * k * (WIDE_BYTES + width_bytes(act)) if path.quantises else 0.0,
        **parameters,
    )
    return np.asarray(span.total_s)


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
    plain = np.logical_or.reduce([(experts == e) & (topk == k) for e, k in PLAIN_EXPERTS])
    plain &= not table["kernel"][0].startswith(GATED_KERNELS)
    matrices = np.where(plain, 2.0, 3.0)
    weights_bytes = active * matrices * hidden * intermediate * width_bytes(weight)
    activation_bytes = rows * (
        width_bytes(act) * (hidden + intermediate)
        + WIDE_BYTES * ((2.0 * matrices - 1.0) * intermediate + 2.0 * hidden)
    )
    span = experts_s(
        tiles=tuple(tiles),
        local_experts=experts,
        hidden=hidden,
        intermediate=intermediate,
        matrices=matrices,
        flop_per_s=hardware.peak_flop_per_s[path.peak],
        compute_units=hardware.compute_units,
        stream_s=benchmark_stream_s(
            weights_bytes + parameters["activation_passes"] * activation_bytes, hardware, parameters
        ),
        **{name: value for name, value in parameters.items() if name not in TRAFFIC_PARAMETERS},
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
    activation_bytes = WIDE_BYTES * batch * new * heads * 2.0 * width
    span = recurrent_s(
        tokens_per_seq=new,
        flop=batch * new * flop_per_token,
        flop_per_s=hardware.peak_flop_per_s[attention_peak("bf16", hardware.peak_flop_per_s)],
        stream_s=benchmark_stream_s(state_bytes + activation_bytes, hardware, parameters),
        **{name: value for name, value in parameters.items() if name not in TRAFFIC_PARAMETERS},
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
