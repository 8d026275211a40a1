"""Operators of softmax attention with grouped key-value heads."""

from __future__ import annotations

from tokenroof.catalog.counting import index_bytes_per_token
from tokenroof.catalog.model import Attention, Indexer, MlaAttention
from tokenroof.graph.comms import cp_allgather, cp_combine, tp_allreduce
from tokenroof.graph.core import AttentionDecode, AttentionPrefill, IndexScore, Int, Op, Work
from tokenroof.graph.ints import WIDE_BYTES, ceil_div, ceil_int, present, tensor_bytes
from tokenroof.graph.spans import decode_keys, decode_pairs, prefill_pairs, prefill_past
from tokenroof.graph.step import Step, elementwise, gemm

_SCORE_BYTES = 8
"""An index score is written once and read once by the selection, in fp32."""


def visible_window(layer: Attention | MlaAttention) -> int | None:
    """Keys a query attends to at most: its window, or what its indexer selects."""
    limits = [w for w in (layer.window_tokens, layer.indexer.topk_tokens if layer.indexer else None) if w]
    return min(limits) if limits else None


def local_heads(layer: Attention, tp: int) -> tuple[int, int]:
    """Query and key-value heads of one rank; key-value heads replicate when there are more ranks."""
    return ceil_int(layer.num_heads, tp), ceil_int(layer.num_kv_heads, tp)


def cached_elements(layer: Attention, tp: int) -> int:
    """Elements one token adds to the cache of one rank and layer."""
    if layer.kv_shared:
        return 0
    _, kv_heads = local_heads(layer, tp)
    return kv_heads * (layer.head_dim + layer.v_head_dim)


def attention_ops(layer: Attention, count: int, step: Step) -> list[Op]:
    """Projections, cache write, attention of both kinds, and messages of ``count`` identical layers."""
    ops: list[Op] = []
    for matrix in step.matrices(layer):
        if matrix.name == "o":
            ops += _rope_and_cache(layer, count, step)
            ops += index_ops(layer, count, step)
            ops += _decode(layer, count, step)
            ops += _prefill(layer, count, step)
        ops += gemm(f"attn.{matrix.name}", count, step.tokens, matrix)
    ops += tp_allreduce(step, "comm.attn_allreduce", count, step.model.hidden)
    return ops


def _rope_and_cache(layer: Attention, count: int, step: Step) -> list[Op]:
    """Query and key norms, rotation and the cache write in one pass; the output gate if there is one."""
    tp = step.parallel.tp
    q_heads, kv_heads = local_heads(layer, tp)
    q = q_heads * layer.head_dim
    kv = 0 if layer.kv_shared else kv_heads * (layer.head_dim + layer.v_head_dim)
    gate = 3 * q_heads * layer.v_head_dim if layer.gated_output else 0
    written = step.tokens * cached_elements(layer, tp)
    return [
        *elementwise(
            "attn.rope_cache",
            count,
            step.tokens,
            2 * q + kv + gate,
            weights_bytes=step.small_bytes(layer),
            kv_bytes=tensor_bytes(step.precision.kv, written),
        )
    ]


def _decode(layer: Attention, count: int, step: Step) -> list[Op]:
    batch = step.batch
    if not present(batch.decode_seqs):
        return []
    if not step.causal:
        return _block(layer, count, step)
    window = visible_window(layer)
    q_heads, kv_heads = local_heads(layer, step.parallel.tp)
    keys = ceil_div(decode_keys(batch, window), step.parallel.cp)
    pairs = ceil_div(decode_pairs(batch, window), step.parallel.cp)
    width = layer.head_dim + layer.v_head_dim
    stored = kv_heads * width
    decode = AttentionDecode(
        name="attn.decode",
        count=count,
        work=Work(
            flop=2 * q_heads * width * pairs,
            kv_bytes=tensor_bytes(step.precision.kv, keys * stored),
            activation_bytes=step.decode_query_tokens * (WIDE_BYTES * q_heads * width),
        ),
        seqs=batch.decode_seqs,
        context_tokens=keys,
        q_heads=q_heads,
        kv_heads=kv_heads,
        head_dim=layer.head_dim,
        v_head_dim=layer.v_head_dim,
        kv_dtype=step.precision.kv,
        query_tokens=batch.decode_tokens,
    )
    return [decode, *cp_combine(step, count, q_heads * layer.v_head_dim, q_heads)]


