"""Operators of attention over a compressed cache (DeepSeek-V4).

Every query sees the raw tokens of a short window and compressed entries, one per ``ratio`` tokens
(all of them, or those an indexer selects). Keys are values and all heads share them, so that the
cache is read as one latent vector per entry: the operators are those of absorbed latent attention.
"""

from __future__ import annotations

from tokenroof.catalog.counting import index_bytes_per_token
from tokenroof.catalog.model import CompressedAttention
from tokenroof.graph.attention import index_score
from tokenroof.graph.comms import cp_allgather, cp_combine, tp_allreduce
from tokenroof.graph.core import Batch, Int, MlaDecode, MlaPrefill, Op, Work
from tokenroof.graph.ints import WIDE_BYTES, ceil_div, ceil_int, low, present, tensor_bytes
from tokenroof.graph.pooling import after_attention, before_attention
from tokenroof.graph.spans import decode_keys, decode_pairs, prefill_pairs, prefill_past
from tokenroof.graph.step import Step, gemm


def _entries_window(layer: CompressedAttention) -> int | None:
    """Raw tokens that the selected entries stand for; None = all entries are seen."""
    return layer.indexer.topk_tokens * layer.ratio if layer.indexer is not None else None


def _decode_span(layer: CompressedAttention, batch: Batch) -> tuple[Int, Int]:
    """``(keys, pairs)`` of the decoding sequences: window and compressed entries together."""
    keys = decode_keys(batch, layer.window_tokens)
    pairs = decode_pairs(batch, layer.window_tokens)
    if not layer.ratio:
        return keys, pairs
    chosen = decode_pairs(batch, _entries_window(layer)) // layer.ratio
    entries = decode_keys(batch) // layer.ratio
    return keys + low(entries, chosen), pairs + chosen


def _prefill_span(layer: CompressedAttention, batch: Batch) -> tuple[Int, Int]:
    """``(past keys, pairs)`` of the prompt chunks."""
    past = prefill_past(batch, layer.window_tokens)
    pairs = prefill_pairs(batch, layer.window_tokens)
    if not layer.ratio:
        return past, pairs
    entries = batch.prefill_past_tokens // layer.ratio
    return past + entries, pairs + prefill_pairs(batch, _entries_window(layer)) // layer.ratio


def compressed_ops(layer: CompressedAttention, count: int, step: Step) -> list[Op]:
    """Projections, compression, cache write, attention, and messages of ``count`` identical layers."""
    ops: list[Op] = []
    for matrix in step.matrices(layer):
        if matrix.name == "o_a":
            ops += before_attention(layer, count, step)
            ops += _index(layer, count, step)
            ops += _decode(layer, count, step)
            ops += _prefill(layer, count, step)
            ops += after_attention(layer, count, step)
        ops += gemm(f"attn.{matrix.name}", count, step.tokens, matrix)
    ops += tp_allreduce(step, "comm.attn_allreduce", count, step.model.hidden)
    return ops


def _index(layer: CompressedAttention, count: int, step: Step) -> list[Op]:
    """Scores over compressed index keys."""
    indexer = layer.indexer
    if indexer is None:
        return []
    batch, cp = step.batch, step.parallel.cp
    entry_bytes = index_bytes_per_token(layer) * layer.ratio
    ops: list[Op] = []
    if present(batch.decode_seqs):
        pairs = ceil_div(decode_pairs(batch) // layer.ratio, cp)
        moved = ceil_div(decode_keys(batch) // layer.ratio, cp) * entry_bytes
        new = step.decode_query_tokens
        ops.append(
            index_score(
                "index.decode", count, indexer, indexer.num_heads, batch.decode_seqs, pairs, new, moved
            )
        )
    if present(batch.prefill_tokens):
        pairs = ceil_div(prefill_pairs(batch) // layer.ratio, cp)
        moved = (batch.prefill_past_tokens + batch.prefill_tokens) // layer.ratio * entry_bytes
        new = step.prefill_query_tokens
        ops.append(
            index_score(
                "index.prefill", count, indexer, indexer.num_heads, batch.prefill_seqs, pairs, new, moved
            )
        )
    return ops


def _decode(layer: CompressedAttention, count: int, step: Step) -> list[Op]:
    batch, cp = step.batch, step.parallel.cp
    if not present(batch.decode_seqs):
        return []
    heads = ceil_int(layer.num_heads, step.parallel.tp)
    keys, pairs = (ceil_div(span, cp) for span in _decode_span(layer, batch))
    op = MlaDecode(
        name="attn.decode",
        count=count,
        work=Work(
            flop=4 * heads * layer.kv_dim * pairs,
            kv_bytes=tensor_bytes(step.precision.kv, keys * layer.kv_dim),
            activation_bytes=step.decode_query_tokens * (2 * WIDE_BYTES * heads * layer.kv_dim),
        ),
        seqs=batch.decode_seqs,
        context_tokens=keys,
        heads=heads,
        kv_dtype=step.precision.kv,
        query_tokens=batch.decode_tokens,
    )
    return [op, *cp_combine(step, count, heads * layer.kv_dim, heads)]


def _prefill(layer: CompressedAttention, count: int, step: Step) -> list[Op]:
    batch, cp = step.batch, step.parallel.cp
    if not present(batch.prefill_tokens):
        return []
    heads = ceil_int(layer.num_heads, step.parallel.tp)
    new = step.prefill_query_tokens
    past, pairs = _prefill_span(layer, batch)
    pairs = ceil_div(pairs, cp)
    fresh = batch.prefill_tokens
    op = MlaPrefill(
        name="attn.prefill",
        count=count,
        work=Work(
            flop=4 * heads * layer.kv_dim * pairs,
            kv_bytes=tensor_bytes(step.precision.kv, past * layer.kv_dim),
            activation_bytes=WIDE_BYTES * (new * (2 * heads * layer.kv_dim) + fresh * layer.kv_dim),
        ),
        seqs=batch.prefill_seqs,
        new_tokens=new,
        past_tokens=past + fresh - new,
        pairs=pairs,
        heads=heads,
        qk_dim=layer.kv_dim,
        v_dim=layer.kv_dim,
        kv_dtype=step.precision.kv,
    )
    message = tensor_bytes(step.precision.kv, (past + fresh) * layer.kv_dim)
    return [*cp_allgather(step, "comm.cp_kv_allgather", count, message), op]
