"""The shape of every weight matrix of a layer: the one place that counting and graph read.

A mixer or feed-forward is a tuple of :class:`Projection` (matrices, each a GEMM per token) and a
mapping of small vectors (norms, convolutions, sinks, decay rates). Routed experts are described
per expert by :func:`expert_projections`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch
from typing import Literal

from tokenroof.catalog.model import (
    Attention,
    CompressedAttention,
    DenseMlp,
    FeedForward,
    Indexer,
    LinearAttention,
    Mamba,
    Mixer,
    MlaAttention,
    Moe,
)

Shard = Literal["column", "row", "replicated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """A weight matrix: every token multiplies it once (``batch`` times for grouped matrices).

    Attributes
    ----------
    name : str
        Role inside the layer ("q", "kv_b", "gate").
    gemm : str
        Projections of one layer with the same ``gemm`` read the same input and run as one matrix
        multiply ("qkv", "gate_up").
    n, k : int
        Output and input features.
    shard : str
        How tensor parallelism splits it: "column" (n), "row" (k; an all-reduce follows) or "replicated".
    units : int
        Indivisible pieces along the split dimension (heads, groups); with more ranks than units each
        rank holds one whole unit, so key-value heads replicate.
    bias : bool
        Adds a vector of ``n * batch``.
    batch : int
        Independent matrices of this shape, each fed its own slice (output groups of DeepSeek-V4).
    high_precision : bool
        Stays in 16 bit (or wider) when weights are quantised: routers, decay and index gates.
    """

    name: str
    gemm: str
    n: int
    k: int
    shard: Shard
    units: int = 1
    bias: bool = False
    batch: int = 1
    high_precision: bool = False

    @property
    def parameters(self) -> int:
        """Weights and bias."""
        return self.batch * (self.n * self.k + (self.n if self.bias else 0))


@singledispatch
def projections(layer: Mixer | FeedForward, hidden: int) -> tuple[Projection, ...]:
    """Every matrix of ``layer`` but those of routed experts, in order of execution.

    Parameters
    ----------
    layer : Mixer or FeedForward
        What the layer is.
    hidden : int
        Model width.
    """
    raise TypeError(f"no projections for {type(layer).__name__}")


@singledispatch
def vectors(layer: Mixer | FeedForward, hidden: int) -> Mapping[str, int]:
    """Parameters of ``layer`` that are no matrix multiply: norms, convolutions, sinks, decay rates."""
    raise TypeError(f"no vectors for {type(layer).__name__}")


def expert_projections(moe: Moe, hidden: int) -> tuple[Projection, ...]:
    """Matrices of one routed expert."""
    return _mlp("", moe.intermediate, moe.latent_dim or hidden, moe.gated, moe.bias)


def _column(
    name: str,
    gemm: str,
    n: int,
    k: int,
    units: int,
    *,
    bias: bool = False,
    batch: int = 1,
    high_precision: bool = False,
) -> Projection:
    return Projection(
        name=name,
        gemm=gemm,
        n=n,
        k=k,
        shard="column",
        units=units,
        bias=bias,
        batch=batch,
        high_precision=high_precision,
    )


def _row(name: str, n: int, k: int, units: int, *, bias: bool = False) -> Projection:
    return Projection(name=name, gemm=name, n=n, k=k, shard="row", units=units, bias=bias)


def _replicated(
    name: str, gemm: str, n: int, k: int, *, bias: bool = False, high_precision: bool = False
) -> Projection:
    return Projection(
        name=name, gemm=gemm, n=n, k=k, shard="replicated", bias=bias, high_precision=high_precision
    )


def _mlp(prefix: str, intermediate: int, width: int, gated: bool, bias: bool) -> tuple[Projection, ...]:
    first = f"{prefix}gate_up" if gated else f"{prefix}up"
    gate = (_column(f"{prefix}gate", first, intermediate, width, intermediate, bias=bias),) if gated else ()
    return (
        *gate,
        _column(f"{prefix}up", first, intermediate, width, intermediate, bias=bias),
        _row(f"{prefix}down", width, intermediate, intermediate, bias=bias),
    )


def _indexer(indexer: Indexer | None, hidden: int, query_k: int) -> tuple[Projection, ...]:
    """Index queries, the shared index key and, for token selection, one weight per head.

    Block selection (MiniMax-M3) has no head weights and takes its queries from the model width.
    """
    if indexer is None or not indexer.owned:
        return ()
    queries = indexer.num_heads * indexer.head_dim
    if indexer.block_tokens > 1:
        return (
            _column("index_q", "qkv", queries, hidden, indexer.num_heads),
            _replicated("index_k", "qkv", indexer.head_dim, hidden),
        )
    return (
        _replicated("index_q", "index_q", queries, query_k),
        _replicated("index_k", "index_k", indexer.head_dim, hidden),
        _replicated("index_weights", "index_k", indexer.num_heads, hidden, high_precision=True),
    )


def _indexer_vectors(indexer: Indexer | None) -> dict[str, int]:
    """A layer norm of the index key (weight and bias), or two head norms for block selection."""
    return {"index_norm": 2 * indexer.head_dim} if indexer is not None and indexer.owned else {}


@projections.register
def _(layer: Attention, hidden: int) -> tuple[Projection, ...]:
    heads, kv_heads, bias = layer.num_heads, layer.num_kv_heads, layer.qkv_bias
    q_width = heads * layer.head_dim * (2 if layer.gated_output else 1)
    found = [_column("q", "qkv", q_width, hidden, heads, bias=bias)]
    if not layer.kv_shared:
        found.append(_column("k", "qkv", kv_heads * layer.head_dim, hidden, kv_heads, bias=bias))
        if not layer.k_equals_v:
            found.append(_column("v", "qkv", kv_heads * layer.v_head_dim, hidden, kv_heads, bias=bias))
    found.extend(_indexer(layer.indexer, hidden, hidden))
    found.append(_row("o", hidden, heads * layer.v_head_dim, heads, bias=layer.o_bias))
    return tuple(found)


@vectors.register
def _(layer: Attention, hidden: int) -> Mapping[str, int]:
    found = {"qk_norm": layer.qk_norm_parameters, "sinks": layer.sink_parameters}
    return found | _indexer_vectors(layer.indexer)


@projections.register
def _(layer: MlaAttention, hidden: int) -> tuple[Projection, ...]:
    """Source: arXiv 2405.04434 (DeepSeek-V2); indexer: DeepSeek-V3.2."""
    heads, qk_dim = layer.num_heads, layer.qk_nope_head_dim + layer.qk_rope_head_dim
    v_width = heads * layer.v_head_dim
    kv_a = _replicated("kv_a", "qkv_a", layer.kv_lora_rank + layer.qk_rope_head_dim, hidden)
    found = [kv_a, _column("q", "q", heads * qk_dim, hidden, heads)]
    if layer.q_lora_rank is not None:
        found = [
            _replicated("q_a", "qkv_a", layer.q_lora_rank, hidden),
            kv_a,
            _column("q_b", "q_b", heads * qk_dim, layer.q_lora_rank, heads),
        ]
    found += _indexer(layer.indexer, hidden, layer.q_lora_rank or hidden)
    kv_b = heads * (layer.qk_nope_head_dim + layer.v_head_dim)
    found.append(_column("kv_b", "kv_b", kv_b, layer.kv_lora_rank, heads))
    if layer.gated_output:
        found.append(_column("g", "g", v_width, hidden, heads))
    return (*found, _row("o", hidden, v_width, heads))


@vectors.register
def _(layer: MlaAttention, hidden: int) -> Mapping[str, int]:
    found = {"q_norm": layer.q_lora_rank or 0, "kv_norm": layer.kv_lora_rank}
    return found | _indexer_vectors(layer.indexer)


def _compressor_width(layer: CompressedAttention, dim: int) -> int:
    return dim * (2 if layer.overlap else 1)


@projections.register
def _(layer: CompressedAttention, hidden: int) -> tuple[Projection, ...]:
    """Source: the DeepSeek-V4 layers of vLLM (vllm-project/vllm, models/deepseek_v4)."""
    heads, groups = layer.num_heads, layer.o_groups
    found = [
        _replicated("q_a", "qkv_a", layer.q_lora_rank, hidden),
        _replicated("kv", "qkv_a", layer.kv_dim, hidden),
        _column("q_b", "q_b", heads * layer.head_dim, layer.q_lora_rank, heads),
    ]
    if layer.ratio:
        width = _compressor_width(layer, layer.kv_dim)
        found.append(_replicated("compress_kv", "compress", width, hidden, high_precision=True))
        found.append(_replicated("compress_gate", "compress", width, hidden, high_precision=True))
    if layer.indexer is not None:
        index = layer.indexer
        width = _compressor_width(layer, index.head_dim)
        found.append(_replicated("index_q", "index_q", index.num_heads * index.head_dim, layer.q_lora_rank))
        found.append(_replicated("index_kv", "index_compress", width, hidden, high_precision=True))
        found.append(_replicated("index_gate", "index_compress", width, hidden, high_precision=True))
        found.append(
            _replicated("index_weights", "index_weights", index.num_heads, hidden, high_precision=True)
        )
    found.append(
        _column("o_a", "o_a", layer.o_lora_rank, heads * layer.head_dim // groups, groups, batch=groups)
    )
    found.append(_row("o_b", hidden, groups * layer.o_lora_rank, groups))
    return tuple(found)


@vectors.register
def _(layer: CompressedAttention, hidden: int) -> Mapping[str, int]:
    found = {"q_norm": layer.q_lora_rank, "kv_norm": layer.kv_dim, "sinks": layer.num_heads}
    if layer.ratio:
        found["compress_positions"] = layer.ratio * _compressor_width(layer, layer.kv_dim)
        found["compress_norm"] = layer.kv_dim
    if layer.indexer is not None:
        found["index_positions"] = layer.ratio * _compressor_width(layer, layer.indexer.head_dim)
        found["index_norm"] = layer.indexer.head_dim
    return found


@projections.register
def _(layer: Mamba, hidden: int) -> tuple[Projection, ...]:
    """Source: arXiv 2312.00752 (version 1), arXiv 2405.21060 (version 2)."""
    heads, bias = layer.num_heads, layer.proj_bias
    inner = heads * layer.head_dim
    if layer.version == 1:
        return (
            _column("in", "in", 2 * inner, hidden, inner, bias=bias),
            _row("x", layer.dt_rank + 2 * layer.state_dim, inner, inner),
            _column("dt", "dt", inner, layer.dt_rank, inner, bias=True),
            _row("out", hidden, inner, inner, bias=bias),
        )
    groups = layer.num_groups
    return (
        _column("in", "in", 2 * inner, hidden, heads, bias=bias),
        _column("bc", "in", 2 * groups * layer.state_dim, hidden, groups, bias=bias),
        _column("dt", "in", heads, hidden, heads, bias=bias),
        _row("out", hidden, inner, heads, bias=bias),
    )


@vectors.register
def _(layer: Mamba, hidden: int) -> Mapping[str, int]:
    inner = layer.num_heads * layer.head_dim
    if layer.version == 1:
        channels, decay, norm = inner, inner * layer.state_dim + inner, layer.dt_rank + 2 * layer.state_dim
    else:
        channels = inner + 2 * layer.num_groups * layer.state_dim
        decay, norm = 3 * layer.num_heads, inner
    return {
        "conv": channels * (layer.conv_kernel + (1 if layer.conv_bias else 0)),
        "decay": decay,
        "norm": norm if layer.gated_norm else 0,
    }


@projections.register
def _(layer: LinearAttention, hidden: int) -> tuple[Projection, ...]:
    """Source: arXiv 2412.06464 (gated delta net), 2510.26692 (Kimi delta), 2501.08313 (lightning)."""
    k_heads, v_heads = layer.num_k_heads, layer.num_v_heads
    k_width, v_width = k_heads * layer.k_head_dim, v_heads * layer.v_head_dim
    qkv = (
        _column("q", "qkv", k_width, hidden, k_heads),
        _column("k", "qkv", k_width, hidden, k_heads),
        _column("v", "qkv", v_width, hidden, v_heads),
    )
    out = _row("o", hidden, v_width, v_heads)
    if layer.kind == "gated_delta_net":
        ba = _column("ba", "ba", 2 * v_heads, hidden, v_heads, high_precision=True)
        return (*qkv, _column("z", "qkv", v_width, hidden, v_heads), ba, out)
    if layer.kind == "lightning":
        return (*qkv, _column("g", "g", v_width, hidden, v_heads), out)
    gate: tuple[Projection, ...] = (_column("g", "qkv", v_width, hidden, v_heads),)
    if layer.gate_rank:
        gate = (
            _replicated("g_a", "f_a", layer.gate_rank, hidden),
            _column("g_b", "g_b", v_width, layer.gate_rank, v_heads),
        )
    return (
        *qkv,
        _replicated("f_a", "f_a", layer.k_head_dim, hidden),
        _column("f_b", "f_b", k_width, layer.k_head_dim, k_heads),
        _column("b", "b", v_heads, hidden, v_heads, high_precision=True),
        *gate,
        out,
    )


@vectors.register
def _(layer: LinearAttention, hidden: int) -> Mapping[str, int]:
    k_width, v_width = layer.num_k_heads * layer.k_head_dim, layer.num_v_heads * layer.v_head_dim
    if layer.kind == "lightning":
        return {"norm": v_width}
    decay = 2 * layer.num_v_heads if layer.kind == "gated_delta_net" else k_width + layer.num_v_heads
    return {"conv": (2 * k_width + v_width) * layer.conv_kernel, "decay": decay, "norm": layer.v_head_dim}


@projections.register
def _(layer: DenseMlp, hidden: int) -> tuple[Projection, ...]:
    return _mlp("", layer.intermediate, hidden, layer.gated, layer.bias)


@vectors.register
def _(layer: DenseMlp, hidden: int) -> Mapping[str, int]:
    return {}


@projections.register
def _(layer: Moe, hidden: int) -> tuple[Projection, ...]:
    found = [_replicated("router", "router", layer.num_experts, hidden, high_precision=True)]
    if layer.latent_dim:
        found.append(_replicated("latent_down", "latent_down", layer.latent_dim, hidden))
        found.append(_replicated("latent_up", "latent_up", hidden, layer.latent_dim))
    if layer.shared_intermediate:
        found += _mlp("shared_", layer.shared_intermediate, hidden, layer.gated, layer.bias)
    if layer.shared_gate:
        found.append(_replicated("shared_weight", "shared_weight", 1, hidden, high_precision=True))
    if layer.parallel_dense_intermediate:
        found += _mlp("dense_", layer.parallel_dense_intermediate, hidden, layer.gated, layer.bias)
    return tuple(found)


@vectors.register
def _(layer: Moe, hidden: int) -> Mapping[str, int]:
    return {
        "router_bias": layer.num_experts if layer.router_bias else 0,
        "latent_norm": layer.latent_dim if layer.latent_norm else 0,
    }