def _block(layer: Attention, count: int, step: Step) -> list[Op]:
    """A pass over one block of a diffusion model per sequence: many queries, no causal mask."""
    batch, window = step.batch, visible_window(layer)
    cp = step.parallel.cp
    new = step.decode_query_tokens
    past = ceil_div(decode_keys(batch, window) - new, cp)
    pairs = ceil_div(decode_pairs(batch, window, causal=False), cp)
    q_heads, _ = local_heads(layer, step.parallel.tp)
    op = _chunks(layer, count, step, "attn.block", batch.decode_seqs, new, past, pairs, new)
    return [op, *cp_combine(step, count, q_heads * layer.v_head_dim, q_heads)]


def _prefill(layer: Attention, count: int, step: Step) -> list[Op]:
    batch, cp = step.batch, step.parallel.cp
    if not present(batch.prefill_tokens):
        return []
    window = visible_window(layer)
    new = step.prefill_query_tokens
    # A selection differs from query to query, so that a chunk reads its whole past.
    past = prefill_past(batch, None if layer.indexer else window)
    others = batch.prefill_tokens - new
    pairs = ceil_div(prefill_pairs(batch, window, causal=step.causal), cp)
    gathered = (past + batch.prefill_tokens) * cached_elements(layer, step.parallel.tp)
    op = _chunks(
        layer,
        count,
        step,
        "attn.prefill",
        batch.prefill_seqs,
        new,
        past + others,
        pairs,
        batch.prefill_tokens,
    )
    message = tensor_bytes(step.precision.kv, gathered)
    return [*cp_allgather(step, "comm.cp_kv_allgather", count, message), op]


def _chunks(
    layer: Attention,
    count: int,
    step: Step,
    name: str,
    seqs: Int,
    new: Int,
    past: Int,
    pairs: Int,
    fresh: Int,
) -> AttentionPrefill:
    """Attention of ``new`` queries; ``past`` keys come from the cache but for ``fresh - new`` of them.

    Keys and values of the ``fresh`` tokens are read as 16-bit activations, the others as cache.
    """
    q_heads, kv_heads = local_heads(layer, step.parallel.tp)
    width = layer.head_dim + layer.v_head_dim
    stored = kv_heads * width
    return AttentionPrefill(
        name=name,
        count=count,
        work=Work(
            flop=2 * q_heads * width * pairs,
            kv_bytes=tensor_bytes(step.precision.kv, (past + new - fresh) * stored),
            activation_bytes=WIDE_BYTES * (new * (q_heads * width) + fresh * stored),
        ),
        seqs=seqs,
        new_tokens=new,
        past_tokens=past,
        pairs=pairs,
        q_heads=q_heads,
        kv_heads=kv_heads,
        head_dim=layer.head_dim,
        v_head_dim=layer.v_head_dim,
        q_dtype="bf16",
        kv_dtype=step.precision.kv,
        causal=step.causal,
    )


def index_ops(layer: Attention | MlaAttention, count: int, step: Step) -> list[Op]:
    """Scores of the sparse-attention indexer over every visible key, with its cache read and write."""
    if layer.indexer is None or not layer.indexer.owned:
        return []
    batch, cp = step.batch, step.parallel.cp
    key_bytes = index_bytes_per_token(layer)
    split = step.parallel.tp if layer.indexer.block_tokens > 1 else 1
    heads = ceil_int(layer.indexer.num_heads, split)
    ops: list[Op] = []
    if present(batch.decode_seqs):
        new = step.decode_query_tokens
        pairs = ceil_div(decode_pairs(batch), cp)
        moved = (ceil_div(decode_keys(batch), cp) + new) * key_bytes
        ops.append(
            index_score("index.decode", count, layer.indexer, heads, batch.decode_seqs, pairs, new, moved)
        )
    if present(batch.prefill_tokens):
        new = step.prefill_query_tokens
        pairs = ceil_div(prefill_pairs(batch), cp)
        moved = (prefill_past(batch) + batch.prefill_tokens + new) * key_bytes
        ops.append(
            index_score("index.prefill", count, layer.indexer, heads, batch.prefill_seqs, pairs, new, moved)
        )
    return ops


def index_score(
    name: str, count: int, indexer: Indexer, heads: int, seqs: Int, pairs: Int, new: Int, kv_bytes: Int
) -> IndexScore:
    """Scoring of ``pairs`` query-key pairs by each of ``heads`` heads of this chip."""
    width = heads * indexer.head_dim
    return IndexScore(
        name=name,
        count=count,
        work=Work(
            flop=2 * width * pairs,
            kv_bytes=kv_bytes,
            activation_bytes=new * (WIDE_BYTES * width) + pairs * _SCORE_BYTES,
        ),
        seqs=seqs,
        pairs=pairs,
        new_tokens=new,
        heads=heads,
        head_dim=indexer.head_dim,
    )
