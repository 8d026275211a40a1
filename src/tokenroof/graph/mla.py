"""Operators of multi-head latent attention: absorbed in decode, expanded in prefill.

Decode multiplies queries by the key half of ``kv_b`` and outputs by its value half, so that all heads
read one latent vector per cached token. Prefill expands the latents of new and past tokens into keys
and values per head. With a sparse indexer both phases run absorbed, as engines do.
"""

from __future__ import annotations

from tokenroof.catalog.model import MlaAttention
from tokenroof.graph.attention import index_ops, visible_window
from tokenroof.graph.comms import cp_allgather, cp_combine, tp_allreduce
from tokenroof.graph.core import Gemm, Int, MlaDecode, MlaPrefill, Op, Work
from tokenroof.graph.ints import (
    WIDE_BYTES,
    ceil_div,
    ceil_int,
    exact_bytes,
    low,
    present,
    tensor_bytes,
    where_present,
)
from tokenroof.graph.spans import decode_keys, decode_pairs, prefill_pairs, prefill_past
from tokenroof.graph.step import Step, elementwise, gemm


def cached_elements(layer: MlaAttention) -> int:
    """Elements one token adds to the cache of every rank and layer: the latent is not split."""
    return layer.kv_lora_rank + layer.qk_rope_head_dim


def mla_ops(layer: MlaAttention, count: int, step: Step) -> list[Op]:
    """Projections, cache write, attention of both kinds, and messages of ``count`` identical layers."""
    sparse = layer.indexer is not None
    absorbed = step.tokens if sparse else step.decode_query_tokens
    expanded = step.batch.prefill_tokens + prefill_past(step.batch, layer.window_tokens)
    ops: list[Op] = []
    for matrix in step.matrices(layer):
        if matrix.name == "kv_b":
            ops += _rope_and_cache(layer, count, step)
            ops += index_ops(layer, count, step)
            ops += _absorbed(layer, count, step, "mla.absorb_k", absorbed, key=True)
            ops += _decode(layer, count, step)
            if present(step.batch.prefill_tokens):
                ops += [] if sparse else gemm("mla.kv_b", count, expanded, matrix)
                ops += _prefill(layer, count, step)
            ops += _absorbed(layer, count, step, "mla.absorb_v", absorbed, key=False)
            continue
        ops += gemm(f"mla.{matrix.name}", count, step.tokens, matrix)
    ops += tp_allreduce(step, "comm.attn_allreduce", count, step.model.hidden)
    return ops


def _rope_and_cache(layer: MlaAttention, count: int, step: Step) -> list[Op]:
    """Norms of both latents, rotation of the rope part, the cache write; the output gate if any.

    Three kernels: both norms, the rotation, and query and latent side by side into query buffer and cache.
    """
    heads = ceil_int(layer.num_heads, step.parallel.tp)
    latents = (layer.q_lora_rank or 0) + cached_elements(layer)
    gate = 3 * heads * layer.v_head_dim if layer.gated_output else 0
    rotated = heads * layer.qk_rope_head_dim
    return [
        *elementwise("mla.norms", count, step.tokens, 2 * latents, weights_bytes=step.small_bytes(layer)),
        *elementwise("mla.rope", count, step.tokens, 2 * rotated + gate),
        *elementwise(
            "mla.cache",
            count,
            step.tokens,
            rotated + cached_elements(layer),
            kv_bytes=tensor_bytes(step.precision.kv, step.tokens * cached_elements(layer)),
        ),
    ]


def _absorbed(layer: MlaAttention, count: int, step: Step, name: str, m: Int, *, key: bool) -> list[Gemm]:
    """One half of ``kv_b`` as a multiply per head: queries into the latent, or outputs out of it."""
    heads = ceil_int(layer.num_heads, step.parallel.tp)
    if not present(m):
        return []
    n, k = (layer.kv_lora_rank, layer.qk_nope_head_dim) if key else (layer.v_head_dim, layer.kv_lora_rank)
    dtype = step.precision.weights
    work = Work(
        flop=2 * m * heads * n * k,
        weights_bytes=where_present(m, exact_bytes(dtype, heads * n * k)),
        activation_bytes=m * (WIDE_BYTES * heads * (n + k)),
    )
    op = Gemm(name=name, count=count, work=work, m=m, n=heads * n, k=k, weight_dtype=dtype, act_dtype="bf16")
    return [op]


def _decode(layer: MlaAttention, count: int, step: Step) -> list[Op]:
    batch, cp = step.batch, step.parallel.cp
    if not present(batch.decode_seqs):
        return []
    window = visible_window(layer)
    heads = ceil_int(layer.num_heads, step.parallel.tp)
    keys = decode_keys(batch, layer.window_tokens)
    pairs = decode_pairs(batch, window)
    if layer.indexer is not None:
        keys = low(keys, pairs)  # one gather per query and key, none twice
    keys, pairs = ceil_div(keys, cp), ceil_div(pairs, cp)
    read, latent = cached_elements(layer), layer.kv_lora_rank
    op = MlaDecode(
        name="mla.decode",
        count=count,
        work=Work(
            flop=2 * heads * (read + latent) * pairs,
            kv_bytes=tensor_bytes(step.precision.kv, keys * read),
            activation_bytes=step.decode_query_tokens * (WIDE_BYTES * heads * (read + latent)),
        ),
        seqs=batch.decode_seqs,
        context_tokens=keys,
        heads=heads,
        kv_dtype=step.precision.kv,
        query_tokens=batch.decode_tokens,
    )
    return [op, *cp_combine(step, count, heads * latent, heads)]


def _prefill(layer: MlaAttention, count: int, step: Step) -> list[Op]:
    batch, cp = step.batch, step.parallel.cp
    heads = ceil_int(layer.num_heads, step.parallel.tp)
    new = step.prefill_query_tokens
    past = prefill_past(batch, layer.window_tokens)
    pairs = ceil_div(prefill_pairs(batch, visible_window(layer), causal=step.causal), cp)
    keys = past + batch.prefill_tokens
    read = cached_elements(layer)
    if layer.indexer is not None:
        qk_dim, v_dim, unfolded = read, layer.kv_lora_rank, 0
    else:
        qk_dim, v_dim = layer.qk_nope_head_dim + layer.qk_rope_head_dim, layer.v_head_dim
        unfolded = heads * (qk_dim + v_dim)
    op = MlaPrefill(
        name="mla.prefill",
        count=count,
        work=Work(
            flop=2 * heads * (qk_dim + v_dim) * pairs,
            kv_bytes=tensor_bytes(step.precision.kv, past * read),
            activation_bytes=WIDE_BYTES * (new * (heads * (qk_dim + v_dim)) + keys * unfolded),
        ),
        seqs=batch.prefill_seqs,
        new_tokens=new,
        past_tokens=keys - new,
        pairs=pairs,
        heads=heads,
        qk_dim=qk_dim,
        v_dim=v_dim,
        kv_dtype=step.precision.kv,
    )
    message = tensor_bytes(step.precision.kv, keys * read)
    return [*cp_allgather(step, "comm.cp_kv_allgather", count, message), op]
